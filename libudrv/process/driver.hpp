// SPDX-License-Identifier: MIT
//
// What a driver's program is made of. A driver is a program of its own, udrv-CHIP, which
// `udrv run CHIP BDF` finds, checks and supervises. Its main is (drivers/nvme/driver.cpp):
//
//     #include "driver_ids.hpp" // made of nvme.ids by udrv_add_driver()
//
//     class Board { ... };   // from a PCI function to its chip: libudrv/process/bring_up.hpp
//
//     int main(int argc, char** argv) {
//         return udrv::driver_main({.name = "nvme", .description = "NVM Express 1.x controllers",
//                                   .ids = driver_ids, .run = udrv::run_blk<Board>,
//                                   .prepare = udrv::lock_memory}, argc, argv);
//     }
//
// beside nvme.ids, its PCI ids (libudrv/device/pci_ids.hpp), and in CMake
//
//     udrv_add_driver(nvme driver.cpp nvme.cpp ...)
#pragma once

#include <string>
#include <string_view>

#include "libudrv/device/device.hpp"
#include "libudrv/process/heartbeat.hpp"

namespace udrv {

enum class WaitMode {
    automatic, ///< read for one IRQ file, else uring
    uring,     ///< io_uring: interrupts, timers and signals in one call
    read       ///< plain blocking read of the IRQ file
};

/// What the person asked for on the command line (libudrv/process/driver_options.hpp).
struct RunOptions {
    std::string name; ///< wanted interface name, empty: the kernel's choice
    WaitMode wait = WaitMode::automatic;
    unsigned queues = 0;    ///< of an interface, at most; 0: as many as the chip has
    std::string stats_path; ///< JSON counters at exit and on SIGUSR1; empty: none
    bool verbose = false;
    bool sandbox = true; ///< give up every privilege once it serves
};

struct Driver;

/// What a driver is given: its device, opened, and the options. Owned by the
/// caller for as long as run() lasts.
struct DriverContext {
    const Driver& driver;
    Device& device;
    const RunOptions& options;
    Heartbeat heartbeat;
};

struct Driver {
    std::string_view name;        ///< what a person types; the program is udrv-NAME
    std::string_view description; ///< one line
    std::string_view ids;         ///< text of NAME.ids: what it serves
    /// Serves the device until SIGTERM or SIGINT; returns the exit status. Throws
    /// Error when something cannot be set up.
    int (*run)(DriverContext& context) = nullptr;
    /// What its process does before that, and before there is a device for it; nullptr:
    /// nothing. A driver of disks: lock_memory (libudrv/process/memory_lock.hpp).
    void (*prepare)() = nullptr;
    std::string_view version = {};
};

/// The main of a driver's program: reads the command line, takes part in supervision
/// (docs/driver-protocol.md) if a supervisor started it, opens the device, runs the driver.
/// Returns the exit status: 0 done, 1 it could not be done, 2 it was not asked for correctly.
[[nodiscard]] int driver_main(const Driver& driver, int argc, char** argv);

} // namespace udrv
