// SPDX-License-Identifier: MIT
//
//!net
// udrv-mychip: from a bound device to a served network interface.
//!blk
// udrv-mychip: from a bound device to served disks.
//!end
#include <iterator>
#include <optional>

#include "driver_ids.hpp" // made of mychip.ids
#include "drivers/mychip/mychip.hpp"
//!net
#include "libudrv/net/net_serve.hpp"
//!blk
#include "libudrv/blk/blk_serve.hpp"
//!end
#include "libudrv/device/device.hpp"
#include "libudrv/process/bring_up.hpp"
#include "libudrv/process/driver.hpp"
//!blk
#include "libudrv/process/memory_lock.hpp"
//!end

namespace udrv::mychip {

namespace {

/// bring_up() calls these in this order; libudrv/process/bring_up.hpp says why.
class Board {
  public:
    /// Writes to no register.
    explicit Board(Device& device) : device_(device), registers_(device.map_bar(bar_number)) {}

    void quiet() { reset(registers_); }

    [[nodiscard]] static ChipNeeds needs() {
        return {.dma_bits = 64,
                .stop_writes = {std::begin(end_of_transfers), std::end(end_of_transfers)},
                .interrupts = {UDRV_IRQ_MSIX, UDRV_IRQ_MSI, UDRV_IRQ_INTX}};
    }

    MyChip& make(const ChipInterrupts& /*interrupts*/) {
        return chip_.emplace(registers_, device_);
    }

  private:
    Device& device_;
    BarMapping registers_;
    std::optional<MyChip> chip_;
};

} // namespace
} // namespace udrv::mychip

int main(int argc, char** argv) {
    return udrv::driver_main({.name = "mychip",
                              .description = "MyChip: say what it is",
                              .ids = udrv::driver_ids,
//!net
                              .run = udrv::run_net<udrv::mychip::Board>,
//!blk
                              .run = udrv::run_blk<udrv::mychip::Board>,
                              .prepare = udrv::lock_memory,
//!end
                              .version = udrv::driver_version},
                             argc, argv);
}
