// SPDX-License-Identifier: MIT
//
// udrv-virtio_net: from a bound device to a served network interface.
#include <optional>

#include "driver_ids.hpp" // made of virtio_net.ids
#include "drivers/virtio/pci_device.hpp"
#include "drivers/virtio_net/virtio_net.hpp"
#include "libudrv/net/net_serve.hpp"
#include "libudrv/process/bring_up.hpp"
#include "libudrv/process/driver.hpp"

namespace udrv::virtio_net {

namespace {

class Board {
  public:
    explicit Board(Device& device) : device_(device), pci_(device) {}

    void quiet() { pci_.quiet(); }
    [[nodiscard]] ChipNeeds needs() const { return pci_.needs(); }

    VirtioNet& make(const ChipInterrupts& interrupts) {
        pci_.use(interrupts);
        Config config;
        config.iommu = device_.confined();
        // An untrusted driver's word for a checksum is not taken: then all of them have to be
        // in the packets.
        config.rx_checksum = !device_.untrusted();
        VirtioNet& chip = chip_.emplace(pci_.transport(), device_, config);
        chip.init();
        return chip;
    }

  private:
    Device& device_;
    virtio::PciDevice pci_;
    std::optional<VirtioNet> chip_;
};

} // namespace
} // namespace udrv::virtio_net

int main(int argc, char** argv) {
    return udrv::driver_main({.name = "virtio_net",
                              .description = "virtio 1.x network devices",
                              .ids = udrv::driver_ids,
                              .run = udrv::run_net<udrv::virtio_net::Board>,
                              .version = udrv::driver_version},
                             argc, argv);
}
