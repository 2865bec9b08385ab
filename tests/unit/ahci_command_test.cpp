// SPDX-License-Identifier: MIT
//
// AHCI: commands as bytes, worked out by hand from the standards (sections named), and
// the way of requests to the chip and back: batches, depth, order of flushes.
#include <gtest/gtest.h>

#include "tests/unit/ahci_rig.hpp"

namespace udrv::test {
namespace {

using Fake = FakeAhci;
using FisBytes = std::array<std::uint8_t, 20>;

// ---- Serial ATA, "Register - Host to Device" FIS ------------------------------------------

TEST(AhciFis, ReadFpdmaQueued) {                    // ACS-3, READ FPDMA QUEUED
    const FisBytes expected{0x27, 0x80, 0x60, 0x34, // FEATURES 7:0: blocks
                            0xbc, 0x9a, 0x78, 0x40, // LBA 23:0, DEVICE: LBA
                            0x56, 0x34, 0x12, 0x12, // LBA 47:24, FEATURES 15:8
                            0xf8, 0x00, 0x00, 0x00, // COUNT 7:3: tag 31
                            0x00, 0x00, 0x00, 0x00};
    EXPECT_EQ(ahci::encode(ahci::queued_transfer(false, 0x1234'5678'9abc, 0x1234, 31, false)),
              expected);
}

TEST(AhciFis, WriteFpdmaQueuedWithFua) { // ACS-3, WRITE FPDMA QUEUED: DEVICE bit 7
    const FisBytes expected{0x27, 0x80, 0x61, 0x01, 0x00, 0x00, 0x00, 0xc0, 0x00, 0x00,
                            0x00, 0x00, 0x28, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00};
    EXPECT_EQ(ahci::encode(ahci::queued_transfer(true, 0, 1, 5, true)), expected);
}

TEST(AhciFis, DmaExt) { // ACS-3, READ DMA EXT, WRITE DMA EXT, WRITE DMA FUA EXT
    FisBytes expected{0x27, 0x80, 0x25, 0x00, 0xbc, 0x9a, 0x78, 0x40, 0x56, 0x34,
                      0x12, 0x00, 0x34, 0x12, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00};
    EXPECT_EQ(ahci::encode(ahci::transfer(false, 0x1234'5678'9abc, 0x1234, true, false)), expected);
    expected[2] = 0x35;
    EXPECT_EQ(ahci::encode(ahci::transfer(true, 0x1234'5678'9abc, 0x1234, true, false)), expected);
    expected[2] = 0x3d;
    EXPECT_EQ(ahci::encode(ahci::transfer(true, 0x1234'5678'9abc, 0x1234, true, true)), expected);
}

TEST(AhciFis, Dma28) { // ACS-3, READ DMA: LBA 27:24 in DEVICE, COUNT 0 is 256
    const FisBytes expected{0x27, 0x80, 0xc8, 0x00, 0xef, 0xcd, 0xab, 0x4e, 0x00, 0x00,
                            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00};
    EXPECT_EQ(ahci::encode(ahci::transfer(false, 0xeabcdef, 256, false, false)), expected);
}

TEST(AhciFis, OthersWithoutAddress) {
    const auto start = [](const ahci::Taskfile& task) {
        const FisBytes fis = ahci::encode(task);
        for (std::size_t i = 8; i < 20; i++) {
            EXPECT_TRUE(i == 12 || fis[i] == 0) << i;
        }
        return std::array<unsigned, 9>{fis[0], fis[1], fis[2], fis[3], fis[4],
                                       fis[5], fis[6], fis[7], fis[12]};
    };
    using Start = std::array<unsigned, 9>;
    EXPECT_EQ(start(ahci::flush(true)), (Start{0x27, 0x80, 0xea, 0, 0, 0, 0, 0x40, 0}));
    EXPECT_EQ(start(ahci::flush(false)), (Start{0x27, 0x80, 0xe7, 0, 0, 0, 0, 0x40, 0}));
    EXPECT_EQ(start(ahci::trim()), (Start{0x27, 0x80, 0x06, 0x01, 0, 0, 0, 0x40, 1}));
    EXPECT_EQ(start(ahci::identify()), (Start{0x27, 0x80, 0xec, 0, 0, 0, 0, 0, 0}));
    EXPECT_EQ(start(ahci::read_log(0x10)), (Start{0x27, 0x80, 0x2f, 0, 0x10, 0, 0, 0x40, 1}));
}

// ---- AHCI 4.2.2 command header, 4.2.3 command table -----------------------------------------

TEST(AhciCommand, HeaderTableAndPrdsInMemory) {
    AhciRig rig;
    rig.start();
    const BlkSubmission write = rig.make(0, 9, UDRV_BLK_WRITE, 0x123, 8, 3);
    const std::uint64_t buffer = rig.tag(0, 9).buffer.dma_addr;
    rig.submit(write);

    const auto words = [&](std::uint64_t dma_addr, std::size_t count) {
        std::vector<std::uint32_t> value(count);
        std::memcpy(value.data(), rig.memory.translate(dma_addr, 4 * count), 4 * count);
        return value;
    };
    const std::uint64_t list =
        std::uint64_t{rig.chip.at(0, Fake::CLBU)} << 32 | rig.chip.at(0, Fake::CLB);
    const auto header = words(list + 9 * 32, 8);
    EXPECT_EQ(header[0], 0x00030045u); // PRDTL 3, W, CFL 5
    EXPECT_EQ(header[1], 0u);          // PRDBC
    EXPECT_EQ(header[2] % 128, 0u);
    const std::uint64_t table = std::uint64_t{header[3]} << 32 | header[2];
    const auto prds = words(table + 0x80, 12);
    // 4,096 bytes in three parts: 1364, 1364, 1368; DBC is the length less one.
    const std::array<std::uint32_t, 3> offset{0, 1364, 2728};
    const std::array<std::uint32_t, 3> dbc{0x553, 0x553, 0x557};
    for (std::size_t i = 0; i < 3; i++) {
        EXPECT_EQ(prds[4 * i], static_cast<std::uint32_t>(buffer + offset.at(i)));
        EXPECT_EQ(prds[4 * i + 1], static_cast<std::uint32_t>(buffer >> 32));
        EXPECT_EQ(prds[4 * i + 2], 0u);
        EXPECT_EQ(prds[4 * i + 3], dbc.at(i));
    }
    EXPECT_EQ(rig.finish(1)[9], std::uint32_t{UDRV_BLK_OK});
    EXPECT_TRUE(rig.same(0, 9));
}

TEST(AhciCommand, ABatchIsOneWriteOfSActiveAndThenOneOfCommandIssue) {
    AhciRig rig;
    rig.start();
    rig.submit({rig.make(0, 0, UDRV_BLK_READ, 0, 8), rig.make(0, 7, UDRV_BLK_READ, 8, 8),
                rig.make(0, 31, UDRV_BLK_WRITE, 16, 8)});
    const std::vector<Fake::Access> expected{{Fake::place(0, Fake::SACT), 0x80000081},
                                             {Fake::place(0, Fake::CI), 0x80000081}};
    EXPECT_EQ(rig.chip.writes, expected);
    EXPECT_EQ(rig.chip.reads, 0u);
}

TEST(AhciCommand, OneInterruptForManyCompletionsCostsFiveRegisterAccesses) {
    AhciRig rig;
    rig.start();
    std::vector<BlkSubmission> many;
    for (std::uint32_t tag = 0; tag < 32; tag++) {
        many.push_back(rig.make(0, tag, UDRV_BLK_READ, tag * 8, 8));
    }
    rig.submit(many);
    EXPECT_EQ(rig.chip.with_disk(0), 32u);
    rig.chip.run();
    rig.chip.forget();
    EXPECT_EQ(rig.take().size(), 32u);
    // Read IS, PxIS, PxSACT; clear PxIS, then IS (10.7.1.1).
    EXPECT_EQ(rig.chip.reads, 3u);
    const std::vector<Fake::Access> expected{{Fake::place(0, Fake::PIS), 8}, {Fake::IS, 1}};
    EXPECT_EQ(rig.chip.writes, expected);
    EXPECT_FALSE(rig.chip.interrupting());
    EXPECT_FALSE(rig.driver->interrupt()) << "not its interrupt";
}

TEST(AhciCommand, PollingReadsNoRegisterUntilTheDiskSendsSomething) {
    AhciRig rig;
    rig.start();
    rig.submit({rig.make(0, 1, UDRV_BLK_READ, 0, 8), rig.make(0, 2, UDRV_BLK_READ, 8, 8)});
    EXPECT_EQ(rig.reap().size(), 0u);
    EXPECT_EQ(rig.chip.reads, 0u);
    rig.chip.run(0, 1);
    EXPECT_EQ(rig.reap().size(), 1u) << "without an interrupt";
    EXPECT_EQ(rig.chip.reads, 1u);
    EXPECT_EQ(rig.reap().size(), 0u);
    EXPECT_EQ(rig.chip.reads, 1u);
}

TEST(AhciCommand, FullDepthOutOfOrderWithTheRightData) {
    AhciRig rig;
    rig.fill(0, 7);
    rig.start();
    for (std::uint32_t round = 0; round < 20; round++) {
        std::vector<BlkSubmission> many;
        for (std::uint32_t tag = 0; tag < 32; tag++) {
            many.push_back(rig.make(0, tag, UDRV_BLK_READ, (tag * 97 + round * 61) % 4000, 17, 5));
        }
        rig.submit(many);
        for (const auto& [tag, status] : rig.finish(32)) {
            EXPECT_EQ(status, std::uint32_t{UDRV_BLK_OK});
            EXPECT_TRUE(rig.same(0, tag));
        }
    }
    EXPECT_EQ(rig.driver->counters(0).reissued, 0u);
}

TEST(AhciCommand, EachDiskCompletesInItsOwnRing) {
    AhciRig rig;
    rig.chip.plug(1, 100);
    rig.start();
    for (std::uint32_t disk = 0; disk < 2; disk++) {
        rig.submit({rig.make(disk, 4, UDRV_BLK_READ, 0, 1), rig.make(disk, 5, UDRV_BLK_READ, 1, 1)},
                   disk);
    }
    rig.chip.run();
    EXPECT_TRUE(rig.driver->interrupt());
    const auto done = rig.reap();
    ASSERT_EQ(done.size(), 4u);
    EXPECT_EQ(done[1].disk, 0u);
    EXPECT_EQ(done[2].disk, 1u);
    EXPECT_EQ(rig.reap().size(), 0u);
}

// ---- Queued and other commands -----------------------------------------------------------

TEST(AhciOrder, AFlushWaitsForTheQueueAndHoldsBackWhatFollows) {
    AhciRig rig;
    rig.start();
    rig.submit({rig.make(0, 0, UDRV_BLK_WRITE, 0, 8), rig.make(0, 1, UDRV_BLK_WRITE, 8, 8),
                rig.make(0, 2, UDRV_BLK_FLUSH), rig.make(0, 3, UDRV_BLK_WRITE, 16, 8)});
    rig.submit(rig.make(0, 4, UDRV_BLK_WRITE, 24, 8));
    auto& disk = rig.chip.disks[0];
    const auto arrived = [&] {
        rig.chip.settle();
        return disk.log.size();
    };
    EXPECT_EQ(arrived(), 2u);
    rig.chip.run(0, 1);
    EXPECT_EQ(rig.take().size(), 1u);
    EXPECT_EQ(arrived(), 2u) << "one write is still with the disk";
    rig.chip.run(0, 1);
    EXPECT_EQ(rig.take().size(), 1u);
    ASSERT_EQ(arrived(), 3u);
    EXPECT_EQ(disk.log[2].opcode(), 0xea);
    rig.chip.run(0, 1);
    ASSERT_EQ(rig.take().size(), 1u);
    EXPECT_EQ(arrived(), 5u) << "and then both others at once";
    EXPECT_EQ(rig.finish(2).size(), 2u);
    EXPECT_EQ(disk.finished, (std::vector<std::uint8_t>{0x61, 0x61, 0xea, 0x61, 0x61}));
}

TEST(AhciOrder, WithoutQueuingOneAtATime) {
    ahci::Config config = quick_ahci();
    config.ncq = false;
    AhciRig rig(config);
    rig.fill(0, 3);
    rig.start();
    rig.submit({rig.make(0, 0, UDRV_BLK_READ, 100, 16, 2), rig.make(0, 1, UDRV_BLK_FLUSH),
                rig.make(0, 2, UDRV_BLK_WRITE, 8, 8, 1, UDRV_BLK_REQ_FUA)});
    EXPECT_EQ(rig.chip.with_disk(0), 1u);
    EXPECT_EQ(rig.writes_to(Fake::place(0, Fake::SACT)), 0u);
    for (const auto& [tag, status] : rig.finish(3)) {
        EXPECT_EQ(status, std::uint32_t{UDRV_BLK_OK}) << tag;
    }
    EXPECT_TRUE(rig.same(0, 0));
    EXPECT_EQ(rig.chip.disks[0].finished, (std::vector<std::uint8_t>{0x25, 0xea, 0x3d}));
}

TEST(AhciOrder, A28BitDisk) {
    AhciRig rig;
    rig.chip.plug(0, 0x1000);
    auto& words = rig.chip.disks[0].identify;
    words[83] = 0x5000;
    words[76] = 0x000e;
    seal(words);
    rig.fill(0, 4);
    EXPECT_EQ(rig.start().disks()[0].max_sectors, 256u);
    rig.submit({rig.make(0, 0, UDRV_BLK_READ, 0x123, 256, 7), rig.make(0, 1, UDRV_BLK_FLUSH)});
    rig.finish(2);
    EXPECT_TRUE(rig.same(0, 0));
    EXPECT_EQ(rig.chip.disks[0].finished, (std::vector<std::uint8_t>{0xc8, 0xe7}));
}

TEST(AhciOrder, FuaAndTrim) {
    AhciRig rig;
    rig.fill(0, 5);
    rig.start();
    rig.submit(rig.make(0, 0, UDRV_BLK_WRITE, 0, 8, 1, UDRV_BLK_REQ_FUA));
    rig.submit(rig.make(0, 1, UDRV_BLK_DISCARD, 100, 200));
    EXPECT_EQ(rig.finish(2).size(), 2u);
    EXPECT_TRUE(rig.chip.disks[0].log[0].fua());
    const auto& data = rig.chip.disks[0].data;
    EXPECT_TRUE(std::all_of(data.begin() + 100 * 512, data.begin() + 300 * 512,
                            [](auto byte) { return byte == 0; }));
    EXPECT_NE(data[100 * 512 - 1] | data[300 * 512] | data[300 * 512 + 1], 0);
}

TEST(AhciOrder, ATrimOfManyRangesLeavesWhatLiesBetween) {
    AhciRig rig;
    rig.fill(0, 5);
    rig.start();
    const std::vector<std::uint8_t> before = rig.chip.disks[0].data;
    rig.submit(rig.make_discard(0, 0, {{300, 8, 0}, {100, 16, 0}, {116, 4, 0}, {200, 8, 0}}));
    EXPECT_EQ(rig.finish(1)[0], std::uint32_t{UDRV_BLK_OK});
    const auto& data = rig.chip.disks[0].data;
    for (std::size_t block = 0; block < 400; block++) {
        const bool gone = (block >= 100 && block < 120) || (block >= 200 && block < 208) ||
                          (block >= 300 && block < 308);
        for (std::size_t i = block * 512; i < (block + 1) * 512; i++) {
            ASSERT_EQ(data[i], gone ? 0 : before[i]) << "block " << block;
        }
    }
    // One range that is not on the disk, and nothing of the others is done.
    rig.submit(rig.make_discard(0, 0, {{0, 8, 0}, {AhciRig::disk_blocks - 4, 8, 0}}));
    EXPECT_NE(rig.finish(1)[0], std::uint32_t{UDRV_BLK_OK});
    EXPECT_EQ(rig.chip.disks[0].data[0], before[0]);
}

TEST(AhciOrder, RequestsThatMakeNoSenseFailAlone) {
    AhciRig rig;
    rig.start();
    std::vector<BlkSubmission> bad{
        rig.make(0, 0, UDRV_BLK_READ, AhciRig::disk_blocks - 1, 2), // over the end
        rig.make(0, 1, UDRV_BLK_READ, ~std::uint64_t{0}, 2),
        rig.make(0, 2, UDRV_BLK_READ, 0, 0),
        rig.make(0, 3, UDRV_BLK_READ, 0, 200, 129), // too many segments
        rig.make(0, 4, UDRV_BLK_READ, 0, 8),
        rig.make(0, 5, UDRV_BLK_READ, 0, 8),
        rig.make(0, 6, UDRV_BLK_READ, 0, 8),
    };
    rig.tag(0, 4).segments()[0].len_bytes = 4094; // shorter than the request
    rig.tag(0, 5).segments()[0].dma_addr |= 1;
    rig.tag(0, 6).segments()[0].len_bytes = 0;
    bad.push_back(rig.make(0, 7, UDRV_BLK_WRITE_ZEROES, 0, 8));
    bad.push_back(rig.make(0, 8, 77, 0, 8));
    bad.push_back(rig.make(0, 9, UDRV_BLK_READ, 0, 8)); // a good one
    rig.submit(bad);
    for (const auto& [tag, status] : rig.finish(10)) {
        EXPECT_EQ(status, tag == 9   ? std::uint32_t{UDRV_BLK_OK}
                          : tag >= 7 ? std::uint32_t{UDRV_BLK_NOTSUPP}
                                     : std::uint32_t{UDRV_BLK_IOERR})
            << tag;
    }
    EXPECT_EQ(rig.chip.disks[0].log.size(), 1u);
}

// ---- Commands of people ---------------------------------------------------------------

udrv_blk_ata smart(std::uint8_t feature, std::uint8_t lba_low, std::uint8_t nr_blocks) {
    udrv_blk_ata command{};
    command.command = 0xb0;
    command.features = feature;
    command.lba_low = lba_low;
    command.lba_mid = 0x4f;
    command.lba_high = 0xc2;
    command.count = nr_blocks;
    command.nr_blocks = nr_blocks;
    return command;
}

TEST(AhciAta, BlocksAndRegistersComeBack) {
    AhciRig rig;
    rig.start();
    udrv_blk_ata identify{};
    identify.command = 0xec;
    identify.nr_blocks = 1;
    udrv_blk_ata power{};
    power.command = 0xe5;
    rig.submit({rig.make(0, 9, UDRV_BLK_READ, 0, 8), rig.make_ata(0, 3, identify),
                rig.make_ata(0, 4, smart(0xd5, 6, 1)), rig.make_ata(0, 5, smart(0xda, 0, 0)),
                rig.make_ata(0, 6, power), rig.make(0, 10, UDRV_BLK_READ, 8, 8)});
    for (const auto& [tag, status] : rig.finish(6)) {
        EXPECT_EQ(status, std::uint32_t{UDRV_BLK_OK}) << tag;
    }
    EXPECT_EQ(std::memcmp(rig.answer(0, 3).data, rig.chip.disks[0].identify.data(), 512), 0);
    for (unsigned i = 0; i < 512; i++) {
        ASSERT_EQ(rig.answer(0, 4).data[i], (i + 0xd5 + 6) & 0xff) << i;
    }
    EXPECT_EQ(rig.answer(0, 5).out_lba_mid, 0xf4);
    EXPECT_EQ(rig.answer(0, 5).out_lba_high, 0x2c);
    EXPECT_EQ(rig.answer(0, 5).out_status & 0x51, 0x50);
    EXPECT_EQ(rig.answer(0, 6).out_count, 0xff);
}

TEST(AhciAta, OneThatTheDiskRefusesFailsAlone) {
    AhciRig rig;
    rig.start();
    rig.submit({rig.make_ata(0, 0, smart(0xd1, 0, 1)), rig.make(0, 1, UDRV_BLK_READ, 0, 8)});
    auto done = rig.finish(2);
    EXPECT_EQ(done[0], std::uint32_t{UDRV_BLK_IOERR});
    EXPECT_EQ(done[1], std::uint32_t{UDRV_BLK_OK});
}

} // namespace
} // namespace udrv::test
