// SPDX-License-Identifier: MIT
//
// Transport: a virtio 1.x device on PCI, whatever its type (virtio 1.2, 3.1 and 4.1).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "drivers/virtio/virtio_registers.hpp"
#include "drivers/virtio/virtqueue.hpp"
#include "libudrv/device/registers.hpp"
#include <udrv/udrv.h>

namespace udrv::virtio {

/// Where one of the structures is (4.1.4).
struct Structure {
    std::uint8_t bar = 0;
    std::uint32_t offset = 0;
    std::uint32_t len_bytes = 0;
};

struct Layout {
    Structure common;
    Structure notify;
    Structure isr;
    Structure device;
    std::uint32_t notify_off_multiplier = 0;
};

/// Reads four bytes of configuration space.
using ConfigRead = std::function<std::uint32_t(std::uint32_t offset)>;

/// Walks the capabilities, and takes the first of each kind that can be used (4.1.4.1).
/// Throws Error if one is missing, as with a device that is legacy only.
[[nodiscard]] Layout find_structures(const ConfigRead& read,
                                     std::span<const udrv_bar_info, UDRV_NR_BARS> bars);

/// For Device::stop_by(): a reset, and the wait for its end (2.4).
[[nodiscard]] udrv_stop_write end_of_transfers(const Layout& layout);

/// Which of the features that the device offers are accepted: those that are wanted. Throws Error
/// if it is no device of virtio 1.x, or passes by an IOMMU that is to confine it.
[[nodiscard]] std::uint64_t choose_features(std::uint64_t offered, std::uint64_t wanted,
                                            bool iommu);

/// A part of a BAR as a window of its own.
class Window final : public RegisterIo {
  public:
    Window(RegisterIo& bar, const Structure& place)
        : bar_(bar), offset_(place.offset), len_bytes_(place.len_bytes) {}

    [[nodiscard]] std::uint32_t len_bytes() const { return len_bytes_; }
    [[nodiscard]] std::uint8_t read8(std::uint32_t at) override { return bar_.read8(offset_ + at); }
    [[nodiscard]] std::uint16_t read16(std::uint32_t at) override {
        return bar_.read16(offset_ + at);
    }
    [[nodiscard]] std::uint32_t read32(std::uint32_t at) override {
        return bar_.read32(offset_ + at);
    }
    void write8(std::uint32_t at, std::uint8_t value) override { bar_.write8(offset_ + at, value); }
    void write16(std::uint32_t at, std::uint16_t value) override {
        bar_.write16(offset_ + at, value);
    }
    void write32(std::uint32_t at, std::uint32_t value) override {
        bar_.write32(offset_ + at, value);
    }

  private:
    RegisterIo& bar_;
    std::uint32_t offset_;
    std::uint32_t len_bytes_;
};

class Transport {
  public:
    /// `bar` gives the registers of BAR n. Touches nothing.
    Transport(const std::function<RegisterIo&(unsigned n)>& bar, const Layout& layout,
              bool msix = false);
    /// One vector, which all causes share; else INTx. Before greet().
    void use_msix(bool msix) { msix_ = msix; }

    /// Leaves the device quiet: it interrupts no more, and uses no memory (2.4). Throws
    /// Error if it does not come to an end.
    void reset();
    /// The same for a driver that serves, and must not wait: asks for the reset. It is over when
    /// status() is 0; nothing else is touched until then (4.1.4.3.2).
    void begin_reset();
    [[nodiscard]] std::uint8_t status() { return common::device_status.read(common_); }

    /// From the reset to DRIVER (3.1.1, steps 2 and 3): the configuration can be read.
    void greet();
    /// What the device offers.
    [[nodiscard]] std::uint64_t offered();
    /// From DRIVER to FEATURES_OK (steps 4 to 6). Throws Error.
    void accept(std::uint64_t features);
    /// How many entries queue n may have; 0: there is none.
    [[nodiscard]] std::uint16_t max_size(std::uint16_t n);
    /// The largest power of two (2.7) of entries that queue n may have, `wanted` at most. Throws
    /// Error if that is less than `least`; `option` is what makes the queue larger.
    [[nodiscard]] std::uint16_t queue_size(std::uint16_t n, std::uint16_t wanted,
                                           std::uint16_t least, std::string_view option);
    /// Tells the device of queue n (4.1.5.1.3); between accept() and run(). Throws Error.
    void enable(std::uint16_t n, const Virtqueue& queue, bool interrupts);
    /// DRIVER_OK: the device is live.
    void run();

    void notify(std::uint16_t n);
    /// Reads the causes and lowers INTx (4.1.4.5).
    [[nodiscard]] std::uint8_t causes() { return isr::status.read(isr_); }
    [[nodiscard]] bool msix() const { return msix_; }

    /// The device type's own configuration.
    [[nodiscard]] Window& config() { return device_; }
    /// More than one register of it as they were at one moment (2.5.1).
    template <typename Read>
    [[nodiscard]] auto read_config(Read&& read) {
        for (int tries = 0;; tries++) {
            const std::uint8_t before = common::config_generation.read(common_);
            auto value = read(device_);
            if (common::config_generation.read(common_) == before || tries == 100) {
                return value;
            }
        }
    }
    [[nodiscard]] Window& common() { return common_; }

  private:
    void set_status(std::uint8_t bits);

    Window common_;
    Window notify_;
    Window isr_;
    Window device_;
    std::uint32_t notify_off_multiplier_;
    bool msix_;
    std::uint8_t status_ = 0;
    std::vector<std::uint32_t> notify_offset_; ///< by queue
};

} // namespace udrv::virtio
