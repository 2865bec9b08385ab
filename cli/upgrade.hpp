// SPDX-License-Identifier: MIT
#pragma once

#include "cli/system.hpp"

namespace udrv::cli {

/// Has the supervisor of the device's driver (`udrv run --restart`) replace it by the
/// program's file as it is now, and waits until the new driver serves. Interface and
/// disks stay, requests wait. Prints one line with the outage. Throws Error.
void upgrade(const System& system, const PciAddress& address);

} // namespace udrv::cli
