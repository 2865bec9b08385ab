// SPDX-License-Identifier: MIT
//
// How long to keep polling before sleeping.
#pragma once

#include <algorithm>
#include <cstdint>

#include <sched.h>

namespace udrv {

/// Processors this process may run on; at least 1.
[[nodiscard]] inline unsigned usable_cpus() {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (::sched_getaffinity(0, sizeof(set), &set) != 0) {
        return 1;
    }
    return static_cast<unsigned>(std::max(1, CPU_COUNT(&set)));
}

/// A bounded number of polls that adapts: polling that finds work doubles it (work
/// comes quickly: a sleep would cost more), polling in vain halves it. It never
/// falls under a small probe, so that it can grow again; on a single processor it
/// is zero, since polling there only keeps the other side from working.
///
/// What takes longer than the probe would never be found that way, however regularly
/// it comes: with `trials`, one in 16 vain polls is followed by a longer one.
class SpinBudget {
  public:
    static constexpr std::uint32_t probe = 8;
    static constexpr std::uint32_t limit = 2048;

    static constexpr std::uint32_t trial = 512;

    explicit SpinBudget(unsigned cpus, bool trials = false)
        : polls_(cpus > 1 ? start : 0), trials_(trials) {}

    [[nodiscard]] std::uint32_t polls() const { return polls_; }
    void found_work() { polls_ = std::min(limit, polls_ * 2); }
    void found_nothing() {
        polls_ = polls_ == 0 ? 0 : std::max(probe, polls_ / 2);
        if (trials_ && polls_ == probe && ++vain_ % 16 == 0) {
            polls_ = trial;
        }
    }

  private:
    static constexpr std::uint32_t start = 64;
    std::uint32_t polls_;
    std::uint32_t vain_ = 0;
    bool trials_;
};

} // namespace udrv
