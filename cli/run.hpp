// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "cli/system.hpp"
#include "libudrv/driver.hpp"

namespace udrv::cli {

/// Throws Error unless `driver` serves the device's PCI ids.
void require_served(const System& system, const Driver& driver, const PciAddress& address);

/// Opens the device and serves it until told to stop; returns the exit status.
/// Throws Error.
int run(const System& system, const Driver& driver, const PciAddress& address,
        const RunOptions& options);

} // namespace udrv::cli
