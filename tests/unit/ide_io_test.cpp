// SPDX-License-Identifier: MIT
//
// ide: the way of requests, their order and fairness, interrupts, and errors that a
// drive reports, against the model.
#include <gtest/gtest.h>

#include "tests/unit/ide_rig.hpp"

namespace udrv::test {
namespace {

constexpr std::uint32_t ok = UDRV_BLK_OK;

struct IdeIo : ::testing::Test {
    IdeIo() {
        rig.master.make_disk(4 * gib);
        rig.slave.make_disk(2 * gib);
        rig.secondary.drives[0].make_disk(1 * gib);
        rig.start();
    }
    void read(std::uint32_t disk, std::uint32_t tag, std::uint64_t sector,
              std::uint32_t nr_sectors = 8) {
        rig.submit(
            disk, rig.request(disk, tag, UDRV_BLK_READ, sector, nr_sectors, rig.pages(nr_sectors)));
    }
    /// Tags in the order of their completion, of one disk.
    std::vector<std::uint32_t> tags(std::uint32_t disk, const std::vector<BlkCompletion>& done) {
        std::vector<std::uint32_t> result;
        for (const auto& one : done) {
            if (one.disk == disk) {
                result.push_back(one.tag);
            }
        }
        return result;
    }
    IdeRig rig;
};

TEST_F(IdeIo, WrittenDataReadBack) {
    const auto out = rig.pages(24);
    rig.fill(out, 7);
    rig.submit(0, rig.request(0, 0, UDRV_BLK_WRITE, 1000, 24, out));
    rig.serve();
    EXPECT_EQ(rig.take_one().status, ok);
    EXPECT_EQ(IdeRig::on_medium(rig.master, 1000, 24), rig.bytes(out));
    const auto in = rig.pages(24);
    rig.submit(0, rig.request(0, 0, UDRV_BLK_READ, 1000, 24, in));
    rig.serve();
    EXPECT_EQ(rig.take_one().status, ok);
    EXPECT_EQ(rig.bytes(in), rig.bytes(out));
}

TEST_F(IdeIo, SegmentsOf64KiB) { // 1 MiB in sixteen whole segments: each count is 0
    IdeRig::Segments out;
    for (std::uint32_t i = 0; i < 16; i++) {
        const std::uint64_t dma_addr = 0x10000000 + i * 0x20000;
        rig.memory.continue_at(dma_addr);
        ASSERT_EQ(rig.memory.allocate(65536).dma_addr, dma_addr);
        out.push_back({dma_addr, 65536, 0});
    }
    rig.fill(out, 11);
    rig.submit(0, rig.request(0, 0, UDRV_BLK_WRITE, 0, 2048, out));
    rig.serve();
    EXPECT_EQ(rig.take_one().status, ok);
    EXPECT_EQ(IdeRig::on_medium(rig.master, 0, 2048), rig.bytes(out));
}

TEST_F(IdeIo, SegmentsThatSplitASector) {
    const std::uint64_t at = rig.memory.allocate(4096).dma_addr;
    const IdeRig::Segments out{{at + 2, 510, 0}, {at + 1024, 2, 0}, {at + 2048, 512, 0}};
    rig.fill(out, 5);
    rig.submit(0, rig.request(0, 0, UDRV_BLK_WRITE, 3, 2, out));
    rig.serve();
    EXPECT_EQ(rig.take_one().status, ok);
    EXPECT_EQ(IdeRig::on_medium(rig.master, 3, 2), rig.bytes(out));
}

TEST_F(IdeIo, CompletionNamesDiskTagAndGeneration) {
    const BlkSubmission one = rig.request(2, 3, UDRV_BLK_READ, 0, 8, rig.pages(8));
    rig.submit(2, one);
    rig.serve();
    const BlkCompletion done = rig.take_one();
    EXPECT_EQ(done.disk, 2u);
    EXPECT_EQ(done.tag, 3u);
    EXPECT_EQ(done.generation, one.generation);
}

TEST_F(IdeIo, OneCommandAChannelBothChannelsAtOnce) {
    read(0, 0, 0);
    read(1, 0, 0);
    read(2, 0, 0);
    EXPECT_TRUE(rig.primary.under_way());
    EXPECT_TRUE(rig.secondary.under_way());
    EXPECT_TRUE(rig.primary.run());
    EXPECT_TRUE(rig.secondary.run());
    EXPECT_TRUE(rig.chip->interrupt()); // one call sees both
    EXPECT_EQ(rig.take().size(), 2u);
    EXPECT_TRUE(rig.primary.under_way()) << "the slave's turn";
    rig.serve();
    EXPECT_EQ(rig.take_one().disk, 1u);
}

TEST_F(IdeIo, DrivesTakeTurnsAndEachKeepsItsOrder) {
    for (std::uint32_t tag = 0; tag < 4; tag++) {
        read(0, tag, tag * 8);
    }
    for (std::uint32_t tag = 0; tag < 4; tag++) {
        read(1, tag, tag * 8);
    }
    std::vector<std::uint32_t> order;
    while (rig.primary.run()) {
        (void)rig.chip->interrupt();
        const auto done = rig.take();
        ASSERT_EQ(done.size(), 1u);
        EXPECT_EQ(done[0].status, ok);
        EXPECT_EQ(done[0].tag, order.size() / 2);
        order.push_back(done[0].disk);
    }
    EXPECT_EQ(order, (std::vector<std::uint32_t>{0, 1, 0, 1, 0, 1, 0, 1}));
}

TEST_F(IdeIo, FlushRunsInItsPlace) {
    const auto out = rig.pages(8);
    rig.submit(0, rig.request(0, 0, UDRV_BLK_WRITE, 0, 8, out));
    rig.submit(0, rig.request(0, 1, UDRV_BLK_FLUSH));
    rig.submit(0, rig.request(0, 2, UDRV_BLK_WRITE, 8, 8, out));
    rig.serve();
    EXPECT_EQ(tags(0, rig.take()), (std::vector<std::uint32_t>{0, 1, 2}));
    EXPECT_EQ(rig.master.opcodes, (std::vector<std::uint8_t>{0xca, 0xea, 0xca}));
}

TEST_F(IdeIo, BatchInOneCall) {
    std::vector<BlkSubmission> batch;
    for (std::uint32_t tag = 0; tag < 4; tag++) {
        batch.push_back(rig.request(0, tag, UDRV_BLK_READ, tag * 8, 8, rig.pages(8)));
    }
    rig.chip->submit(0, batch);
    rig.serve();
    EXPECT_EQ(tags(0, rig.take()), (std::vector<std::uint32_t>{0, 1, 2, 3}));
}

TEST_F(IdeIo, EachDiskCompletesInItsOwnRing) {
    read(0, 0, 0);
    read(1, 0, 0);
    read(2, 0, 0);
    rig.serve();
    const auto done = rig.take();
    for (std::uint32_t disk = 0; disk < 3; disk++) {
        EXPECT_EQ(tags(disk, done), std::vector<std::uint32_t>{0});
    }
    EXPECT_EQ(rig.take().size(), 0u);
}

// ---- Interrupts ------------------------------------------------------------------

TEST_F(IdeIo, NotItsInterrupt) {
    EXPECT_FALSE(rig.chip->interrupt());
    read(0, 0, 0);
    EXPECT_FALSE(rig.chip->interrupt());
    EXPECT_TRUE(rig.primary.under_way());
}

TEST_F(IdeIo, NoiseDoesNotEndACommand) {
    read(0, 0, 0);
    rig.primary.noise();
    EXPECT_TRUE(rig.chip->interrupt()); // cleared, but the drive is busy
    EXPECT_EQ(rig.primary.bm_status() & 4, 0);
    EXPECT_TRUE(rig.primary.bus_master_on());
    EXPECT_TRUE(rig.take().empty());
    rig.serve();
    EXPECT_EQ(rig.take_one().status, ok);
}

TEST_F(IdeIo, NoiseOnAnIdleChannelIsCleared) {
    rig.secondary.noise();
    EXPECT_TRUE(rig.chip->interrupt());
    EXPECT_EQ(rig.secondary.bm_status() & 4, 0);
    EXPECT_FALSE(rig.chip->interrupt());
    read(2, 0, 0);
    rig.serve();
    EXPECT_EQ(rig.take_one().status, ok);
}

TEST_F(IdeIo, FirmwareNotesSurvive) {
    rig.primary.bm_status(0x20);
    read(0, 0, 0);
    rig.serve();
    EXPECT_EQ(rig.primary.bm_status(), 0x20);
}

TEST_F(IdeIo, DeviceThatIsGoneIsNotInterrupting) {
    read(0, 0, 0);
    rig.primary.bm_status(0xff);
    EXPECT_FALSE(rig.chip->interrupt());
    EXPECT_TRUE(rig.take().empty());
}

// ---- Errors ----------------------------------------------------------------------

TEST_F(IdeIo, UnreadableSectorFailsItsRequestOnly) {
    rig.master.unc = {17};
    read(0, 0, 0);
    read(0, 1, 16);
    read(0, 2, 24);
    rig.serve();
    const auto done = rig.take();
    ASSERT_EQ(done.size(), 3u);
    EXPECT_EQ(done[0].status, ok);
    EXPECT_EQ(done[1].status, std::uint32_t{UDRV_BLK_MEDIUM});
    EXPECT_EQ(done[2].status, ok);
    EXPECT_EQ(rig.primary.resets, 0u);
    EXPECT_EQ(rig.chip->counters(0).device_errors, 1u);
}

TEST_F(IdeIo, AbortAndFaultAreIoErrors) {
    rig.master.aborts = 1;
    read(0, 0, 0);
    rig.serve();
    EXPECT_EQ(rig.take_one().status, std::uint32_t{UDRV_BLK_IOERR});
    rig.master.faults = 1;
    rig.submit(0, rig.request(0, 0, UDRV_BLK_FLUSH));
    rig.serve();
    EXPECT_EQ(rig.take_one().status, std::uint32_t{UDRV_BLK_IOERR});
    read(0, 0, 0);
    rig.serve();
    EXPECT_EQ(rig.take_one().status, ok);
}

TEST_F(IdeIo, CrcErrorsAreTriedAgainThreeTimes) {
    rig.master.crc_errors = 3;
    read(0, 0, 0);
    rig.serve();
    EXPECT_EQ(rig.take_one().status, ok);
    EXPECT_EQ(rig.master.opcodes.size(), 4u);
    rig.master.crc_errors = 4;
    read(0, 0, 0);
    read(0, 1, 0);
    rig.serve();
    const auto done = rig.take();
    ASSERT_EQ(done.size(), 2u);
    EXPECT_EQ(done[0].status, std::uint32_t{UDRV_BLK_IOERR});
    EXPECT_EQ(done[1].status, ok);
    EXPECT_EQ(rig.chip->counters(0).retries, 6u);
}

TEST_F(IdeIo, LostBytesAreNotSuccess) {
    rig.primary.short_count = true;
    const auto in = rig.pages(8);
    rig.master.medium[7].fill(std::byte{0x5a});
    rig.submit(0, rig.request(0, 0, UDRV_BLK_READ, 0, 8, in));
    rig.serve();
    EXPECT_EQ(rig.take_one().status, ok);
    EXPECT_EQ(rig.chip->counters(0).retries, 1u);
    EXPECT_EQ(rig.bytes(in), IdeRig::on_medium(rig.master, 0, 8));
}

TEST_F(IdeIo, BadRequestsCompleteWithoutReachingTheDrive) {
    rig.submit(0, rig.request(0, 0, UDRV_BLK_READ, 4 * gib - 1, 2, rig.pages(2))); // past the end
    rig.submit(0, rig.request(0, 1, UDRV_BLK_READ, 0, 8, rig.pages(4)));           // too few bytes
    rig.submit(0, rig.request(0, 2, UDRV_BLK_WRITE_ZEROES, 0, 8));
    rig.submit(0, rig.request(0, 3, UDRV_BLK_DISCARD, 0, 8)); // not offered
    const auto done = rig.take();
    ASSERT_EQ(done.size(), 4u);
    EXPECT_EQ(done[0].status, std::uint32_t{UDRV_BLK_IOERR});
    EXPECT_EQ(done[1].status, std::uint32_t{UDRV_BLK_IOERR});
    EXPECT_EQ(done[2].status, std::uint32_t{UDRV_BLK_NOTSUPP});
    EXPECT_EQ(done[3].status, std::uint32_t{UDRV_BLK_NOTSUPP});
    EXPECT_TRUE(rig.master.opcodes.empty());
}

// ---- Commands of people ---------------------------------------------------------------

TEST(IdeAta, BlocksAndRegistersComeBack) {
    IdeRig rig;
    rig.master.make_disk(4 * gib);
    rig.start();
    struct Slot {
        udrv_blk_request request{};
        udrv_blk_ata ata{};
    };
    std::array<Slot, 4> slots;
    slots[0].ata.command = 0xec;
    slots[0].ata.nr_blocks = 1;
    slots[1].ata.features = 0xd0;
    slots[1].ata.nr_blocks = 1;
    slots[2].ata.features = 0xda;
    for (unsigned n : {1u, 2u}) {
        slots[n].ata.command = 0xb0;
        slots[n].ata.lba_mid = 0x4f;
        slots[n].ata.lba_high = 0xc2;
    }
    slots[3].ata.command = 0xe5;
    for (std::uint32_t n = 0; n < slots.size(); n++) {
        slots[n].request.op = UDRV_BLK_ATA;
        rig.submit(0, {n, 70 + n, &slots[n].request});
    }
    rig.serve();
    const auto done = rig.take();
    ASSERT_EQ(done.size(), slots.size());
    for (const BlkCompletion& one : done) {
        EXPECT_EQ(one.status, std::uint32_t{UDRV_BLK_OK}) << one.tag;
        EXPECT_EQ(slots[one.tag].ata.out_status & 0x89, 0) << one.tag;
    }
    EXPECT_EQ(std::memcmp(slots[0].ata.data, rig.master.words.data(), 512), 0);
    for (unsigned i = 0; i < 512; i += 2) {
        const unsigned word = i / 2 + 0xd0;
        ASSERT_EQ(slots[1].ata.data[i] | slots[1].ata.data[i + 1] << 8, word) << i;
    }
    EXPECT_EQ(slots[2].ata.out_lba_mid, 0xf4);
    EXPECT_EQ(slots[2].ata.out_lba_high, 0x2c);
    EXPECT_EQ(slots[3].ata.out_count, 0xff);
    EXPECT_FALSE(rig.primary.bus_master_on());
}

} // namespace
} // namespace udrv::test
