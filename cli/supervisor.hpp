// SPDX-License-Identifier: MIT
#pragma once

#include <functional>

#include "cli/system.hpp"
#include "libudrv/process/driver.hpp"
#include "libudrv/process/heartbeat.hpp"

namespace udrv::cli {

/// Name of a supervisor's process; `udrv upgrade` knows it by that.
constexpr const char* supervisor_name = "udrv-restart";

/// What runs in a child, one after the other.
struct SupervisedDriver {
    std::function<void()> prepare;       ///< before there is a device for it
    std::function<int(Heartbeat)> serve; ///< returns the exit status; may throw
};

/// `udrv run --restart`: runs `driver` in a child, and starts it again when it dies or
/// stands still, until SIGTERM or SIGINT. The supervisor does not open the device.
///
/// A child that never came to serve ends it, with the child's status: what was asked
/// for can not be done. After that, one that lived a second is followed at once, while it
/// still gives its memory back, by a process that was made ready meanwhile
/// (cli/successor.hpp); after shorter lives the delay doubles from 10 ms to 5 s, and
/// options.restart_limit of them in a row are the end (status 1). Says why, one line each
/// time.
///
/// SIGHUP stops the child and executes the program's file again, with the same
/// arguments: an upgrade. `argv` is main's.
int supervise(const System& system, const PciAddress& address, const RunOptions& options,
              char** argv, const SupervisedDriver& driver);

} // namespace udrv::cli
