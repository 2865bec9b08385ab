// SPDX-License-Identifier: MIT
#include "libudrv/net/net_service.hpp"

#include <thread>

#include <gtest/gtest.h>

#include "tests/unit/fake_net.hpp"
#include "tests/unit/fake_waiter.hpp"

namespace udrv {
namespace {

using test::FakeChip;
using test::FakeKernel;
using test::ScriptedWaiter;
using test::SemaphoreWaiter;

static_assert(NetChip<FakeChip>);

struct Rig {
    explicit Rig(unsigned cpus = 1, std::uint32_t depth = 64)
        : kernel(depth), chip(depth), port(kernel.port()),
          reporter({"fake", "0000:00:10.0", "udn7"}, ""),
          service(chip, port, waiter, reporter, cpus) {}

    FakeKernel kernel;
    FakeChip chip;
    NetPort port;
    ScriptedWaiter waiter;
    Reporter reporter;
    NetService<FakeChip> service;
};

udrv_net_tx segment(std::uint32_t id, bool last) {
    udrv_net_tx entry{};
    entry.id = id;
    entry.flags = last ? UDRV_NET_TX_EOP : 0;
    return entry;
}

TEST(NetPort, RefusesALayoutOutsideTheMap) {
    FakeKernel kernel;
    udrv_net_attach bad = kernel.layout();
    bad.queues[0].rx = static_cast<std::uint32_t>(bad.map_bytes) - 256;
    EXPECT_THROW(NetPort(kernel.bytes(), bad.map_bytes, bad), Error);
    bad = kernel.layout();
    bad.desired += 1;
    EXPECT_THROW(NetPort(kernel.bytes(), bad.map_bytes, bad), Error);
    bad = kernel.layout();
    bad.tx_depth = 63;
    EXPECT_THROW(NetPort(kernel.bytes(), bad.map_bytes, bad), Error);
    EXPECT_EQ(kernel.port().name(), "udn7");
}

TEST(NetService, StartAppliesAndPublishes) {
    Rig rig;
    rig.kernel.want_up(true);
    rig.service.start();
    EXPECT_TRUE(rig.chip.up);
    udrv_net_published page{};
    ASSERT_TRUE(rig.kernel.published.read(page));
    EXPECT_EQ(page.link, UDRV_NET_LINK_UP | UDRV_NET_FULL_DUPLEX);
    EXPECT_EQ(page.speed_mbps, 1000U);
    EXPECT_EQ(page.counters.rx_missed_errors, 5U);
    EXPECT_GE(page.stats[0], 1U);
    EXPECT_EQ(page.registers[0].offset, 0x10U);
    EXPECT_EQ(page.registers[0].value, 0xabcdU);
    EXPECT_EQ(page.registers[1].offset, 0U);
}

// A test of the system waits for it, instead of some time.
TEST(NetService, SaysWhichDesiredStateItHasApplied) {
    Rig rig;
    rig.kernel.want_up(true);
    rig.service.start();
    udrv_net_published page{};
    ASSERT_TRUE(rig.kernel.published.read(page));
    EXPECT_EQ(page.applied, 2U);
    rig.kernel.want_up(false);
    rig.kernel.want_up(true);
    rig.service.start();
    ASSERT_TRUE(rig.kernel.published.read(page));
    EXPECT_EQ(page.applied, 6U);
}

TEST(NetService, APacketGoesRoundInOrder) {
    Rig rig;
    rig.service.start();
    ASSERT_TRUE(rig.kernel.fill.push({0, 2048, 77}));
    ASSERT_EQ(rig.kernel.tx.push(std::array{segment(5, false), segment(5, true)}), 2U);
    EXPECT_TRUE(rig.service.pass());
    EXPECT_TRUE(rig.service.pass());
    EXPECT_FALSE(rig.service.pass());
    udrv_net_completion completion{};
    ASSERT_TRUE(rig.kernel.completion.pop(completion));
    EXPECT_EQ(completion.id, 5U);
    udrv_net_rx rx{};
    ASSERT_TRUE(rig.kernel.rx.pop(rx));
    EXPECT_EQ(rx.id, 77U);
    EXPECT_EQ(rx.len_bytes, 5U);
    const DriverCounters& counters = rig.service.counters();
    EXPECT_EQ(counters.tx_packets, 1U);
    EXPECT_EQ(counters.tx_segments, 2U);
    EXPECT_EQ(counters.rx_packets, 1U);
}

TEST(NetService, OnlyWholePacketsReachTheChip) {
    Rig rig;
    rig.service.start();
    // Packets of three segments: batches of 64 would cut one, and the ring's end too.
    for (std::uint32_t id = 0; id < 200; ++id) {
        for (int n = 0; n < 3; ++n) {
            while (!rig.kernel.tx.push(segment(id, n == 2))) {
                ASSERT_TRUE(rig.service.pass());
                udrv_net_completion completion{};
                while (rig.kernel.completion.pop(completion)) {
                }
            }
        }
    }
    while (rig.service.pass()) {
        udrv_net_completion completion{};
        while (rig.kernel.completion.pop(completion)) {
        }
    }
    EXPECT_EQ(rig.chip.partial_packets, 0);
    EXPECT_EQ(rig.service.counters().tx_packets, 200U);
    EXPECT_EQ(rig.service.counters().tx_completions, 200U);
}

TEST(NetService, AFullChipIsNotAskedAgainAndDoesNotKeepTheLoopAwake) {
    Rig rig;
    rig.service.start();
    rig.chip.tx_room = 1;
    rig.chip.hold_tx = true;
    ASSERT_EQ(rig.kernel.tx.push(std::array{segment(1, true), segment(2, true)}), 2U);
    EXPECT_TRUE(rig.service.pass());
    EXPECT_FALSE(rig.service.pass()); // the ring is not empty, yet there is nothing to do
    EXPECT_EQ(rig.chip.tx_calls, 1);
    rig.chip.hold_tx = false;
    EXPECT_TRUE(rig.service.pass());
    EXPECT_EQ(rig.chip.tx_calls, 2);
    EXPECT_EQ(rig.service.counters().tx_packets, 2U);
}

TEST(NetService, SleepsWithTheFlagSetAndLooksOnceMore) {
    Rig rig;
    rig.service.start();
    int waits = 0;
    rig.waiter.on_wait = [&](auto timeout, bool) {
        EXPECT_EQ(rig.kernel.need_wakeup->driver, 1U);
        EXPECT_FALSE(timeout) << "down: no timer";
        WaitResult result;
        if (++waits == 1) {
            EXPECT_TRUE(rig.kernel.tx.push(segment(9, true)));
            result.events.doorbells = 1;
        } else {
            result.stop = true;
        }
        return result;
    };
    rig.service.run();
    EXPECT_EQ(waits, 2);
    EXPECT_EQ(rig.kernel.need_wakeup->driver, 0U);
    EXPECT_EQ(rig.chip.stops, 1);
    EXPECT_EQ(rig.chip.arms, 2) << "what is under way has to interrupt a sleeper";
    EXPECT_EQ(rig.chip.interrupts, 0) << "a doorbell is no reason to read the cause";
    udrv_net_completion completion{};
    EXPECT_TRUE(rig.kernel.completion.pop(completion));
}

TEST(NetService, WhileUpItWakesForStatisticsAndTellsOfTheLink) {
    Rig rig;
    rig.kernel.want_up(true);
    rig.service.start();
    int waits = 0;
    rig.waiter.on_wait = [&](auto timeout, bool publish) {
        EXPECT_TRUE(timeout && timeout->count() > 0 && timeout->count() <= 1000);
        WaitResult result;
        switch (++waits) {
        case 1:
            EXPECT_TRUE(publish) << "the link is news";
            rig.chip.link_state = {false, false, 0};
            rig.chip.link_interrupt = true;
            result.events.interrupts = 1;
            break;
        case 2:
            EXPECT_TRUE(publish);
            break;
        default:
            EXPECT_FALSE(publish);
            result.stop = true;
        }
        return result;
    };
    rig.service.run();
    udrv_net_published page{};
    ASSERT_TRUE(rig.kernel.published.read(page));
    EXPECT_EQ(page.link, 0U);
    EXPECT_EQ(rig.service.counters().link_changes, 2U);
}

// A device that does not interrupt for what it did before it was asked to.
TEST(NetService, DoesNotSleepIfSomethingWasDoneWhileItArmed) {
    Rig rig;
    rig.service.start();
    rig.chip.done_at_arm = true;
    int waits = 0;
    rig.waiter.on_wait = [&](auto, bool) {
        ++waits;
        EXPECT_EQ(rig.chip.arms, 2);
        WaitResult result;
        result.stop = true;
        return result;
    };
    rig.service.run();
    EXPECT_EQ(waits, 1);
}

TEST(NetService, PublishesOnlyIfTheKernelSleeps) {
    for (const bool kernel_sleeps : {false, true}) {
        Rig rig;
        rig.service.start();
        rig.kernel.need_wakeup->kernel = kernel_sleeps ? 1 : 0;
        ASSERT_TRUE(rig.kernel.tx.push(segment(1, true)));
        int waits = 0;
        rig.waiter.on_wait = [&](auto, bool publish) {
            WaitResult result;
            result.stop = ++waits == 2;
            if (waits == 1) {
                EXPECT_TRUE(publish); // the link
                EXPECT_TRUE(rig.kernel.tx.push(segment(2, true)));
            } else {
                EXPECT_EQ(publish, kernel_sleeps);
            }
            return result;
        };
        rig.service.run();
        EXPECT_EQ(rig.waiter.publishes, 0) << "one processor: the wait publishes";
    }
}

// What came is answered while the driver lets others run, or polls; there is no sleep in
// between, so no doorbell either.
TEST(NetService, TakesTheAnswersBeforeItSleeps) {
    for (const unsigned cpus : {1U, 2U}) {
        Rig rig(cpus);
        rig.service.start();
        rig.kernel.need_wakeup->kernel = 1;
        ASSERT_TRUE(rig.kernel.fill.push({0, 2048, 1}));
        ASSERT_TRUE(rig.kernel.tx.push(segment(1, true))); // comes back as received
        rig.waiter.on_publish = [&] {
            if (rig.waiter.publishes == 1) {
                EXPECT_EQ(rig.kernel.need_wakeup->driver, 0U);
                EXPECT_TRUE(rig.kernel.tx.push(segment(2, true)));
            }
        };
        rig.waiter.on_wait = [&](auto, bool) {
            WaitResult result;
            result.stop = true;
            EXPECT_EQ(rig.service.counters().tx_packets, 2U);
            return result;
        };
        rig.service.run();
        EXPECT_EQ(rig.service.counters().doorbells, 0U);
        EXPECT_EQ(rig.service.counters().yields, 0U) << "the answer came with the publishing";
    }
}

// Where all that comes is found after yielding, signals are seen all the same.
TEST(NetService, WhoAlwaysYieldsLooksAtSignalsToo) {
    Rig rig;
    rig.service.start();
    rig.kernel.need_wakeup->kernel = 1;
    const auto packet = [&] {
        udrv_net_completion completion{};
        udrv_net_rx rx{};
        (void)rig.kernel.completion.pop(completion);
        (void)rig.kernel.rx.pop(rx);
        EXPECT_TRUE(rig.kernel.fill.push({0, 2048, 1}));
        EXPECT_TRUE(rig.kernel.tx.push(segment(1, true)));
    };
    packet();
    rig.waiter.on_publish = [&] {
        if (rig.waiter.publishes < 1'000'000) {
            packet();
        }
    };
    rig.waiter.on_wait = [&](auto, bool) {
        EXPECT_LT(rig.waiter.publishes, 1'000'000);
        WaitResult result;
        result.stop = true;
        return result;
    };
    rig.service.run();
}

// Always busy with one packet at a time, it leaves some on the chip for a while; all of them
// come, and the end is seen.
TEST(NetService, RestsWhereTurnsOfOnePacketTakeAllTheTime) {
    Rig rig;
    rig.service.start();
    rig.kernel.need_wakeup->kernel = 1;
    constexpr int packets = 400;
    int sent = 0;
    const auto packet = [&] {
        udrv_net_completion completion{};
        udrv_net_rx rx{};
        (void)rig.kernel.completion.pop(completion);
        (void)rig.kernel.rx.pop(rx);
        if (sent < packets) {
            EXPECT_TRUE(rig.kernel.fill.push({0, 2048, 1}));
            EXPECT_TRUE(rig.kernel.tx.push(segment(1, true)));
            ++sent;
        }
    };
    packet();
    rig.waiter.on_publish = packet;
    rig.waiter.on_wait = [&](auto, bool) {
        packet();
        WaitResult result;
        result.stop = sent == packets && rig.service.counters().rx_packets == packets;
        return result;
    };
    rig.service.run();
    EXPECT_EQ(rig.service.counters().tx_packets, std::uint64_t{packets});
    EXPECT_GT(rig.service.counters().rests, 0U);
}

TEST(NetService, OnOneProcessorItYieldsLessAndLessIfNobodyAnswers) {
    Rig rig;
    rig.service.start();
    int waits = 0;
    rig.waiter.on_wait = [&](auto, bool) {
        EXPECT_TRUE(rig.kernel.fill.push({0, 2048, 1}));
        EXPECT_TRUE(rig.kernel.tx.push(segment(1, true)));
        udrv_net_completion completion{};
        udrv_net_rx rx{};
        (void)rig.kernel.completion.pop(completion);
        (void)rig.kernel.rx.pop(rx);
        WaitResult result;
        result.events.doorbells = 1;
        result.stop = ++waits == 200;
        return result;
    };
    rig.service.run();
    EXPECT_GT(rig.service.counters().yields, 4U);
    EXPECT_LT(rig.service.counters().yields, 12U);
}

TEST(NetService, DesiredStateIsApplied) {
    Rig rig;
    rig.service.start();
    int waits = 0;
    rig.waiter.on_wait = [&](auto, bool) {
        rig.kernel.want_up(++waits == 1);
        WaitResult result;
        result.events.doorbells = 1;
        result.stop = waits == 3;
        return result;
    };
    rig.service.run();
    EXPECT_EQ(rig.chip.applies, 3); // start, up, down; stopped before the last
    EXPECT_FALSE(rig.chip.up);
}

// Both sides sleep when idle and ring only when asked to: nothing may hang, and
// every packet comes back once, in order.
void both_sides_in_threads(unsigned cpus) {
    constexpr std::uint32_t total = 20'000;
    FakeKernel kernel;
    FakeChip chip;
    NetPort port = kernel.port();
    SemaphoreWaiter waiter;
    Reporter reporter({"fake", "0000:00:10.0", "udn7"}, "");
    NetService<FakeChip> service(chip, port, waiter, reporter, cpus);
    service.start();
    std::thread driver([&] { service.run(); });

    const WakeFlag driver_sleeps(&kernel.need_wakeup->driver);
    const SleepFlag kernel_sleeps(&kernel.need_wakeup->kernel);
    const auto ring = [&] {
        if (driver_sleeps.is_set()) {
            waiter.doorbell.release();
        }
    };
    for (std::uint32_t id = 0; id < 32; ++id) {
        ASSERT_TRUE(kernel.fill.push({0, 2048, id}));
    }
    std::uint32_t sent = 0;
    std::uint32_t completed = 0;
    std::uint32_t received = 0;
    bool hung = false;
    const auto step = [&] {
        bool progress = false;
        if (sent < total && sent - received < 32 && kernel.tx.push(segment(sent, true))) {
            ++sent;
            progress = true;
        }
        udrv_net_completion completion{};
        while (kernel.completion.pop(completion)) {
            EXPECT_EQ(completion.id, completed++);
            progress = true;
        }
        udrv_net_rx rx{};
        while (kernel.rx.pop(rx)) {
            EXPECT_EQ(rx.len_bytes, received++);
            EXPECT_TRUE(kernel.fill.push({0, 2048, rx.id}));
            progress = true;
        }
        if (progress) {
            ring();
        }
        return progress;
    };
    while ((received < total || completed < total) && !hung) {
        if (step()) {
            continue;
        }
        kernel_sleeps.announce();
        if (!step()) {
            hung = !waiter.published.try_acquire_for(std::chrono::seconds(20));
        }
        kernel_sleeps.withdraw();
    }
    waiter.stop = true;
    waiter.doorbell.release();
    driver.join();
    EXPECT_FALSE(hung) << sent << " sent, " << completed << " completed, " << received
                       << " received";
    EXPECT_FALSE(waiter.lost);
    EXPECT_EQ(service.counters().rx_packets, total);
}

TEST(NetServiceThreads, SleepAndWakeWithPolling) {
    both_sides_in_threads(4);
}
TEST(NetServiceThreads, SleepAndWakeWithoutPolling) {
    both_sides_in_threads(1);
}

} // namespace
} // namespace udrv
