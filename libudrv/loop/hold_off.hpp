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
/// A turn, to the driver, to those who wait for what it brings, and back, costs about the
/// same for one packet as for eight: the switches of the address space. An interrupt's
/// hold-off does not save any of that, since a driver that is always busy sleeps for none.
/// So where packets come faster than turns of one packet each could follow one another,
/// the driver rests until some eight will have come, or for as long as the limit allows.
///
/// Nothing is held off at a rate that leaves a fifth of the time: there is enough for each
/// packet. Nor for who sends more than twice what it receives: what arrives then tells that
/// more may be sent. Nor where fewer packets come because of it: some wait for our answer
/// before they send the next. To compare, some turns are left alone now and then.
class HoldOff {
  public:
    using Clock = std::chrono::steady_clock;
    using Microseconds = std::chrono::duration<double, std::micro>;

    static constexpr std::uint32_t aim = 8;                   ///< packets a turn
    static constexpr std::chrono::microseconds longest{1000}; ///< that a packet waits here

    /// What the process may run on; with more than one processor others do their part
    /// meanwhile, and nothing is held off.
    explicit HoldOff(unsigned cpus) : enabled_(cpus == 1) {}

    /// What the administrator says, 0 for nothing: at most `longest` all the same.
    void limit(std::uint32_t usecs) {
        limit_ = usecs != 0 ? std::min(std::chrono::microseconds{usecs}, longest) : longest;
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

    /// The driver slept for so long: what others did then was not done for a packet of ours.
    void slept(Clock::duration time) { slept_ += time; }

    /// So much is on its way out.
    void sent(std::uint64_t bytes) { sent_ += bytes; }

    /// A turn: `count` packets were taken, one or more.
    void took(Clock::time_point now, std::uint32_t count, std::uint64_t bytes) {
        const Microseconds period = now - last_;
        packets_ += (count - packets_) / history;
        period_ += (period - period_) / history;
        idle_ += (Microseconds(slept_) - idle_) / history;
        balance_ +=
            (static_cast<double>(bytes) - 0.5 * static_cast<double>(sent_) - balance_) / history;
        last_ = now;
        slept_ = {};
        sent_ = 0;
        block_packets_ += count;
        if (--block_left_ == 0) {
            next_block(now);
        }
        if (holds_off_ && crowded() && count < aim) {
            const Microseconds wanted = aim * period_ / std::max(packets_, 1.0);
            due_ = now + std::chrono::duration_cast<Clock::duration>(
                             std::min<Microseconds>(wanted, limit_));
            holding_ = true;
        }
    }

  private:
    static constexpr double history = 8; ///< turns of an average
    // Turns in a row that are treated alike, to compare.
    static constexpr std::uint32_t short_block = 8, held_block = 128, free_block = 512;

    /// Packets that were taken one by one would leave little of the time, or none.
    [[nodiscard]] bool crowded() const {
        return packets_ < aim && packets_ * (period_ - idle_) >= 0.8 * period_ && balance_ > 0;
    }

    /// Has it made fewer packets come? Then it is tried less and less, else more and more.
    void next_block(Clock::time_point now) {
        const double rate =
            block_packets_ / std::max(Microseconds(now - block_start_).count(), 1.0);
        if (!holds_off_) {
            free_rate_ = rate;
        } else if (rate < 0.95 * free_rate_) {
            free_turns_ = std::min(2 * free_turns_, free_block);
            held_turns_ = short_block;
        } else {
            free_turns_ = short_block;
            held_turns_ = std::min(2 * held_turns_, held_block);
        }
        holds_off_ = !holds_off_;
        block_left_ = holds_off_ ? held_turns_ : free_turns_;
        block_packets_ = 0;
        block_start_ = now;
    }

    // Averages a turn; at first there is time for everything.
    double packets_ = 1;
    Microseconds period_{1000};
    Microseconds idle_{1000};
    double balance_ = 0; ///< bytes received, without half of those sent
    std::uint64_t sent_ = 0;
    Clock::time_point last_{Clock::now()};
    Clock::duration slept_{};

    double block_packets_ = 0;
    Clock::time_point block_start_{last_};
    std::uint32_t block_left_ = short_block;
    std::uint32_t free_turns_ = short_block; ///< of the next block of each kind
    std::uint32_t held_turns_ = short_block;
    double free_rate_ = 0;   ///< packets a microsecond in the last free block
    bool holds_off_ = false; ///< in this block

    Clock::time_point due_{};
    std::chrono::microseconds limit_ = longest;
    bool holding_ = false;
    bool enabled_;
};

} // namespace udrv
