// SPDX-License-Identifier: MIT
#include "drivers/virtio/pci_device.hpp"

namespace udrv::virtio {

PciDevice::PciDevice(Device& device)
    : layout_(
          find_structures([&device](std::uint32_t offset) { return device.config_read(offset, 4); },
                          device.info().bars)) {
    const auto bar = [&](unsigned n) -> RegisterIo& {
        if (!bars_.at(n)) {
            bars_[n].emplace(device.map_bar(n));
        }
        return *bars_[n];
    };
    transport_.emplace(bar, layout_);
}

} // namespace udrv::virtio
