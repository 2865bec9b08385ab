// SPDX-License-Identifier: MIT
//
// udrv-virtio_net: from a bound device to a served network interface.
#include <fstream>
#include <string>

#include "driver_ids.hpp" // made of virtio_net.ids
#include "drivers/virtio/pci_device.hpp"
#include "drivers/virtio_net/virtio_net.hpp"
#include "libudrv/net/net_serve.hpp"
#include "libudrv/process/driver.hpp"

namespace udrv::virtio_net {

namespace {

/// Whether the administrator does not trust what the driver says (`bind --untrusted`).
bool untrusted(const PciAddress& address) {
    std::ifstream file("/sys/bus/pci/devices/" + address.str() + "/udrv/untrusted");
    std::string line;
    return std::getline(file, line) && line != "0";
}

int run(DriverContext& context) {
    Device& device = context.device;
    virtio::PciDevice pci(device);
    device.dma_bits(64);
    Config config;
    config.iommu = (device.info().flags & UDRV_DEV_IOMMU) != 0;
    // An untrusted driver's word for a checksum is not taken: then all of them have to be
    // in the packets.
    config.rx_checksum = !untrusted(device.address());
    VirtioNet chip(pci.transport(), device, config);
    chip.init(); // resets the device, so that bus mastering is safe
    device.stop_by({{virtio::end_of_transfers(pci.layout())}});
    device.bus_master(true);
    return serve_net(context, chip);
}

} // namespace
} // namespace udrv::virtio_net

int main(int argc, char** argv) {
    return udrv::driver_main({.name = "virtio_net",
                              .description = "virtio 1.x network devices",
                              .ids = udrv::driver_ids,
                              .run = udrv::virtio_net::run,
                              .version = udrv::driver_version},
                             argc, argv);
}
