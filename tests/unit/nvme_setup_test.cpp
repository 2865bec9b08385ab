// SPDX-License-Identifier: MIT
//
// NVMe: from a controller as it was left to disks, and the way out. Sections are those of
// NVMe 1.4; the model enforces the order of registers.
#include <gtest/gtest.h>

#include "tests/unit/nvme_rig.hpp"

namespace udrv::test {
namespace {

using Fake = FakeNvme;

TEST(NvmeSetup, DisablesWhatAPredecessorLeft) {
    NvmeRig rig;
    nvme::disable(rig.chip);
    EXPECT_FALSE(rig.chip.enabled());
    EXPECT_FALSE(rig.chip.ready());
    EXPECT_EQ(rig.chip.resets, 1u);
    EXPECT_EQ(rig.chip.writes.size(), 1u);
}

TEST(NvmeSetup, AControllerThatStaysReadyIsAnError) {
    NvmeRig rig;
    rig.chip.rdy_sticks = true;
    const std::string error = rig.start_error();
    EXPECT_NE(error.find("CSTS is still 0x00000001 after 2500 ms"), std::string::npos) << error;
}

TEST(NvmeSetup, ADiskANamespaceInTheOrderOfTheList) {
    NvmeRig rig;
    rig.chip.add(3, 1024, 12);
    rig.chip.add(7, 512);
    rig.chip.namespaces[7].write_protected = true;
    rig.start();
    ASSERT_EQ(rig.driver->disks().size(), 3u);
    const udrv_blk_disk& first = rig.driver->disks()[0];
    EXPECT_EQ(first.unit, 1u);
    EXPECT_EQ(first.nr_sectors, NvmeRig::disk_blocks);
    EXPECT_EQ(first.logical_block_bytes, 512u);
    EXPECT_STREQ(first.model, "Fake NVMe");
    EXPECT_STREQ(first.serial, "SN-1");
    EXPECT_STREQ(first.revision, "1.0");
    EXPECT_STREQ(first.vendor, "NVMe");
    EXPECT_EQ(first.flags, std::uint32_t{UDRV_BLK_WRITE_CACHE | UDRV_BLK_FUA});
    EXPECT_EQ(first.depth, 255u);
    EXPECT_EQ(first.max_sectors, 1024u) << "MDTS 7";
    EXPECT_EQ(first.virt_boundary, 4095u);
    EXPECT_EQ(first.dma_alignment, 3u);
    EXPECT_EQ(first.max_segment_bytes, 0xffffffff);
    EXPECT_EQ(first.max_discard_segments, 256u);
    EXPECT_EQ(first.max_write_zeroes_sectors, 1024u);
    EXPECT_EQ(rig.driver->disks()[1].unit, 3u);
    EXPECT_EQ(rig.driver->disks()[1].logical_block_bytes, 4096u);
    EXPECT_EQ(rig.driver->disks()[1].nr_sectors, 8192u);
    EXPECT_EQ(rig.driver->disks()[2].unit, 7u);
    EXPECT_NE(rig.driver->disks()[2].flags & UDRV_BLK_READ_ONLY, 0u);
    EXPECT_TRUE(rig.driver->notes().empty());
}

TEST(NvmeSetup, ANamespaceWithoutCapacityIsNotServed) { // NCAP
    NvmeRig rig;
    rig.chip.add(2, 1024);
    rig.chip.namespaces[2].unallocated = true;
    EXPECT_EQ(rig.start().disks().size(), 1u);
}

TEST(NvmeSetup, WhatTheControllerCanNotDoIsNotAnnounced) {
    NvmeRig rig;
    rig.chip.oncs = 0;
    rig.chip.vwc = 0;
    rig.chip.mdts = 0;
    rig.chip.mqes = 63;
    rig.start();
    const udrv_blk_disk& disk = rig.driver->disks()[0];
    EXPECT_EQ(disk.flags, 0u);
    EXPECT_EQ(disk.max_discard_sectors, 0u);
    EXPECT_EQ(disk.max_discard_segments, 0u);
    EXPECT_EQ(disk.max_write_zeroes_sectors, 0u);
    EXPECT_EQ(disk.max_sectors, 4096u) << "2 MiB: one PRP list";
    EXPECT_EQ(disk.max_segments, 256u);
    EXPECT_EQ(disk.depth, 63u) << "one entry always stays free (4.1.2)";
}

// QEMU passes over a range that is longer than DMRSL, and reports success.
TEST(NvmeSetup, LimitsOfDeallocation) {
    NvmeRig rig;
    rig.chip.dmrl = 16;
    rig.chip.dmrsl = 1000;
    rig.chip.wzsl = 2;
    rig.chip.add(2, 100, 12);
    rig.start();
    EXPECT_EQ(rig.driver->disks()[0].max_discard_sectors, 1000u);
    EXPECT_EQ(rig.driver->disks()[0].max_discard_segments, 16u);
    EXPECT_EQ(rig.driver->disks()[0].max_write_zeroes_sectors, 32u);
    EXPECT_EQ(rig.driver->disks()[1].max_discard_sectors, 8000u);
    NvmeRig older;
    older.chip.version = 0x00010300;
    older.start();
    EXPECT_EQ(older.driver->disks()[0].max_discard_sectors, 0xffffffff);
}

TEST(NvmeSetup, NamespacesThatCanNotBeUsedAreNamed) {
    NvmeRig rig;
    rig.chip.add(2, 100);
    rig.chip.namespaces[2].metadata = 8;
    rig.chip.add(3, 100, 13);
    rig.start();
    ASSERT_EQ(rig.driver->disks().size(), 1u);
    ASSERT_EQ(rig.driver->notes().size(), 2u);
    EXPECT_NE(rig.driver->notes()[0].find("namespace 2: its format has 8 bytes of metadata"),
              std::string::npos);
    EXPECT_NE(rig.driver->notes()[1].find("namespace 3: its blocks are of 2^13 bytes"),
              std::string::npos);
}

// With more than 16 formats the index has two more bits, elsewhere in FLBAS; with fewer these
// are reserved.
TEST(NvmeSetup, FormatsBeyondTheSixteenth) {
    NvmeRig rig;
    rig.chip.add(2, 100);
    rig.chip.namespaces[2].format = 17;
    rig.chip.namespaces[2].metadata = 8;
    rig.chip.add(3, 100, 12);
    rig.chip.namespaces[3].format = 63;
    rig.start();
    ASSERT_EQ(rig.driver->notes().size(), 1u);
    EXPECT_NE(rig.driver->notes()[0].find("namespace 2: its format has 8 bytes of metadata"),
              std::string::npos);
    ASSERT_EQ(rig.driver->disks().size(), 2u);
    EXPECT_EQ(rig.driver->disks()[1].logical_block_bytes, 4096u);
}

TEST(NvmeSetup, WithoutAUsableNamespaceItSaysWhy) {
    NvmeRig rig;
    rig.chip.namespaces[1].metadata = 64;
    const std::string error = rig.start_error();
    EXPECT_NE(error.find("find a namespace"), std::string::npos) << error;
    EXPECT_NE(error.find("64 bytes of metadata"), std::string::npos) << error;
}

TEST(NvmeSetup, BeforeNvme11NamespacesAreCounted) {
    NvmeRig rig;
    rig.chip.version = 0x00010000;
    rig.chip.add(2, 100);
    rig.chip.namespaces[4].active = false;
    rig.start();
    EXPECT_EQ(rig.driver->disks().size(), 2u);
}

TEST(NvmeSetup, TheListMayBeRefused) {
    NvmeRig rig;
    rig.chip.admin_fails = {Fake::SET_FEATURES};
    EXPECT_NE(rig.start_error().find("Set Features (Number of Queues)"), std::string::npos);
}

TEST(NvmeSetup, ControllersThatAreNotForUs) {
    const auto error = [](auto change) {
        NvmeRig rig;
        change(rig.chip);
        return rig.start_error();
    };
    EXPECT_NE(error([](Fake& c) { c.mpsmin = 2; }).find("smallest memory page is 16 KiB"),
              std::string::npos);
    EXPECT_NE(error([](Fake& c) { c.nvm_command_set = false; }).find("NVM command set"),
              std::string::npos);
    EXPECT_NE(error([](Fake& c) { c.cntrltype = 2; }).find("CNTRLTYPE is 2"), std::string::npos);
    EXPECT_NE(error([](Fake& c) { c.cfs_at_enable = 1; }).find("CSTS is 0x2"), std::string::npos);
}

TEST(NvmeSetup, DoorbellsAreAsFarApartAsItSays) {
    NvmeRig rig;
    rig.chip.dstrd = 3;
    rig.fill(1);
    rig.start();
    rig.read(4);
    rig.expect_right(rig.finish(4));
}

TEST(NvmeSetup, HoweverLateItAnswers) {
    for (const unsigned lateness : {0u, 1u, 10u, 100u}) {
        NvmeRig rig;
        rig.chip.lateness = lateness;
        rig.fill(2);
        rig.start();
        rig.read(8);
        rig.expect_right(rig.finish(8));
    }
}

// 7.6.2: queues deleted, a normal shutdown, and only then the reset.
TEST(NvmeSetup, AnOrderlyEndTellsTheController) {
    NvmeRig rig;
    rig.start();
    rig.chip.resets = 0;
    rig.driver->stop();
    EXPECT_EQ(rig.chip.shutdowns, 1u);
    EXPECT_EQ(rig.chip.resets, 1u);
    EXPECT_FALSE(rig.chip.ready());
    EXPECT_EQ(rig.driver->tick(rig.now), BlkClock::time_point::max());
}

TEST(NvmeSetup, TheEndTakesBackWhatIsUnderWay) {
    NvmeRig rig;
    rig.start();
    rig.read(4);
    rig.driver->stop();
    EXPECT_EQ(rig.chip.under_way(), 0u);
    EXPECT_EQ(rig.chip.shutdowns, 1u);
    EXPECT_TRUE(rig.take().empty()) << "the kernel gives them to the next driver";
}

// 7.6.2: the deletion is wanted, but what the cache holds does not depend on it.
TEST(NvmeSetup, QueuesThatAreNotDeletedDoNotKeepTheShutdownBack) {
    for (const std::uint8_t opc : {Fake::DELETE_SQ, Fake::DELETE_CQ}) {
        NvmeRig rig;
        rig.start();
        rig.chip.unanswered = {opc};
        rig.driver->stop();
        EXPECT_EQ(rig.chip.shutdowns, 1u);
        EXPECT_FALSE(rig.chip.ready());
    }
}

TEST(NvmeSetup, AnEndInTheMiddleOfAResetTellsTheControllerToo) {
    for (int steps = 0; steps < 60; steps++) { // from EN to 0 until it serves again
        NvmeRig rig;
        rig.start();
        rig.read(4);
        rig.chip.fatal();
        rig.pass_until([&] { return rig.driver->counters().resets != 0; });
        rig.chip.lateness = 4;
        rig.pass(std::chrono::milliseconds(steps));
        rig.chip.lateness = 3;
        rig.driver->stop();
        EXPECT_EQ(rig.chip.shutdowns, 1u) << steps;
        EXPECT_FALSE(rig.chip.ready());
        EXPECT_TRUE(rig.take().empty()) << "the kernel gives them to the next driver";
    }
}

TEST(NvmeSetup, AtTheEndADeadControllerDoesNotHoldUsUp) {
    NvmeRig rig;
    rig.start();
    rig.chip.admin_hangs = true;
    rig.chip.fatal();
    rig.driver->stop();
    EXPECT_EQ(rig.chip.shutdowns, 0u);
}

} // namespace
} // namespace udrv::test
