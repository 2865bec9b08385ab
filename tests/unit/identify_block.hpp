// SPDX-License-Identifier: MIT
//
// IDENTIFY DEVICE blocks made by hand, word by word as ACS-3 (IDENTIFY DEVICE) has
// them, for the tests of the parser and of the disk drivers.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace udrv::test {

using IdentifyBlock = std::array<std::uint16_t, 256>;

/// ATA strings: padded with spaces, the first character of two in the high byte.
inline void put_text(IdentifyBlock& words, std::size_t first, std::size_t count,
                     std::string_view text) {
    for (std::size_t i = 0; i < 2 * count; i++) {
        const auto c = static_cast<std::uint8_t>(i < text.size() ? text[i] : ' ');
        std::uint16_t& word = words.at(first + i / 2);
        word = static_cast<std::uint16_t>(i % 2 == 0 ? c << 8 : (word & 0xff00) | c);
    }
}

/// Word 255: A5h, and the byte that makes the sum of all 512 bytes 0.
inline void seal(IdentifyBlock& words) {
    words[255] = 0xa5;
    unsigned sum = 0;
    for (const std::uint16_t word : words) {
        sum += (word & 0xffu) + (word >> 8u);
    }
    words[255] = static_cast<std::uint16_t>(0xa5 | (0x100 - (sum & 0xff)) % 0x100 << 8);
}

inline void put_capacity(IdentifyBlock& words, std::uint64_t blocks) {
    const std::uint64_t short_blocks = blocks < 0x0fffffff ? blocks : 0x0fffffff;
    words[60] = static_cast<std::uint16_t>(short_blocks);
    words[61] = static_cast<std::uint16_t>(short_blocks >> 16);
    for (unsigned i = 0; i < 4; i++) {
        words[100 + i] = static_cast<std::uint16_t>(blocks >> (16 * i));
    }
}

/// A SATA disk: 48-bit, NCQ of depth 32, write cache, FLUSH CACHE EXT, TRIM, no
/// rotation; without FUA.
inline IdentifyBlock sata_disk(std::uint64_t blocks, std::string_view model = "Model of a disk",
                               std::string_view serial = "SN-0123456789") {
    IdentifyBlock words{};
    words[0] = 0x0040;
    put_text(words, 10, 10, serial);
    put_text(words, 23, 4, "FW 1.0");
    put_text(words, 27, 20, model);
    words[49] = 0x0f00; // LBA, DMA
    words[53] = 0x0006; // words 64-70 and 88 are valid
    words[63] = 0x0007; // multiword DMA 0 to 2
    words[69] = 0x4020; // deterministic, zeroes after TRIM
    words[75] = 31;     // depth 32
    words[76] = 0x010e; // NCQ, three speeds
    words[80] = 0x01f0;
    words[82] = 0x0020; // write cache
    words[83] = 0x7400; // 48-bit, FLUSH CACHE, FLUSH CACHE EXT
    words[84] = 0x4000;
    words[85] = 0x0020;
    words[86] = 0x3400;
    words[87] = 0x4000;
    words[88] = 0x207f; // Ultra DMA 0 to 6, 5 in use
    words[105] = 8;
    words[106] = 0x6003; // 8 logical blocks in a physical one
    words[169] = 0x0001;
    words[217] = 0x0001;
    put_capacity(words, blocks);
    seal(words);
    return words;
}

} // namespace udrv::test
