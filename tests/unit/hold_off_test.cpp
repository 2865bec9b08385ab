// SPDX-License-Identifier: MIT
//
// HoldOff against a model of a processor: packets at a steady rate, and cycles that cost
// the same whatever they take, and something for each packet.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "libudrv/loop/idle_policy.hpp"

namespace udrv {
namespace {

using std::chrono::microseconds;

struct Load {
    microseconds gap;          ///< between packets
    microseconds cycle;        ///< cost of one
    microseconds packet;       ///< cost of each packet in it
    std::uint64_t sent = 1000; ///< bytes, for each packet of 1,000
};

struct Seen {
    double busy_share = 0; ///< of the time
    double packets = 0;    ///< a cycle
    double wait_us = 0;    ///< longest that a packet waited to be taken, in the second half
};

Seen serve(HoldOff hold_off, const Load& load) {
    const auto start = HoldOff::Clock::now() + std::chrono::seconds{1};
    auto now = start;
    auto arrival = start; // of the oldest that is not taken
    microseconds busy{0};
    double packets = 0;
    double cycles = 0;
    Seen seen;
    for (int n = 0; n < 4000; ++n) {
        if (hold_off.enabled() && hold_off.holds(now)) {
            hold_off.slept(hold_off.due() - now);
            now = hold_off.due();
        }
        if (arrival > now) {
            hold_off.slept(arrival - now);
            now = arrival;
        }
        const auto count = static_cast<std::uint32_t>((now - arrival) / load.gap) + 1;
        const double waited = HoldOff::Microseconds(now - arrival).count();
        arrival += count * load.gap;
        if (hold_off.enabled()) {
            hold_off.took(now, count, std::uint64_t{1000} * count);
            hold_off.sent(load.sent * count);
        }
        const microseconds cost = load.cycle + count * load.packet;
        now += cost;
        if (n >= 2000) {
            busy += cost;
            packets += count;
            cycles += 1;
            seen.wait_us = std::max(seen.wait_us, waited);
        }
    }
    seen.packets = packets / cycles;
    seen.busy_share =
        HoldOff::Microseconds(busy).count() / (packets * HoldOff::Microseconds(load.gap).count());
    return seen;
}

constexpr microseconds cycle{300};
constexpr microseconds packet{60};

TEST(HoldOffTest, NothingWaitsWhereThereIsTimeForEachPacket) {
    for (const int gap : {460, 500, 1000, 10'000, 1'000'000}) {
        const Seen seen = serve(HoldOff(1), {microseconds{gap}, cycle, packet});
        EXPECT_EQ(seen.wait_us, 0) << gap;
        EXPECT_EQ(seen.packets, 1) << gap;
    }
}

TEST(HoldOffTest, SeveralAreTakenAtOnceWhereThereIsNot) {
    for (const int gap : {150, 200, 300}) {
        const Load load{microseconds{gap}, cycle, packet};
        const Seen without = serve(HoldOff(2), load);
        const Seen with = serve(HoldOff(1), load);
        EXPECT_GT(without.busy_share, 0.99) << gap;
        EXPECT_LT(with.busy_share, 0.95) << gap;
        EXPECT_GE(with.packets, 1.3 * without.packets) << gap;
        EXPECT_LE(with.wait_us, 1000) << gap;
    }
}

TEST(HoldOffTest, WhoSendsDoesNotWaitForWhatTellsThatItMay) {
    for (const std::uint64_t sent : {2500U, 20'000U}) {
        EXPECT_EQ(serve(HoldOff(1), {microseconds{200}, cycle, packet, sent}).packets,
                  serve(HoldOff(2), {microseconds{200}, cycle, packet, sent}).packets);
    }
    EXPECT_GT(serve(HoldOff(1), {microseconds{200}, cycle, packet, 1900}).packets,
              serve(HoldOff(2), {microseconds{200}, cycle, packet, 1900}).packets);
}

/// Turns of a driver to whom `window` senders send the next packet when they have the answer
/// to the last, a while later. Packets a second.
double answer(HoldOff hold_off, std::size_t window, microseconds round_trip) {
    const auto start = HoldOff::Clock::now() + std::chrono::seconds{1};
    auto now = start;
    std::vector<HoldOff::Clock::time_point> arrivals(window, start); // in order
    double packets = 0;
    auto middle = start;
    for (int n = 0; n < 8000; ++n) {
        if (hold_off.enabled() && hold_off.holds(now)) {
            hold_off.slept(hold_off.due() - now);
            now = hold_off.due();
        }
        if (arrivals.front() > now) {
            hold_off.slept(arrivals.front() - now);
            now = arrivals.front();
        }
        const auto end = std::upper_bound(arrivals.begin(), arrivals.end(), now);
        const auto count = static_cast<std::uint32_t>(end - arrivals.begin());
        if (hold_off.enabled()) {
            hold_off.took(now, count, std::uint64_t{1000} * count);
            hold_off.sent(std::uint64_t{1000} * count);
        }
        arrivals.erase(arrivals.begin(), end);
        now += cycle;
        for (std::uint32_t i = 0; i < count; ++i) {
            now += packet;
            arrivals.push_back(now + round_trip);
        }
        packets += n >= 4000 ? count : 0;
        middle = n == 4000 ? now : middle;
    }
    return packets / std::chrono::duration<double>(now - middle).count();
}

TEST(HoldOffTest, WhoWaitsForAnswersIsNotSlowedDown) {
    for (const int round_trip : {0, 100, 500}) {
        for (std::size_t window = 1; window <= 12; ++window) {
            const double without = answer(HoldOff(2), window, microseconds{round_trip});
            const double with = answer(HoldOff(1), window, microseconds{round_trip});
            EXPECT_GT(with, 0.95 * without) << window << " under way, " << round_trip << " us";
        }
    }
}

TEST(HoldOffTest, AtFullLoadThereIsNothingToWaitFor) {
    const Load load{microseconds{70}, cycle, packet}; // 30 a cycle
    EXPECT_EQ(serve(HoldOff(1), load).packets, serve(HoldOff(2), load).packets);
}

TEST(HoldOffTest, NoLongerThanTheAdministratorSays) {
    HoldOff hold_off(1);
    hold_off.limit(400);
    EXPECT_LE(serve(hold_off, {microseconds{300}, cycle, packet}).wait_us, 400);
    hold_off.limit(100'000);
    EXPECT_LE(serve(hold_off, {microseconds{300}, cycle, packet}).wait_us, 1000);
    hold_off.limit(1);
    const Seen hardly = serve(hold_off, {microseconds{300}, cycle, packet});
    EXPECT_LT(hardly.packets, 1.3);
    hold_off.limit(0);
    EXPECT_GT(serve(hold_off, {microseconds{300}, cycle, packet}).packets, 2);
}

TEST(HoldOffTest, APauseDoesNotMakeTheNextPacketWait) {
    HoldOff hold_off(1);
    auto now = HoldOff::Clock::now();
    for (int n = 0; n < 1000; ++n) {
        hold_off.took(now += microseconds{100}, 2, 2000);
    }
    while (!hold_off.holds(now)) { // some turns are left alone
        hold_off.took(now += microseconds{100}, 2, 2000);
    }
    EXPECT_LE(hold_off.due() - now, idle::longest_hold);
    EXPECT_FALSE(hold_off.holds(hold_off.due()));
    EXPECT_FALSE(hold_off.holds(now)) << "over is over";
    now += std::chrono::seconds{1};
    hold_off.slept(std::chrono::seconds{1});
    hold_off.took(now, 1, 1000);
    EXPECT_FALSE(hold_off.holds(now));
}

} // namespace
} // namespace udrv
