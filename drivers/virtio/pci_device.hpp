// SPDX-License-Identifier: MIT
//
// PciDevice: from a bound device to a Transport, for the `run` function of a driver.
#pragma once

#include <array>
#include <optional>

#include "drivers/virtio/transport.hpp"
#include "libudrv/device/device.hpp"

namespace udrv::virtio {

class PciDevice {
  public:
    /// Maps what the capabilities point to and chooses the interrupt: MSI-X, one vector, or
    /// INTx. Throws Error.
    explicit PciDevice(Device& device);

    [[nodiscard]] Transport& transport() { return *transport_; }
    [[nodiscard]] const Layout& layout() const { return layout_; }

  private:
    Layout layout_;
    std::array<std::optional<BarMapping>, UDRV_NR_BARS> bars_;
    std::optional<Transport> transport_;
};

} // namespace udrv::virtio
