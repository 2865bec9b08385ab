// SPDX-License-Identifier: MIT
//
// ide: reset, detection and identification, against the model.
#include <gtest/gtest.h>

#include "libudrv/error.hpp"
#include "tests/unit/ide_rig.hpp"

namespace udrv::test {
namespace {

using Write = FakeIdeChannel::Write;
using namespace std::chrono_literals;

std::string only_note(const IdeRig& rig) {
    EXPECT_EQ(rig.chip->notes().size(), 1u);
    return rig.chip->notes().size() == 1 ? rig.chip->notes()[0] : std::string{};
}

std::string error_of(IdeRig& rig, int code) {
    try {
        rig.start();
    } catch (const Error& error) {
        EXPECT_EQ(error.code().value(), code);
        return error.what();
    }
    ADD_FAILURE() << "no error";
    return {};
}

TEST(IdeSetup, StopsTheBusMasterAndResetsWithInterruptsOff) {
    IdeRig rig;
    rig.master.make_disk(1 * gib);
    rig.construct();
    const auto& writes = rig.primary.writes;
    ASSERT_GE(writes.size(), 5u);
    EXPECT_EQ(writes[0], (Write{'b', 0, 0x00}));
    EXPECT_EQ(writes[1], (Write{'t', 0, 0x02})); // nIEN
    EXPECT_EQ(writes[2], (Write{'t', 0, 0x06})); // nIEN and SRST
    EXPECT_EQ(writes[3], (Write{'t', 0, 0x02}));
    EXPECT_EQ(writes.back(), (Write{'t', 0, 0x00})); // interrupts on, at the very end
    EXPECT_EQ(rig.primary.interrupts, 0u) << "set-up polls";
    EXPECT_EQ(rig.primary.bm_status(), 0x60) << "the firmware's notes, and no old interrupt";
    EXPECT_TRUE(rig.secondary.interrupts_off()) << "a channel without disks stays quiet";
}

// Of drives of the PIIX4's own time.
TEST(IdeSetup, ACacheThatNoBitSaysHowToFlushIsFlushedAllTheSame) {
    for (const bool refuses : {false, true}) {
        IdeRig rig;
        rig.master.make_disk(1 * gib, false);
        rig.master.words[83] = 0x4000;
        rig.master.words[86] = 0;
        rig.master.refuses_flush = refuses;
        rig.start();
        EXPECT_EQ((rig.chip->disks()[0].flags & UDRV_BLK_WRITE_CACHE) != 0, !refuses);
        if (!refuses) {
            rig.submit(0, rig.request(0, 0, UDRV_BLK_FLUSH));
            rig.serve();
            EXPECT_EQ(rig.take_one().status, std::uint32_t{UDRV_BLK_OK});
            EXPECT_EQ(rig.master.opcodes, std::vector<std::uint8_t>{0xe7});
        }
    }
}

TEST(IdeSetup, FindsFourDisksInTheOrderOfTheirUnits) {
    IdeRig rig;
    std::uint64_t size = 1 * gib;
    for (auto& channel : rig.channels) {
        for (auto& drive : channel.drives) {
            drive.make_disk(size);
            size += gib;
        }
    }
    rig.start();
    const auto disks = rig.chip->disks();
    ASSERT_EQ(disks.size(), 4u);
    for (std::uint32_t i = 0; i < 4; i++) {
        EXPECT_EQ(disks[i].unit, i);
        EXPECT_EQ(disks[i].nr_sectors, (i + 1) * gib);
    }
    EXPECT_TRUE(rig.chip->notes().empty());
}

TEST(IdeSetup, SaysWhatTheControllerNeeds) {
    IdeRig rig;
    rig.master.make_disk(4 * gib);
    rig.slave.make_disk(1 * gib, false);
    rig.start();
    const udrv_blk_disk& disk = rig.chip->disks()[0];
    EXPECT_STREQ(disk.model, "FAKE IDE DISK");
    EXPECT_EQ(disk.depth, 4u);
    EXPECT_EQ(disk.max_segments, 128u);
    EXPECT_EQ(disk.max_segment_bytes, 65536u);
    EXPECT_EQ(disk.segment_boundary, 0xffffu);
    EXPECT_EQ(disk.dma_alignment, 1u);
    EXPECT_EQ(disk.max_sectors, 2048u);
    EXPECT_EQ(rig.chip->disks()[1].max_sectors, 256u); // 28-bit commands
    EXPECT_EQ(disk.flags & UDRV_BLK_WRITE_CACHE, std::uint32_t{UDRV_BLK_WRITE_CACHE});
    EXPECT_EQ(disk.flags & UDRV_BLK_FUA, 0u);
    EXPECT_EQ(disk.max_discard_sectors, 0u);
    EXPECT_EQ(disk.max_write_zeroes_sectors, 0u);
    EXPECT_EQ(disk.submission + disk.completion + disk.slots + disk.ring_depth, 0u);
}

TEST(IdeSetup, SlaveAlone) {
    IdeRig rig;
    rig.secondary.drives[1].make_disk(2 * gib);
    rig.start();
    ASSERT_EQ(rig.chip->disks().size(), 1u);
    EXPECT_EQ(rig.chip->disks()[0].unit, 3u);
}

TEST(IdeSetup, MissingSlaveIsNotTakenForItsMaster) {
    IdeRig rig;
    rig.master.make_disk(1 * gib);
    rig.start();
    EXPECT_EQ(rig.chip->disks().size(), 1u);
    EXPECT_TRUE(rig.chip->notes().empty());
    EXPECT_TRUE(rig.slave.opcodes.empty());
}

TEST(IdeSetup, AtapiDeviceIsLeftAlone) {
    IdeRig rig;
    rig.master.make_disk(1 * gib);
    rig.secondary.drives[0].kind = FakeIdeDrive::Kind::cdrom;
    rig.start();
    EXPECT_EQ(rig.chip->disks().size(), 1u);
    EXPECT_EQ(only_note(rig), "secondary master: an ATAPI device (CD, DVD or tape), which is not a "
                              "disk; left alone");
    EXPECT_TRUE(rig.secondary.drives[0].opcodes.empty());
}

TEST(IdeSetup, NoDiskAtAll) {
    for (const bool floating : {true, false}) {
        IdeRig rig;
        rig.primary.floating = rig.secondary.floating = floating;
        const std::string text = error_of(rig, ENODEV);
        EXPECT_EQ(text, "ide: look for disks: there is none on either channel");
    }
}

TEST(IdeSetup, NoDiskButACdromIsSaidToo) {
    IdeRig rig;
    rig.slave.kind = FakeIdeDrive::Kind::cdrom;
    const std::string text = error_of(rig, ENODEV);
    EXPECT_NE(text.find("none on either channel; primary slave: an ATAPI device"),
              std::string::npos)
        << text;
}

TEST(IdeSetup, NonsenseInIdentifyCostsThatDriveOnly) {
    IdeRig rig;
    rig.master.make_disk(1 * gib);
    rig.slave.make_disk(1 * gib);
    rig.slave.words.fill(0xffff);
    rig.start();
    EXPECT_EQ(rig.chip->disks().size(), 1u);
    const std::string note = only_note(rig);
    EXPECT_EQ(note.find("primary slave: not used, its IDENTIFY data are all 0xffff"), 0u) << note;
}

TEST(IdeSetup, DriveThatRefusesIdentify) {
    IdeRig rig;
    rig.master.make_disk(1 * gib);
    rig.slave.make_disk(1 * gib);
    rig.slave.refuses_identify = true;
    rig.start();
    EXPECT_EQ(only_note(rig),
              "primary slave: refuses IDENTIFY DEVICE (STATUS is 0x51, ERROR 0x04); "
              "not used");
}

TEST(IdeSetup, DriveThatNeverAnswersIdentify) {
    IdeRig rig;
    rig.master.make_disk(1 * gib);
    rig.secondary.drives[0].make_disk(1 * gib);
    rig.secondary.drives[0].dead_identify = true;
    rig.start();
    const std::string note = only_note(rig);
    EXPECT_EQ(note.find("secondary master: no answer to IDENTIFY DEVICE within 20 ms (STATUS is "
                        "still 0x80)"),
              0u)
        << note;
}

TEST(IdeSetup, DriveThatStaysBusyAfterTheReset) {
    IdeRig rig;
    rig.master.make_disk(1 * gib);
    rig.slave.make_disk(1 * gib);
    rig.slave.dead = true;
    rig.start();
    EXPECT_EQ(rig.chip->disks().size(), 1u);
    EXPECT_EQ(only_note(rig),
              "primary slave: not ready 30 ms after a reset (STATUS is still 0x80); "
              "not used");
}

TEST(IdeSetup, SlowResetIsWaitedFor) {
    IdeRig rig;
    rig.master.make_disk(1 * gib);
    rig.master.reset_looks = 40; // about 4 ms
    rig.start();
    EXPECT_EQ(rig.chip->disks().size(), 1u);
}

TEST(IdeSetup, DriveWithoutDma) {
    IdeRig rig;
    rig.master.make_disk(1 * gib);
    rig.slave.make_disk(1 * gib);
    rig.slave.words[49] = 0x0200;
    rig.start();
    EXPECT_EQ(only_note(rig),
              "primary slave: not used, it does not support DMA (IDENTIFY word 49 bit 8 is 0)");
}

// ---- Transfer modes --------------------------------------------------------------

// The model fails the test when a transfer starts with the two ends in different modes.
TEST(IdeMode, IsTheFastestThatBothKnowAtBothEndsOfEachDrive) {
    IdeRig rig; // PIIX4, and firmware's own ideas in its registers
    for (auto& channel : rig.channels) {
        for (auto& drive : channel.drives) {
            drive.make_disk(1 * gib); // selected: UDMA 5
        }
    }
    rig.slave.words[88] = 0x0001;               // UDMA 0
    rig.secondary.drives[0].words[53] = 0x0002; // word 88 is not valid: multiword DMA 2
    rig.secondary.drives[1].words[53] = 0x0002; // likewise,
    rig.secondary.drives[1].words[63] = 0x0003; // and up to 1
    rig.construct();
    const std::array<std::uint8_t, 4> wanted{0x42, 0x40, 0x22, 0x21};
    for (unsigned unit = 0; unit < 4; unit++) {
        const auto& drive = rig.channels[unit / 2].drives[unit % 2];
        EXPECT_EQ(drive.mode, wanted[unit]) << unit;
        EXPECT_EQ(rig.piix.mode_of(unit / 2, unit % 2), wanted[unit]) << unit;
        rig.submit(unit, rig.request(unit, 0, UDRV_BLK_READ, 0, 8, rig.pages(8)));
        rig.serve();
        EXPECT_EQ(rig.take_one().status, std::uint32_t{UDRV_BLK_OK}) << unit;
    }
    // Only DMA is fast: PIO stays at the compatible timing.
    EXPECT_EQ(rig.piix.bytes[2], 0xbb);
}

TEST(IdeMode, Piix3HasNoUltraDma) {
    IdeRig rig;
    rig.piix.piix4 = false; // fails the test if a register of Ultra DMA is written
    rig.config.controller = ide::Controller::piix3;
    rig.master.make_disk(1 * gib);
    rig.slave.make_disk(1 * gib);
    rig.slave.words[63] = 0x0001;
    rig.construct();
    EXPECT_EQ(rig.master.mode, 0x22);
    EXPECT_EQ(rig.slave.mode, 0x20);
    EXPECT_EQ(rig.piix.mode_of(0, 0), 0x22);
    EXPECT_EQ(rig.piix.mode_of(0, 1), 0x20);
}

TEST(IdeMode, ARefusedOneIsFollowedByTheNextSlower) {
    IdeRig rig;
    rig.master.make_disk(1 * gib);
    rig.master.refused_modes = {0x42, 0x41, 0x40};
    rig.construct();
    EXPECT_EQ(rig.master.modes, (std::vector<std::uint8_t>{0x42, 0x41, 0x40, 0x22}));
    EXPECT_EQ(rig.piix.mode_of(0, 0), 0x22);
    rig.submit(0, rig.request(0, 0, UDRV_BLK_READ, 0, 8, rig.pages(8)));
    rig.serve();
    EXPECT_EQ(rig.take_one().status, std::uint32_t{UDRV_BLK_OK});
}

TEST(IdeMode, ADriveThatTakesNoneIsNotUsed) {
    IdeRig rig;
    rig.master.make_disk(1 * gib);
    rig.slave.make_disk(1 * gib);
    rig.slave.words[88] = 0;
    rig.slave.words[63] = 0; // multiword DMA 0 is tried all the same
    rig.slave.refuses_mode = true;
    rig.start();
    EXPECT_EQ(rig.chip->disks().size(), 1u);
    EXPECT_EQ(only_note(rig),
              "primary slave: not used, it takes no DMA transfer mode (STATUS is 0x51)");
}

TEST(IdeMode, AControllerThatForgetsItsTimingIsNotUsed) {
    IdeRig rig;
    rig.master.make_disk(1 * gib);
    rig.piix.sticks = false;
    const std::string text = error_of(rig, ENODEV);
    EXPECT_NE(text.find("does not keep the timing"), std::string::npos) << text;
}

// ---- Drives that need a word first -------------------------------------------------

TEST(IdeSetup, DriveThatPoweredUpInStandbyIsSpunUp) {
    IdeRig rig;
    rig.master.make_disk(3 * gib);
    rig.master.standby = true;
    rig.construct();
    ASSERT_EQ(rig.chip->disks().size(), 1u);
    EXPECT_EQ(rig.chip->disks()[0].nr_sectors, 3 * gib);
    EXPECT_EQ(rig.master.opcodes, (std::vector<std::uint8_t>{0xec, 0xef, 0xec, 0xef}));
}

TEST(IdeSetup, CompactFlashCardIsADisk) {
    IdeRig rig;
    rig.master.make_disk(1 * gib, false);
    rig.master.words[0] = 0x848a;
    rig.start();
    EXPECT_EQ(rig.chip->disks().size(), 1u);
    EXPECT_TRUE(rig.chip->notes().empty());
}

TEST(IdeSetup, DescriptorMemoryAbove4GiBIsRefused) {
    IdeRig rig;
    rig.master.make_disk(1 * gib);
    rig.memory.continue_at(FakeMemory::high);
    const std::string text = error_of(rig, EIO);
    EXPECT_NE(text.find("where the controller cannot reach it"), std::string::npos) << text;
}

TEST(IdeSetup, FuaAndTrimAreOfferedIfTheDriveDoes) {
    IdeRig rig;
    rig.master.make_disk(1 * gib);
    rig.master.offer_fua();
    rig.master.offer_trim();
    rig.start();
    EXPECT_EQ(rig.chip->disks()[0].flags & UDRV_BLK_FUA, std::uint32_t{UDRV_BLK_FUA});
    EXPECT_EQ(rig.chip->disks()[0].max_discard_sectors, 32u * 65535);
}

// ---- Stop ------------------------------------------------------------------------

TEST(IdeStop, IdleChannelIsSilenced) {
    IdeRig rig;
    rig.master.make_disk(1 * gib);
    rig.start();
    rig.chip->stop();
    EXPECT_TRUE(rig.primary.interrupts_off());
    EXPECT_EQ(rig.primary.resets, 0u);
    EXPECT_EQ(rig.chip->tick(rig.now), BlkClock::time_point::max());
}

TEST(IdeStop, CommandUnderWayIsTakenBack) {
    IdeRig rig;
    rig.master.make_disk(1 * gib);
    rig.start();
    rig.submit(0, rig.request(0, 0, UDRV_BLK_WRITE, 8, 8, rig.pages(8)));
    rig.submit(0, rig.request(0, 1, UDRV_BLK_WRITE, 16, 8, rig.pages(8)));
    rig.chip->stop();
    EXPECT_FALSE(rig.primary.under_way());
    EXPECT_FALSE(rig.primary.bus_master_on());
    EXPECT_TRUE(rig.primary.interrupts_off());
    EXPECT_EQ(rig.primary.resets, 1u);
    rig.serve();
    EXPECT_TRUE(rig.take().empty()) << "what was not completed is the kernel's";
    EXPECT_TRUE(rig.master.medium.empty());
    // And the next driver finds all as it should be.
    rig.start();
    rig.submit(0, rig.request(0, 0, UDRV_BLK_READ, 8, 8, rig.pages(8)));
    rig.serve();
    EXPECT_EQ(rig.take_one().status, std::uint32_t{UDRV_BLK_OK});
}

} // namespace
} // namespace udrv::test
