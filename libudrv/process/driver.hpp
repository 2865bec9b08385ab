// SPDX-License-Identifier: MIT
//
// What `udrv run <driver>` needs to know of a driver. A chip's folder defines one
// constant of this type, for example in drivers/e1000/main.cpp:
//
//     namespace udrv::e1000 {
//     const PciId ids[] = {{0x8086, 0x100e}, {0x8086, 0x100f}};
//     int run(DriverContext& context) {
//         auto registers = context.device.map_bar(0);
//         E1000 chip(registers, context.device);
//         context.device.bus_master(true);
//         return serve_net(context, chip);            // libudrv/net/net_serve.hpp
//     }
//     extern const Driver driver{"e1000", "Intel 82540EM, 82545EM", ids, run};
//     }
//
// and drivers/registry.cpp lists it: one line a chip.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "libudrv/device/device.hpp"
#include "libudrv/process/heartbeat.hpp"
#include "libudrv/device/pci_address.hpp"

namespace udrv {

enum class WaitMode {
    automatic, ///< read for one IRQ file, else uring
    uring,     ///< io_uring: interrupts, timers and signals in one call
    read       ///< plain blocking read of the IRQ file
};

/// What the person asked for on the command line.
struct RunOptions {
    std::string name; ///< wanted interface name, empty: the kernel's choice
    WaitMode wait = WaitMode::automatic;
    std::string stats_path; ///< JSON counters at exit and on SIGUSR1; empty: none
    bool verbose = false;
    bool sandbox = true;         ///< give up every privilege once it serves
    bool restart = false;        ///< under a supervisor (cli/supervisor.hpp)
    unsigned deadline_ms = 5000; ///< with restart: no progress for so long is death
    unsigned restart_limit = 10; ///< with restart: short lives in a row
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
    std::string_view name;        ///< what a person types
    std::string_view description; ///< one line
    std::span<const PciId> ids;   ///< what it serves
    /// Serves the device until SIGTERM or SIGINT; returns the exit status. Throws
    /// Error when something can not be set up.
    int (*run)(DriverContext& context);
    /// What its process does before that, and before there is a device for it; nullptr:
    /// nothing. A driver of disks: lock_memory (libudrv/process/memory_lock.hpp).
    void (*prepare)() = nullptr;
};

/// All drivers of this build, in drivers/registry.cpp.
[[nodiscard]] std::span<const Driver* const> drivers();

/// The driver of that name, or nullptr.
[[nodiscard]] const Driver* find_driver(std::string_view name);

} // namespace udrv
