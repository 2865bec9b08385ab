// SPDX-License-Identifier: MIT
//
// DriverEvents: what a supervisor waits for.
#pragma once

#include <chrono>
#include <csignal>

#include "cli/system.hpp"
#include "libudrv/file.hpp"

namespace udrv::cli {

/// Signals to this process, and the end of the device's session. A killed driver's
/// session ends well before the process does, which has its memory to give back first:
/// the next one can start meanwhile.
class DriverEvents {
  public:
    /// `signals` have to be blocked. Throws Error.
    DriverEvents(const System& system, const PciAddress& address, const sigset_t& signals);

    /// A new driver starts: only the end of its session counts from now on.
    void restart();
    /// The next signal; 0 after `timeout`, or when a session may have ended.
    [[nodiscard]] int wait(std::chrono::milliseconds timeout);
    /// The session is over because `pid` is dying, and so past its last instruction.
    /// (A driver that lied lives on for a while.)
    [[nodiscard]] bool dying(pid_t pid) const;
    /// In a child: these files are its parent's.
    void close();

  private:
    fs::path state_file_;
    fs::path proc_;
    FileDescriptor signals_;
    FileDescriptor state_; ///< sysfs wakes who polls it, once it was read
    bool ended_ = false;
};

} // namespace udrv::cli
