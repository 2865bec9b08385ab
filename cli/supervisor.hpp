// SPDX-License-Identifier: MIT
#pragma once

#include <csignal>
#include <filesystem>

#include "cli/supervision.hpp"
#include "cli/system.hpp"

namespace udrv::cli {

/// Name of a supervisor's process; `udrv upgrade` knows it by that.
constexpr const char* supervisor_name = "udrv-restart";

/// With SIGHUP by sigqueue(3) and this value, the sender asks for an answer: upgrade_answer,
/// queued to it with the outage in milliseconds, or -1 if the old program goes on.
constexpr int upgrade_request = 0x75647276;
constexpr int upgrade_answer = SIGURG; ///< harmless to a process that does not wait for it

/// What a supervisor starts. It takes part in docs/driver-protocol.md.
struct SupervisedProgram {
    std::filesystem::path path; ///< the file, looked up again at each upgrade
    char* const* argv;          ///< as for execve(2)
};

/// The times that are not options. A new program has to serve in a third of the time that a
/// disk's requests wait for a driver (recovery_window_s of udrv_blk).
[[nodiscard]] SupervisionLimits supervision_limits(const System& system, unsigned deadline_ms,
                                                   unsigned restart_limit);

/// `udrv run --restart`: runs the program in a child, and starts it again when it dies or
/// makes no progress, until SIGTERM or SIGINT; returns the exit status, 0 for a wanted end.
/// What it decides is in cli/supervision.hpp. The supervisor does not open the device, and
/// goes on as the program that it is through all upgrades. Throws Error if it cannot begin.
///
/// A child that never came to serve ends it, with the child's status: what was asked for
/// cannot be done. After that, one that lived a second is followed at once, while it still gives
/// its memory back, by a process that was made ready meanwhile; after shorter lives the delay
/// doubles from 10 ms to 5 s, and restart_limit consecutive ones are the end (status 1). Says
/// why, one line each time.
int supervise(const System& system, const PciAddress& address, const SupervisedProgram& program,
              const SupervisionLimits& limits);

} // namespace udrv::cli
