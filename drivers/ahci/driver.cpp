// SPDX-License-Identifier: MIT
//
// `udrv run ahci`: from a bound device to served disks.
#include <string>

#include <spdlog/spdlog.h>

#include "drivers/ahci/ahci.hpp"
#include "libudrv/blk/blk_serve.hpp"
#include "libudrv/blk/kept_disks.hpp"
#include "libudrv/error.hpp"
#include "libudrv/process/driver.hpp"
#include "libudrv/process/memory_lock.hpp"

namespace udrv::ahci {

namespace {

constexpr PciId ids[] = {
    {0x8086, 0x2922}, // 82801IR/IO/IH (ICH9), AHCI
    {0x8086, 0x2829}, // 82801HM (ICH8M), AHCI
    {0x8086, 0x3a22}, // 82801JI (ICH10), AHCI
};

/// MSI is never shared and needs no read of the device to tell whose it was.
void set_up_interrupt(Device& device) {
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

extern const Driver driver{"ahci", "AHCI controllers: Intel ICH8, ICH9, ICH10", ids, run,
                           lock_memory};

} // namespace udrv::ahci
