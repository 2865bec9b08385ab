// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "cli/system.hpp"
#include "libudrv/process/driver.hpp"

namespace udrv::cli {

/// Throws Error unless `driver` serves the device's PCI ids.
void require_served(const System& system, const Driver& driver, const PciAddress& address);

/// Opens the device and serves it until told to stop; returns the exit status. With
/// options.restart a supervisor does that, again and again (cli/supervisor.hpp), in processes
/// of the same program and arguments: `argv` is main's. Throws Error.
int run(const System& system, const Driver& driver, const PciAddress& address,
        const RunOptions& options, char** argv);

} // namespace udrv::cli
