// SPDX-License-Identifier: MIT
//
// How a service loop waits for its device: its IRQ files, the signals that end or
// query a driver, a deadline. Two ways: io_uring, which waits for many files; and a plain
// read, which costs less where there is one (docs/performance.md).
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <span>

#include "libudrv/device/irq.hpp"
#include "libudrv/process/driver.hpp"

namespace udrv {

struct WaitResult {
    udrv_irq_events events{};
    bool stop = false;   ///< SIGTERM or SIGINT
    bool report = false; ///< SIGUSR1
};

class Waiter {
  public:
    Waiter() = default;
    Waiter(const Waiter&) = delete;
    Waiter& operator=(const Waiter&) = delete;
    virtual ~Waiter() = default;

    /// Publishes the rings if `publish` (else perhaps), unmasks and sleeps until an
    /// event or the timeout (zero: only looks; none: for ever). One system call.
    /// Throws Error when the session is over.
    virtual WaitResult wait(std::optional<std::chrono::milliseconds> timeout, bool publish) = 0;

    /// Only publishes. One system call; never blocks or throws.
    virtual void publish() noexcept = 0;
};

/// Takes SIGTERM, SIGINT and SIGUSR1 for itself: one waiter a process, made before
/// other threads start. Waits for all of `irqs` (one at least), whose counts it adds
/// up; the rings are published through the first. They must outlive it.
[[nodiscard]] std::unique_ptr<Waiter> make_waiter(WaitMode mode, std::span<const IrqFile> irqs);

} // namespace udrv
