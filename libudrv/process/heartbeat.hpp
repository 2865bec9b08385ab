// SPDX-License-Identifier: MIT
//
// Heartbeat: how a driver shows its supervisor (cli/supervisor.hpp) that it makes progress.
// A page of shared memory that the driver's loop counts in; the supervisor looks from time to
// time, so a driver that hangs is noticed without its help: stopped, in a busy loop, or asleep
// for ever.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace udrv {

/// What the two share. The driver writes, and may write anything: the supervisor only
/// compares `beats` with its last reading.
struct HeartbeatPage {
    std::atomic<std::uint64_t> beats;
};

class Heartbeat {
  public:
    /// Of a driver that nobody watches.
    Heartbeat() = default;
    /// `interval`: how long the driver may sleep between two beats. `served`, called with
    /// `argument` when set-up is over, may not throw. All of it outlives the driver's loop.
    Heartbeat(HeartbeatPage& page, std::chrono::milliseconds interval,
              void (*served)(int) noexcept = nullptr, int argument = -1)
        : page_(&page), interval_(interval), served_(served), argument_(argument) {}

    [[nodiscard]] bool watched() const { return page_ != nullptr; }
    [[nodiscard]] std::chrono::milliseconds interval() const { return interval_; }

    /// Set-up is over.
    void serving() const noexcept {
        if (served_ != nullptr) {
            served_(argument_);
        }
    }
    void beat() noexcept {
        if (page_ != nullptr) {
            page_->beats.store(++beats_, std::memory_order_relaxed);
        }
    }

  private:
    HeartbeatPage* page_ = nullptr;
    std::chrono::milliseconds interval_{0};
    void (*served_)(int) noexcept = nullptr;
    int argument_ = -1;
    std::uint64_t beats_ = 0;
};

} // namespace udrv
