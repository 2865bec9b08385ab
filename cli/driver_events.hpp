// SPDX-License-Identifier: MIT
//
// DriverEvents: what a supervisor waits for.
#pragma once

#include <chrono>
#include <csignal>
#include <initializer_list>
#include <optional>

#include <sys/signalfd.h>

#include "cli/system.hpp"
#include "libudrv/file.hpp"

namespace udrv::cli {

/// Signals to this process, the end of the device's session, and files that drivers write. A
/// killed driver's session ends well before the process does, which has its memory to give
/// back first: the next one can start meanwhile.
class DriverEvents {
  public:
    /// `signals` have to be blocked. Throws Error.
    DriverEvents(const System& system, const PciAddress& address, const sigset_t& signals);

    /// A new driver starts: only the end of its session counts from now on.
    void restart();
    /// Until there is something new: a signal, a session that may have ended, one of `files`
    /// (negative numbers are none) readable; or until `timeout`.
    void wait(std::chrono::milliseconds timeout, std::initializer_list<int> files);
    /// The next signal that has come.
    [[nodiscard]] std::optional<signalfd_siginfo> next_signal() const;
    /// The session is over because `pid` is dying, and so past its last instruction.
    /// (A driver that lied lives on for a while.)
    [[nodiscard]] bool dying(pid_t pid) const;

  private:
    fs::path state_file_;
    fs::path proc_;
    FileDescriptor signals_;
    FileDescriptor state_; ///< sysfs wakes a poll of it, once it was read
    bool ended_ = false;
};

} // namespace udrv::cli
