// SPDX-License-Identifier: MIT
//
// udrv-nvme: from a bound device to served disks.
#include <iterator>
#include <optional>

#include "driver_ids.hpp" // made of nvme.ids
#include "drivers/nvme/nvme.hpp"
#include "libudrv/blk/blk_serve.hpp"
#include "libudrv/process/bring_up.hpp"
#include "libudrv/process/driver.hpp"
#include "libudrv/process/memory_lock.hpp"

namespace udrv::nvme {

namespace {

class Board {
  public:
    explicit Board(Device& device) : device_(device), registers_(device.map_bar(bar_number)) {}

    void quiet() { disable(registers_); }

    [[nodiscard]] static ChipNeeds needs() {
        // Messages are never shared, and need no read of the device to tell whose they were.
        // All queues use vector 0.
        return {.dma_bits = 64,
                .stop_writes = {std::begin(end_of_transfers), std::end(end_of_transfers)},
                .interrupts = {UDRV_IRQ_MSIX, UDRV_IRQ_MSI, UDRV_IRQ_INTX}};
    }

    Nvme& make(const ChipInterrupts& /*interrupts*/) { return chip_.emplace(registers_, device_); }

  private:
    Device& device_;
    BarMapping registers_;
    std::optional<Nvme> chip_;
};

} // namespace
} // namespace udrv::nvme

int main(int argc, char** argv) {
    return udrv::driver_main({.name = "nvme",
                              .description = "NVM Express 1.x controllers",
                              .ids = udrv::driver_ids,
                              .run = udrv::run_blk<udrv::nvme::Board>,
                              .prepare = udrv::lock_memory,
                              .version = udrv::driver_version},
                             argc, argv);
}
