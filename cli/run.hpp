// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

#include "cli/drivers.hpp"
#include "cli/system.hpp"

namespace udrv::cli {

struct RunRequest {
    std::string driver;                 ///< name, or path of its program; empty: by the ids
    std::vector<std::string> arguments; ///< for the driver, after the device's address
    bool restart = false;               ///< under a supervisor (cli/supervisor.hpp)
    unsigned deadline_ms = 5000;        ///< with restart: no progress for so long is death
    unsigned restart_limit = 10;        ///< with restart: consecutive runs under a second
    bool verbose = false;
};

/// The driver that is asked for, if it serves the device. Throws Error.
[[nodiscard]] DriverProgram choose_driver(const System& system, const Drivers& drivers,
                                          const std::string& name, const PciAddress& address);

/// Runs the driver's program as a supervisor does, until told to stop, and returns the exit
/// status; without `restart` this process becomes the driver, and the call does not return.
/// Throws Error.
int run(const System& system, const Drivers& drivers, const PciAddress& address,
        const RunRequest& request);

} // namespace udrv::cli
