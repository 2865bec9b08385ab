// SPDX-License-Identifier: MIT
//
// Successor: the driver's process that comes after the present one.
#pragma once

#include <functional>

#include <sys/types.h>

namespace udrv::cli {

/// A process that is forked and made ready while its predecessor serves, and then waits
/// for its turn, with no file of the device's. So an outage is not longer by a fork and
/// by what `prepare` does; a disk's driver locks its memory there, and needs no disk to
/// take over.
///
/// SIGUSR2 is its turn, SIGTERM its end, and any other signal that is blocked (as these
/// two have to be) is not for it.
class Successor {
  public:
    /// Both run in the process: `prepare` at once, `serve` in its turn, which returns the
    /// exit status. What they throw is printed, and makes it 1.
    Successor(std::function<void()> prepare, std::function<int()> serve);
    Successor(const Successor&) = delete;
    Successor& operator=(const Successor&) = delete;
    ~Successor();

    /// Has one ready soon, unless there is one. It is no error if that can not be.
    void make();
    /// Its turn, with or without make(): returns its process, which is the caller's from
    /// now on. Throws Error.
    [[nodiscard]] pid_t take();
    /// After SIGCHLD: was it the one that waits?
    void reap();
    /// Ends the one that waits.
    void dismiss();

  private:
    [[nodiscard]] pid_t fork() const;
    [[nodiscard]] int live() const;

    std::function<void()> prepare_;
    std::function<int()> serve_;
    pid_t waiting_ = 0; ///< 0: none
};

} // namespace udrv::cli
