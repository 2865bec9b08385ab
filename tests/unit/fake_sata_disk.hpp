// SPDX-License-Identifier: MIT
//
// A disk behind FakeAhci: ACS-3's commands on blocks in memory, and what can be wrong
// with them.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/fake_e1000.hpp" // Bytes, load_le
#include "tests/unit/identify_block.hpp"

namespace udrv::test {

/// A command as it arrived at a disk: the 20 bytes of its FIS.
struct SataCommand {
    std::uint32_t slot = 0;
    std::array<std::uint8_t, 20> fis{};

    [[nodiscard]] std::uint8_t opcode() const { return fis[2]; }
    [[nodiscard]] bool queued() const { return fis[2] == 0x60 || fis[2] == 0x61; }
    [[nodiscard]] bool short_lba() const { return fis[2] == 0xc8 || fis[2] == 0xca; }
    /// What a driver sends on its own account: the model's disk does it in its own time.
    [[nodiscard]] bool service() const {
        return fis[2] == 0xec || fis[2] == 0xef || fis[2] == 0x2f;
    }
    [[nodiscard]] bool flush() const { return fis[2] == 0xea || fis[2] == 0xe7; }
    [[nodiscard]] bool reads() const { return fis[2] == 0x60 || fis[2] == 0x25 || fis[2] == 0xc8; }
    [[nodiscard]] bool writes() const {
        return fis[2] == 0x61 || fis[2] == 0x35 || fis[2] == 0x3d || fis[2] == 0xca;
    }
    [[nodiscard]] bool to_disk() const { return writes() || fis[2] == 0x06; }
    [[nodiscard]] bool fua() const { return queued() ? (fis[7] & 0x80) != 0 : fis[2] == 0x3d; }
    [[nodiscard]] std::uint64_t lba() const {
        const std::uint64_t low = load_le(std::span(fis).subspan(4, 3));
        const std::uint64_t high = load_le(std::span(fis).subspan(8, 3));
        return short_lba() ? low | std::uint64_t{fis[7] & 15u} << 24 : low | high << 24;
    }
    [[nodiscard]] std::uint32_t blocks() const {
        const auto at = [&](std::size_t i) { return std::uint32_t{fis[i]}; };
        if (short_lba()) {
            return at(12) == 0 ? 256 : at(12);
        }
        const std::uint32_t n = queued() ? at(3) | at(11) << 8 : at(12) | at(13) << 8;
        return n == 0 ? 65536 : n;
    }
    /// Reads or writes one of these blocks.
    [[nodiscard]] bool touches(const std::set<std::uint64_t>& some) const {
        const auto found = some.lower_bound(lba());
        return (reads() || writes()) && found != some.end() && *found < lba() + blocks();
    }
};

struct FakeSataDisk {
    /// Moves data between the disk and the command's memory.
    using Move = std::function<void(std::uint8_t* data, std::size_t bytes, bool to_memory)>;

    bool present = false;
    std::uint32_t sig = 0x101;
    IdentifyBlock identify{};
    Bytes data;
    std::set<std::uint64_t> bad;    ///< blocks that cannot be read or written
    std::uint8_t bad_error = 0x40;  ///< ERROR then: UNC
    unsigned damaged_transfers = 0; ///< that many fail with ICRC
    std::set<std::uint64_t> hangs;  ///< commands to these blocks never end
    bool frozen = false;            ///< no command ends
    bool slow = false;              ///< no request's command does
    bool dead_after_reset = false;  ///< does not answer a COMRESET
    bool aborts_trim = false;
    unsigned faults = 0; ///< so many commands of requests end with DF, and no ERR
    bool aborts_identify = false;
    /// Word 2 of IDENTIFY while the platters stand still (ACS-3, PUIS); 0: they turn.
    std::uint16_t standby = 0;
    unsigned standby_identifies = 0;    ///< 8C73h: so many IDENTIFYs until they turn
    unsigned spin_up = 0;               ///< reads of TFD with BSY after a reset
    std::vector<SataCommand> log;       ///< all commands, in order of arrival
    std::vector<std::uint8_t> finished; ///< opcodes, in order of completion
    /// COUNT and LBA 23:0, as the last command without data left them.
    std::array<std::uint8_t, 4> registers{};

    void power_failed() {}
    [[nodiscard]] bool fault() {
        const bool now = faults != 0;
        faults -= now ? 1 : 0;
        return now;
    }

    /// Returns ERROR; 0 is success.
    std::uint8_t execute(const SataCommand& c, const Move& move) {
        if (c.opcode() == 0xec) {
            return aborts_identify ? 4 : identify_device(move);
        }
        if (c.opcode() == 0xef) {
            EXPECT_EQ(c.fis[3], 7) << "SET FEATURES: spin-up";
            EXPECT_NE(standby, 0) << "it was not in standby";
            standby = 0;
            return 0;
        }
        EXPECT_EQ(standby, 0) << "a disk in standby takes IDENTIFY and SET FEATURES only";
        if (c.opcode() == 0x06) {
            return aborts_trim ? 4 : trim(c, move);
        }
        registers = {};
        if (c.opcode() == 0xe5) { // CHECK POWER MODE: active
            registers[0] = 0xff;
            return 0;
        }
        if (c.opcode() == 0xb0) {
            return smart(c, move);
        }
        if (c.flush()) {
            return 0;
        }
        EXPECT_TRUE(c.reads() || c.writes()) << unsigned{c.opcode()};
        return transfer(c, move);
    }

  private:
    std::uint8_t identify_device(const Move& move) {
        if (standby == 0x8c73 && standby_identifies-- == 0) {
            standby = 0;
        }
        IdentifyBlock words = identify;
        if (standby == 0x37c8 || standby == 0x8c73) { // incomplete
            words = {};
            words[0] = 0x0044;
        }
        words[2] = standby != 0 ? standby : identify[2];
        if (words[0] != 0 && (identify[255] & 0xff) == 0xa5) {
            seal(words);
        }
        move(reinterpret_cast<std::uint8_t*>(words.data()), 512, true);
        return 0;
    }

    /// READ DATA, READ LOG and RETURN STATUS.
    std::uint8_t smart(const SataCommand& c, const Move& move) {
        EXPECT_EQ(c.fis[5], 0x4f);
        EXPECT_EQ(c.fis[6], 0xc2);
        if (c.fis[3] == 0xda) {
            registers = {0, 0, 0xf4, 0x2c}; // a threshold is exceeded
            return 0;
        }
        if (c.fis[3] != 0xd0 && c.fis[3] != 0xd5) {
            return 4;
        }
        Bytes block(512);
        for (std::size_t i = 0; i < block.size(); i++) {
            block[i] = static_cast<std::uint8_t>(i + c.fis[3] + c.fis[4]);
        }
        move(block.data(), block.size(), true);
        return 0;
    }

    std::uint8_t transfer(const SataCommand& c, const Move& move) {
        EXPECT_NE(c.fis[7] & 0x40, 0) << "not an LBA";
        EXPECT_TRUE(!c.short_lba() || (c.fis[8] | c.fis[9] | c.fis[10] | c.fis[13]) == 0);
        if ((c.lba() + c.blocks()) * 512 > data.size()) {
            return 0x10; // IDNF
        }
        if (c.touches(bad)) {
            return bad_error;
        }
        if (damaged_transfers != 0) {
            damaged_transfers--;
            return 0x84; // ICRC, ABRT
        }
        move(data.data() + c.lba() * 512, std::size_t{c.blocks()} * 512, c.reads());
        return 0;
    }

    std::uint8_t trim(const SataCommand& c, const Move& move) {
        EXPECT_EQ(c.fis[3], 1) << "TRIM";
        EXPECT_EQ(c.blocks(), 1u);
        Bytes payload(512);
        move(payload.data(), 512, false);
        for (std::size_t i = 0; i < 512; i += 8) { // LBA Range Entries
            std::uint64_t entry = 0;
            std::memcpy(&entry, &payload[i], 8);
            const std::uint64_t lba = entry & 0xffff'ffff'ffff;
            const std::uint64_t blocks = entry >> 48;
            if ((lba + blocks) * 512 > data.size()) {
                return 0x10;
            }
            std::memset(data.data() + lba * 512, 0, blocks * 512);
        }
        return 0;
    }
};

} // namespace udrv::test
