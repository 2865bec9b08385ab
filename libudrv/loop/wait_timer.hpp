// SPDX-License-Identifier: MIT
//
// WaitTimer: when to set the timer that ends a wait. It costs a system call to set, so it is
// set once for many waits, and an idle driver wakes for what is due and nothing else.
#pragma once

#include <chrono>
#include <optional>

namespace udrv {

/// Knows when the timer fires, and says when that has to change: if it fires later than a wait
/// may last, or has fired. A timer that fires too early ends one wait for nothing; it is then
/// set for what is due.
class WaitTimer {
  public:
    using Milliseconds = std::chrono::milliseconds;

    /// A wait begins that may last for `timeout` (nothing: for ever). `fired`: the timer has,
    /// since it was set. Returns what to set it to, zero for off; nothing: it is good as it is.
    [[nodiscard]] std::optional<Milliseconds>
    wait(Milliseconds now, std::optional<Milliseconds> timeout, bool fired) {
        const bool set = due_ && !fired;
        if (!timeout) {
            // Not before it has fired: a timeout may follow that it is good for.
            if (due_ && fired) {
                due_.reset();
                return Milliseconds{0};
            }
            return std::nullopt;
        }
        const Milliseconds due = now + *timeout;
        if (set && *due_ <= due) {
            return std::nullopt;
        }
        due_ = due;
        return timeout;
    }

  private:
    std::optional<Milliseconds> due_; ///< nothing: off
};

} // namespace udrv
