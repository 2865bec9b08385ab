// SPDX-License-Identifier: MIT
//
// A hold-off of the driver's own, for a single processor.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace udrv {

/// How long to leave what arrived on the chip, so that more of it is taken at once.
///
/// A cycle, to the driver, to those who wait for what it brings, and back, costs about the
/// same for one packet as for eight: the switches of the address space. An interrupt's
/// hold-off does not save any of that, since a driver that is always busy sleeps for none.
/// So where packets come faster than cycles of one packet each could follow one another,
/// the driver rests until some eight will have come, or for as long as the limit allows.
/// Below that rate nothing is held off: there are processor and time for each packet. Nor
/// where more is sent than received: what arrives then tells that more may be sent.
class HoldOff {
  public:
    using Clock = std::chrono::steady_clock;
    using Microseconds = std::chrono::duration<double, std::micro>;

    static constexpr std::uint32_t aim = 8;                   ///< packets a cycle
    static constexpr std::chrono::microseconds longest{1000}; ///< if nobody says otherwise

    /// With more than one processor others do their part meanwhile: nothing is held off.
    explicit HoldOff(unsigned cpus) : enabled_(cpus == 1) {}

    /// How long a packet may wait here: what the administrator says, 0 for the default.
    void limit(std::uint32_t usecs) {
        limit_ = usecs != 0 ? std::chrono::microseconds{usecs} : longest;
    }

    [[nodiscard]] bool enabled() const { return enabled_; }
    /// What arrived is to wait. Looks at the clock only if there is something to wait for.
    [[nodiscard]] bool holds() { return holding_ && holds(Clock::now()); }
    [[nodiscard]] bool holds(Clock::time_point now) {
        holding_ = holding_ && now < due_;
        return holding_;
    }
    /// When that ends.
    [[nodiscard]] Clock::time_point due() const { return due_; }

    /// The processor was left to others, or to nobody, for so long.
    void slept(Clock::duration time) { slept_ += time; }

    /// So much is on its way out.
    void sent(std::uint64_t bytes) { sent_ += bytes; }

    /// A cycle: `count` packets were taken.
    void took(Clock::time_point now, std::uint32_t count, std::uint64_t bytes) {
        balance_ +=
            (static_cast<double>(bytes) - 0.5 * static_cast<double>(sent_) - balance_) / history;
        sent_ = 0;
        packets_ += (count - packets_) / history;
        period_ += (Microseconds(now - last_) - period_) / history;
        idle_ += (Microseconds(slept_) - idle_) / history;
        last_ = now;
        slept_ = {};
        const bool crowded = packets_ * (period_ - idle_) >= period_;
        if (crowded && packets_ < aim && count < aim && balance_ > 0) {
            const Microseconds wanted = aim * period_ / std::max(packets_, 1.0);
            due_ = now + std::chrono::duration_cast<Clock::duration>(
                             std::min<Microseconds>(wanted, limit_));
            holding_ = true;
        }
    }

  private:
    static constexpr double history = 16; ///< cycles

    // Averages a cycle. The first say that there is time for everything.
    double packets_ = 1;
    Microseconds period_{1000};
    Microseconds idle_{1000};
    double balance_ = 0; ///< bytes received, without half of those sent
    std::uint64_t sent_ = 0;
    Clock::time_point last_{Clock::now()};
    Clock::duration slept_{};
    Clock::time_point due_{};
    std::chrono::microseconds limit_ = longest;
    bool holding_ = false;
    bool enabled_;
};

} // namespace udrv
