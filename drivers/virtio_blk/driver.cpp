// SPDX-License-Identifier: MIT
//
// udrv-virtio_blk: from a bound device to a served disk.
#include <optional>

#include "driver_ids.hpp" // made of virtio_blk.ids
#include "drivers/virtio/pci_device.hpp"
#include "drivers/virtio_blk/virtio_blk.hpp"
#include "libudrv/blk/blk_serve.hpp"
#include "libudrv/blk/kept_disks.hpp"
#include "libudrv/process/bring_up.hpp"
#include "libudrv/process/driver.hpp"
#include "libudrv/process/memory_lock.hpp"

namespace udrv::virtio_blk {

namespace {

class Board {
  public:
    explicit Board(Device& device) : device_(device), pci_(device) {}

    void quiet() { pci_.quiet(); }
    [[nodiscard]] ChipNeeds needs() const { return pci_.needs(); }

    VirtioBlk& make(const ChipInterrupts& interrupts) {
        pci_.use(interrupts);
        Config config;
        config.iommu = device_.confined();
        config.kept_sectors = kept_sectors(device_.address());
        return chip_.emplace(pci_.transport(), device_, config);
    }

  private:
    Device& device_;
    virtio::PciDevice pci_;
    std::optional<VirtioBlk> chip_;
};

} // namespace
} // namespace udrv::virtio_blk

int main(int argc, char** argv) {
    return udrv::driver_main({.name = "virtio_blk",
                              .description = "virtio 1.x block devices",
                              .ids = udrv::driver_ids,
                              .run = udrv::run_blk<udrv::virtio_blk::Board>,
                              .prepare = udrv::lock_memory,
                              .version = udrv::driver_version},
                             argc, argv);
}
