// SPDX-License-Identifier: MIT
#include "drivers/virtio/pci_device.hpp"

#include <spdlog/spdlog.h>

#include "libudrv/error.hpp"

namespace udrv::virtio {

namespace {

bool choose_msix(Device& device) {
    if (device.info().nr_msix == 0) {
        return false;
    }
    try {
        device.irq_setup(UDRV_IRQ_MSIX, 1);
        return true;
    } catch (const Error& error) {
        spdlog::debug("{}; using INTx", error.what());
        return false;
    }
}

} // namespace

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
    transport_.emplace(bar, layout_, choose_msix(device));
}

} // namespace udrv::virtio
