// SPDX-License-Identifier: MIT
//
// How often a driver wakes that has nothing to do: counted on a made-up clock.
#include "libudrv/loop/wait_timer.hpp"

#include <algorithm>
#include <optional>
#include <vector>

#include <gtest/gtest.h>

namespace udrv {
namespace {

using namespace std::chrono_literals;
using Ms = std::chrono::milliseconds;
using Timeout = std::optional<Ms>;

/// A timer as setitimer(2) has it, and a driver that waits with it.
class Machine {
  public:
    /// One wait from now on, which the device ends after `event`, or the timer. Returns
    /// whether it was the timer.
    bool wait(Timeout timeout, Timeout event = std::nullopt) {
        if (const auto set = timer_.wait(now_, timeout, fired_)) {
            ++settings;
            fired_ = false;
            fires_ = *set == 0ms ? std::nullopt : Timeout(now_ + *set);
        }
        const Ms never = Ms::max();
        const Ms end = event ? now_ + *event : never;
        const Ms tick = fires_.value_or(never);
        longest_ = std::max(longest_, timeout ? std::min(end, tick) - now_ - *timeout : 0ms);
        if (std::min(end, tick) == never) {
            asleep = true;
            return false;
        }
        ++wakes;
        now_ = std::min(end, tick);
        if (tick > end) {
            return false;
        }
        fired_ = true;
        fires_ = tick + 100ms; // ticks again until somebody waits
        return true;
    }
    /// A driver without work, for so long.
    void idle(Ms time, Timeout timeout) {
        const Ms end = now_ + time;
        while (now_ < end && !asleep) {
            (void)wait(timeout);
        }
    }
    void count_from_here() { wakes = settings = 0; }
    [[nodiscard]] Ms late() const { return longest_; }
    [[nodiscard]] Ms now() const { return now_; }

    int wakes = 0;
    int settings = 0; ///< system calls
    bool asleep = false;

  private:
    WaitTimer timer_;
    Ms now_{1'000'000};
    Timeout fires_;
    bool fired_ = false;
    Ms longest_{0}; ///< that a wait lasted longer than it may
};

TEST(WaitTimerTest, IdleIsIdleAfterARequest) {
    Machine machine;
    machine.idle(5s, 1250ms);
    const int before = machine.wakes;
    EXPECT_EQ(before, 4);
    (void)machine.wait(230ms, 1ms); // a request, with a time-out of the chip's
    machine.count_from_here();
    machine.idle(5s, 1250ms);
    EXPECT_LE(machine.wakes, before + 2);
    machine.count_from_here();
    machine.idle(5s, 1250ms);
    EXPECT_EQ(machine.wakes, before);
    EXPECT_LE(machine.late(), 0ms);
}

TEST(WaitTimerTest, NothingIsDueForEver) {
    Machine machine;
    (void)machine.wait(5s, 1ms);
    machine.idle(60s, std::nullopt);
    EXPECT_TRUE(machine.asleep);
    EXPECT_EQ(machine.wakes, 2) << "the event, and the timer that was still set";
    EXPECT_EQ(machine.settings, 2) << "on and off";
}

// Each wait ends before its timeout: no system call for the timer, or hardly one.
TEST(WaitTimerTest, BusyCostsNothing) {
    Machine machine;
    for (int n = 0; n < 10'000; ++n) {
        (void)machine.wait(1250ms, 1ms);
    }
    EXPECT_LE(machine.settings, 10);
    machine.count_from_here();
    Ms due = machine.now() + 1000ms;
    for (int n = 0; n < 10'000; ++n) { // as a network driver does, with statistics each second
        if (machine.wait(std::max(due - machine.now(), 100ms), 1ms)) {
            due = machine.now() + 1000ms;
        }
    }
    EXPECT_LE(machine.settings, 30);
    machine.count_from_here();
    for (int n = 0; n < 10'000; ++n) { // one at a time: a time-out while it is under way
        (void)machine.wait(5000ms, 1ms);
        (void)machine.wait(std::nullopt, 1ms);
    }
    EXPECT_LE(machine.settings, 20);
}

TEST(WaitTimerTest, AShorterOneIsNotLate) {
    Machine machine;
    (void)machine.wait(5000ms, 1ms);
    EXPECT_TRUE(machine.wait(200ms));
    EXPECT_TRUE(machine.wait(150ms));
    EXPECT_TRUE(machine.wait(5000ms));
    EXPECT_EQ(machine.wakes, 4);
    EXPECT_LE(machine.late(), 0ms);
}

} // namespace
} // namespace udrv
