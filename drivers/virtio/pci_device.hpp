// SPDX-License-Identifier: MIT
//
// PciDevice: from a bound device to a Transport, for the Board of a driver.
#pragma once

#include <array>
#include <optional>

#include "drivers/virtio/transport.hpp"
#include "libudrv/device/device.hpp"
#include "libudrv/process/bring_up.hpp"

namespace udrv::virtio {

class PciDevice {
  public:
    /// Maps what the capabilities point to. Throws Error.
    explicit PciDevice(Device& device);

    // Of a Board (libudrv/process/bring_up.hpp), whatever the device's type.
    void quiet() { transport_->reset(); }
    [[nodiscard]] ChipNeeds needs() const {
        return {.dma_bits = 64,
                .stop_writes = {end_of_transfers(layout_)},
                .interrupts = {UDRV_IRQ_MSIX, UDRV_IRQ_INTX}};
    }
    void use(const ChipInterrupts& interrupts) {
        transport_->use_msix(interrupts.mode == UDRV_IRQ_MSIX);
    }

    [[nodiscard]] Transport& transport() { return *transport_; }
    [[nodiscard]] const Layout& layout() const { return layout_; }

  private:
    Layout layout_;
    std::array<std::optional<BarMapping>, UDRV_NR_BARS> bars_;
    std::optional<Transport> transport_;
};

} // namespace udrv::virtio
