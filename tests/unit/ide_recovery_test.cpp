// SPDX-License-Identifier: MIT
//
// ide: commands that do not end, and the way back, with the test's clock.
#include <gtest/gtest.h>

#include "tests/unit/ide_rig.hpp"

namespace udrv::test {
namespace {

using namespace std::chrono_literals;
constexpr std::uint32_t ok = UDRV_BLK_OK;
constexpr std::uint32_t timeout = UDRV_BLK_TIMEOUT;
constexpr std::uint32_t ioerr = UDRV_BLK_IOERR;

struct IdeRecovery : ::testing::Test {
    IdeRecovery() {
        rig.config.command_timeout = rig.config.set_up_timeout = 5s;
        rig.config.flush_timeout = 30s;
        rig.config.reset_timeout = 10s;
        rig.master.make_disk(4 * gib);
        rig.slave.make_disk(2 * gib);
        rig.secondary.drives[0].make_disk(1 * gib);
        rig.start();
    }
    void read(std::uint32_t disk, std::uint32_t tag, std::uint64_t sector = 0) {
        rig.submit(disk, rig.request(disk, tag, UDRV_BLK_READ, sector, 8, rig.pages(8)));
    }
    IdeRig rig;
};

TEST_F(IdeRecovery, NothingUnderWayNeedsNoTime) {
    EXPECT_EQ(rig.chip->tick(rig.now), BlkClock::time_point::max());
    read(0, 0);
    EXPECT_EQ(rig.chip->tick(rig.now), rig.now + 5s);
    EXPECT_EQ(rig.chip->tick(rig.now + 1s), rig.now + 5s); // from the first look
    rig.serve();
    EXPECT_EQ(rig.chip->tick(rig.now), BlkClock::time_point::max());
}

TEST_F(IdeRecovery, EachCommandHasItsOwnTime) {
    read(0, 0);
    read(0, 1);
    (void)rig.chip->tick(rig.now);
    rig.primary.run();
    (void)rig.chip->interrupt();
    EXPECT_EQ(rig.chip->tick(rig.now + 4s), rig.now + 9s);
}

TEST_F(IdeRecovery, FlushHasMoreTime) {
    rig.submit(0, rig.request(0, 0, UDRV_BLK_FLUSH));
    EXPECT_EQ(rig.chip->tick(rig.now), rig.now + 30s);
}

TEST_F(IdeRecovery, StepsOfARecovery) {
    rig.master.hangs = 1;
    read(0, 0);
    EXPECT_FALSE(rig.primary.run());
    (void)rig.chip->tick(rig.now);
    rig.primary.writes.clear();

    rig.now += 5s; // the bus master stops, then SRST for 5 us at least
    auto next = rig.chip->tick(rig.now);
    EXPECT_EQ(rig.primary.writes,
              (std::vector<FakeIdeChannel::Write>{{'b', 0, 0x08}, {'t', 0, 6}}));
    EXPECT_GE(next, rig.now + 5us);

    rig.primary.writes.clear(); // then 2 ms without a look at STATUS
    rig.now = next;
    next = rig.chip->tick(rig.now);
    EXPECT_EQ(rig.primary.writes, (std::vector<FakeIdeChannel::Write>{{'t', 0, 2}}));
    EXPECT_GE(next, rig.now + 2ms);
    EXPECT_EQ(rig.chip->tick(rig.now + 1ms), next);
    EXPECT_EQ(rig.primary.writes.size(), 1u);

    rig.pass(1s); // then both drives, their modes, and the command once more
    EXPECT_EQ(rig.master.modes, std::vector<std::uint8_t>{0x42}); // UDMA 2, as before
    EXPECT_EQ(rig.slave.modes, std::vector<std::uint8_t>{0x42});
    EXPECT_EQ(rig.take_one().status, ok);
    EXPECT_FALSE(rig.primary.interrupts_off());
    EXPECT_EQ(rig.primary.resets, 1u);
    EXPECT_EQ(rig.chip->counters(0).timeouts, 1u);
}

TEST_F(IdeRecovery, SecondTimeoutOfARequestIsReported) {
    rig.master.hangs = 2;
    read(0, 0);
    read(0, 1);
    read(1, 0);
    rig.pass(12s);
    const auto done = rig.take();
    ASSERT_EQ(done.size(), 3u);
    EXPECT_EQ(done[0].status, timeout);
    EXPECT_EQ(done[0].disk, 0u);
    EXPECT_EQ(done[0].tag, 0u);
    EXPECT_EQ(done[1].status, ok); // the others have lost nothing but time
    EXPECT_EQ(done[2].status, ok);
    EXPECT_EQ(rig.primary.resets, 2u);
}

TEST_F(IdeRecovery, ASectorThatTakesTenSecondsIsNoError) { // drives try again for so long
    rig.config.command_timeout = ide::Config{}.command_timeout;
    rig.start();
    read(0, 0);
    (void)rig.chip->tick(rig.now);
    rig.now += 10s;
    (void)rig.chip->tick(rig.now);
    rig.serve();
    EXPECT_EQ(rig.take_one().status, ok);
    EXPECT_EQ(rig.chip->counters(0).timeouts, 0u);
}

TEST_F(IdeRecovery, NoRequestIsKeptForAsLongAsTheKernelWaits) { // 120 s, disk.c
    rig.config = ide::Config{};
    rig.config.controller = ide::Controller::piix4;
    rig.start();
    rig.master.hangs = rig.slave.hangs = 1000;
    for (std::uint32_t tag = 0; tag < rig.config.depth; tag++) {
        read(0, tag);
        read(1, tag);
    }
    const auto begin = rig.now;
    std::size_t done = 0;
    while (done < 2 * rig.config.depth && rig.now - begin < 300s) {
        rig.pass(1s);
        for (const BlkCompletion& one : rig.take()) {
            EXPECT_EQ(one.status, timeout) << one.tag;
            done++;
        }
    }
    EXPECT_EQ(done, 2 * rig.config.depth);
    EXPECT_LT(rig.now - begin, 115s);
    rig.master.hangs = rig.slave.hangs = 0;
    read(0, 0);
    rig.pass(1s);
    EXPECT_EQ(rig.take_one().status, ok); // the drives are not lost
}

TEST_F(IdeRecovery, OtherChannelGoesOn) {
    rig.master.hangs = 1;
    read(0, 0);
    EXPECT_FALSE(rig.primary.run());
    (void)rig.chip->tick(rig.now);
    rig.now += 5s;
    (void)rig.chip->tick(rig.now);
    read(2, 0);
    rig.serve();
    EXPECT_EQ(rig.take_one().disk, 2u);
    EXPECT_EQ(rig.secondary.resets, 0u);
}

TEST_F(IdeRecovery, RequestsThatComeDuringARecoveryWait) {
    rig.master.hangs = 1;
    read(0, 0);
    EXPECT_FALSE(rig.primary.run());
    (void)rig.chip->tick(rig.now);
    rig.now += 5s;
    (void)rig.chip->tick(rig.now);
    const auto writes = rig.primary.writes.size();
    read(0, 1);
    read(1, 0);
    rig.primary.noise();
    EXPECT_TRUE(rig.chip->interrupt());
    EXPECT_EQ(rig.primary.writes.size(), writes + 1) << "only the noise is cleared";
    rig.pass(1s);
    EXPECT_EQ(rig.take().size(), 3u);
}

TEST_F(IdeRecovery, DriveThatDoesNotComeBackIsLostAndTheOtherGoesOn) {
    rig.master.hangs = 1;
    rig.master.dead = true;
    read(0, 0);
    read(0, 1);
    read(1, 0);
    rig.pass(16s);
    auto done = rig.take();
    ASSERT_EQ(done.size(), 3u);
    EXPECT_EQ(done[0].status, ioerr);
    EXPECT_EQ(done[1].status, ioerr);
    EXPECT_EQ(done[2].disk, 1u);
    EXPECT_EQ(done[2].status, ok);
    read(0, 2); // fails at once from now on
    EXPECT_EQ(rig.take_one().status, ioerr);
    read(1, 1);
    rig.serve();
    EXPECT_EQ(rig.take_one().status, ok);
}

TEST_F(IdeRecovery, ChannelThatDoesNotComeBackFailsAllItHas) {
    rig.slave.hangs = 1;
    rig.master.dead = rig.slave.dead = true;
    read(1, 0);
    read(1, 1);
    read(0, 0);
    rig.pass(30s);
    const auto done = rig.take();
    ASSERT_EQ(done.size(), 3u);
    for (const auto& one : done) {
        EXPECT_EQ(one.status, ioerr);
    }
    EXPECT_TRUE(rig.primary.interrupts_off());
    EXPECT_NE(rig.chip->tick(rig.now), BlkClock::time_point::max()); // looks for them again
    read(2, 0);
    rig.serve();
    EXPECT_EQ(rig.take_one().status, ok);
}

TEST_F(IdeRecovery, SlowDriveIsWaitedFor) {
    rig.master.hangs = 1;
    rig.master.reset_looks = 1000; // at 5 ms each
    read(0, 0);
    rig.pass(9s);
    EXPECT_TRUE(rig.take().empty());
    rig.pass(2s);
    EXPECT_EQ(rig.take_one().status, ok);
}

TEST_F(IdeRecovery, LostInterruptIsNoTimeout) {
    const auto in = rig.pages(8);
    rig.master.medium[3].fill(std::byte{0x33});
    rig.submit(0, rig.request(0, 0, UDRV_BLK_READ, 0, 8, in));
    (void)rig.chip->tick(rig.now);
    rig.primary.run(); // and nobody calls interrupt()
    (void)rig.chip->tick(rig.now + 5s);
    EXPECT_EQ(rig.take_one().status, ok);
    EXPECT_EQ(rig.bytes(in), IdeRig::on_medium(rig.master, 0, 8));
    EXPECT_EQ(rig.chip->counters(0).lost_interrupts, 1u);
    EXPECT_EQ(rig.primary.resets, 0u);
}

TEST_F(IdeRecovery, DriveThatEndsSilentlyIsAskedAgain) {
    rig.master.silent = 1;
    read(0, 0);
    rig.pass(6s);
    EXPECT_EQ(rig.take_one().status, ok);
    EXPECT_EQ(rig.primary.resets, 1u);
}

TEST_F(IdeRecovery, PciAbortIsAnErrorWithoutASecondTry) {
    rig.primary.pci_error = true;
    read(0, 0);
    read(0, 1);
    rig.pass(6s);
    const auto done = rig.take();
    ASSERT_EQ(done.size(), 2u);
    EXPECT_EQ(done[0].status, ioerr);
    EXPECT_EQ(done[1].status, ok);
    EXPECT_EQ(rig.primary.resets, 1u);
}

TEST_F(IdeRecovery, DriveThatIsBusyWhenSelected) {
    rig.slave.status = 0x80;
    read(1, 0);
    EXPECT_FALSE(rig.primary.under_way());
    rig.pass(1s); // no command, no time-out: reset at once
    EXPECT_EQ(rig.take_one().status, ok);
    EXPECT_EQ(rig.primary.resets, 1u);
}

// With the two ends in different modes, no command would end.
TEST_F(IdeRecovery, ADriveThatRefusesItsModeGetsNoWorkUntilItTakesIt) {
    rig.master.hangs = 1;
    rig.master.refuses_mode = true;
    read(0, 0);
    rig.pass(6s);
    EXPECT_EQ(rig.take_one().status, ioerr);
    rig.master.refuses_mode = false;
    rig.pass(10s);
    read(0, 1);
    rig.serve();
    EXPECT_EQ(rig.take_one().status, ok);
}

// ---- A lost drive comes back ---------------------------------------------------------

TEST_F(IdeRecovery, LostDriveIsServedAgainWhenItIsBack) {
    rig.master.hangs = 1;
    rig.master.dead = true;
    read(0, 0);
    rig.pass(16s);
    EXPECT_EQ(rig.take_one().status, ioerr);
    rig.pass(5min); // looked for in vain, ever more seldom
    const auto resets = rig.primary.resets;
    EXPECT_GE(resets, 4u);
    EXPECT_LE(resets, 12u);
    rig.master.dead = false;
    rig.pass(62s);
    read(0, 1);
    rig.serve();
    EXPECT_EQ(rig.take_one().status, ok);
    EXPECT_EQ(rig.master.mode, 0x42);
    EXPECT_EQ(rig.chip->tick(rig.now), BlkClock::time_point::max());
    const auto after = rig.primary.resets;
    rig.pass(5min);
    EXPECT_EQ(rig.primary.resets, after);
}

TEST_F(IdeRecovery, AnotherDriveInItsPlaceIsNotServed) {
    rig.master.hangs = 1;
    rig.master.dead = true;
    read(0, 0);
    rig.pass(16s);
    EXPECT_EQ(rig.take_one().status, ioerr);
    rig.master.make_disk(8 * gib);
    rig.master.dead = false;
    rig.pass(3min);
    read(0, 1);
    EXPECT_EQ(rig.take_one().status, ioerr);
    rig.master.make_disk(4 * gib); // the one it was
    rig.pass(62s);
    read(0, 2);
    rig.serve();
    EXPECT_EQ(rig.take_one().status, ok);
}

TEST_F(IdeRecovery, LookingForALostDriveDoesNotCutTheOtherOnesCommands) {
    rig.master.hangs = 1;
    rig.master.dead = true;
    read(0, 0);
    rig.pass(16s);
    EXPECT_EQ(rig.take_one().status, ioerr);
    // The other is never idle: the look has to wait for a gap, and gets one.
    const auto resets = rig.primary.resets;
    read(1, 0);
    read(1, 1);
    std::uint32_t tag = 0;
    for (int i = 0; i < 200; i++) {
        (void)rig.chip->tick(rig.now);
        rig.now += 100ms;
        if (rig.primary.run()) {
            (void)rig.chip->interrupt();
        }
        for (const auto& one : rig.take()) {
            EXPECT_EQ(one.status, ok);
            read(1, tag++ % 2 == 0 ? 2 : 3);
        }
    }
    EXPECT_GT(rig.primary.resets, resets);
    EXPECT_GT(tag, 100u);
    EXPECT_EQ(rig.chip->counters(0).timeouts, 1u);
}

TEST_F(IdeRecovery, StopInTheMiddleOfIt) {
    rig.master.hangs = 1;
    read(0, 0);
    EXPECT_FALSE(rig.primary.run());
    (void)rig.chip->tick(rig.now);
    rig.now += 5s;
    (void)rig.chip->tick(rig.now);
    rig.chip->stop();
    EXPECT_TRUE(rig.primary.interrupts_off());
    EXPECT_EQ(rig.chip->tick(rig.now + 1h), BlkClock::time_point::max());
    EXPECT_TRUE(rig.take().empty());
}

TEST_F(IdeRecovery, RecoveredWriteIsOnTheMedium) {
    const auto out = rig.pages(256);
    ASSERT_LE(out.size(), 128u);
    rig.fill(out, 3);
    rig.master.hangs = 1;
    rig.submit(0, rig.request(0, 0, UDRV_BLK_WRITE, 500, 256, out));
    rig.pass(6s);
    EXPECT_EQ(rig.take_one().status, ok);
    EXPECT_EQ(IdeRig::on_medium(rig.master, 500, 256), rig.bytes(out));
}

} // namespace
} // namespace udrv::test
