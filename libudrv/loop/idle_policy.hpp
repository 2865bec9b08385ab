// SPDX-License-Identifier: MIT
//
// IdlePolicy: what a service loop does while it finds nothing to do. It has two behaviours.
//
// Processors to spare: it polls for a while before it sleeps, since whoever it waits for works on
// another processor meanwhile. Polls that find work make the next while longer, polls in vain
// shorter.
//
// One processor: polling would only keep the others from working, and each turn of the driver
// costs two switches of the address space, whether it moves one packet or eight. So it makes
// turns fewer, and larger:
//   yield     before it sleeps. Whoever waited for what we have may answer at once, and finds us
//             awake: no doorbell, no second wait.
//   gather    after a doorbell. Whoever rang it goes on, and all that it offers is taken at once.
//   hold off  what arrived stays on the chip until some eight have come.
// Each is tried less and less often where it does not pay.
//
// docs/performance.md says what each of them gains.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include <sched.h>

namespace udrv {

/// All numbers of the policy.
namespace idle {

/// Its parts. A build can leave some out, to see what they gain (bench/idle_parts).
enum Part : unsigned { polling = 1, yielding = 2, gathering = 4, holding_off = 8 };
#ifdef UDRV_IDLE_WITHOUT
inline constexpr unsigned left_out = UDRV_IDLE_WITHOUT;
#else
inline constexpr unsigned left_out = 0;
#endif
[[nodiscard]] constexpr bool has(Part part) {
    return (left_out & part) == 0;
}

// Polls, each a look at all rings.
inline constexpr std::uint32_t first_polls = 64;
inline constexpr std::uint32_t most_polls = 2048;
/// Never fewer, or polling could not find out that it pays again.
inline constexpr std::uint32_t least_polls = 8;
/// What takes longer than these would never be found, however regularly it comes. So where a
/// service says so (disks), a poll of this length follows one in `trial_every` vain ones.
inline constexpr std::uint32_t trial_polls = 512;
inline constexpr std::uint32_t trial_every = 16;

/// A yield paid if what was answered came within this time for each answer: a sleeper preempts
/// one that computes when its interrupt comes, one that yields waits for its turn.
inline constexpr std::chrono::milliseconds long_turn{1};
inline constexpr std::uint32_t sleeps_without_yield = 64; ///< at most

/// Gathering ends when so many entries will be there, or after the longest time.
inline constexpr std::uint32_t gather_aim = 8;
inline constexpr std::chrono::microseconds first_gather{250};
inline constexpr std::chrono::microseconds longest_gather{1000};
inline constexpr std::uint32_t wakeups_without_gather = 512; ///< at most

/// The hold-off lets so many packets come, or lasts for the longest time.
inline constexpr std::uint32_t hold_aim = 8;
inline constexpr std::chrono::microseconds longest_hold{1000};
/// It begins where packets taken one by one would use this share of the time.
inline constexpr double crowded = 0.8;
/// Turns of an average.
inline constexpr double history = 8;
/// To find out whether fewer packets come because of it, turns with and without it alternate:
/// so many in a row at first, and at most.
inline constexpr std::uint32_t few_turns = 8;
inline constexpr std::uint32_t held_turns = 128;
inline constexpr std::uint32_t free_turns = 512;
/// Fewer: this share of those without it.
inline constexpr double fewer = 0.95;

} // namespace idle

/// Processors this process may run on; at least 1.
[[nodiscard]] inline unsigned usable_cpus() {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (::sched_getaffinity(0, sizeof(set), &set) != 0) {
        return 1;
    }
    return static_cast<unsigned>(std::max(1, CPU_COUNT(&set)));
}

/// Something that is done less and less often while it does not pay: after n times in vain it
/// is left out 2^n - 1 times, `most` at most.
class Habit {
  public:
    explicit Habit(std::uint32_t most) : most_(most) {}

    [[nodiscard]] bool due() { return left_out_ == 0 || --left_out_ == 0; }
    void paid(bool did) {
        vain_ = did ? 0 : std::min(most_, 2 * vain_ + 1);
        left_out_ = vain_;
    }

  private:
    std::uint32_t most_;
    std::uint32_t vain_ = 0;
    std::uint32_t left_out_ = 0;
};

/// How long to leave what arrived on the chip, so that more of it is taken at once.
///
/// A turn, to the driver, to those who wait for what it brings, and back, costs about the
/// same for one packet as for eight: the switches of the address space. An interrupt's
/// hold-off does not save any of that, since a driver that is always busy sleeps for none.
/// So where packets come faster than turns of one packet each could follow one another,
/// the driver rests until some eight will have come, or for as long as the limit allows.
///
/// Nothing is held off at a rate that leaves a fifth of the time: there is enough for each
/// packet. Nor when more than twice as much is sent as received: what arrives then tells that
/// more may be sent. Nor where fewer packets come because of it: some wait for our answer
/// before they send the next. To compare, some turns are left alone now and then.
class HoldOff {
  public:
    using Clock = std::chrono::steady_clock;
    using Microseconds = std::chrono::duration<double, std::micro>;

    /// What the process may run on; with more than one processor others do their part
    /// meanwhile, and nothing is held off.
    explicit HoldOff(unsigned cpus) : enabled_(cpus == 1 && idle::has(idle::holding_off)) {}

    /// What the administrator says, 0 for nothing: at most idle::longest_hold all the same.
    void limit(std::uint32_t usecs) {
        limit_ = usecs != 0 ? std::min(std::chrono::microseconds{usecs}, idle::longest_hold)
                            : idle::longest_hold;
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
        packets_ += (count - packets_) / idle::history;
        period_ += (period - period_) / idle::history;
        idle_ += (Microseconds(slept_) - idle_) / idle::history;
        balance_ += (static_cast<double>(bytes) - 0.5 * static_cast<double>(sent_) - balance_) /
                    idle::history;
        last_ = now;
        slept_ = {};
        sent_ = 0;
        block_packets_ += count;
        if (--block_left_ == 0) {
            next_block(now);
        }
        if (holds_off_ && crowded() && count < idle::hold_aim) {
            const Microseconds wanted = idle::hold_aim * period_ / std::max(packets_, 1.0);
            due_ = now + std::chrono::duration_cast<Clock::duration>(
                             std::min<Microseconds>(wanted, limit_));
            holding_ = true;
        }
    }

  private:
    /// Packets that were taken one by one would leave little of the time, or none.
    [[nodiscard]] bool crowded() const {
        return packets_ < idle::hold_aim &&
               packets_ * (period_ - idle_) >= idle::crowded * period_ && balance_ > 0;
    }

    /// Has it made fewer packets come? Then it is tried less and less, else more and more.
    void next_block(Clock::time_point now) {
        const double rate =
            block_packets_ / std::max(Microseconds(now - block_start_).count(), 1.0);
        if (!holds_off_) {
            free_rate_ = rate;
        } else if (rate < idle::fewer * free_rate_) {
            free_turns_ = std::min(2 * free_turns_, idle::free_turns);
            held_turns_ = idle::few_turns;
        } else {
            free_turns_ = idle::few_turns;
            held_turns_ = std::min(2 * held_turns_, idle::held_turns);
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
    std::uint32_t block_left_ = idle::few_turns;
    std::uint32_t free_turns_ = idle::few_turns; ///< of the next block of each kind
    std::uint32_t held_turns_ = idle::few_turns;
    double free_rate_ = 0;   ///< packets a microsecond in the last free block
    bool holds_off_ = false; ///< in this block

    Clock::time_point due_{};
    std::chrono::microseconds limit_ = idle::longest_hold;
    bool holding_ = false;
    bool enabled_;
};

class IdlePolicy {
  public:
    using Clock = std::chrono::steady_clock;
    using Microseconds = std::chrono::microseconds;

    /// `cpus` is what the process may run on. `slow_answers`: what comes may take longer than
    /// the shortest polls and come regularly all the same, as from a disk. `holds_off`: what
    /// arrives may be left on the chip.
    explicit IdlePolicy(unsigned cpus, bool slow_answers = false, bool holds_off = false)
        : alone_(cpus == 1), polls_at_all_(!alone_ && idle::has(idle::polling)),
          slow_answers_(slow_answers), polls_(polls_at_all_ ? idle::first_polls : 0),
          hold_off_(holds_off ? cpus : 0) {}

    // ---- Processors to spare

    /// How often to look before the sleep; 0: not at all, as on one processor.
    [[nodiscard]] std::uint32_t polls() const { return polls_; }
    /// It is short: what was produced may wait until it is over.
    [[nodiscard]] bool short_poll() const { return polls_ <= idle::least_polls; }
    void polled(bool found) {
        if (found) {
            polls_ = std::min(idle::most_polls, polls_ * 2);
            return;
        }
        polls_ = polls_at_all_ ? std::max(idle::least_polls, polls_ / 2) : 0;
        if (slow_answers_ && polls_ == idle::least_polls && ++vain_ % idle::trial_every == 0) {
            polls_ = idle::trial_polls;
        }
    }

    // ---- One processor

    /// Asked when others wait for what was produced.
    [[nodiscard]] bool may_yield() { return alone_ && idle::has(idle::yielding) && yield_.due(); }
    /// It took so long, and so much of what others had for us was taken meanwhile.
    void yielded(Clock::duration time, std::uint64_t answers) {
        yield_.paid(time < idle::long_turn * answers);
    }

    /// Asked after a wakeup; `offered` is what is there.
    [[nodiscard]] bool may_gather(std::uint32_t offered) {
        return alone_ && idle::has(idle::gathering) && offered != 0 && offered < idle::gather_aim &&
               gather_.due();
    }
    [[nodiscard]] Microseconds gather_time() const { return gather_time_; }
    /// It took so long, and so much more was there.
    void gathered(Clock::duration time, std::uint32_t more) {
        gather_.paid(more != 0);
        gather_time_ = idle::first_gather;
        if (more != 0) {
            const auto wanted =
                std::chrono::duration_cast<Microseconds>(time) * idle::gather_aim / more;
            gather_time_ = std::min(wanted, idle::longest_gather);
        }
    }

    /// What arrives may wait on the chip.
    [[nodiscard]] HoldOff& hold_off() { return hold_off_; }

  private:
    bool alone_;
    bool polls_at_all_;
    bool slow_answers_;
    std::uint32_t polls_;
    std::uint32_t vain_ = 0; ///< polls at their shortest, all in all
    Habit yield_{idle::sleeps_without_yield};
    Habit gather_{idle::wakeups_without_gather};
    Microseconds gather_time_ = idle::first_gather;
    HoldOff hold_off_;
};

} // namespace udrv
