// SPDX-License-Identifier: MIT
//
// ide: bytes of commands and of descriptor tables, worked out by hand from the
// standards, and how their results are judged. Register order and opcodes: ATA/ATAPI-6
// and ACS-3, section of each command; descriptors: "Programming Interface for Bus
// Master IDE Controller", Physical Region Descriptor.
#include <gtest/gtest.h>

#include "tests/unit/ide_rig.hpp"

namespace udrv::test {
namespace {

using Writes = std::vector<FakeIdeChannel::Write>;

/// A 48-bit disk with everything as master, a 28-bit one as slave.
struct IdeCommand : ::testing::Test {
    IdeCommand() {
        rig.master.make_disk(std::uint64_t{1} << 48);
        rig.master.offer_fua();
        rig.master.offer_trim();
        rig.slave.make_disk(0x0fffffff, false);
        rig.start();
    }

    /// Port writes of one command, without the table's address and the interrupt.
    Writes writes_of(std::uint32_t disk, std::uint8_t op, std::uint64_t sector = 0,
                     std::uint32_t nr_sectors = 0, std::uint8_t flags = 0) {
        const bool data = op == UDRV_BLK_READ || op == UDRV_BLK_WRITE;
        const auto segments = data ? rig.pages(nr_sectors) : IdeRig::Segments{};
        rig.primary.writes.clear();
        rig.submit(disk, rig.request(disk, 0, op, sector, nr_sectors, segments, flags));
        Writes writes = rig.primary.writes;
        std::erase_if(writes, [](const auto& w) { return w.window == 'b' && w.offset == 4; });
        rig.serve();
        EXPECT_EQ(rig.take_one().status, std::uint32_t{UDRV_BLK_OK});
        return writes;
    }
    IdeRig rig;
};

TEST_F(IdeCommand, ReadDma) { // C8h; LBA 0abcdefh, 8 sectors, device 0
    EXPECT_EQ(writes_of(0, UDRV_BLK_READ, 0x0abcdef, 8), (Writes{{'c', 6, 0xe0},
                                                                 {'b', 0, 0x08}, // to memory
                                                                 {'c', 2, 0x08},
                                                                 {'c', 3, 0xef},
                                                                 {'c', 4, 0xcd},
                                                                 {'c', 5, 0xab},
                                                                 {'c', 7, 0xc8},
                                                                 {'b', 0, 0x09}}));
}

TEST_F(IdeCommand, WriteDmaToTheSlave) { // CAh; LBA 7654321h: bits 27:24 go to DEVICE
    EXPECT_EQ(writes_of(1, UDRV_BLK_WRITE, 0x7654321, 1), (Writes{{'c', 6, 0xf7},
                                                                  {'b', 0, 0x00},
                                                                  {'c', 2, 0x01},
                                                                  {'c', 3, 0x21},
                                                                  {'c', 4, 0x43},
                                                                  {'c', 5, 0x65},
                                                                  {'c', 7, 0xca},
                                                                  {'b', 0, 0x01}}));
}

TEST_F(IdeCommand, ReadDmaExtWritesHighHalvesFirst) { // 25h; LBA 123456789abch, 258
    EXPECT_EQ(writes_of(0, UDRV_BLK_READ, 0x123456789abc, 258), (Writes{{'c', 6, 0xe0},
                                                                        {'b', 0, 0x08},
                                                                        {'c', 2, 0x01},
                                                                        {'c', 3, 0x56},
                                                                        {'c', 4, 0x34},
                                                                        {'c', 5, 0x12},
                                                                        {'c', 2, 0x02},
                                                                        {'c', 3, 0xbc},
                                                                        {'c', 4, 0x9a},
                                                                        {'c', 5, 0x78},
                                                                        {'c', 7, 0x25},
                                                                        {'b', 0, 0x09}}));
}

TEST_F(IdeCommand, WriteDmaExt) { // 35h
    const Writes writes = writes_of(0, UDRV_BLK_WRITE, 0xfffffffffff8, 8);
    EXPECT_EQ(writes[2], (FakeIdeChannel::Write{'c', 2, 0x00}));
    EXPECT_EQ(writes[10], (FakeIdeChannel::Write{'c', 7, 0x35}));
    EXPECT_EQ(writes[11], (FakeIdeChannel::Write{'b', 0, 0x01}));
}

TEST_F(IdeCommand, WriteDmaFuaExtAlsoAtLowAddresses) { // 3Dh has no 28-bit form
    const Writes writes = writes_of(0, UDRV_BLK_WRITE, 16, 8, UDRV_BLK_REQ_FUA);
    EXPECT_EQ(writes[10], (FakeIdeChannel::Write{'c', 7, 0x3d}));
}

TEST_F(IdeCommand, FlushesTakeNoParameters) { // EAh with 48-bit commands, E7h without
    EXPECT_EQ(writes_of(0, UDRV_BLK_FLUSH), (Writes{{'c', 6, 0xe0}, {'c', 7, 0xea}}));
    EXPECT_EQ(writes_of(1, UDRV_BLK_FLUSH), (Writes{{'c', 6, 0xf0}, {'c', 7, 0xe7}}));
}

TEST_F(IdeCommand, DataSetManagement) { // 06h; FEATURE 0001h, COUNT 0001h, LBA reserved
    EXPECT_EQ(writes_of(0, UDRV_BLK_DISCARD, 0x10000, 70000), (Writes{{'c', 6, 0xe0},
                                                                      {'b', 0, 0x00},
                                                                      {'c', 1, 0x00},
                                                                      {'c', 1, 0x01},
                                                                      {'c', 2, 0x00},
                                                                      {'c', 3, 0x00},
                                                                      {'c', 4, 0x00},
                                                                      {'c', 5, 0x00},
                                                                      {'c', 2, 0x01},
                                                                      {'c', 3, 0x00},
                                                                      {'c', 4, 0x00},
                                                                      {'c', 5, 0x00},
                                                                      {'c', 7, 0x06},
                                                                      {'b', 0, 0x01}}));
    // LBA Range Entries: 65,535 blocks, and the 4,465 left over.
    const std::vector<std::pair<std::uint64_t, std::uint32_t>> expected{{0x10000, 65535},
                                                                        {0x1ffff, 4465}};
    EXPECT_EQ(rig.master.trimmed, expected);
}

TEST_F(IdeCommand, DataSetManagementOfManyRanges) {
    const std::array<udrv_blk_range, 3> ranges{{{5000, 8, 0}, {16, 4, 0}, {900, 2, 0}}};
    IdeRig::Segments raw(ranges.size());
    std::memcpy(raw.data(), ranges.data(), sizeof ranges);
    rig.submit(0, rig.request(0, 0, UDRV_BLK_DISCARD, 5000, 14, raw));
    rig.serve();
    EXPECT_EQ(rig.take_one().status, std::uint32_t{UDRV_BLK_OK});
    const std::vector<std::pair<std::uint64_t, std::uint32_t>> expected{
        {5000, 8}, {16, 4}, {900, 2}};
    EXPECT_EQ(rig.master.trimmed, expected);
    raw.resize(1);
    const udrv_blk_range outside{(std::uint64_t{1} << 48) - 4, 8, 0};
    std::memcpy(raw.data(), &outside, sizeof outside);
    rig.submit(0, rig.request(0, 0, UDRV_BLK_DISCARD, outside.sector, 8, raw));
    rig.serve();
    EXPECT_EQ(rig.take_one().status, std::uint32_t{UDRV_BLK_IOERR});
}

TEST_F(IdeCommand, TwentyEightBitsEndBeforeSector0fffffff) {
    struct {
        std::uint64_t sector;
        std::uint32_t nr_sectors;
        std::uint8_t opcode;
    } const cases[] = {{0x0ffffffe, 1, 0xc8}, {0x0ffffffe, 2, 0x25},   {0x0fffffff, 1, 0x25},
                       {0x10000000, 8, 0x25}, {0x0ffffeff, 256, 0xc8}, {0x0fffff00, 256, 0x25},
                       {0, 256, 0xc8},        {0, 257, 0x25},          {0, 2048 / 4, 0x25}};
    for (const auto& one : cases) {
        (void)writes_of(0, UDRV_BLK_READ, one.sector, one.nr_sectors);
        EXPECT_EQ(rig.master.opcodes.back(), one.opcode)
            << std::hex << one.sector << ", " << one.nr_sectors;
    }
}

TEST_F(IdeCommand, CountOf256IsZero) {
    EXPECT_EQ(writes_of(1, UDRV_BLK_READ, 0, 256)[2], (FakeIdeChannel::Write{'c', 2, 0x00}));
}

// ---- What a drive does not take ----------------------------------------------------

TEST(IdeEncode, RefusesWhatTheDriveCanNotDo) {
    ide::Drive drive;
    drive.device = 0xe0;
    drive.nr_sectors = 1000;
    ide::Command command;
    const auto encode = [&](std::uint8_t op, std::uint64_t sector, std::uint32_t nr_sectors,
                            std::uint8_t flags = 0) {
        return ide::encode({sector, nr_sectors, 1, 0, op, flags, 0}, drive, command);
    };
    EXPECT_EQ(encode(UDRV_BLK_READ, 999, 1), std::uint32_t{UDRV_BLK_OK});
    EXPECT_EQ(encode(UDRV_BLK_READ, 999, 2), std::uint32_t{UDRV_BLK_IOERR});
    EXPECT_EQ(encode(UDRV_BLK_READ, 1000, 1), std::uint32_t{UDRV_BLK_IOERR});
    EXPECT_EQ(encode(UDRV_BLK_READ, ~0ull, 2), std::uint32_t{UDRV_BLK_IOERR}); // sum wraps
    EXPECT_EQ(encode(UDRV_BLK_READ, 0, 0), std::uint32_t{UDRV_BLK_IOERR});
    EXPECT_EQ(encode(UDRV_BLK_READ, 0, 257), std::uint32_t{UDRV_BLK_IOERR}); // no lba48
    EXPECT_EQ(encode(UDRV_BLK_WRITE, 0, 1, UDRV_BLK_REQ_FUA), std::uint32_t{UDRV_BLK_NOTSUPP});
    EXPECT_EQ(encode(UDRV_BLK_DISCARD, 0, 1), std::uint32_t{UDRV_BLK_NOTSUPP});
    EXPECT_EQ(encode(UDRV_BLK_WRITE_ZEROES, 0, 1), std::uint32_t{UDRV_BLK_NOTSUPP});
    EXPECT_EQ(encode(77, 0, 1), std::uint32_t{UDRV_BLK_NOTSUPP});
}

TEST(IdeEncode, LargeLogicalBlocksAreTheUnitOfTheDrive) {
    ide::Drive drive;
    drive.device = 0xe0;
    drive.lba48 = true;
    drive.block_sectors = 8; // 4096 bytes
    drive.nr_sectors = 8000;
    ide::Command command;
    EXPECT_EQ(ide::encode({800, 80, 1, 0, UDRV_BLK_READ, 0, 0}, drive, command),
              std::uint32_t{UDRV_BLK_OK});
    EXPECT_EQ(command.task.lba, 100u);
    EXPECT_EQ(command.task.count, 10u);
    EXPECT_EQ(ide::encode({801, 80, 1, 0, UDRV_BLK_READ, 0, 0}, drive, command),
              std::uint32_t{UDRV_BLK_IOERR});
}

// ---- Descriptors -----------------------------------------------------------------

std::vector<std::uint8_t> table_of(const std::vector<udrv_blk_segment>& segments,
                                   std::uint64_t len_bytes) {
    std::array<ide::Prd, ide::max_prds> table{};
    if (!ide::encode_prds(segments, len_bytes, table)) {
        return {};
    }
    const auto* first = reinterpret_cast<const std::uint8_t*>(table.data());
    return {first, first + segments.size() * 8};
}

using Bytes8 = std::vector<std::uint8_t>;

TEST(IdePrd, BytesOfATable) {
    EXPECT_EQ(
        table_of({{0x12345678, 0x200, 0}, {0xfffe0000, 0x1000, 0}, {0x00010000, 0xfe, 0}}, 0x12fe),
        (Bytes8{0x78, 0x56, 0x34, 0x12, 0x00, 0x02, 0x00, 0x00,    //
                0x00, 0x00, 0xfe, 0xff, 0x00, 0x10, 0x00, 0x00,    //
                0x00, 0x00, 0x01, 0x00, 0xfe, 0x00, 0x00, 0x80})); // EOT: bit 31
}

TEST(IdePrd, CountOf64KiBIsZero) {
    EXPECT_EQ(table_of({{0x00ab0000, 65536, 0}}, 65536),
              (Bytes8{0x00, 0x00, 0xab, 0x00, 0x00, 0x00, 0x00, 0x80}));
    EXPECT_EQ(table_of({{0xffff0000, 65536, 0}}, 65536),
              (Bytes8{0x00, 0x00, 0xff, 0xff, 0x00, 0x00, 0x00, 0x80}));
}

TEST(IdePrd, RefusesWhatTheControllerCanNotReach) {
    EXPECT_TRUE(table_of({}, 0).empty());
    EXPECT_TRUE(table_of({{0x1000, 0, 0}}, 0).empty());
    EXPECT_TRUE(table_of({{0x1001, 512, 0}}, 512).empty());          // odd address
    EXPECT_TRUE(table_of({{0x1000, 511, 0}}, 511).empty());          // odd length
    EXPECT_TRUE(table_of({{0xfe02, 0x200, 0}}, 0x200).empty());      // crosses 64 KiB
    EXPECT_TRUE(table_of({{0x20000, 0x20000, 0}}, 0x20000).empty()); // too long
    EXPECT_TRUE(table_of({{0x100000000, 512, 0}}, 512).empty());     // above 4 GiB
    EXPECT_TRUE(table_of({{0xfffffffe, 4, 0}}, 4).empty());          // across 4 GiB
    EXPECT_TRUE(table_of({{0xfffffffffffffffe, 4, 0}}, 4).empty());  // wraps
    EXPECT_TRUE(table_of({{0x1000, 512, 0}}, 1024).empty());         // too few bytes
    EXPECT_TRUE(table_of({{0x1000, 1024, 0}}, 512).empty());         // too many
    const std::vector<udrv_blk_segment> many(129, {0x1000, 512, 0});
    EXPECT_TRUE(table_of(many, 129 * 512).empty());
}

// ---- Results ---------------------------------------------------------------------

TEST(IdeJudge, StatusAndErrorBits) {
    using ide::Verdict;
    struct {
        std::uint8_t bm_status, status, error;
        Verdict verdict;
        std::uint32_t result;
    } const cases[] = {
        {0x04, 0x50, 0x00, Verdict::ok, UDRV_BLK_OK},
        {0x64, 0x50, 0xff, Verdict::ok, UDRV_BLK_OK},         // ERROR counts only with ERR
        {0x05, 0x51, 0x40, Verdict::failed, UDRV_BLK_MEDIUM}, // UNC
        {0x05, 0x51, 0x10, Verdict::failed, UDRV_BLK_IOERR},  // IDNF
        {0x05, 0x51, 0x04, Verdict::failed, UDRV_BLK_IOERR},  // ABRT
        {0x05, 0x51, 0x84, Verdict::retry, UDRV_BLK_IOERR},   // ICRC, which brings ABRT
        {0x04, 0x70, 0x00, Verdict::failed, UDRV_BLK_IOERR},  // DF
        {0x06, 0x50, 0x00, Verdict::failed, UDRV_BLK_IOERR},  // PCI abort
        {0x05, 0x50, 0x00, Verdict::retry, UDRV_BLK_IOERR},   // descriptors left over
    };
    for (const auto& one : cases) {
        const ide::Result result = ide::judge(one.bm_status, one.status, one.error);
        EXPECT_EQ(result.verdict, one.verdict) << std::hex << +one.status << " " << +one.error;
        EXPECT_EQ(result.status, one.result) << std::hex << +one.status << " " << +one.error;
    }
}

} // namespace
} // namespace udrv::test
