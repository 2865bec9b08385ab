// SPDX-License-Identifier: MIT
//
// virtio_blk: requests that hang, a device that needs a reset, lies, changes or goes. Sections
// are those of virtio 1.2.
#include <functional>
#include <optional>

#include <gtest/gtest.h>

#include "tests/unit/fake_virtio_blk.hpp"

namespace udrv::test {
namespace {

using Fake = FakeVirtioBlk;
constexpr std::uint32_t ok = UDRV_BLK_OK;

struct VirtioBlkRecovery : testing::Test {
    VirtioBlkRig rig;
    VirtioBlkRecovery() { rig.fill(9); }
};

TEST_F(VirtioBlkRecovery, ALateRequestIsTriedAgainAfterAReset) {
    rig.chip.hangs = {24};
    rig.start();
    rig.read(8);
    for (int n = 0; n < 100 && rig.counters().timeouts == 0; n++) {
        rig.chip.run();
        (void)rig.take();
        (void)rig.driver->tick(rig.now += virtio_blk::look_interval);
    }
    rig.chip.hangs.clear();
    const auto done = rig.finish(1);
    EXPECT_EQ(done.begin()->first, 3u);
    rig.expect_right(done);
    EXPECT_EQ(rig.counters().resets, 1u);
    EXPECT_EQ(rig.counters().reissued, 1u);
    EXPECT_EQ(rig.driver->troubles().timeouts, 1u);
}

TEST_F(VirtioBlkRecovery, OneThatIsLateTwiceFails) {
    rig.chip.hangs = {24};
    rig.start();
    rig.read(8);
    const auto begun = rig.now;
    auto done = rig.finish(8);
    EXPECT_LT(rig.now - begun, 100s) << "the kernel takes a driver for dead after 120 s";
    EXPECT_EQ(done[3], std::uint32_t{UDRV_BLK_TIMEOUT});
    done.erase(3);
    rig.expect_right(done);
}

// 2.4, 4.1.4.3.2: until the status is 0 the device may use what it was given.
TEST_F(VirtioBlkRecovery, NothingIsGivenBackBeforeTheResetIsOver) {
    rig.start();
    rig.read(8);
    rig.chip.reset_hangs = true;
    rig.chip.need_reset();
    (void)rig.take();
    rig.pass(2s);
    EXPECT_EQ(rig.counters().asked, 1u);
    EXPECT_TRUE(rig.reap().empty());
    EXPECT_EQ(rig.counters().reissued, 0u);
    rig.submit(rig.make(0, 8, UDRV_BLK_READ, 64, 8)); // waits
    rig.chip.reset_hangs = false;
    rig.expect_right(rig.finish(9));
    EXPECT_EQ(rig.counters().reissued, 8u);
}

TEST_F(VirtioBlkRecovery, ADeviceThatNeedsAResetGetsOne) {
    for (const bool msix : {false, true}) {
        rig.chip.msix = msix;
        rig.start();
        const unsigned resets = rig.chip.resets;
        rig.chip.need_reset(); // while nothing is under way
        (void)rig.take();
        rig.pass(2s);
        EXPECT_EQ(rig.counters().asked, 1u);
        EXPECT_EQ(rig.chip.resets, resets + 1);
        EXPECT_TRUE(rig.chip.live());
        rig.read(8);
        rig.expect_right(rig.finish(8));
    }
}

TEST_F(VirtioBlkRecovery, OneThatNeedsAResetAgainAndAgainLosesNothing) {
    rig.start();
    rig.read(8);
    for (int n = 0; n < 20; n++) {
        rig.chip.need_reset();
        rig.pass(1s);
        EXPECT_TRUE(rig.take().empty());
    }
    EXPECT_GE(rig.counters().asked, 20u);
    rig.expect_right(rig.finish(8));
}

TEST_F(VirtioBlkRecovery, ARequestThatBreaksTheDeviceEnds) {
    rig.start();
    rig.read(1);
    const auto begun = rig.now;
    for (int n = 0; n < 100 && !rig.rings.pending(); n++) {
        rig.chip.need_reset();
        rig.pass(1s);
    }
    EXPECT_LT(rig.now - begun, 100s) << "the kernel takes a driver for dead after 120 s";
    const auto done = rig.reap();
    ASSERT_EQ(done.size(), 1u);
    EXPECT_EQ(done[0].status, std::uint32_t{UDRV_BLK_IOERR});
    rig.read(8);
    rig.expect_right(rig.finish(8));
}

TEST_F(VirtioBlkRecovery, OneWhoseResetDoesNotEndIsTheKernelsToReset) {
    rig.start();
    rig.read(1);
    rig.chip.reset_hangs = true;
    rig.chip.need_reset();
    (void)rig.take();
    rig.pass(30s);
    ASSERT_NE(rig.driver->failure(), nullptr);
    EXPECT_NE(std::string(rig.driver->failure()).find("device_status is 0x4f"), std::string::npos)
        << rig.driver->failure();
    EXPECT_TRUE(rig.reap().empty()) << "the request is the kernel's to give to a successor";
}

TEST_F(VirtioBlkRecovery, OneThatIsAnotherAfterTheResetEndsTheDriver) {
    rig.start();
    rig.chip.refuses_features = true;
    rig.chip.need_reset();
    (void)rig.take();
    rig.pass(2s);
    ASSERT_NE(rig.driver->failure(), nullptr);
}

TEST_F(VirtioBlkRecovery, OneThatIsGoneEndsTheDriver) {
    rig.start();
    rig.read(1);
    rig.chip.gone = true;
    rig.pass(2s);
    ASSERT_NE(rig.driver->failure(), nullptr);
    EXPECT_NE(std::string(rig.driver->failure()).find("all ones"), std::string::npos);
}

TEST_F(VirtioBlkRecovery, OneThatGoesDuringAResetToo) {
    rig.start();
    rig.chip.need_reset();
    (void)rig.take();
    rig.chip.reset_hangs = true;
    rig.pass(2s);
    rig.chip.gone = true;
    rig.pass(10ms);
    ASSERT_NE(rig.driver->failure(), nullptr);
}

struct Lie {
    const char* name;
    std::function<void(std::uint32_t& id, std::uint32_t& bytes, std::uint8_t& status)> lie;
};

TEST_F(VirtioBlkRecovery, ALyingDeviceIsReset) {
    const Lie lies[] = {
        {"no such chain", [](auto& id, auto&, auto&) { id = 0x10000; }},
        {"a chain beyond the queue", [](auto& id, auto&, auto&) { id = 256; }},
        {"a descriptor that begins no chain", [](auto& id, auto&, auto&) { id++; }},
        {"a chain that it does not have", [](auto& id, auto&, auto&) { id = 200; }},
        {"more bytes than there are", [](auto&, auto& bytes, auto&) { bytes = 4098; }},
        {"an undefined status", [](auto&, auto&, auto& status) { status = 3; }},
        {"no status", [](auto&, auto&, auto& status) { status = 0xff; }},
    };
    for (const Lie& lie : lies) {
        VirtioBlkRig one;
        one.fill(9);
        one.start();
        one.chip.lie = lie.lie;
        one.read(8);
        one.chip.run(1);
        one.chip.lie = nullptr;
        one.expect_right(one.finish(8));
        EXPECT_EQ(one.counters().lies, 1u) << lie.name;
        EXPECT_EQ(one.counters().resets, 1u) << lie.name;
    }
}

TEST_F(VirtioBlkRecovery, ACompletionTwiceIsALie) {
    rig.start();
    rig.read(2);
    rig.chip.run(1);
    std::uint32_t first = 0;
    rig.chip.lie = [&](auto& id, auto&, auto&) { id = first; };
    // Whichever was done: the other chain's end names it again.
    const auto done = rig.take();
    ASSERT_EQ(done.size(), 1u);
    first = rig.chip.log[done[0].tag].chain.head;
    rig.chip.run();
    EXPECT_TRUE(rig.take().empty());
    EXPECT_EQ(rig.counters().lies, 1u);
    rig.chip.lie = nullptr;
    rig.expect_right(rig.finish(1));
}

TEST_F(VirtioBlkRecovery, AnIndexThatRunsAheadIsALie) {
    rig.start();
    rig.read(4);
    rig.chip.fetch();
    rig.chip.set_used_idx(0, 40);
    EXPECT_TRUE(rig.reap().empty());
    EXPECT_EQ(rig.counters().lies, 1u);
    rig.expect_right(rig.finish(4));
}

// 2.7.8.2: what lies behind the length is not known to be data.
TEST_F(VirtioBlkRecovery, AReadThatIsShorterThanAskedForFails) {
    rig.start();
    rig.chip.lie = [](auto&, auto& bytes, auto&) { bytes = 4096; };
    EXPECT_EQ(rig.status(rig.make(0, 0, UDRV_BLK_READ, 0, 8)), std::uint32_t{UDRV_BLK_IOERR});
    rig.chip.lie = [](auto&, auto& bytes, auto&) { bytes = 0; }; // of a write it does not matter
    EXPECT_EQ(rig.status(rig.make(0, 0, UDRV_BLK_WRITE, 0, 8)), ok);
    EXPECT_EQ(rig.counters().lies, 0u);
}

TEST_F(VirtioBlkRecovery, ADeviceThatAlwaysLiesServesNothing) {
    rig.start();
    rig.chip.lie = [](auto&, auto&, auto& status) { status = 7; };
    rig.read(1);
    EXPECT_EQ(rig.finish(1)[0], std::uint32_t{UDRV_BLK_IOERR});
    EXPECT_EQ(rig.counters().resets, 40u);
}

// 5.2.4: a configuration interrupt; and a change that nobody tells of is seen while it is busy.
TEST_F(VirtioBlkRecovery, AnotherCapacityIsTold) {
    for (const bool msix : {false, true}) {
        rig.chip.msix = msix;
        rig.chip.set_capacity(4096);
        rig.start();
        rig.chip.set_capacity(8192);
        (void)rig.take();
        rig.pass(1s);
        EXPECT_EQ(rig.driver->troubles().changes, 1u);
        EXPECT_EQ(rig.disk().nr_sectors, 4096u) << "the kernel has no word for it";
        rig.pass(2s);
        EXPECT_EQ(rig.driver->troubles().changes, 1u);
        rig.read(8);
        rig.expect_right(rig.finish(8));
        EXPECT_EQ(rig.status(rig.make(0, 0, UDRV_BLK_READ, 4096, 8)),
                  std::uint32_t{UDRV_BLK_IOERR});
    }
}

TEST_F(VirtioBlkRecovery, AChangeThatComesWithTheEndOfARequestIsNotLost) {
    rig.start();
    rig.read(1);
    (void)rig.driver->tick(rig.now);
    rig.chip.run();
    rig.chip.set_capacity(8192);
    EXPECT_TRUE(rig.driver->interrupt());
    EXPECT_EQ(rig.reap().size(), 1u);
    rig.pass(1s);
    EXPECT_EQ(rig.driver->troubles().changes, 1u);
}

// Anything that can happen, at random; each request ends once, and what is read is right.
TEST_F(VirtioBlkRecovery, AllAtRandom) {
    for (unsigned seed = 0; seed < 12; seed++) {
        VirtioBlkRig one;
        one.fill(seed);
        one.chip.msix = seed % 2 == 0;
        one.chip.offered = seed % 4 < 2 ? Fake::usual : Fake::usual & ~Fake::f_event_idx;
        one.chip.set_queue_size(0, static_cast<std::uint16_t>(seed % 3 == 0 ? 128 : 256));
        one.start();
        std::mt19937 random(seed);
        for (int round = 0; round < 30; round++) {
            one.chip.late_reads = static_cast<unsigned>(1 + random() % 20);
            one.chip.hangs.clear();
            one.chip.bad.clear();
            if (random() % 4 == 0) {
                one.chip.hangs = {random() % 32 * 8};
            }
            if (random() % 4 == 0) {
                one.chip.bad[random() % 32 * 8] = Fake::IOERR;
            }
            const bool breaks = random() % 4 == 0;
            const bool lies = random() % 8 == 0;
            one.read(32);
            if (lies) {
                one.chip.lie = [&](auto& id, auto& bytes, auto&) {
                    (random() % 2 ? id : bytes) += 7;
                };
            }
            one.chip.run(random() % 4);
            one.chip.lie = nullptr;
            if (breaks) {
                one.chip.need_reset();
            }
            for (const auto& [number, status] : one.finish(32)) {
                const bool hung = one.chip.hangs.count(number * 8) != 0;
                const bool bad = one.chip.bad.count(number * 8) != 0;
                if (bad) {
                    EXPECT_NE(status, ok);
                } else if (!hung) {
                    EXPECT_EQ(status, ok) << seed << ", " << round << ", " << number;
                    EXPECT_TRUE(one.same(number));
                }
            }
        }
    }
}

} // namespace
} // namespace udrv::test
