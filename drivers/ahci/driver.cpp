// SPDX-License-Identifier: MIT
//
// udrv-ahci: from a bound device to served disks.
#include "libudrv/process/driver.hpp"
#include "driver_ids.hpp" // made of ahci.ids
#include "drivers/ahci/board.hpp"
#include "libudrv/blk/blk_serve.hpp"
#include "libudrv/process/memory_lock.hpp"

int main(int argc, char** argv) {
    return udrv::driver_main({.name = "ahci",
                              .description = "AHCI controllers: Intel ICH8, ICH9, ICH10",
                              .ids = udrv::driver_ids,
                              .run = udrv::run_blk<udrv::ahci::Board>,
                              .prepare = udrv::lock_memory,
                              .version = udrv::driver_version},
                             argc, argv);
}
