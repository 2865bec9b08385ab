// SPDX-License-Identifier: MIT
//
// How long to keep polling before sleeping.
#pragma once

#include <algorithm>
#include <chrono>
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

/// Whether to let others run before sleeping, on a single processor. It pays if they soon
/// have something for us. Where nobody does, or somebody computes for long meanwhile, it is
/// done less and less: a sleeper preempts who computes when its interrupt comes, one that
/// yields has to wait for its turn.
class YieldBudget {
  public:
    static constexpr std::chrono::milliseconds long_turn{1};
    static constexpr std::uint32_t limit = 64;

    explicit YieldBudget(unsigned cpus) : enabled_(cpus == 1) {}

    [[nodiscard]] bool worthwhile() { return enabled_ && (skip_ == 0 || --skip_ == 0); }
    /// `answers`: what there was to do afterwards, of what was wanted from others.
    void took(std::chrono::steady_clock::duration time, std::uint64_t answers) {
        vain_ = time < long_turn * answers ? 0 : std::min(limit, 2 * vain_ + 1);
        skip_ = vain_;
    }

  private:
    std::uint32_t vain_ = 0;
    std::uint32_t skip_ = 0;
    bool enabled_;
};

/// How long to leave what was offered to us where it is, on a single processor, so that who
/// offers it can go on and more of it is taken at once. It pays if more came; where nothing
/// does, who offered it waits for us already, and it is tried less and less.
class GatherBudget {
  public:
    using Microseconds = std::chrono::microseconds;
    static constexpr std::uint32_t aim = 8; ///< entries at once
    static constexpr Microseconds first{250};
    static constexpr Microseconds longest{1000};
    static constexpr std::uint32_t limit = 512;

    explicit GatherBudget(unsigned cpus) : enabled_(cpus == 1) {}

    [[nodiscard]] bool worthwhile(std::uint32_t offered) {
        return enabled_ && offered != 0 && offered < aim && (skip_ == 0 || --skip_ == 0);
    }
    [[nodiscard]] Microseconds time() const { return time_; }
    /// It took so long, and so much more was there.
    void took(std::chrono::steady_clock::duration time, std::uint32_t more) {
        vain_ = more != 0 ? 0 : std::min(limit, 2 * vain_ + 1);
        skip_ = vain_;
        time_ = more == 0 ? first
                          : std::min(longest,
                                     std::chrono::duration_cast<Microseconds>(time) * aim / more);
    }

  private:
    std::uint32_t vain_ = 0;
    std::uint32_t skip_ = 0;
    Microseconds time_ = first;
    bool enabled_;
};

} // namespace udrv
