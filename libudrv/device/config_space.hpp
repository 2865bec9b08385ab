// SPDX-License-Identifier: MIT
//
// ConfigSpace: a device's configuration space as registers.
#pragma once

#include <cstdint>

#include "libudrv/device/device.hpp"
#include "libudrv/device/registers.hpp"

namespace udrv {

/// The kernel lets a driver write few of them (udrv/udrv.h). Throws Error. Outlived by the
/// device.
class ConfigSpace final : public RegisterIo {
  public:
    explicit ConfigSpace(Device& device) : device_(device) {}
    [[nodiscard]] std::uint8_t read8(std::uint32_t offset) override {
        return static_cast<std::uint8_t>(device_.config_read(offset, 1));
    }
    [[nodiscard]] std::uint16_t read16(std::uint32_t offset) override {
        return static_cast<std::uint16_t>(device_.config_read(offset, 2));
    }
    [[nodiscard]] std::uint32_t read32(std::uint32_t offset) override {
        return device_.config_read(offset, 4);
    }
    void write8(std::uint32_t offset, std::uint8_t value) override {
        device_.config_write(offset, 1, value);
    }
    void write16(std::uint32_t offset, std::uint16_t value) override {
        device_.config_write(offset, 2, value);
    }
    void write32(std::uint32_t offset, std::uint32_t value) override {
        device_.config_write(offset, 4, value);
    }

  private:
    Device& device_;
};

} // namespace udrv
