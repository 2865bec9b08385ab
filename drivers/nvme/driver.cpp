// SPDX-License-Identifier: MIT
//
// udrv-nvme: from a bound device to served disks.
#include <string>

#include <spdlog/spdlog.h>

#include "driver_ids.hpp" // made of nvme.ids
#include "drivers/nvme/nvme.hpp"
#include "libudrv/blk/blk_serve.hpp"
#include "libudrv/error.hpp"
#include "libudrv/process/driver.hpp"
#include "libudrv/process/memory_lock.hpp"

namespace udrv::nvme {

namespace {

/// Messages are never shared, and need no read of the device to tell whose they were. All
/// queues use vector 0.
void set_up_interrupt(Device& device) {
    for (const std::uint32_t mode : {std::uint32_t{UDRV_IRQ_MSIX}, std::uint32_t{UDRV_IRQ_MSI}}) {
        const udrv_info& info = device.info();
        if ((mode == UDRV_IRQ_MSIX ? info.nr_msix : info.nr_msi) == 0) {
            continue;
        }
        try {
            device.irq_setup(mode, 1);
            return;
        } catch (const Error& error) {
            spdlog::debug("{}", error.what());
        }
    }
}

int run(DriverContext& context) {
    Device& device = context.device;
    auto registers = device.map_bar(bar_number);
    disable(registers); // and bus mastering is safe
    device.dma_bits(64);
    device.stop_by(end_of_transfers);
    set_up_interrupt(device);
    device.bus_master(true);
    Nvme chip(registers, device);
    for (const std::string& note : chip.notes()) {
        spdlog::warn("{}: {}", device.address().str(), note);
    }
    return serve_blk(context, chip);
}

} // namespace
} // namespace udrv::nvme

int main(int argc, char** argv) {
    return udrv::driver_main({.name = "nvme",
                              .description = "NVM Express 1.x controllers",
                              .ids = udrv::driver_ids,
                              .run = udrv::nvme::run,
                              .prepare = udrv::lock_memory,
                              .version = udrv::driver_version},
                             argc, argv);
}
