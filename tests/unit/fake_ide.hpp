// SPDX-License-Identifier: MIT
//
// A behavioural model of one IDE channel with two drives and its bus master, for unit
// tests of drivers/ide. Written from the documents that ide_registers.hpp names, with
// numbers of its own, so that a wrong port or bit in the driver shows. What the
// documents forbid fails the test (docs/chips.md lists these rules). It answers late:
// commands run when the test says run(), IDENTIFY and SET FEATURES take some looks at
// STATUS, and a reset drops the drives to their power-on transfer mode.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "libudrv/device/registers.hpp"
#include "tests/unit/fake_ide_drive.hpp"

namespace udrv::test {

/// The timing registers of a PIIX3 or PIIX4, as its configuration space has them.
class FakePiix final : public RegisterIo {
  public:
    bool piix4 = true;
    bool sticks = true;                                         ///< false: writes are lost
    std::array<std::uint8_t, 16> bytes{0x07, 0xa3, 0x77, 0xe3}; ///< 40h to 4Fh, firmware's
    unsigned writes = 0;

    /// What the registers are right for, as SET FEATURES has it; 0xff: nothing.
    [[nodiscard]] std::uint8_t mode_of(unsigned channel, unsigned drive) const {
        if ((bytes[8] >> (2 * channel + drive) & 1) != 0) {
            const unsigned cycle = bytes[10 + channel] >> (4 * drive) & 3;
            return cycle < 3 ? static_cast<std::uint8_t>(0x40 | cycle) : std::uint8_t{0xff};
        }
        const std::uint8_t low = bytes[2 * channel];
        const std::uint8_t high = bytes[2 * channel + 1];
        if ((low >> (4 * drive) & 1) == 0) {
            return 0x20; // compatible timing
        }
        unsigned isp = high >> 4 & 3;
        unsigned rtc = high & 3;
        if (drive == 1 && (high & 0x40) != 0) {
            isp = bytes[4] >> (4 * channel + 2) & 3;
            rtc = bytes[4] >> (4 * channel) & 3;
        }
        const unsigned clocks = (5 - isp) + (4 - rtc);
        return clocks == 6 ? 0x21 : clocks == 4 ? 0x22 : 0xff;
    }

    std::uint8_t read8(std::uint32_t offset) override {
        EXPECT_TRUE(offset >= 0x40 && offset < 0x50);
        return bytes.at(offset - 0x40);
    }
    void write8(std::uint32_t offset, std::uint8_t value) override {
        const bool known = offset >= 0x40 && offset <= 0x44;
        const bool ultra = offset == 0x48 || offset == 0x4a || offset == 0x4b;
        EXPECT_TRUE(known || (piix4 && ultra)) << "no such register: " << std::hex << offset;
        if (offset == 0x41 || offset == 0x43) {
            EXPECT_NE(value & 0x80, 0) << "the channel is not decoded any more";
        }
        writes++;
        if (sticks) {
            bytes.at(offset - 0x40) = value;
        }
    }
    std::uint16_t read16(std::uint32_t) override { return bad_width(); }
    std::uint32_t read32(std::uint32_t) override { return bad_width(); }
    void write16(std::uint32_t, std::uint16_t) override { bad_width(); }
    void write32(std::uint32_t, std::uint32_t) override { bad_width(); }

  private:
    static std::uint8_t bad_width() {
        ADD_FAILURE() << "configuration space is written by bytes";
        return 0;
    }
};

class FakeIdeChannel {
  public:
    /// A port write: which window ('c'ommand, con't'rol, 'b'us master), port, value.
    struct Write {
        char window;
        std::uint32_t offset;
        std::uint32_t value;
        bool operator==(const Write&) const = default;
    };

    FakeIdeChannel(FakeMemory& memory, FakePiix& piix, unsigned number)
        : memory_(memory), piix_(piix), number_(number) {}

    std::array<FakeIdeDrive, 2> drives;
    bool floating = true;     ///< what an empty channel reads as; false: zeros
    bool pci_error = false;   ///< the next transfer meets a master abort
    bool short_count = false; ///< the next read loses bytes, and says all is well
    std::vector<Write> writes;
    unsigned interrupts = 0; ///< rises of INTRQ that the bus saw
    unsigned resets = 0;

    RegisterIo& command_block() { return command_window_; }
    RegisterIo& control_block() { return control_window_; }
    RegisterIo& bus_master() { return bus_master_window_; }

    [[nodiscard]] bool under_way() const { return under_way_; }
    [[nodiscard]] bool interrupts_off() const { return (control_ & 2) != 0; }
    [[nodiscard]] bool bus_master_on() const { return (bm_command_ & 1) != 0; }
    [[nodiscard]] std::uint8_t bm_status() const { return bm_status_; }
    void bm_status(std::uint8_t value) { bm_status_ = value; }
    /// An interrupt that no drive meant.
    void noise() { bm_status_ |= 4; }

    /// The command under way makes all its way. False: there is none, or it hangs.
    bool run() {
        if (!under_way_ || hanging_) {
            return false;
        }
        FakeIdeDrive& drive = selected();
        const bool data = is_data(opcode_);
        if (data && (bm_command_ & 1) == 0) {
            return false;
        }
        if (data && drive.mode != piix_.mode_of(number_, select_)) {
            ADD_FAILURE() << "the drive is in mode " << std::hex << int{drive.mode}
                          << ", the controller in " << int{piix_.mode_of(number_, select_)};
            hanging_ = true; // as it would
            return false;
        }
        if (drive.hangs != 0) {
            drive.hangs--;
            hanging_ = true;
            return false;
        }
        under_way_ = false;
        drive.opcodes.push_back(opcode_);
        drive.error = 0;
        if (drive.crc_errors != 0) {
            drive.crc_errors--;
            drive.error = 0x84; // ICRC and ABRT
        } else if (drive.aborts != 0) {
            drive.aborts--;
            drive.error = 0x04;
        } else if (!execute(drive)) {
            drive.status = 0xd8; // still wants to transfer
            hanging_ = under_way_ = true;
            return false;
        }
        drive.status =
            static_cast<std::uint8_t>((pio_ == 0 ? 0x58 : 0x50) | (drive.error != 0 ? 1 : 0));
        if (drive.faults != 0) {
            drive.faults--;
            drive.status |= 0x20;
        }
        raise(drive);
        return true;
    }

  private:
    struct Window final : RegisterIo {
        Window(FakeIdeChannel& channel, char window) : owner(channel), name(window) {}
        std::uint8_t read8(std::uint32_t offset) override { return owner.read(name, offset); }
        std::uint16_t read16(std::uint32_t offset) override {
            EXPECT_TRUE(name == 'c' && offset == 0) << "16-bit read of " << name << offset;
            return owner.read_data();
        }
        std::uint32_t read32(std::uint32_t offset) override {
            ADD_FAILURE() << "32-bit read of " << name << offset;
            return 0;
        }
        void write8(std::uint32_t offset, std::uint8_t value) override {
            owner.writes.push_back({name, offset, value});
            owner.write(name, offset, value);
        }
        void write16(std::uint32_t offset, std::uint16_t) override {
            ADD_FAILURE() << "16-bit write of " << name << offset;
        }
        void write32(std::uint32_t offset, std::uint32_t value) override {
            EXPECT_TRUE(name == 'b' && offset == 4) << "32-bit write of " << name << offset;
            EXPECT_EQ(value % 4, 0u);
            EXPECT_EQ(owner.bm_command_ & 1, 0) << "table changed under the bus master";
            owner.writes.push_back({name, offset, value});
            owner.table_ = value;
        }
        FakeIdeChannel& owner;
        char name;
    };

    FakeIdeDrive& selected() { return drives[select_]; }
    static bool is_data(std::uint8_t opcode) {
        return opcode != 0xe7 && opcode != 0xea && opcode != 0xef && opcode != 0xec &&
               opcode != 0xb0 && opcode != 0xe5;
    }

    // ---- Registers

    std::uint8_t read(char window, std::uint32_t offset) {
        if (window == 'b') {
            EXPECT_TRUE(offset == 0 || offset == 2);
            return offset == 0 ? bm_command_ : bm_status_;
        }
        if (window == 't') {
            EXPECT_EQ(offset, 0u);
            return status(false);
        }
        EXPECT_TRUE(offset >= 1 && offset <= 7);
        if (offset == 7) {
            return status(true);
        }
        if (nobody()) {
            return floating ? 0xff : 0;
        }
        // The master answers for a slave that is not there.
        FakeIdeDrive& drive = selected().kind != FakeIdeDrive::Kind::none ? selected() : drives[0];
        return offset == 1 ? drive.error : offset == 6 ? device_ : drive.regs[offset][0];
    }

    [[nodiscard]] bool nobody() const {
        return drives[0].kind == FakeIdeDrive::Kind::none &&
               drives[1].kind == FakeIdeDrive::Kind::none;
    }

    std::uint8_t status(bool acknowledge) {
        if (nobody()) {
            return floating ? 0xff : 0;
        }
        FakeIdeDrive& drive = selected();
        if (drive.kind == FakeIdeDrive::Kind::none) {
            return 0;
        }
        if (drive.looks != 0 && --drive.looks == 0) {
            drive.status = drive.later;
            if (drive.interrupts) {
                drive.interrupts = false;
                raise(drive);
            }
        }
        if (acknowledge) {
            intrq_ = false;
        }
        return drive.status;
    }

    std::uint16_t read_data() {
        EXPECT_LT(pio_, 256u) << "data port read without data";
        FakeIdeDrive& drive = selected();
        const std::uint16_t word = pio_ < 256 ? block_[pio_++] : std::uint16_t{0xffff};
        if (pio_ == 256) {
            drive.status = 0x50;
        }
        return word;
    }

    void write(char window, std::uint32_t offset, std::uint8_t value) {
        if (window == 'b') {
            write_bus_master(offset, value);
        } else if (window == 't') {
            write_control(value);
        } else if (offset == 7) {
            start(value);
        } else if (offset == 6) {
            EXPECT_FALSE(under_way_) << "DEVICE written while a command is under way";
            device_ = value;
            select_ = value >> 4 & 1;
        } else {
            EXPECT_FALSE(under_way_) << "command block written while a command is under way";
            for (FakeIdeDrive& drive : drives) { // both listen
                drive.regs.at(offset)[1] = drive.regs.at(offset)[0];
                drive.regs.at(offset)[0] = value;
            }
        }
    }

    void write_control(std::uint8_t value) {
        EXPECT_EQ(value & ~0x06, 0);
        const bool was = (control_ & 4) != 0;
        const bool is = (value & 4) != 0;
        const bool enabled = (control_ & 2) != 0 && (value & 2) == 0;
        control_ = value;
        if (enabled && intrq_) {
            bm_status_ |= 4; // a line that waited to rise
            interrupts++;
        }
        if (!was && is) {
            resets++;
            under_way_ = hanging_ = intrq_ = false;
            EXPECT_EQ(bm_command_ & 1, 0) << "reset under a running bus master";
            for (FakeIdeDrive& drive : drives) {
                drive.status = 0x80;
                drive.looks = 0;
                drive.interrupts = false;
                drive.mode = drive.keeps_mode ? drive.mode : std::uint8_t{0};
            }
        } else if (was && !is) {
            select_ = 0;
            for (FakeIdeDrive& drive : drives) {
                drive.looks = drive.dead ? 0 : drive.reset_looks;
                drive.later = drive.kind == FakeIdeDrive::Kind::disk ? 0x50 : 0x00;
                if (drive.looks == 0 && !drive.dead) {
                    drive.status = drive.later;
                }
                const bool cdrom = drive.kind == FakeIdeDrive::Kind::cdrom;
                drive.regs[2][0] = drive.regs[3][0] = 1;
                drive.regs[4][0] = cdrom ? 0x14 : 0;
                drive.regs[5][0] = cdrom ? 0xeb : 0;
            }
        }
    }

    void write_bus_master(std::uint32_t offset, std::uint8_t value) {
        if (offset == 2) {
            bm_status_ =
                static_cast<std::uint8_t>((bm_status_ & 0x07 & ~(value & 0x06)) | (value & 0x60));
            return;
        }
        ASSERT_EQ(offset, 0u);
        EXPECT_EQ(value & ~0x09, 0);
        if ((bm_command_ & 1) != 0) {
            EXPECT_EQ(bm_command_ & 8, value & 8) << "direction changed under way";
        }
        if ((bm_command_ & 1) == 0 && (value & 1) != 0) {
            EXPECT_TRUE(under_way_) << "started without a command";
            EXPECT_EQ(bm_status_ & 6, 0) << "started with old status bits";
            bm_status_ |= 1;
        } else if ((value & 1) == 0) {
            bm_status_ &= 0xfe;
        }
        bm_command_ = value;
    }

    // ---- Commands

    void start(std::uint8_t opcode) {
        FakeIdeDrive& drive = selected();
        if (drive.kind == FakeIdeDrive::Kind::none) {
            return;
        }
        EXPECT_FALSE(under_way_) << "second command";
        EXPECT_EQ(drive.status & 0x88, 0) << "command to a busy drive";
        opcode_ = opcode;
        drive.error = 0;
        if (opcode == 0xec && interrupts_off()) { // the driver polls
            block_ = drive.identity();
            drive.opcodes.push_back(opcode);
            const bool refuse = drive.refuses_identify || drive.kind == FakeIdeDrive::Kind::cdrom;
            drive.error = refuse ? 0x04 : 0;
            pio_ = refuse ? 256 : 0;
            answer(drive, refuse ? 0x51 : 0x58);
            drive.looks = drive.dead_identify ? 0 : drive.looks;
            return;
        }
        if (opcode == 0xe7 && interrupts_off()) {
            drive.opcodes.push_back(opcode);
            drive.error = drive.refuses_flush ? 0x04 : 0;
            answer(drive, drive.refuses_flush ? 0x51 : 0x50);
            return;
        }
        if (opcode == 0xef) { // ends at once; the driver polls
            drive.opcodes.push_back(opcode);
            if (drive.regs[1][0] == 0x07) {
                drive.standby = false;
                answer(drive, 0x50);
                return;
            }
            EXPECT_EQ(drive.regs[1][0], 0x03);
            const std::uint8_t mode = drive.regs[2][0];
            drive.modes.push_back(mode);
            const bool refuse = drive.refuses_mode || drive.refused_modes.count(mode) != 0;
            drive.mode = refuse ? drive.mode : mode;
            drive.error = refuse ? 0x04 : 0;
            answer(drive, refuse ? 0x51 : 0x50);
            return;
        }
        drive.status = 0xd0;
        under_way_ = true;
    }

    /// After some looks at STATUS.
    static void answer(FakeIdeDrive& drive, std::uint8_t status) {
        drive.status = 0x80;
        drive.looks = drive.command_looks;
        drive.later = status;
        drive.interrupts = true;
    }

    void raise(FakeIdeDrive& drive) {
        if (drive.silent != 0) {
            drive.silent--;
            return;
        }
        if (!intrq_ && (control_ & 2) == 0) {
            bm_status_ |= 4;
            interrupts++;
        }
        intrq_ = true;
    }

    /// False: the bus master gave out before the drive.
    bool execute(FakeIdeDrive& drive);
    /// Moves bytes between `data` and what the descriptors say. False: too few of them.
    bool transfer(std::span<std::byte> data, bool to_memory);

    FakeMemory& memory_;
    FakePiix& piix_;
    const unsigned number_;
    Window command_window_{*this, 'c'};
    Window control_window_{*this, 't'};
    Window bus_master_window_{*this, 'b'};
    unsigned select_ = 0;
    std::uint8_t device_ = 0;
    std::uint8_t control_ = 0;
    std::uint8_t opcode_ = 0;
    bool under_way_ = false;
    bool hanging_ = false;
    bool intrq_ = false;
    std::size_t pio_ = 256; ///< words of block_ that were read
    std::array<std::uint16_t, 256> block_{};
    std::uint8_t bm_command_ = 0;
    std::uint8_t bm_status_ = 0x60; ///< firmware noted both drives as capable
    std::uint32_t table_ = 0;
};

inline bool FakeIdeChannel::execute(FakeIdeDrive& drive) {
    const auto reg = [&](unsigned n, unsigned depth) {
        return std::uint64_t{drive.regs[n][depth]};
    };
    if (opcode_ == 0xec) {
        block_ = drive.identity();
        pio_ = 0;
        return true;
    }
    if (opcode_ == 0xe5) {
        drive.regs[2][0] = 0xff;
        return true;
    }
    if (opcode_ == 0xb0) {
        EXPECT_EQ(reg(4, 0) | reg(5, 0) << 8, 0xc24fu);
        if (reg(1, 0) == 0xda) {
            drive.regs[4][0] = 0xf4; // a threshold is exceeded
            drive.regs[5][0] = 0x2c;
        } else {
            for (std::size_t i = 0; i < block_.size(); i++) {
                block_[i] = static_cast<std::uint16_t>(i + reg(1, 0) + reg(3, 0));
            }
            pio_ = 0;
        }
        return true;
    }
    if (opcode_ == 0xe7 || opcode_ == 0xea) {
        return true;
    }
    if (opcode_ == 0x06) {
        EXPECT_EQ(reg(1, 0), 1u); // TRIM
        EXPECT_EQ(reg(2, 0) | reg(2, 1) << 8, 1u);
        IdeSector payload{};
        if (!transfer(payload, false)) {
            return false;
        }
        for (std::size_t i = 0; i < 512; i += 8) {
            std::uint64_t range = 0;
            std::memcpy(&range, payload.data() + i, 8);
            if (range >> 48 != 0) {
                drive.trimmed.emplace_back(range & 0xffff'ffff'ffff, range >> 48);
            }
        }
        return true;
    }
    const bool ext = opcode_ == 0x25 || opcode_ == 0x35 || opcode_ == 0x3d;
    const bool to_memory = opcode_ == 0x25 || opcode_ == 0xc8;
    if (!ext && opcode_ != 0xc8 && opcode_ != 0xca) {
        drive.error = 0x04;
        return true;
    }
    EXPECT_EQ(device_ & 0x40, 0x40) << "no LBA";
    std::uint64_t lba = reg(3, 0) | reg(4, 0) << 8 | reg(5, 0) << 16;
    std::uint64_t count = reg(2, 0);
    if (ext) {
        lba |= reg(3, 1) << 24 | reg(4, 1) << 32 | reg(5, 1) << 40;
        count |= reg(2, 1) << 8;
        count = count == 0 ? 65536 : count;
    } else {
        lba |= std::uint64_t{device_ & 0x0fu} << 24;
        count = count == 0 ? 256 : count;
    }
    if (lba + count >
        (ext ? drive.capacity : std::min<std::uint64_t>(drive.capacity, 0x0fffffff))) {
        drive.error = 0x10; // IDNF
        return true;
    }
    std::vector<std::byte> data(count * 512);
    std::size_t good = count;
    if (to_memory) {
        for (std::uint64_t i = 0; i < count; i++) {
            const IdeSector sector = drive.read(lba + i);
            std::copy(sector.begin(), sector.end(),
                      data.begin() + static_cast<std::ptrdiff_t>(i * 512));
        }
        const auto bad = drive.unc.lower_bound(lba);
        if (bad != drive.unc.end() && *bad < lba + count) {
            good = *bad - lba;
            drive.error = 0x40;
        }
        good -= short_count ? 1 : 0;
        short_count = false;
    }
    if (!transfer(std::span(data).first(good * 512), to_memory)) {
        return false;
    }
    for (std::uint64_t i = 0; !to_memory && i < count; i++) {
        std::memcpy(drive.medium[lba + i].data(), data.data() + i * 512, 512);
    }
    return true;
}

inline bool FakeIdeChannel::transfer(std::span<std::byte> data, bool to_memory) {
    EXPECT_EQ((bm_command_ & 8) != 0, to_memory) << "wrong direction";
    if (pci_error) {
        pci_error = false;
        bm_status_ = static_cast<std::uint8_t>((bm_status_ & 0xfe) | 2);
        return false;
    }
    std::uint64_t at = table_;
    bool end = false;
    while (!end) {
        EXPECT_EQ(at >> 16, table_ >> 16) << "the table crosses 64 KiB";
        const std::byte* entry = memory_.translate(at, 8);
        if (entry == nullptr) {
            return false;
        }
        std::uint32_t words[2];
        std::memcpy(words, entry, 8);
        at += 8;
        EXPECT_EQ((words[0] | words[1]) & 1, 0u) << "odd address or count";
        EXPECT_EQ(words[1] & 0x7fff0000, 0u) << "reserved bits";
        const std::size_t bytes = (words[1] & 0xffff) == 0 ? 65536 : words[1] & 0xffff;
        EXPECT_LE((words[0] & 0xffff) + bytes, 65536u) << "a region crosses 64 KiB";
        end = (words[1] & 0x80000000) != 0;
        const std::size_t part = std::min(bytes, data.size());
        std::byte* memory = memory_.translate(words[0], bytes);
        if (memory == nullptr) {
            return false;
        }
        if (part != 0) {
            std::memcpy(to_memory ? memory : data.data(), to_memory ? data.data() : memory, part);
        }
        data = data.subspan(part);
        if (part < bytes) {
            return true; // ACTIVE stays: descriptors are left over
        }
    }
    bm_status_ &= 0xfe;
    return data.empty();
}

} // namespace udrv::test
