// SPDX-License-Identifier: MIT
//
// From a bound PCI function to an Ahci (libudrv/process/bring_up.hpp).
#pragma once

#include <optional>

#include "drivers/ahci/ahci.hpp"
#include "libudrv/blk/kept_disks.hpp"
#include "libudrv/device/device.hpp"
#include "libudrv/process/bring_up.hpp"

namespace udrv::ahci {

class Board {
  public:
    explicit Board(Device& device) : device_(device), abar_(device.map_bar(abar_number)) {}

    void quiet() { config_.occupied = reset_hba(abar_); }

    [[nodiscard]] ChipNeeds needs() {
        return {.dma_bits = dma_bits(abar_),
                .stop_writes = {std::begin(end_of_transfers), std::end(end_of_transfers)},
                // MSI is never shared and needs no read of the device to tell whose it was.
                .interrupts = {UDRV_IRQ_MSI, UDRV_IRQ_INTX},
                .intx_mask = intx_mask};
    }

    Ahci& make(const ChipInterrupts& /*interrupts*/) {
        config_.expected_disks = kept_disks(device_.address());
        return chip_.emplace(abar_, device_, config_);
    }

  private:
    Device& device_;
    BarMapping abar_;
    Config config_;
    std::optional<Ahci> chip_;
};

} // namespace udrv::ahci
