// SPDX-License-Identifier: MIT
//
// virtio_blk: requests, from the slot to the data and back. Sections are those of virtio 1.2.
#include <gtest/gtest.h>

#include "tests/unit/fake_virtio_blk.hpp"

namespace udrv::test {
namespace {

using Fake = FakeVirtioBlk;
constexpr std::uint32_t ok = UDRV_BLK_OK;
constexpr std::uint32_t error = UDRV_BLK_IOERR;
constexpr std::uint32_t notsupp = UDRV_BLK_NOTSUPP;

struct VirtioBlkIo : testing::Test {
    VirtioBlkRig rig;
    VirtioBlkIo() { rig.fill(3); }
};

TEST_F(VirtioBlkIo, ReadsAndWritesOfAllSizesAndPlaces) {
    for (const bool event_idx : {false, true}) {
        rig.chip.offered = event_idx ? Fake::usual : Fake::usual & ~Fake::f_event_idx;
        rig.start();
        std::mt19937 random(4);
        for (int round = 0; round < 100; round++) {
            std::vector<BlkSubmission> many;
            for (std::uint32_t n = 0; n < 8; n++) {
                const auto sectors = static_cast<std::uint32_t>(1 + random() % 256);
                const auto pieces =
                    std::min(static_cast<std::uint32_t>(1 + random() % sectors), 64u);
                const std::uint64_t sector = n * 512 + random() % (512 - sectors);
                const bool write = random() % 2 != 0;
                many.push_back(rig.make(0, n, write ? UDRV_BLK_WRITE : UDRV_BLK_READ, sector,
                                        sectors, pieces));
                for (std::uint32_t i = 0; write && i < sectors * 512; i += 64) {
                    rig.tag(0, n).data()[i] = static_cast<std::uint8_t>(random());
                }
            }
            rig.submit(many);
            rig.expect_right(rig.finish(8));
        }
    }
}

TEST_F(VirtioBlkIo, RequestsThatMakeNoSenseFailHere) {
    rig.start();
    EXPECT_EQ(rig.status(rig.make(0, 0, UDRV_BLK_READ, 4095, 1)), ok);
    EXPECT_EQ(rig.status(rig.make(0, 0, UDRV_BLK_READ, 4095, 2)), error);
    EXPECT_EQ(rig.status(rig.make(0, 0, UDRV_BLK_READ, ~0ull - 7, 8)), error);
    EXPECT_EQ(rig.status(rig.make(0, 0, UDRV_BLK_READ, 0, 0)), error);
    EXPECT_EQ(rig.status(rig.make(0, 0, UDRV_BLK_WRITE_ZEROES, 4090, 8)), notsupp);
    EXPECT_EQ(rig.status(rig.make_discard(0, 0, {{4090, 100, 0}})), notsupp);
    EXPECT_EQ(rig.status(rig.make_discard(0, 0, {{0, 8, 0}, {8, 8, 0}})), notsupp) << "two ranges";
    EXPECT_EQ(rig.status(rig.make(0, 0, UDRV_BLK_ATA)), notsupp);
    EXPECT_EQ(rig.status(rig.make(0, 0, 77)), notsupp);
    const auto with = [&](std::vector<std::uint32_t> bytes) {
        const BlkSubmission one = rig.make(0, 0, UDRV_BLK_READ, 0, 16);
        auto& tag = rig.tag(0, 0);
        std::uint64_t at = tag.buffer.dma_addr;
        for (std::size_t n = 0; n < bytes.size(); n++) {
            tag.segments()[n] = {at, bytes[n], 0};
            at += bytes[n];
        }
        tag.request().nr_segments = static_cast<std::uint16_t>(bytes.size());
        return rig.status(one);
    };
    EXPECT_EQ(with({8192}), ok);
    EXPECT_EQ(with({100, 8092}), ok);
    EXPECT_EQ(with({4096}), error) << "too short";
    EXPECT_EQ(with({12288}), error) << "too long";
    EXPECT_EQ(with({0, 8192}), error) << "an empty one";
    EXPECT_EQ(with({}), error) << "none";
    EXPECT_EQ(with(std::vector<std::uint32_t>(128, 64)), error) << "too many";
    EXPECT_EQ(rig.chip.log.size(), 3u) << "of all these, the device saw those that went well";
}

TEST_F(VirtioBlkIo, BlocksOf4096Bytes) {
    rig.chip.set32(0x14, 4096);
    rig.start();
    rig.submit({rig.make(0, 0, UDRV_BLK_READ, 80, 16), rig.make(0, 1, UDRV_BLK_WRITE, 160, 8)});
    rig.expect_right(rig.finish(2));
    EXPECT_EQ(rig.status(rig.make(0, 0, UDRV_BLK_READ, 4, 8)), error) << "half a block";
    EXPECT_EQ(rig.status(rig.make(0, 0, UDRV_BLK_READ, 8, 4)), error);
}

TEST_F(VirtioBlkIo, Flush) {
    rig.start();
    EXPECT_EQ(rig.status(rig.make(0, 0, UDRV_BLK_FLUSH)), ok);
    EXPECT_EQ(rig.chip.log.back().type, Fake::FLUSH);
    rig.chip.offered &= ~Fake::f_flush;
    rig.start();
    EXPECT_EQ(rig.status(rig.make(0, 0, UDRV_BLK_FLUSH)), error);
}

TEST_F(VirtioBlkIo, DiscardsManyRangesAtOnce) {
    rig.chip.set32(0x28, 8);
    rig.start();
    const Bytes before = rig.chip.data;
    EXPECT_EQ(rig.status(rig.make_discard(0, 0, {{8, 8, 0}, {100, 1, 0}, {4095, 1, 0}})), ok);
    ASSERT_EQ(rig.chip.log.size(), 1u);
    EXPECT_EQ(rig.chip.log[0].ranges.size(), 3u);
    for (std::size_t sector = 0; sector < 4096; sector++) {
        const bool gone = (sector >= 8 && sector < 16) || sector == 100 || sector == 4095;
        ASSERT_EQ(rig.chip.data[sector * 512] == before[sector * 512] &&
                      rig.chip.data[sector * 512 + 511] == before[sector * 512 + 511],
                  !gone)
            << sector;
    }
}

TEST_F(VirtioBlkIo, WriteZeroes) {
    rig.start();
    EXPECT_EQ(rig.status(rig.make(0, 0, UDRV_BLK_WRITE_ZEROES, 16, 100)), ok);
    EXPECT_EQ(rig.chip.log.back().ranges.at(0).flags, 1u) << "it may deallocate";
    EXPECT_EQ(std::count(rig.chip.data.begin() + 16 * 512, rig.chip.data.begin() + 116 * 512, 0),
              100 * 512);
    EXPECT_EQ(rig.status(rig.make(0, 0, UDRV_BLK_WRITE_ZEROES, 16, 100, 1, UDRV_BLK_REQ_NOUNMAP)),
              ok);
    EXPECT_EQ(rig.chip.log.back().ranges.at(0).flags, 0u);
    rig.chip.set32(0x30, 50);
    rig.start();
    EXPECT_EQ(rig.status(rig.make(0, 0, UDRV_BLK_WRITE_ZEROES, 16, 51)), notsupp);
}

TEST_F(VirtioBlkIo, AReadOnlyDeviceIsNotWrittenTo) {
    rig.chip.offered |= Fake::f_ro;
    rig.start();
    EXPECT_EQ(rig.status(rig.make(0, 0, UDRV_BLK_READ, 0, 8)), ok);
    EXPECT_EQ(rig.status(rig.make(0, 0, UDRV_BLK_WRITE, 0, 8)), error);
    EXPECT_EQ(rig.status(rig.make(0, 0, UDRV_BLK_WRITE_ZEROES, 0, 8)), notsupp);
    EXPECT_EQ(rig.status(rig.make_discard(0, 0, {{0, 8, 0}})), notsupp);
}

TEST_F(VirtioBlkIo, NotificationsAreBatched) {
    rig.start();
    rig.read(32);
    EXPECT_EQ(rig.chip.notifications[0], 1u);
    rig.expect_right(rig.finish(32));
    EXPECT_EQ(rig.chip.notifications[0], 1u);
}

TEST_F(VirtioBlkIo, MoreThanTheQueueTakesWaits) {
    rig.start();
    std::vector<BlkSubmission> many;
    for (std::uint32_t n = 0; n < rig.disk().depth; n++) {
        many.push_back(rig.make(0, n, UDRV_BLK_READ, n * 8, 512, 1 + n * 7 % 64));
    }
    rig.submit(many);
    rig.chip.fetch();
    EXPECT_LT(rig.chip.held(), 20u);
    rig.expect_right(rig.finish(rig.disk().depth));
}

TEST_F(VirtioBlkIo, TheSmallestQueueIsEnough) {
    rig.chip.set_queue_size(0, 4);
    rig.start();
    for (std::uint64_t sector = 0; sector < 100; sector++) {
        EXPECT_EQ(rig.status(rig.make(0, 0, UDRV_BLK_READ, sector, 8)), ok);
        EXPECT_TRUE(rig.same(0));
    }
}

// 2.7.7: what ends after the last look interrupts, each time; what was taken does not.
TEST_F(VirtioBlkIo, WhatEndsAfterALookInterrupts) {
    for (const bool event_idx : {false, true}) {
        rig.chip.offered = event_idx ? Fake::usual : Fake::usual & ~Fake::f_event_idx;
        rig.start();
        rig.read(40);
        for (int n = 0; n < 40; n++) {
            rig.chip.run(1);
            EXPECT_EQ(rig.chip.interrupting(), true) << n;
            EXPECT_TRUE(rig.driver->interrupt());
            EXPECT_EQ(rig.reap().size(), 1u);
        }
        EXPECT_TRUE(rig.reap().empty());
    }
}

TEST_F(VirtioBlkIo, IntxIsTakenBackAndShared) {
    rig.chip.msix = false;
    rig.start();
    EXPECT_FALSE(rig.driver->interrupt()) << "another device's";
    rig.read(4);
    rig.chip.run();
    EXPECT_TRUE(rig.driver->interrupt());
    EXPECT_FALSE(rig.driver->interrupt()) << "reading clears it";
    EXPECT_EQ(rig.reap().size(), 4u);
}

// 4.1.4.5.2
TEST_F(VirtioBlkIo, WithMsixTheIsrStatusIsNotRead) {
    rig.start();
    rig.read(32);
    rig.expect_right(rig.finish(32));
    EXPECT_EQ(rig.chip.isr_reads, 0u);
}

TEST_F(VirtioBlkIo, StatusesAreTold) {
    rig.chip.bad = {{8, Fake::IOERR}, {16, Fake::UNSUPP}};
    rig.start();
    rig.read(4);
    auto done = rig.finish(4);
    EXPECT_EQ(done[1], error);
    EXPECT_EQ(done[2], error) << "a read that it does not know";
    done.erase(1);
    done.erase(2);
    rig.expect_right(done);
    rig.chip.bad = {{0, Fake::UNSUPP}};
    EXPECT_EQ(rig.status(rig.make_discard(0, 0, {{8, 8, 0}})), notsupp);
    EXPECT_EQ(rig.status(rig.make(0, 0, UDRV_BLK_WRITE_ZEROES, 8, 8)), notsupp);
    EXPECT_EQ(rig.status(rig.make(0, 0, UDRV_BLK_FLUSH)), error);
    EXPECT_EQ(rig.counters().errors, 5u);
    EXPECT_EQ(rig.counters().resets, 0u);
}

TEST_F(VirtioBlkIo, IdleIsIdle) {
    virtio_blk::VirtioBlk& driver = rig.start();
    EXPECT_EQ(driver.tick(rig.now), BlkClock::time_point::max());
    rig.read(8);
    EXPECT_LE(driver.tick(rig.now), rig.now + virtio_blk::look_interval);
    rig.expect_right(rig.finish(8));
    // One more look, and then none.
    (void)driver.tick(rig.now += 1s);
    EXPECT_EQ(driver.tick(rig.now), BlkClock::time_point::max());
}

} // namespace
} // namespace udrv::test
