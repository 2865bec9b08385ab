// SPDX-License-Identifier: MIT
//
// The driver's end of what it shares with its supervisor. docs/driver-protocol.md describes
// it for other languages.
#pragma once

#include <chrono>
#include <csignal>
#include <optional>

#include "libudrv/file.hpp"
#include "libudrv/process/heartbeat.hpp"

namespace udrv {

/// Signals that are blocked while a driver waits for its turn, and taken by its supervisor:
/// TERM, INT, HUP, CHLD, USR1, USR2.
[[nodiscard]] const sigset_t& supervision_signals();

/// The environment of a supervised driver; numbers in decimal.
namespace supervised_env {
constexpr const char* protocol = "UDRV_PROTOCOL";         ///< "1"
constexpr const char* turn_fd = "UDRV_TURN_FD";           ///< a byte: its turn; end: go
constexpr const char* status_fd = "UDRV_STATUS_FD";       ///< "ready\n", then "serving\n"
constexpr const char* heartbeat_fd = "UDRV_HEARTBEAT_FD"; ///< 4096 bytes to be mapped
constexpr const char* deadline_ms = "UDRV_DEADLINE_MS";   ///< without a beat: killed
} // namespace supervised_env

/// A driver's process that a supervisor started.
class Supervised {
  public:
    /// Nothing if this process was not started by a supervisor. Takes the files over and
    /// clears the environment. Throws Error.
    [[nodiscard]] static std::optional<Supervised> from_environment();

    /// What can be done without the device is done. Waits; false: it is not needed, and ends.
    /// Forgets other signals that arrived meanwhile (they were sent to all processes of a name
    /// or a group), and unblocks them.
    [[nodiscard]] bool wait_for_turn();

    /// For ServiceLoop. It outlives it.
    [[nodiscard]] Heartbeat heartbeat();

  private:
    Supervised() = default;

    FileDescriptor turn_;
    FileDescriptor status_;
    MemoryMap page_;
    std::chrono::milliseconds deadline_{0};
};

} // namespace udrv
