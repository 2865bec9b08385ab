// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include <sys/types.h>

#include "cli/system.hpp"

namespace udrv::cli {

/// Has the supervisor of the device's driver (`udrv run --restart`) replace it by the
/// program's file as it is now, and waits until the new driver has served for a second.
/// Interface and disks stay, requests wait. Returns one line with the outage. Throws Error,
/// also if the new program does not serve and the old one goes on.
[[nodiscard]] std::string upgrade(const System& system, const PciAddress& address);

/// Whether a SIGHUP waits to be taken by that process. A second one would be lost, and what it
/// asks with it: such signals are not queued.
[[nodiscard]] bool hangup_pending(const System& system, pid_t pid);

} // namespace udrv::cli
