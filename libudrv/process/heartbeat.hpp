// SPDX-License-Identifier: MIT
//
// Heartbeat: how a driver shows its supervisor (cli/supervisor.hpp) that it gets on.
// One page of shared memory, made by the supervisor before it forks; the driver's
// loop counts in it, the supervisor looks from time to time. A driver that stands
// still is seen without its help: stopped, in an endless loop, or asleep for ever.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace udrv {

/// What the two share. The driver writes, and may write anything: the supervisor only
/// compares `beats` with its last reading.
struct HeartbeatPage {
    std::atomic<std::uint64_t> beats;
    std::atomic<std::uint32_t> serving; ///< not 0: set-up is over, beats are due
};

class Heartbeat {
  public:
    /// Of a driver that nobody watches.
    Heartbeat() = default;
    /// `interval`: how long the driver may sleep between two beats. The page outlives
    /// the driver's loop.
    Heartbeat(HeartbeatPage& page, std::chrono::milliseconds interval)
        : page_(&page), interval_(interval) {}

    [[nodiscard]] bool watched() const { return page_ != nullptr; }
    [[nodiscard]] std::chrono::milliseconds interval() const { return interval_; }

    /// Set-up is over.
    void serving() const noexcept {
        if (page_ != nullptr) {
            page_->serving.store(1, std::memory_order_relaxed);
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
    std::uint64_t beats_ = 0;
};

} // namespace udrv
