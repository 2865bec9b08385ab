// SPDX-License-Identifier: MIT
//
// What hangs on the channel of fake_ide.hpp: a drive with its registers, its medium and the
// faults that a test wants of it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "libudrv/testing/fake_memory.hpp"

namespace udrv::test {

using IdeSector = std::array<std::byte, 512>;

struct FakeIdeDrive {
    enum class Kind { none, disk, cdrom };
    Kind kind = Kind::none;

    // What a test may set.
    std::array<std::uint16_t, 256> words{}; ///< IDENTIFY data
    std::uint64_t capacity = 0;             ///< in sectors
    std::set<std::uint64_t> unc;            ///< sectors that cannot be read
    unsigned crc_errors = 0;                ///< so many commands are damaged
    unsigned aborts = 0;                    ///< so many commands are aborted
    unsigned faults = 0;                    ///< so many end with DF
    unsigned hangs = 0;                     ///< so many commands never end
    unsigned silent = 0;                    ///< so many commands end without INTRQ
    bool dead = false;                      ///< after the next reset: BSY for ever
    bool refuses_identify = false;
    bool refuses_mode = false;
    bool refuses_flush = false;
    bool dead_identify = false; ///< IDENTIFY never ends
    unsigned reset_looks = 2;   ///< BSY for so many looks at STATUS after a reset
    unsigned command_looks = 2; ///< likewise after IDENTIFY and SET FEATURES
    bool keeps_mode = false;    ///< a reset leaves its transfer mode alone
    std::set<std::uint8_t> refused_modes;
    bool standby = false; ///< powered up in standby: incomplete until told to spin up

    // What a test may look at.
    std::map<std::uint64_t, IdeSector> medium;
    std::vector<std::uint8_t> opcodes; ///< of commands that ran
    std::vector<std::uint8_t> modes;   ///< that SET FEATURES asked for
    std::uint8_t mode = 0;             ///< in force; 0: that of power on, without DMA
    std::vector<std::pair<std::uint64_t, std::uint32_t>> trimmed;

    // Registers: [0] is most recently written, [1] is previous.
    std::array<std::array<std::uint8_t, 2>, 6> regs{};
    std::uint8_t status = 0;
    std::uint8_t error = 0;
    unsigned looks = 0;        ///< until BSY clears,
    std::uint8_t later = 0x50; ///< and STATUS is this
    bool interrupts = false;   ///< with INTRQ

    /// IDENTIFY data as they are now. Word 2: wants SET FEATURES to spin up, incomplete.
    [[nodiscard]] std::array<std::uint16_t, 256> identity() const {
        auto now = words;
        if (standby) {
            now[0] |= 0x0004;
            now[2] = 0x37c8;
            now[60] = now[61] = now[100] = now[101] = now[102] = now[103] = 0;
        }
        return now;
    }

    /// Plain enough for every test: LBA, DMA, UDMA 5, write cache, flushes.
    void make_disk(std::uint64_t sectors, bool lba48 = true) {
        kind = Kind::disk;
        capacity = sectors;
        words = {};
        text(10, 10, "SN-" + std::to_string(sectors));
        text(23, 4, "1.0");
        text(27, 20, "FAKE IDE DISK");
        words[49] = 0x0300; // LBA, DMA
        words[53] = 0x0006; // words 64-70 and 88 are valid
        const std::uint64_t small = std::min<std::uint64_t>(sectors, 0x0fffffff);
        words[60] = static_cast<std::uint16_t>(small);
        words[61] = static_cast<std::uint16_t>(small >> 16);
        words[63] = 0x0007;
        words[82] = 1 << 5; // write cache
        words[83] = 0x4000 | 1 << 12;
        words[84] = 0x4000;
        words[85] = 1 << 5;
        words[86] = 1 << 12;
        words[87] = 0x4000;
        words[88] = 0x203f; // UDMA 0-5, 5 selected
        if (lba48) {
            words[83] |= 1 << 10 | 1 << 13;
            words[86] |= 1 << 10 | 1 << 13;
            for (unsigned i = 0; i < 4; i++) {
                words[100 + i] = static_cast<std::uint16_t>(sectors >> (16 * i));
            }
        }
    }
    void offer_fua() {
        words[84] |= 1 << 6;
        words[87] |= 1 << 6;
    }
    void offer_trim() { words[169] = 1; }

    [[nodiscard]] IdeSector read(std::uint64_t lba) const {
        const auto found = medium.find(lba);
        return found == medium.end() ? IdeSector{} : found->second;
    }

  private:
    void text(std::size_t first, std::size_t count, std::string value) {
        value.resize(count * 2, ' ');
        for (std::size_t i = 0; i < count; i++) {
            words[first + i] =
                static_cast<std::uint16_t>(static_cast<std::uint8_t>(value[2 * i]) << 8 |
                                           static_cast<std::uint8_t>(value[2 * i + 1]));
        }
    }
};

} // namespace udrv::test
