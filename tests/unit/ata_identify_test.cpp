// SPDX-License-Identifier: MIT
//
// drivers/ata: IDENTIFY DEVICE, the TRIM payload and the NCQ Command Error log,
// against bytes worked out by hand from ACS-3 (sections of these names).
#include <cstring>
#include <random>

#include <gtest/gtest.h>

#include "drivers/ata/ata_commands.hpp"
#include "drivers/ata/identify.hpp"
#include "tests/unit/identify_block.hpp"

namespace udrv::test {
namespace {

using ata::parse_identify;

std::string error_of(const IdentifyBlock& words) {
    return parse_identify(words).error;
}

TEST(AtaIdentify, SataDisk) {
    const auto [disk, error] = parse_identify(sata_disk(0x1'2345'6789));
    ASSERT_EQ(error, "");
    EXPECT_EQ(disk.model, "Model of a disk");
    EXPECT_EQ(disk.serial, "SN-0123456789");
    EXPECT_EQ(disk.nr_blocks, 0x1'2345'6789u);
    EXPECT_EQ(disk.logical_block_bytes, 512u);
    EXPECT_EQ(disk.physical_block_bytes, 4096u);
    EXPECT_TRUE(disk.dma && disk.lba48 && disk.ncq);
    EXPECT_EQ(disk.ncq_depth, 32u);
    EXPECT_TRUE(disk.write_cache && disk.flush && disk.flush_ext);
    EXPECT_FALSE(disk.fua);
    EXPECT_TRUE(disk.trim);
    EXPECT_FALSE(disk.rotational);
    EXPECT_EQ(disk.mwdma_modes, 0x07);
    EXPECT_EQ(disk.udma_modes, 0x7f);
    EXPECT_EQ(disk.udma_selected, 0x20);
}

TEST(AtaIdentify, CompactFlashIsADisk) { // word 0
    IdentifyBlock words = sata_disk(1000);
    for (const unsigned signature : {0x848au, 0x844au}) {
        words[0] = static_cast<std::uint16_t>(signature);
        seal(words);
        EXPECT_EQ(error_of(words), "");
    }
    words[0] = 0x8580; // a CD drive
    seal(words);
    EXPECT_EQ(error_of(words), "it is not an ATA disk (IDENTIFY word 0 is 0x8580)");
}

TEST(AtaIdentify, PowerUpInStandby) { // words 0 and 2
    IdentifyBlock words{};
    words[0] = 0x0044;
    words[2] = 0x37c8;
    EXPECT_EQ(ata::standby(words), ata::Standby::wake);
    EXPECT_EQ(error_of(words), "it is in standby and does not spin up, so that its IDENTIFY data "
                               "are incomplete (word 2 is 0x37c8)");
    words[2] = 0x8c73;
    EXPECT_EQ(ata::standby(words), ata::Standby::partial);
    words = sata_disk(1000);
    EXPECT_EQ(ata::standby(words), ata::Standby::no);
    words[2] = 0x738c; // says all, and wants to be woken
    EXPECT_EQ(ata::standby(words), ata::Standby::wake);
    words[2] = 0xc837;
    EXPECT_EQ(ata::standby(words), ata::Standby::no);
    words[2] = 0x8c73; // has spun up meanwhile
    EXPECT_EQ(ata::standby(words), ata::Standby::no);
}

TEST(AtaIdentify, TheSameDisk) {
    const IdentifyBlock words = sata_disk(1000);
    IdentifyBlock other = words;
    other[85] ^= 0x20; // settings
    put_text(other, 23, 4, "FW 2.0");
    EXPECT_TRUE(ata::same_disk(words, other));
    for (const std::size_t word : {10u, 19u, 27u, 46u, 60u, 103u, 106u, 117u}) {
        other = words;
        other.at(word) ^= 1;
        EXPECT_FALSE(ata::same_disk(words, other)) << word;
    }
}

TEST(AtaIdentify, ParallelDiskWith28BitAddresses) {
    IdentifyBlock words{};
    words[0] = 0x0040;
    words[49] = 0x0300;
    words[53] = 0x0004;
    words[60] = 0x5678; // 0x0345678 blocks: low word first
    words[61] = 0x0034;
    words[63] = 0x0407;
    words[83] = 0x5000; // FLUSH CACHE
    words[88] = 0x041f;
    words[217] = 5400;
    const auto [disk, error] = parse_identify(words);
    ASSERT_EQ(error, "");
    EXPECT_EQ(disk.nr_blocks, 0x345678u);
    EXPECT_FALSE(disk.lba48 || disk.ncq || disk.trim || disk.flush_ext || disk.write_cache);
    EXPECT_TRUE(disk.flush && disk.rotational);
    EXPECT_EQ(disk.model, "");
    EXPECT_EQ(disk.mwdma_selected, 0x04);
    EXPECT_EQ(disk.udma_modes, 0x1f);
    EXPECT_EQ(disk.udma_selected, 0x04);
}

// ATA-4 and ATA-5 have FLUSH CACHE, and no bit that says so: word 83 bit 12 came with ATA-6.
TEST(AtaIdentify, ACacheIsFlushedThoughNoBitAnnouncesThat) {
    IdentifyBlock words{};
    words[0] = 0x0040;
    words[49] = 0x0300;
    words[60] = 0x5678;
    words[80] = 0x001e; // ATA-1 to ATA-4
    words[82] = 0x0020; // write cache
    words[83] = 0x4000;
    words[85] = 0x0020;
    words[87] = 0x4000;
    const auto [disk, error] = parse_identify(words);
    ASSERT_EQ(error, "");
    EXPECT_TRUE(disk.write_cache);
    EXPECT_NE(ata::describe(disk).flags & UDRV_BLK_WRITE_CACHE, 0u);
    words[85] = 0; // switched off
    EXPECT_EQ(ata::describe(parse_identify(words).identity).flags & UDRV_BLK_WRITE_CACHE, 0u);
}

TEST(AtaIdentify, TextIsSwappedTrimmedAndPrintable) {
    IdentifyBlock words = sata_disk(1000);
    words[27] = 0x2041; // " A": a space in front
    words[28] = 0x4200; // "B" and NUL
    words[29] = 0x1b5b; // ESC and '[': nothing a terminal would obey
    words[30] = 0xe443; // not ASCII
    seal(words);
    EXPECT_EQ(parse_identify(words).identity.model, "AB ?[?C a disk");
}

TEST(AtaIdentify, BlockSizes) {
    IdentifyBlock words = sata_disk(1000);
    words[106] = 0x5000; // logical blocks of words 117-118, one in a physical
    words[117] = 2048;   // 16-bit words
    seal(words);
    const auto disk = parse_identify(words).identity;
    EXPECT_EQ(disk.logical_block_bytes, 4096u);
    EXPECT_EQ(disk.physical_block_bytes, 4096u);
    const udrv_blk_disk described = ata::describe(disk);
    EXPECT_EQ(described.nr_sectors, 8000u); // in units of 512 bytes
    EXPECT_EQ(described.max_discard_sectors, 32u * 65535 * 8);

    words[106] = 0x3000; // 00b on top: the word says nothing
    seal(words);
    EXPECT_EQ(parse_identify(words).identity.logical_block_bytes, 512u);
}

TEST(AtaIdentify, FuaNeedsTheCommandToBeThereAndOn) {
    IdentifyBlock words = sata_disk(1000);
    words[84] = 0x4040;
    seal(words);
    EXPECT_FALSE(parse_identify(words).identity.fua);
    words[87] = 0x4040;
    seal(words);
    EXPECT_TRUE(parse_identify(words).identity.fua);
    words[87] = 0x8040; // not valid
    seal(words);
    EXPECT_FALSE(parse_identify(words).identity.fua);
}

TEST(AtaIdentify, NonsenseIsRefused) {
    const auto with = [](auto change) {
        IdentifyBlock words = sata_disk(1000);
        change(words);
        seal(words);
        return error_of(words);
    };
    IdentifyBlock block{};
    EXPECT_EQ(error_of(block), "its IDENTIFY data are all 0x0000: nothing answered");
    block.fill(0xffff);
    EXPECT_EQ(error_of(block), "its IDENTIFY data are all 0xffff: nothing answered");
    EXPECT_EQ(with([](auto& w) { put_capacity(w, 0); }), "it says that it has no sectors");
    EXPECT_EQ(with([](auto& w) { put_capacity(w, (std::uint64_t{1} << 48) + 1); }),
              "it says that it has 281474976710657 blocks, more than 48-bit addresses reach");
    EXPECT_EQ(with([](auto& w) { w[83] = 0x5000, w[61] = 0x2000; }),
              "it says that it has 536871912 blocks, more than 28-bit addresses reach");
    EXPECT_EQ(with([](auto& w) { w[49] = 0x0100; }),
              "it does not support LBA (IDENTIFY word 49 bit 9 is 0)");
    EXPECT_EQ(with([](auto& w) { w[0] = 0x8580; }),
              "it is not an ATA disk (IDENTIFY word 0 is 0x8580)");
    EXPECT_EQ(with([](auto& w) { w[106] = 0x5000, w[117] = 264; }),
              "its logical blocks have 528 bytes, which is not 512, 1024, 2048 or 4096");
    EXPECT_EQ(with([](auto& w) { w[106] = 0x5000; }),
              "its logical blocks have 0 bytes, which is not 512, 1024, 2048 or 4096");
    EXPECT_EQ(with([](auto& w) { w[106] = 0x5000, w[118] = 0x8000; }),
              "its logical blocks have 4294967296 bytes, which is not 512, 1024, 2048 or 4096");

    IdentifyBlock damaged = sata_disk(1000);
    damaged[60]++;
    EXPECT_EQ(error_of(damaged), "its IDENTIFY data are damaged: their sum is 0x01, not 0");
    damaged[255] = 0; // without the signature there is no sum to check
    EXPECT_EQ(error_of(damaged), "");
}

TEST(AtaIdentify, AnyBytesGiveAnAnswerWithinBounds) {
    std::mt19937 random(1);
    for (int round = 0; round < 20'000; round++) {
        IdentifyBlock words = sata_disk(1000);
        for (int i = 0; i < 1 + round % 64; i++) {
            words[random() % 256] = static_cast<std::uint16_t>(random());
        }
        if (round % 2 == 0) {
            seal(words);
        }
        const auto [disk, error] = parse_identify(words);
        if (error.empty()) {
            EXPECT_GT(disk.nr_blocks, 0u);
            EXPECT_LE(disk.nr_blocks, std::uint64_t{1} << 48);
            EXPECT_LE(disk.logical_block_bytes, 4096u);
            EXPECT_GE(disk.physical_block_bytes, disk.logical_block_bytes);
            const udrv_blk_disk described = ata::describe(disk);
            EXPECT_EQ(described.model[sizeof described.model - 1], 0);
            EXPECT_EQ(described.serial[sizeof described.serial - 1], 0);
        }
    }
}

TEST(AtaIdentify, Describe) {
    ata::Identity identity = parse_identify(sata_disk(1000)).identity;
    udrv_blk_disk disk = ata::describe(identity);
    EXPECT_EQ(disk.nr_sectors, 1000u);
    EXPECT_STREQ(disk.model, "Model of a disk");
    EXPECT_STREQ(disk.serial, "SN-0123456789");
    EXPECT_EQ(disk.flags, std::uint32_t{UDRV_BLK_WRITE_CACHE | UDRV_BLK_ATA_COMMANDS});
    EXPECT_STREQ(disk.revision, identity.firmware.c_str());
    EXPECT_STREQ(disk.vendor, "ATA");
    EXPECT_EQ(disk.max_discard_sectors, 32u * 65535);
    EXPECT_EQ(disk.max_discard_segments, 32u);
    EXPECT_EQ(disk.max_write_zeroes_sectors, 0u);
    identity.fua = identity.rotational = true;
    disk = ata::describe(identity);
    EXPECT_EQ(disk.flags, std::uint32_t{UDRV_BLK_WRITE_CACHE | UDRV_BLK_FUA | UDRV_BLK_ROTATIONAL |
                                        UDRV_BLK_ATA_COMMANDS});
    identity.flush = identity.flush_ext = false;
    EXPECT_EQ(ata::describe(identity).flags,
              std::uint32_t{UDRV_BLK_ROTATIONAL | UDRV_BLK_ATA_COMMANDS});
    identity.trim = false;
    EXPECT_EQ(ata::describe(identity).max_discard_sectors, 0u);
    EXPECT_EQ(ata::describe(identity).max_discard_segments, 0u);
}

// ---- TRIM, log ------------------------------------------------------------------------

struct AtaTrim : ::testing::Test {
    std::array<std::byte, 512> payload{};
    ata::TrimLimits limits{1, std::uint64_t{1} << 48};

    bool encode(const std::vector<udrv_blk_range>& ranges) {
        payload.fill(std::byte{0xee});
        return ata::encode_trim(payload, ranges, limits);
    }
    std::uint64_t entry(std::size_t i) const {
        std::uint64_t value = 0;
        std::memcpy(&value, payload.data() + 8 * i, 8);
        return value;
    }
};

TEST_F(AtaTrim, LbaRangeEntries) {
    ASSERT_TRUE(encode({{0x0000'1234'5678'9abc, 3, 0}}));
    const std::array<unsigned, 8> bytes{0xbc, 0x9a, 0x78, 0x56, 0x34, 0x12, 0x03, 0x00};
    for (std::size_t i = 0; i < 8; i++) {
        EXPECT_EQ(std::to_integer<unsigned>(payload[i]), bytes[i]);
    }
    EXPECT_EQ(entry(1), 0u); // and the rest is no range
    EXPECT_EQ(entry(63), 0u);

    ASSERT_TRUE(encode({{0x100, 65535 + 1, 0}}));
    EXPECT_EQ(entry(0), 0xffff'0000'0000'0100u);
    EXPECT_EQ(entry(1), 0x0001'0000'0001'00ffu);

    ASSERT_TRUE(encode({{0, 64 * 65535, 0}}));
    EXPECT_EQ(entry(63), 0xffff'0000'0000'0000u + 63 * 65535);
    EXPECT_FALSE(encode({{0, 64 * 65535 + 1, 0}}));
}

TEST_F(AtaTrim, ManyRangesInAnyOrder) {
    ASSERT_TRUE(encode({{5000, 16, 0}, {100, 65536, 0}, {4096, 8, 0}}));
    EXPECT_EQ(entry(0), 0x0010'0000'0000'0000u + 5000);
    EXPECT_EQ(entry(1), 0xffff'0000'0000'0000u + 100);
    EXPECT_EQ(entry(2), 0x0001'0000'0000'0000u + 100 + 65535);
    EXPECT_EQ(entry(3), 0x0008'0000'0000'0000u + 4096);
    EXPECT_EQ(entry(4), 0u);

    // The worst that the promised limits allow: each range just begins another entry.
    std::vector<udrv_blk_range> worst(ata::max_trim_ranges, {0, 65535 + 1, 0});
    worst.back().nr_sectors = ata::max_trim_blocks - 31 * 65536;
    EXPECT_TRUE(encode(worst));
    EXPECT_FALSE(encode(std::vector<udrv_blk_range>(65, {0, 1, 0})));
}

TEST_F(AtaTrim, NothingBesideTheDiskOrHalfABlock) {
    limits = {8, 1000};
    EXPECT_TRUE(encode({{992, 8, 0}}));
    EXPECT_EQ(entry(0), 0x0001'0000'0000'0000u + 124); // in logical blocks
    for (const udrv_blk_range& bad : std::vector<udrv_blk_range>{
             {1000, 8, 0}, {992, 16, 0}, {~0ull - 7, 16, 0}, {4, 8, 0}, {0, 4, 0}, {0, 0, 0}}) {
        EXPECT_FALSE(encode({{0, 8, 0}, bad})) << bad.sector << " " << bad.nr_sectors;
    }
    EXPECT_FALSE(encode({}));
}

TEST(AtaLog, NcqCommandError) {
    std::array<std::byte, 512> page{};
    EXPECT_FALSE(ata::parse_ncq_error(page).valid) << "a page that was never written";
    const std::array<unsigned, 11> bytes{0x1d, 0,    0x41, 0x40, 0xbc, 0x9a,
                                         0x78, 0x40, 0x56, 0x34, 0x12};
    unsigned sum = 0;
    for (std::size_t i = 0; i < bytes.size(); i++) {
        page[i] = static_cast<std::byte>(bytes[i]);
        sum += bytes[i];
    }
    EXPECT_FALSE(ata::parse_ncq_error(page).valid) << "the sum is not 0";
    page[511] = static_cast<std::byte>(0x100 - (sum & 0xff));
    const ata::NcqError entry = ata::parse_ncq_error(page);
    EXPECT_TRUE(entry.valid);
    EXPECT_EQ(entry.tag, 29);
    EXPECT_EQ(entry.status, 0x41);
    EXPECT_EQ(entry.error, 0x40);
    EXPECT_EQ(entry.lba, 0x1234'5678'9abcu);

    page[0] |= std::byte{0x80}; // NQ, and byte 511 follows
    page[511] = page[511] ^ std::byte{0x80};
    EXPECT_FALSE(ata::parse_ncq_error(page).valid) << "the failed command was not queued";
}

} // namespace
} // namespace udrv::test
