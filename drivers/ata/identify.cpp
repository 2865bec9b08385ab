// SPDX-License-Identifier: MIT
//
// Word numbers and bits: ACS-3, IDENTIFY DEVICE.
#include "drivers/ata/identify.hpp"

#include <algorithm>
#include <bit>
#include <cstddef>

#include <fmt/format.h>

#include "drivers/ata/ata_commands.hpp"

namespace udrv::ata {

namespace {

using Words = std::span<const std::uint16_t, identify_words>;

bool bit(std::uint16_t word, unsigned n) {
    return (word >> n & 1) != 0;
}

/// Words 83, 84, 87 and 106 mean something only with 01b in their top bits: a disk
/// that leaves them all zeros or all ones is not misread.
bool valid(std::uint16_t word) {
    return word >> 14 == 1;
}

/// Two characters a word, the first in the high byte; padded with spaces. What is
/// not printable becomes '?': it goes to terminals and sysfs.
std::string text(Words words, std::size_t first, std::size_t count) {
    std::string result;
    for (std::size_t i = first; i < first + count; i++) {
        for (const unsigned shift : {8u, 0u}) {
            const auto character = static_cast<unsigned char>(words[i] >> shift);
            if (character == 0) {
                result.push_back(' '); // some pad with NUL
            } else {
                const bool printable = character >= 0x20 && character < 0x7f;
                result.push_back(printable ? static_cast<char>(character) : '?');
            }
        }
    }
    const std::size_t begin = result.find_first_not_of(' ');
    if (begin == std::string::npos) {
        return {};
    }
    return result.substr(begin, result.find_last_not_of(' ') + 1 - begin);
}

// Word 2, specific configuration. C837h: spins up by itself, and says all.
constexpr std::uint16_t wants_spin_up_partial = 0x37c8;
constexpr std::uint16_t wants_spin_up = 0x738c;
constexpr std::uint16_t spins_up_partial = 0x8c73;

/// Word 0 bit 2 alone is not enough: it was retired, and old disks set it at will.
bool incomplete(Words words) {
    return bit(words[0], 2) && (words[2] == wants_spin_up_partial || words[2] == spins_up_partial);
}

/// Why this is no IDENTIFY block of a disk at all; empty: it may be one.
std::string check_block(Words words) {
    const auto all = [&](std::uint16_t value) {
        return std::all_of(words.begin(), words.end(), [=](auto word) { return word == value; });
    };
    if (all(0) || all(0xffff)) {
        return fmt::format("its IDENTIFY data are all {:#06x}: nothing answered", words[0]);
    }
    // Word 255: signature A5h, then a byte that makes the sum of all 512 bytes 0.
    if ((words[255] & 0xff) == 0xa5) {
        unsigned sum = 0;
        for (const std::uint16_t word : words) {
            sum += (word & 0xffu) + (word >> 8u);
        }
        if ((sum & 0xff) != 0) {
            return fmt::format("its IDENTIFY data are damaged: their sum is {:#04x}, not 0",
                               sum & 0xff);
        }
    }
    // Bit 15 is for packet devices; but a CompactFlash card in true IDE mode has 848Ah
    // here (ACS-3, IDENTIFY DEVICE, word 0; CF-ATA), some 844Ah, and is a disk.
    if (bit(words[0], 15) && words[0] != 0x848a && words[0] != 0x844a) {
        return fmt::format("it is not an ATA disk (IDENTIFY word 0 is {:#06x})", words[0]);
    }
    if (incomplete(words)) {
        return fmt::format("it is in standby and does not spin up, so that its IDENTIFY data are "
                           "incomplete (word 2 is {:#06x})",
                           words[2]);
    }
    if (!bit(words[49], 9)) {
        return "it does not support LBA (IDENTIFY word 49 bit 9 is 0)";
    }
    return {};
}

/// Words 106, 117 and 118. Returns what is wrong with them, or nothing.
std::string block_sizes(Words words, Identity& identity) {
    if (!valid(words[106])) {
        return {}; // 512 and 512
    }
    std::uint64_t logical = 512;
    if (bit(words[106], 12)) { // counted in 16-bit words, 117 is the low half
        logical = (std::uint64_t{words[118]} << 16 | words[117]) * 2;
    }
    // More than a page is more than the kernel takes (udrv_blk_disk).
    if (!std::has_single_bit(logical) || logical < 512 || logical > 4096) {
        return fmt::format("its logical blocks have {} bytes, which is not 512, 1024, 2048 or 4096",
                           logical);
    }
    const unsigned shift = bit(words[106], 13) ? words[106] & 0xfu : 0;
    identity.logical_block_bytes = static_cast<std::uint32_t>(logical);
    identity.physical_block_bytes = static_cast<std::uint32_t>(logical << shift);
    return {};
}

/// Words 60-61, or 100-103 with 48-bit addresses.
std::string capacity(Words words, Identity& identity) {
    std::uint64_t blocks = std::uint64_t{words[61]} << 16 | words[60];
    if (identity.lba48) {
        const std::uint64_t blocks48 = std::uint64_t{words[103]} << 48 |
                                       std::uint64_t{words[102]} << 32 |
                                       std::uint64_t{words[101]} << 16 | words[100];
        blocks = blocks48 != 0 ? blocks48 : blocks;
    }
    if (blocks == 0) {
        return "it says that it has no sectors";
    }
    const std::uint64_t limit = identity.lba48 ? end_of_lba48 : end_of_lba28;
    if (blocks > limit) {
        return fmt::format("it says that it has {} blocks, more than {}-bit addresses reach",
                           blocks, identity.lba48 ? 48 : 28);
    }
    identity.nr_blocks = blocks;
    return {};
}

void features(Words words, Identity& identity) {
    // Words 82-84 say what is supported, 85-87 what is switched on.
    const bool supported = valid(words[83]);
    identity.lba48 = supported && bit(words[83], 10);
    identity.flush = supported && bit(words[83], 12);
    identity.flush_ext = supported && bit(words[83], 13) && identity.lba48;
    identity.write_cache = bit(words[82], 5) && bit(words[85], 5);
    identity.flush_assumed = identity.write_cache && !identity.flush && !identity.flush_ext;
    identity.fua = identity.lba48 && valid(words[84]) && bit(words[84], 6) && valid(words[87]) &&
                   bit(words[87], 6);
    // Word 76 is 0000h or FFFFh on a parallel disk.
    if (words[76] != 0xffff && bit(words[76], 8) && identity.lba48) {
        identity.ncq = true;
        identity.ncq_depth = (words[75] & 0x1fu) + 1;
    }
    identity.trim = bit(words[169], 0);
    identity.rotational = words[217] != 1;
}

void dma_modes(Words words, Identity& identity) {
    identity.dma = bit(words[49], 8);
    identity.mwdma_modes = words[63] & 0x07;
    identity.mwdma_selected = words[63] >> 8 & 0x07;
    if (bit(words[53], 2)) { // word 88 is valid
        identity.udma_modes = words[88] & 0x7f;
        identity.udma_selected = words[88] >> 8 & 0x7f;
    }
}

template <std::size_t size>
void copy_text(const std::string& from, char (&to)[size]) {
    std::copy_n(from.begin(), std::min(from.size(), size - 1), to); // the rest stays NUL
}

} // namespace

Standby standby(Words words) {
    if (words[2] == wants_spin_up_partial || words[2] == wants_spin_up) {
        return Standby::wake;
    }
    return incomplete(words) ? Standby::partial : Standby::no;
}

bool same_disk(Words one, Words other) {
    const auto same = [&](std::size_t first, std::size_t count) {
        const auto part = one.subspan(first, count);
        return std::equal(part.begin(), part.end(), other.subspan(first, count).begin());
    };
    return same(10, 10) && same(27, 20) && same(60, 2) && same(100, 4) && same(106, 1) &&
           same(117, 2);
}

IdentifyResult parse_identify(Words words) {
    IdentifyResult result;
    result.error = check_block(words);
    if (!result.error.empty()) {
        return result;
    }
    Identity& identity = result.identity;
    identity.model = text(words, 27, 20);
    identity.serial = text(words, 10, 10);
    identity.firmware = text(words, 23, 4);
    features(words, identity);
    dma_modes(words, identity);
    result.error = block_sizes(words, identity);
    if (result.error.empty()) {
        result.error = capacity(words, identity);
    }
    return result;
}

udrv_blk_disk describe(const Identity& identity) {
    udrv_blk_disk disk{};
    const std::uint32_t sectors_a_block = identity.logical_block_bytes / sector_bytes;
    disk.nr_sectors = identity.nr_blocks * sectors_a_block;
    disk.logical_block_bytes = identity.logical_block_bytes;
    disk.physical_block_bytes = identity.physical_block_bytes;
    copy_text(identity.model, disk.model);
    copy_text(identity.serial, disk.serial);
    copy_text(identity.firmware, disk.revision);
    copy_text("ATA", disk.vendor); // as libata's disks say
    if (identity.rotational) {
        disk.flags |= UDRV_BLK_ROTATIONAL;
    }
    // A cache that cannot be flushed is not worth announcing.
    if (identity.write_cache && (identity.flush || identity.flush_ext || identity.flush_assumed)) {
        disk.flags |= UDRV_BLK_WRITE_CACHE;
        if (identity.fua) {
            disk.flags |= UDRV_BLK_FUA;
        }
    }
    disk.flags |= UDRV_BLK_ATA_COMMANDS;
    if (identity.trim) {
        disk.max_discard_sectors = max_trim_blocks * sectors_a_block;
        disk.max_discard_segments = max_trim_ranges;
    }
    // No write zeroes: even "deterministic zeroes" does not oblige a disk to act on
    // a TRIM at all, so that zeroes have to be written.
    disk.max_write_zeroes_sectors = 0;
    return disk;
}

} // namespace udrv::ata
