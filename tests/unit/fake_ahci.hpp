// SPDX-License-Identifier: MIT
//
// A behavioural model of an AHCI HBA with SATA disks on RegisterIo, for unit tests of
// the driver. It is written from AHCI 1.3.1 and ACS-3 with numbers of its own, not the
// driver's, so that a wrong offset or bit in the driver shows. What the standards
// forbid the host fails the test.
//
// Commands are accepted at once and executed by run(), queued ones in any order.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/fake_e1000.hpp" // FakeMemory
#include "tests/unit/fake_sata_disk.hpp"

namespace udrv::test {

class FakeAhci final : public RegisterIo {
  public:
    static constexpr std::uint32_t nr_ports = 4;
    enum Reg : std::uint32_t {
        CAP = 0x00,
        GHC = 0x04,
        IS = 0x08,
        PI = 0x0c,
        CAP2 = 0x24,
        BOHC = 0x28,
        CLB = 0x00,
        CLBU = 0x04,
        FB = 0x08,
        FBU = 0x0c,
        PIS = 0x10,
        PIE = 0x14,
        CMD = 0x18,
        TFD = 0x20,
        SIG = 0x24,
        SSTS = 0x28,
        SCTL = 0x2c,
        SERR = 0x30,
        SACT = 0x34,
        CI = 0x38
    };
    struct Access {
        std::uint32_t offset;
        std::uint32_t value;
        bool operator==(const Access&) const = default;
    };
    using Command = SataCommand;
    using Disk = FakeSataDisk;
    // How emulated HBAs differ from the standard.
    bool no_error_log = false;    ///< READ LOG EXT ends without data, FIS or interrupt
    bool no_tfes = false;         ///< a failed queued command sets only SDBS
    bool goes_on = false;         ///< and the rest of the queue is executed all the same
    bool error_clears_ci = false; ///< of a command that is not queued
    bool keeps_sact = false;      ///< when ST is cleared
    // Faults.
    bool hr_hangs = false;
    unsigned cr_hangs = 0; ///< bit n: PxCMD.CR of port n does not follow ST
    bool bios_owns = false;
    bool gone = false; ///< all reads give all ones

    std::array<Disk, nr_ports> disks;
    std::vector<Access> writes;
    std::size_t reads = 0;
    unsigned hba_resets = 0;
    unsigned comresets = 0;
    std::uint32_t cap = 0xc0001f03; // S64A, SNCQ, 32 slots, 4 ports
    std::mt19937 random{1};

    explicit FakeAhci(FakeMemory& memory) : memory_(memory) {
        // As a predecessor may have left it: ports running.
        for (std::uint32_t n = 0; n < nr_ports; n++) {
            at(n, CMD) = 0xc017;
            at(n, PIE) = 0xffffffff;
        }
        ghc_ = 0x80000002;
    }

    void plug(std::uint32_t n, std::uint64_t blocks) {
        Disk& disk = disks.at(n);
        disk.present = true;
        disk.identify = sata_disk(blocks, "Fake disk", "SN-" + std::to_string(n));
        disk.data.assign(blocks * 512, 0);
    }
    void unplug(std::uint32_t n) {
        disks.at(n).present = false;
        at(n, SSTS) = 0;
        at(n, SERR) |= 1u << 16; // DIAG.N
        cause(n, 1u << 22);      // PRCS
    }
    [[nodiscard]] std::uint32_t& at(std::uint32_t n, std::uint32_t offset) {
        return ports_.at(n).regs.at(offset / 4);
    }
    [[nodiscard]] static std::uint32_t place(std::uint32_t n, std::uint32_t offset) {
        return 0x100 + 0x80 * n + offset;
    }
    [[nodiscard]] bool interrupting() const { return (ghc_ & 2) != 0 && is_ != 0; }
    [[nodiscard]] std::uint32_t ghc() const { return ghc_; }
    [[nodiscard]] std::size_t with_disk(std::uint32_t n) const { return ports_.at(n).queue.size(); }
    void forget() {
        writes.clear();
        reads = 0;
        for (Disk& disk : disks) {
            disk.log.clear();
            disk.finished.clear();
        }
    }

    /// A cause of port n; for faults of the link, with what a test wants in PxSERR.
    void cause(std::uint32_t n, std::uint32_t bits) {
        at(n, PIS) |= bits;
        update();
    }
    void break_link(std::uint32_t n) { // IFS: the transfer stops where it is
        ports_[n].broken = true;
        at(n, SERR) |= 1u << 8;
        cause(n, 1u << 27);
    }

    /// Executes up to `limit` commands of port n, queued ones in random order.
    void run(std::uint32_t n, std::size_t limit = 1000) {
        Port& p = ports_[n];
        while (limit-- != 0 && !p.queue.empty() && !p.failed && !p.broken && !disks[n].frozen &&
               (at(n, SSTS) & 15) == 3) {
            std::vector<std::size_t> able;
            for (std::size_t i = 0; i < p.queue.size(); i++) {
                if (!p.queue[i].touches(disks[n].hangs)) {
                    able.push_back(i);
                }
            }
            if (able.empty()) {
                return;
            }
            const std::size_t i = able[random() % able.size()];
            const Command command = p.queue[i];
            p.queue.erase(p.queue.begin() + static_cast<std::ptrdiff_t>(i));
            execute(n, command);
        }
    }
    void run() {
        for (std::uint32_t n = 0; n < nr_ports; n++) {
            run(n);
        }
    }

    // ---- RegisterIo ---------------------------------------------------------------

    std::uint32_t read32(std::uint32_t offset) override {
        reads++;
        if (gone) {
            return 0xffffffff;
        }
        if (offset >= 0x100) {
            return read_port((offset - 0x100) / 0x80, offset % 0x80);
        }
        switch (offset) {
        case CAP:
            return cap;
        case GHC:
            if ((ghc_ & 1) != 0 && !hr_hangs && ++hr_reads_ > 2) {
                reset();
            }
            return ghc_;
        case IS:
            return is_;
        case PI:
            return (1u << nr_ports) - 1;
        case CAP2:
            return bios_owns ? 1 : 0;
        case BOHC:
            if ((bohc_ & 2) != 0 && ++bohc_reads_ > 3) {
                bohc_ &= ~1u;
            }
            return bohc_;
        default:
            ADD_FAILURE() << "read of " << std::hex << offset;
            return 0;
        }
    }

    void write32(std::uint32_t offset, std::uint32_t value) override {
        writes.push_back({offset, value});
        if (offset >= 0x100) {
            EXPECT_NE(ghc_ & 0x80000000, 0u) << "a port without AHCI mode (GHC.AE)";
            write_port((offset - 0x100) / 0x80, offset % 0x80, value);
            return;
        }
        switch (offset) {
        case GHC:
            EXPECT_TRUE((value & 1) == 0 || (ghc_ & 0x80000000) != 0) << "HR without AE";
            ghc_ = value;
            hr_reads_ = 0;
            update();
            break;
        case IS:
            for (std::uint32_t n = 0; n < nr_ports; n++) {
                EXPECT_TRUE((value >> n & 1) == 0 || (at(n, PIS) & at(n, PIE)) == 0)
                    << "IS cleared before PxIS: it comes back";
            }
            is_ &= ~value;
            update();
            break;
        case BOHC:
            bohc_ = value;
            break;
        default:
            ADD_FAILURE() << "write to " << std::hex << offset;
        }
    }

    std::uint8_t read8(std::uint32_t) override { return bad_width(); }
    std::uint16_t read16(std::uint32_t) override { return bad_width(); }
    void write8(std::uint32_t, std::uint8_t) override { bad_width(); }
    void write16(std::uint32_t, std::uint16_t) override { bad_width(); }

  private:
    static constexpr std::uint32_t st = 1, sud = 2, fre = 0x10, fr = 0x4000, cr = 0x8000;

    struct Port {
        std::array<std::uint32_t, 32> regs{};
        std::vector<Command> queue; ///< with the disk
        bool failed = false;        ///< a queued command failed: only READ LOG EXT now
        bool broken = false;        ///< the HBA stopped; ST has to go to 0
        unsigned busy = 0;          ///< reads of TFD that still see BSY
        Bytes error_log = Bytes(512);
    };

    static std::uint8_t bad_width() {
        ADD_FAILURE() << "registers are 32 bits wide";
        return 0;
    }

    void update() {
        for (std::uint32_t n = 0; n < nr_ports; n++) {
            if ((at(n, PIS) & at(n, PIE)) != 0) {
                is_ |= 1u << n;
            }
        }
    }

    void reset() {
        hba_resets++;
        ghc_ = 0;
        is_ = 0;
        cr_hangs = 0;
        bohc_ = bios_owns ? bohc_ : 0;
        for (std::uint32_t n = 0; n < nr_ports; n++) {
            ports_[n] = {};
            at(n, CMD) = 6;
            link_up(n);
        }
    }

    /// A COMRESET ends: the device introduces itself, or is not there.
    void link_up(std::uint32_t n) {
        Port& p = ports_[n];
        p.queue.clear();
        p.failed = p.broken = false;
        at(n, CI) = at(n, SACT) = 0;
        at(n, TFD) = 0x7f;
        at(n, SIG) = 0xffffffff;
        const bool answers = disks[n].present && !disks[n].dead_after_reset;
        at(n, SSTS) = answers ? 0x133 : 0;
        if (answers) {
            p.busy = disks[n].spin_up;
            at(n, SERR) |= 1u << 26; // DIAG.X
            cause(n, 1u << 6);       // PCS
            first_fis(n);
        }
    }

    /// The signature; it waits for FRE.
    void first_fis(std::uint32_t n) {
        if ((at(n, CMD) & fre) != 0 && (at(n, SSTS) & 15) == 3 && at(n, SIG) == 0xffffffff) {
            at(n, SIG) = disks[n].sig;
            d2h(n, 0x50, 0x01, false);
        }
    }

    std::uint32_t read_port(std::uint32_t n, std::uint32_t offset) {
        if (n >= nr_ports) {
            ADD_FAILURE() << "read of port " << n << ", which is not implemented";
            return 0;
        }
        if (offset == TFD && ports_[n].busy != 0) {
            ports_[n].busy--;
            return 0x80;
        }
        return at(n, offset);
    }

    void write_port(std::uint32_t n, std::uint32_t offset, std::uint32_t value) {
        ASSERT_LT(n, nr_ports);
        std::uint32_t& reg = at(n, offset);
        switch (offset) {
        case CLB:
        case CLBU:
            EXPECT_EQ(at(n, CMD) & (st | cr), 0u);
            EXPECT_TRUE(offset == CLBU || value % 1024 == 0);
            reg = value;
            break;
        case FB:
        case FBU:
            EXPECT_EQ(at(n, CMD) & (fre | fr), 0u);
            EXPECT_TRUE(offset == FBU || value % 256 == 0);
            reg = value;
            break;
        case PIS:
            reg &= ~value;
            break;
        case PIE:
            reg = value;
            update();
            break;
        case CMD:
            write_cmd(n, value);
            break;
        case SCTL:
            EXPECT_EQ(at(n, CMD) & st, 0u) << "PxSCTL.DET with ST set";
            if ((reg & 15) == 1 && (value & 15) == 0) {
                comresets++;
                link_up(n);
            } else if ((value & 15) == 1) {
                EXPECT_EQ(at(n, CMD) & cr, 0u);
                at(n, SSTS) = 0;
            }
            reg = value;
            break;
        case SERR:
            reg &= ~value;
            if ((value & 1u << 26) != 0) {
                at(n, PIS) &= ~(1u << 6);
            }
            if ((value & 1u << 16) != 0) {
                at(n, PIS) &= ~(1u << 22);
            }
            break;
        case SACT:
            EXPECT_NE(at(n, CMD) & st, 0u);
            EXPECT_EQ(reg & value & ~stale_, 0u) << "tag is in use";
            reg |= value;
            break;
        case CI:
            issue(n, value);
            break;
        default:
            ADD_FAILURE() << "write to read-only port register " << std::hex << offset;
        }
    }

    void write_cmd(std::uint32_t n, std::uint32_t value) {
        Port& p = ports_[n];
        std::uint32_t& reg = at(n, CMD);
        const bool was = (reg & st) != 0;
        reg = (reg & (cr | fr)) | (value & 0x17);
        if ((value & st) != 0 && !was) {
            EXPECT_NE(reg & fr, 0u) << "ST without FRE";
            EXPECT_EQ(at(n, TFD) & 0x88, 0u) << "ST while the disk is busy";
            EXPECT_EQ(at(n, SSTS) & 15, 3u) << "ST without a link";
            EXPECT_EQ(reg & cr, 0u) << "ST while CR is still 1";
            reg |= cr;
        } else if ((value & st) == 0) {
            at(n, CI) = 0;
            if (!keeps_sact) {
                at(n, SACT) = 0;
            } else {
                stale_ |= at(n, SACT);
            }
            p.broken = false;
            if ((cr_hangs >> n & 1) == 0) {
                reg &= ~cr;
            }
        }
        if ((value & fre) != 0) {
            reg |= fr;
            first_fis(n);
        } else {
            EXPECT_EQ(reg & st, 0u) << "FRE cleared before ST";
            if ((reg & cr) == 0) {
                reg &= ~fr;
            }
        }
    }

    // ---- Commands -----------------------------------------------------------------

    [[nodiscard]] std::byte* header(std::uint32_t n, std::uint32_t slot) {
        const std::uint64_t list = std::uint64_t{at(n, CLBU)} << 32 | at(n, CLB);
        return memory_.translate(list + 32 * slot, 32);
    }
    [[nodiscard]] std::uint64_t table(std::uint32_t n, std::uint32_t slot) {
        std::array<std::uint32_t, 8> words{};
        std::memcpy(words.data(), header(n, slot), 32);
        EXPECT_EQ(words[2] % 128, 0u);
        return std::uint64_t{words[3]} << 32 | words[2];
    }

    void issue(std::uint32_t n, std::uint32_t slots) {
        EXPECT_NE(at(n, CMD) & st, 0u) << "PxCI written while ST is 0";
        EXPECT_EQ(at(n, CI) & slots, 0u) << "slot is in use";
        if (ports_[n].broken) { // it fetches nothing more until ST has been 0 (6.2.2)
            at(n, CI) |= slots;
            return;
        }
        for (std::uint32_t set = slots; set != 0; set &= set - 1) {
            const auto slot = static_cast<std::uint32_t>(std::countr_zero(set));
            EXPECT_LE(slot, cap >> 8 & 31) << "a slot that the HBA does not have";
            Command command;
            command.slot = slot;
            std::uint16_t flags = 0;
            std::memcpy(&flags, header(n, slot), 2);
            EXPECT_EQ(flags & 31, 5) << "length of the FIS in dwords";
            std::memcpy(command.fis.data(), memory_.translate(table(n, slot), 128), 20);
            EXPECT_EQ(command.fis[0], 0x27);
            EXPECT_EQ(command.fis[1], 0x80);
            EXPECT_EQ((flags & 0x40) != 0, command.to_disk()) << "W of the command header";
            accept(n, command);
        }
    }

    void accept(std::uint32_t n, const Command& command) {
        Port& p = ports_[n];
        disks[n].log.push_back(command);
        if (command.opcode() == 0x2f) {
            read_log(n, command);
            return;
        }
        EXPECT_FALSE(p.failed) << "a disk with a failed queue takes only READ LOG EXT";
        const bool alone = !command.queued();
        for (const Command& other : p.queue) {
            EXPECT_TRUE(!alone && other.queued()) << "queued and other commands together";
            EXPECT_NE(other.slot, command.slot) << "the disk still has that tag";
        }
        if (alone) {
            at(n, CI) |= 1u << command.slot;
        } else {
            EXPECT_NE(at(n, SACT) >> command.slot & 1, 0u) << "PxCI before PxSACT";
            EXPECT_EQ(command.fis[12], command.slot << 3) << "tag";
        }
        p.queue.push_back(command);
        if (command.opcode() == 0xec) {
            run(n);
        }
    }

    void read_log(std::uint32_t n, const Command& command) {
        Port& p = ports_[n];
        EXPECT_EQ(command.lba(), 0x10u);
        EXPECT_EQ(command.blocks(), 1u);
        if (no_error_log) {
            return; // CI is 0 again, and nothing has happened
        }
        EXPECT_TRUE(p.failed) << "no queued command has failed";
        p.failed = false;
        p.queue.clear(); // all aborted
        move(n, command.slot, p.error_log.data(), 512, true);
        at(n, TFD) = 0x50;
        cause(n, 1u << 1); // PSS
    }

    void execute(std::uint32_t n, const Command& c) {
        Disk& disk = disks[n];
        EXPECT_TRUE(!c.flush() || prdtl(n, c.slot) == 0);
        const std::uint8_t error =
            disk.execute(c, [&](std::uint8_t* data, std::size_t bytes, bool to_memory) {
                move(n, c.slot, data, bytes, to_memory);
            });
        if (error != 0) {
            fail(n, c, error);
            return;
        }
        disk.finished.push_back(c.opcode());
        if (c.queued()) {
            at(n, SACT) &= ~(1u << c.slot);
            set_device_bits(n, 0x50, 0, 1u << c.slot);
        } else {
            at(n, CI) &= ~(1u << c.slot);
            d2h(n, 0x50, 0, true);
        }
    }

    void fail(std::uint32_t n, const Command& c, std::uint8_t error) {
        if (!c.queued()) {
            if (error_clears_ci) {
                at(n, CI) &= ~(1u << c.slot);
            } else {
                ports_[n].broken = true;
            }
            d2h(n, 0x51, error, true);
            cause(n, 1u << 30); // TFES
            return;
        }
        Bytes& log = ports_[n].error_log;
        std::fill(log.begin(), log.end(), std::uint8_t{0});
        log[0] = static_cast<std::uint8_t>(c.slot);
        log[2] = 0x41;
        log[3] = error;
        unsigned sum = 0;
        for (const std::uint8_t byte : log) {
            sum += byte;
        }
        log[511] = static_cast<std::uint8_t>(0x100 - (sum & 0xff));
        ports_[n].failed = ports_[n].broken = !goes_on;
        if (goes_on) {
            at(n, SERR) |= 1u << c.slot;
        }
        set_device_bits(n, 0x41, error, 0);
        if (!no_tfes) {
            cause(n, 1u << 30);
        }
    }

    [[nodiscard]] std::uint32_t prdtl(std::uint32_t n, std::uint32_t slot) {
        std::uint16_t entries = 0;
        std::memcpy(&entries, header(n, slot) + 2, 2);
        return entries;
    }

    /// Moves data by the PRD table, which has to fit exactly.
    void move(std::uint32_t n, std::uint32_t slot, std::uint8_t* data, std::size_t bytes,
              bool to_memory) {
        std::size_t done = 0;
        for (std::uint32_t i = 0; i < prdtl(n, slot); i++) {
            std::array<std::uint32_t, 4> prd{};
            std::memcpy(prd.data(), memory_.translate(table(n, slot) + 0x80 + 16 * i, 16), 16);
            EXPECT_EQ(prd[0] & 1, 0u);
            EXPECT_EQ(prd[2], 0u);
            EXPECT_EQ(prd[3] & 0x7fc00001, 1u) << "byte count: even, 22 bits";
            const std::size_t part = (prd[3] & 0x3fffff) + 1;
            ASSERT_LE(done + part, bytes) << "PRDs hold more than the command moves";
            std::byte* memory = memory_.translate(std::uint64_t{prd[1]} << 32 | prd[0], part);
            if (memory != nullptr) {
                std::memcpy(to_memory ? reinterpret_cast<std::uint8_t*>(memory) : data + done,
                            to_memory ? data + done : reinterpret_cast<std::uint8_t*>(memory),
                            part);
            }
            done += part;
        }
        EXPECT_EQ(done, bytes);
        const auto count = static_cast<std::uint32_t>(done);
        std::memcpy(header(n, slot) + 4, &count, 4); // PRDBC
    }

    // ---- What the disk sends ----------------------------------------------------------

    [[nodiscard]] std::byte* received(std::uint32_t n, std::uint32_t offset, std::size_t bytes) {
        const std::uint64_t base = std::uint64_t{at(n, FBU)} << 32 | at(n, FB);
        return memory_.translate(base + offset, bytes);
    }
    void d2h(std::uint32_t n, std::uint8_t status, std::uint8_t error, bool interrupt) {
        std::array<std::uint8_t, 20> fis{0x34, 0x40, status, error};
        std::memcpy(received(n, 0x40, 20), fis.data(), 20);
        at(n, TFD) = static_cast<std::uint32_t>(error << 8 | status);
        if (interrupt) {
            cause(n, 1);
        }
    }
    void set_device_bits(std::uint32_t n, std::uint8_t status, std::uint8_t error,
                         std::uint32_t tags) {
        std::array<std::uint8_t, 8> fis{0xa1, 0x40, static_cast<std::uint8_t>(status & 0x77),
                                        error};
        std::memcpy(fis.data() + 4, &tags, 4);
        std::memcpy(received(n, 0x58, 8), fis.data(), 8);
        at(n, TFD) = static_cast<std::uint32_t>(error << 8 | status);
        cause(n, 8);
    }

    FakeMemory& memory_;
    std::array<Port, nr_ports> ports_;
    std::uint32_t ghc_ = 0;
    std::uint32_t is_ = 0;
    std::uint32_t bohc_ = 1;
    std::uint32_t stale_ = 0;
    unsigned hr_reads_ = 0;
    unsigned bohc_reads_ = 0;
};

} // namespace udrv::test
