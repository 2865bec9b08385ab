// SPDX-License-Identifier: MIT
#include "libudrv/blk/blk_service.hpp"

#include <thread>

#include <gtest/gtest.h>

#include "tests/unit/fake_blk.hpp"
#include "tests/unit/fake_waiter.hpp"

namespace udrv {
namespace {

using namespace std::chrono_literals;
using test::FakeBlkChip;
using test::FakeBlkKernel;

static_assert(BlkChip<FakeBlkChip>);

struct Rig {
    explicit Rig(std::uint32_t nr_disks = 1, unsigned cpus = 1, std::uint32_t depth = 32,
                 std::uint32_t ring_depth = 32)
        : kernel(nr_disks, depth, ring_depth), chip(nr_disks), port(kernel.port()),
          reporter({"fake", "0000:00:18.0", port.names()}, ""),
          service(chip, port, waiter, reporter, cpus) {
        service.start();
    }

    FakeBlkKernel kernel;
    FakeBlkChip chip;
    BlkPort port;
    test::ScriptedWaiter waiter;
    Reporter reporter;
    BlkService<FakeBlkChip> service;
};

TEST(BlkPort, FindsDisksAndSlots) {
    FakeBlkKernel kernel(2, 20);
    const BlkPort port = kernel.port();
    ASSERT_EQ(port.queues.size(), 2U);
    EXPECT_EQ(port.names(), "udb0 udb1");
    EXPECT_EQ(port.queues[1].depth, 20U);
    ASSERT_TRUE(kernel.submit(1, 19, 7, 1234));
    EXPECT_EQ(port.queues[1].slot(19)->sector, 1234U);
    EXPECT_EQ(port.queues[1].slot(19)->generation, 7U);
}

TEST(BlkPort, RefusesALayoutOutsideTheMap) {
    const auto refused = [](auto spoil) {
        FakeBlkKernel kernel;
        spoil(kernel.layout());
        EXPECT_THROW((void)kernel.port(), Error);
    };
    const auto end = static_cast<std::uint32_t>(FakeBlkKernel().layout().map_bytes);
    refused([&](udrv_blk_attach& layout) { layout.disks[0].slots = end - 128; });
    refused([&](udrv_blk_attach& layout) { layout.disks[0].slots += 1; });
    refused([&](udrv_blk_attach& layout) { layout.disks[0].completion = end - 256; });
    refused([&](udrv_blk_attach& layout) { layout.disks[0].submission = 0xffffff80; });
    refused([&](udrv_blk_attach& layout) { layout.need_wakeup = end; });
    refused([&](udrv_blk_attach& layout) { layout.disks[0].ring_depth = 31; });
    refused([&](udrv_blk_attach& layout) { layout.disks[0].depth = 0x2000000; });
}

TEST(BlkService, ARequestGoesThereAndBack) {
    Rig rig;
    ASSERT_TRUE(rig.kernel.submit(0, 3, 77));
    ASSERT_TRUE(rig.kernel.submit(0, 5, 78, UDRV_BLK_MEDIUM));
    EXPECT_TRUE(rig.service.pass());
    EXPECT_TRUE(rig.service.pass());
    EXPECT_FALSE(rig.service.pass());
    EXPECT_EQ(rig.chip.batches, std::vector<std::size_t>{2});
    std::array<udrv_blk_completion, 3> done{};
    ASSERT_EQ(rig.kernel.disks[0].completion.pop(done), 2U);
    EXPECT_EQ(done[0].tag, 3U);
    EXPECT_EQ(done[0].generation, 77U);
    EXPECT_EQ(done[0].status, UDRV_BLK_OK);
    EXPECT_EQ(done[1].tag, 5U);
    EXPECT_EQ(done[1].status, UDRV_BLK_MEDIUM);
    EXPECT_EQ(done[1].reserved, 0U);
    EXPECT_EQ(rig.service.counters().requests, 2U);
    EXPECT_EQ(rig.service.counters().completions, 2U);
    EXPECT_EQ(rig.service.counters().failures, 1U);
}

TEST(BlkService, AChipThatCanNotGoOnEndsTheDriver) {
    Rig rig;
    rig.chip.broken = "it does not come back";
    try {
        rig.service.run();
        FAIL() << "it goes on";
    } catch (const Error& error) {
        EXPECT_STREQ(error.what(), "serve the disks: it does not come back");
    }
    EXPECT_EQ(rig.chip.stops, 0) << "the kernel stops it";
}

TEST(BlkService, FullDepthAgainAndAgainAcrossTheWrap) {
    Rig rig(1, 1, 31); // tags and ring entries do not divide
    std::uint32_t generation = 0;
    for (int round = 0; round < 50; ++round) {
        const std::uint32_t first = generation;
        for (std::uint32_t tag = 0; tag < 31; ++tag) {
            ASSERT_TRUE(rig.kernel.submit(0, tag, generation++));
        }
        while (rig.service.pass()) {
        }
        for (std::uint32_t tag = 0; tag < 31; ++tag) {
            udrv_blk_completion done{};
            ASSERT_TRUE(rig.kernel.disks[0].completion.pop(done));
            EXPECT_EQ(done.tag, tag);
            EXPECT_EQ(done.generation, first + tag);
        }
    }
    for (const std::size_t size : rig.chip.batches) {
        EXPECT_LE(size, 31U);
    }
    EXPECT_EQ(rig.service.counters().completions, 31U * 50);
}

TEST(BlkService, AFullDeepQueueTakesSeveralPasses) {
    Rig rig(1, 1, 256, 256);
    rig.chip.hold = true;
    for (std::uint32_t tag = 0; tag < 256; ++tag) {
        ASSERT_TRUE(rig.kernel.submit(0, tag, tag));
    }
    while (rig.service.pass()) {
    }
    EXPECT_EQ(rig.chip.batches, (std::vector<std::size_t>{64, 64, 64, 64}));
    rig.chip.hold = false;
    while (rig.service.pass()) {
    }
    EXPECT_EQ(rig.kernel.disks[0].completion.available(256), 256U);
}

TEST(BlkService, DisksDoNotMix) {
    Rig rig(3);
    for (std::uint32_t tag = 0; tag < 10; ++tag) {
        ASSERT_TRUE(rig.kernel.submit(0, tag, 100 + tag));
        ASSERT_TRUE(rig.kernel.submit(2, tag, 300 + tag));
    }
    ASSERT_TRUE(rig.kernel.submit(1, 9, 200));
    EXPECT_TRUE(rig.service.pass());
    EXPECT_EQ(rig.chip.batches, (std::vector<std::size_t>{10, 1, 10})) << "each its turn";
    EXPECT_TRUE(rig.service.pass());
    EXPECT_FALSE(rig.service.pass());
    for (const std::uint32_t disk : {0U, 2U}) {
        for (std::uint32_t tag = 0; tag < 10; ++tag) {
            udrv_blk_completion done{};
            ASSERT_TRUE(rig.kernel.disks[disk].completion.pop(done));
            EXPECT_EQ(done.generation, 100 * (disk + 1) + tag);
        }
    }
    udrv_blk_completion done{};
    ASSERT_TRUE(rig.kernel.disks[1].completion.pop(done));
    EXPECT_EQ(done.generation, 200U);
    EXPECT_FALSE(rig.kernel.disks[1].completion.pop(done));
}

TEST(BlkService, ATagThatHasNoSlotIsNotLookedAt) {
    Rig rig(1, 1, 31);
    ASSERT_TRUE(rig.kernel.disks[0].submission.push({31, 1}));
    ASSERT_TRUE(rig.kernel.submit(0, 30, 2));
    EXPECT_TRUE(rig.service.pass());
    EXPECT_EQ(rig.chip.batches, std::vector<std::size_t>{1});
}

TEST(BlkService, SleepsWithTheFlagSetAndPublishesBefore) {
    Rig rig;
    int waits = 0;
    rig.waiter.on_wait = [&](auto timeout, bool publish) {
        EXPECT_EQ(rig.kernel.need_wakeup->driver, UDRV_WAKE_WORK);
        EXPECT_FALSE(timeout) << "nothing under way: no timer";
        WaitResult result;
        switch (++waits) {
        case 1:
            EXPECT_FALSE(publish) << "there is nothing";
            EXPECT_TRUE(rig.kernel.submit(0, 1, 1));
            result.events.doorbells = 1;
            break;
        case 2:
            EXPECT_FALSE(publish) << "it was, before the last look";
            EXPECT_EQ(rig.waiter.publishes, 1);
            EXPECT_EQ(rig.kernel.disks[0].completion.available(), 1U);
            result.events.interrupts = 1;
            break;
        default:
            EXPECT_FALSE(publish);
            result.stop = true;
        }
        return result;
    };
    rig.service.run();
    EXPECT_EQ(waits, 3);
    EXPECT_EQ(rig.kernel.need_wakeup->driver, 0U);
    EXPECT_EQ(rig.chip.interrupts, 1) << "a doorbell is no reason to read the cause";
    EXPECT_EQ(rig.chip.stops, 1);
    EXPECT_EQ(rig.waiter.publishes, 1);
}

TEST(BlkService, PublishesBeforeItPollsForLong) {
    Rig rig(1, 4);
    ASSERT_TRUE(rig.kernel.submit(0, 1, 1));
    rig.waiter.on_wait = [&](auto, bool publish) {
        EXPECT_FALSE(publish);
        EXPECT_EQ(rig.waiter.publishes, 1);
        WaitResult result;
        result.stop = true;
        return result;
    };
    rig.service.run();
}

/// A chip whose completions only an interrupt tells.
struct QuietChip : FakeBlkChip {
    using FakeBlkChip::FakeBlkChip;
    static constexpr bool completes_in_memory = false;
};
static_assert(BlkChip<QuietChip>);

// Polling for such a completion would only put off the interrupt.
TEST(BlkService, DoesNotPollForWhatOnlyAnInterruptTells) {
    const auto passes_of_one_request = [](auto chip) {
        FakeBlkKernel kernel(1, 32, 32);
        BlkPort port = kernel.port();
        test::ScriptedWaiter waiter;
        Reporter reporter({"fake", "0000:00:18.0", port.names()}, "");
        BlkService<decltype(chip)> service(chip, port, waiter, reporter, 2);
        service.start();
        chip.hold = true; // it never ends
        EXPECT_TRUE(kernel.submit(0, 3, 1, 0));
        waiter.on_wait = [](auto, bool) {
            WaitResult result;
            result.stop = true;
            return result;
        };
        service.run();
        return service.counters().passes;
    };
    EXPECT_LE(passes_of_one_request(QuietChip()), 3U);
    EXPECT_GT(passes_of_one_request(FakeBlkChip()), 32U);
}

TEST(BlkService, SleepsNoLongerThanTheChipSays) {
    Rig rig;
    rig.chip.hold = true;
    rig.chip.next_tick = 1500us;
    ASSERT_TRUE(rig.kernel.submit(0, 1, 1));
    rig.chip.release_at_tick = 5; // one before each wait and one after it
    int waits = 0;
    rig.waiter.on_wait = [&](auto timeout, bool) {
        WaitResult result;
        if (++waits <= 2) {
            EXPECT_EQ(timeout, 2ms) << "rounded up, or it would spin";
        } else {
            // The tick before this wait completed it: the loop looked once more before it slept.
            EXPECT_EQ(rig.waiter.publishes, 1);
            EXPECT_EQ(rig.kernel.disks[0].completion.available(), 1U);
            result.stop = true;
        }
        return result;
    };
    rig.service.run();
    EXPECT_EQ(waits, 3);
}

// Recovery completes requests in tick(): they are looked after before the loop sleeps.
TEST(BlkService, WhatATickCompletesIsPublishedBeforeTheSleep) {
    Rig rig;
    rig.chip.hold = true;
    rig.chip.completes_in_tick = true;
    rig.chip.release_at_tick = 1;
    ASSERT_TRUE(rig.kernel.submit(0, 1, 1));
    rig.waiter.on_wait = [&](auto, bool publish) {
        EXPECT_TRUE(publish || rig.waiter.publishes == 1);
        EXPECT_EQ(rig.kernel.disks[0].completion.available(), 1U);
        WaitResult result;
        result.stop = true;
        return result;
    };
    rig.service.run();
    EXPECT_EQ(rig.service.counters().completions, 1U);
}

TEST(BlkService, ADeadlineThatHasPassedOnlyLooks) {
    Rig rig;
    rig.chip.next_tick = -5ms;
    rig.waiter.on_wait = [&](auto timeout, bool) {
        EXPECT_EQ(timeout, 0ms);
        WaitResult result;
        result.stop = true;
        return result;
    };
    rig.service.run();
}

// Both sides sleep when idle: nothing may hang, and every request comes back once.
void both_sides_in_threads(unsigned cpus) {
    constexpr std::uint32_t total = 20'000;
    constexpr std::uint32_t depth = 32;
    FakeBlkKernel kernel(2, depth, depth);
    FakeBlkChip chip(2);
    BlkPort port = kernel.port();
    test::SemaphoreWaiter waiter;
    Reporter reporter({"fake", "0000:00:18.0", "udb0 udb1"}, "");
    BlkService<FakeBlkChip> service(chip, port, waiter, reporter, cpus);
    service.start();
    std::thread driver([&] { service.run(); });

    const WakeFlag driver_sleeps(&kernel.need_wakeup->driver);
    std::array<std::uint32_t, 2> sent{};
    std::array<std::uint32_t, 2> completed{};
    bool hung = false;
    while (completed[0] + completed[1] < 2 * total && !hung) {
        bool progress = false;
        for (std::uint32_t disk = 0; disk < 2; ++disk) {
            while (sent[disk] < total && sent[disk] - completed[disk] < depth) {
                EXPECT_TRUE(kernel.submit(disk, sent[disk] % depth, sent[disk]));
                ++sent[disk];
                progress = true;
            }
            udrv_blk_completion done{};
            while (kernel.disks[disk].completion.pop(done)) {
                EXPECT_EQ(done.generation, completed[disk]++);
                progress = true;
            }
        }
        if (progress) {
            if (driver_sleeps.is_set()) {
                waiter.doorbell.release();
            }
        } else {
            hung = !waiter.published.try_acquire_for(20s);
        }
    }
    waiter.stop = true;
    waiter.doorbell.release();
    driver.join();
    EXPECT_FALSE(hung) << completed[0] << " and " << completed[1] << " completed";
    EXPECT_FALSE(waiter.lost);
    EXPECT_EQ(service.counters().requests, 2 * total);
}

TEST(BlkServiceThreads, SleepAndWakeWithPolling) {
    both_sides_in_threads(4);
}
TEST(BlkServiceThreads, SleepAndWakeWithoutPolling) {
    both_sides_in_threads(1);
}

} // namespace
} // namespace udrv
