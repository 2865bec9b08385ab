// SPDX-License-Identifier: MIT
//
// udrv-ahci: from a bound device to served disks.
#include <string>

#include <spdlog/spdlog.h>

#include "driver_ids.hpp" // made of ahci.ids
#include "drivers/ahci/ahci.hpp"
#include "libudrv/blk/blk_serve.hpp"
#include "libudrv/blk/kept_disks.hpp"
#include "libudrv/error.hpp"
#include "libudrv/process/driver.hpp"
#include "libudrv/process/memory_lock.hpp"

namespace udrv::ahci {

namespace {

/// How an HBA without the INTx-disable bit is masked: GHC.IE (AHCI 3.1.2).
constexpr udrv_intx_mask intx_mask{abar_number,     reg::ghc.offset,   ghc::ae,
                                   reg::ghc.offset, ghc::ae | ghc::ie, 0};

/// MSI is never shared and needs no read of the device to tell whose it was.
void set_up_interrupt(Device& device) {
    device.mask_intx_by(intx_mask);
    if (device.info().nr_msi == 0) {
        return;
    }
    try {
        device.irq_setup(UDRV_IRQ_MSI, 1);
    } catch (const Error& error) {
        spdlog::debug("{}; using INTx", error.what());
    }
}

int run(DriverContext& context) {
    Device& device = context.device;
    auto registers = device.map_bar(abar_number);
    Config config;
    config.occupied = reset_hba(registers); // and bus mastering is safe
    device.dma_bits(dma_bits(registers));
    device.stop_by(end_of_transfers);
    set_up_interrupt(device);
    device.bus_master(true);
    config.expected_disks = kept_disks(device.address());
    Ahci chip(registers, device, config);
    for (const std::string& note : chip.notes()) {
        spdlog::warn("{}: {}", device.address().str(), note);
    }
    return serve_blk(context, chip);
}

} // namespace
} // namespace udrv::ahci

int main(int argc, char** argv) {
    return udrv::driver_main({.name = "ahci",
                              .description = "AHCI controllers: Intel ICH8, ICH9, ICH10",
                              .ids = udrv::driver_ids,
                              .run = udrv::ahci::run,
                              .prepare = udrv::lock_memory,
                              .version = udrv::driver_version},
                             argc, argv);
}
