// SPDX-License-Identifier: MIT
//
// A behavioural model of an AHCI HBA with SATA disks on RegisterIo, for unit tests of
// the driver. It is written from AHCI 1.3.1 and ACS-3 with numbers of its own, not the
// driver's, so that a wrong offset or bit in the driver shows. What the standards
// forbid the host fails the test; each rule names its section.
//
// It answers late: a register write shows its effect (PxCMD.CR and FR, the link, the
// disk's first FIS, a command fetched, an IDENTIFY done) only `lateness` register reads
// later; until then the driver reads what was there before. Commands that carry data of
// requests are executed by run(), queued ones in any order.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <random>
#include <utility>
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
    /// Off: nothing is fetched, moved or signalled, and nothing says so, as in QEMU.
    bool bus_master = true;
    bool msi = false; ///< one message when IS changes from 0 (10.7.2.1), which may be lost
    unsigned lateness = 3;
    /// The driver's clock, for times that the host has to keep.
    std::function<std::chrono::steady_clock::time_point()> clock = std::chrono::steady_clock::now;

    std::array<Disk, nr_ports> disks;
    std::vector<Access> writes;
    std::size_t reads = 0;
    std::size_t most_spinning = 0; ///< disks that spun up at the same time
    unsigned hba_resets = 0;
    unsigned comresets = 0;
    std::uint32_t cap = 0xc0001f03; // S64A, SNCQ, 32 slots, 4 ports
    std::mt19937 random{1};

    explicit FakeAhci(FakeMemory& memory) : memory_(memory) {
        // As a predecessor may have left it: ports running.
        for (std::uint32_t n = 0; n < nr_ports; n++) {
            at(n, CMD) = 0xc017;
            at(n, PIE) = 0xffffffff;
            at(n, SCTL) = 0x300;
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
        no_link(n);
        phy_changed(n);
    }
    /// A disk is plugged in while the HBA runs: it makes itself known (7.3.1).
    void plug_in(std::uint32_t n) {
        disks.at(n).present = true;
        link_up(n);
        settle();
        phy_changed(n);
    }
    [[nodiscard]] std::uint32_t& at(std::uint32_t n, std::uint32_t offset) {
        return ports_.at(n).regs.at(offset / 4);
    }
    [[nodiscard]] static std::uint32_t place(std::uint32_t n, std::uint32_t offset) {
        return 0x100 + 0x80 * n + offset;
    }
    [[nodiscard]] bool interrupting() {
        return msi ? std::exchange(message_, false) : (ghc_ & 2) != 0 && is_ != 0;
    }
    [[nodiscard]] std::uint32_t ghc() const { return ghc_; }
    [[nodiscard]] std::size_t with_disk(std::uint32_t n) {
        settle();
        return ports_.at(n).queue.size();
    }
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
    /// All that is on its way arrives.
    void settle() {
        while (!events_.empty()) {
            advance();
        }
    }
    /// Its disk was without power for a moment, and has forgotten what it had. COMINIT (5.3.2,
    /// P:ComInit), and then its signature while the port runs: BSY 0, no error, and no interrupt.
    /// The HBA takes that for the end of the command under way (5.3.8, RegFIS:ClearCI).
    void disk_forgets(std::uint32_t n) {
        settle();
        ports_[n].queue.clear();
        disks[n].power_failed();
        at(n, TFD) = 0x80;
        at(n, SERR) |= diag_x;
        cause(n, pcs);
        if ((at(n, CMD) & cr) != 0) {
            at(n, CI) &= at(n, SACT);
            at(n, SIG) = disks[n].sig;
            d2h(n, 0x50, 0x01, false);
        }
    }
    void break_link(std::uint32_t n) { // IFS: the transfer stops where it is
        ports_[n].broken = true;
        at(n, SERR) |= 1u << 8;
        cause(n, 1u << 27);
    }

    /// Executes up to `limit` commands of port n, queued ones in random order.
    void run(std::uint32_t n, std::size_t limit = 1000) {
        settle();
        execute_some(n, limit);
    }
    void execute_some(std::uint32_t n, std::size_t limit) {
        Port& p = ports_[n];
        while (limit-- != 0 && !p.queue.empty() && !p.broken && !disks[n].frozen && bus_master &&
               (at(n, SSTS) & 15) == 3) {
            if (p.failed && !p.queue.front().service()) {
                return;
            }
            std::vector<std::size_t> able;
            for (std::size_t i = 0; i < p.queue.size(); i++) {
                if (!p.queue[i].touches(disks[n].hangs) &&
                    (!disks[n].slow || p.queue[i].service())) {
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
        for (Port& port : ports_) { // PCI 2.2, 3.2.5: a read pushes posted writes
            if (std::exchange(port.reset_posted, false)) {
                port.reset_since = clock();
            }
        }
        EXPECT_TRUE(offset == GHC || (ghc_ & 0x80000000) != 0)
            << "read of " << std::hex << offset << " without GHC.AE (3.1.2)";
        EXPECT_TRUE(offset == GHC || (ghc_ & 1) == 0) << "during an HBA reset (10.4.3)";
        const std::uint32_t value = value_of(offset);
        advance(); // what is on its way comes after this read
        return value;
    }

    void write32(std::uint32_t offset, std::uint32_t value) override {
        writes.push_back({offset, value});
        if (gone) {
            return;
        }
        EXPECT_TRUE(offset == GHC || (ghc_ & 1) == 0) << "during an HBA reset (10.4.3)";
        EXPECT_TRUE(offset == GHC || (ghc_ & 0x80000000) != 0)
            << "write to " << std::hex << offset << " without GHC.AE (3.1.2)";
        if (offset >= 0x100) {
            write_port((offset - 0x100) / 0x80, offset % 0x80, value);
            return;
        }
        switch (offset) {
        case GHC:
            EXPECT_TRUE((value & 1) == 0 || (ghc_ & 0x80000000) != 0) << "HR without AE (10.4.3)";
            EXPECT_EQ(value & 0x7ffffffc, 0u) << "reserved, or read only (3.1.2)";
            ghc_ = value | (ghc_ & 1);
            hr_reads_ = 0;
            update();
            break;
        case IS:
            for (std::uint32_t n = 0; n < nr_ports; n++) {
                EXPECT_TRUE((value >> n & 1) == 0 || (at(n, PIS) & at(n, PIE)) == 0)
                    << "IS cleared before PxIS: it comes back (10.7.2.1)";
            }
            is_ &= ~value;
            signalled_ = is_ != 0 && signalled_;
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
    static constexpr std::uint32_t st = 1, sud = 2, clo = 8, fre = 0x10, fr = 0x4000, cr = 0x8000;
    static constexpr std::uint32_t diag_n = 1u << 16, diag_f = 1u << 25, diag_x = 1u << 26;
    static constexpr std::uint32_t ufs = 1u << 4, pcs = 1u << 6, prcs = 1u << 22;

    /// What happens to port n later, unless it is reset before.
    struct Event {
        std::uint64_t due;
        std::uint32_t n;
        unsigned epoch;
        std::function<void()> happen;
    };
    void later(std::uint32_t n, std::function<void()> happen) {
        events_.push_back({reads_passed_ + lateness, n, ports_.at(n).epoch, std::move(happen)});
    }
    void advance() {
        reads_passed_++;
        while (!events_.empty() && events_.front().due <= reads_passed_) {
            const Event event = std::move(events_.front());
            events_.erase(events_.begin());
            if (event.epoch == ports_.at(event.n).epoch) {
                event.happen();
            }
        }
    }

    struct Port {
        std::array<std::uint32_t, 32> regs{};
        std::vector<Command> queue;  ///< with the disk
        bool failed = false;         ///< a queued command failed: only READ LOG EXT now
        bool broken = false;         ///< the HBA stopped; ST has to go to 0
        unsigned epoch = 0;          ///< counts what makes events void: resets of the port
        unsigned starts = 0;         ///< counts what ends the fetching of commands
        bool signature = false;      ///< the disk's first FIS has not been taken yet
        std::uint32_t unfetched = 0; ///< of CI, with nobody on the way to fetch them
        bool reset_posted = false;   ///< the write that begins a COMRESET is on its way
        std::chrono::steady_clock::time_point reset_since;
        unsigned busy = 0; ///< reads of TFD that still see BSY
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
        if ((ghc_ & 2) != 0 && is_ != 0 && !signalled_) {
            signalled_ = true;
            message_ = bus_master; // a message is a write to memory
        }
    }

    std::uint32_t value_of(std::uint32_t offset) {
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

    // ---- Resets and the link --------------------------------------------------------

    [[nodiscard]] bool staggered() const { return (cap & 1u << 27) != 0; } // CAP.SSS

    void reset() {
        hba_resets++;
        ghc_ = 0;
        is_ = 0;
        signalled_ = message_ = false;
        cr_hangs = 0;
        bohc_ = bios_owns ? bohc_ : 0;
        spinning_up_ = 0;
        for (std::uint32_t n = 0; n < nr_ports; n++) {
            const unsigned epoch = ports_[n].epoch + 1;
            ports_[n] = {};
            ports_[n].epoch = epoch;
            at(n, CMD) = staggered() ? 4 : 6;
            no_link(n);
            if (!staggered()) {
                link_up(n);
            }
        }
    }

    void no_link(std::uint32_t n) {
        Port& p = ports_[n];
        p.epoch++;
        p.queue.clear();
        p.failed = false;
        p.signature = false;
        at(n, SSTS) = 0;
        at(n, TFD) = 0x7f; // 3.3.8
        at(n, SIG) = 0xffffffff;
    }
    void phy_changed(std::uint32_t n) {
        at(n, SERR) |= diag_n;
        cause(n, prcs);
    }

    /// A COMRESET ends, or a device comes: it introduces itself, or is not there.
    void link_up(std::uint32_t n) {
        Port& p = ports_[n];
        no_link(n);
        p.broken = false;
        at(n, CI) = at(n, SACT) = 0;
        p.unfetched = 0;
        if (!disks[n].present || disks[n].dead_after_reset) {
            return;
        }
        later(n, [this, n] {
            at(n, SSTS) = 0x1; // there, but no link yet
            at(n, SERR) |= diag_x;
            cause(n, pcs);
            later(n, [this, n] {
                at(n, SSTS) = 0x133;
                at(n, TFD) = 0x80;
                ports_[n].busy = disks[n].spin_up;
                spinning_up_ += disks[n].spin_up != 0 ? 1U : 0U;
                most_spinning = std::max(most_spinning, spinning_up_);
                ports_[n].signature = true;
                first_fis(n);
            });
        });
    }

    /// The signature waits for FRE, and for PxSERR.DIAG.X to be cleared (3.3.12).
    void first_fis(std::uint32_t n) {
        later(n, [this, n] {
            if (ports_[n].signature && (at(n, CMD) & fr) != 0 && (at(n, SERR) & diag_x) == 0) {
                ports_[n].signature = false;
                at(n, SIG) = disks[n].sig;
                d2h(n, 0x50, 0x01, false);
            }
        });
    }

    // ---- Registers of a port ---------------------------------------------------------

    std::uint32_t read_port(std::uint32_t n, std::uint32_t offset) {
        if (n >= nr_ports) {
            ADD_FAILURE() << "read of port " << n << ", which is not implemented (3.1.4)";
            return 0;
        }
        if (offset == TFD && ports_[n].busy != 0) {
            if (--ports_[n].busy == 0) {
                spinning_up_--;
            }
            return 0x80;
        }
        return at(n, offset);
    }

    void write_port(std::uint32_t n, std::uint32_t offset, std::uint32_t value) {
        ASSERT_LT(n, nr_ports) << "not implemented (3.1.4)";
        std::uint32_t& reg = at(n, offset);
        switch (offset) {
        case CLB:
        case CLBU:
            EXPECT_EQ(at(n, CMD) & (st | cr), 0u) << "PxCLB while the list runs (10.3.1)";
            EXPECT_TRUE(offset == CLBU || value % 1024 == 0) << "1 KiB (3.3.1)";
            expect_address(offset == CLBU ? value : 0);
            reg = value;
            break;
        case FB:
        case FBU:
            EXPECT_EQ(at(n, CMD) & (fre | fr), 0u) << "PxFB while FISes are received (10.3.2)";
            EXPECT_TRUE(offset == FBU || value % 256 == 0) << "256 bytes (3.3.3)";
            expect_address(offset == FBU ? value : 0);
            reg = value;
            break;
        case PIS: // what follows PxSERR is cleared there (3.3.5)
            reg &= ~(value & ~(ufs | pcs | prcs));
            break;
        case PIE:
            reg = value;
            update();
            break;
        case CMD:
            write_cmd(n, value);
            break;
        case SCTL:
            write_sctl(n, value);
            break;
        case SERR:
            reg &= ~value;
            follow_serr(n);
            if ((value & diag_x) != 0) {
                first_fis(n);
            }
            break;
        case SACT:
            EXPECT_NE(at(n, CMD) & st, 0u) << "PxSACT while ST is 0 (3.3.13)";
            EXPECT_NE(cap & 1u << 30, 0u) << "PxSACT without CAP.SNCQ (3.1.1)";
            EXPECT_EQ(reg & value & ~stale_, 0u) << "tag is in use (3.3.13)";
            reg |= value;
            break;
        case CI:
            issue(n, value);
            break;
        default:
            ADD_FAILURE() << "write to read-only port register " << std::hex << offset;
        }
    }

    void expect_address(std::uint32_t high_half) {
        EXPECT_TRUE(high_half == 0 || (cap & 1u << 31) != 0) << "without CAP.S64A (3.1.1)";
    }

    void follow_serr(std::uint32_t n) {
        for (const auto& [bit, cause] : {std::pair{diag_x, pcs}, {diag_n, prcs}, {diag_f, ufs}}) {
            if ((at(n, SERR) & bit) == 0) {
                at(n, PIS) &= ~cause;
            }
        }
    }

    void write_sctl(std::uint32_t n, std::uint32_t value) {
        std::uint32_t& reg = at(n, SCTL);
        const std::uint32_t det = value & 15;
        EXPECT_EQ(value & ~0xfffu, 0u) << "reserved, or of a multiplier (3.3.11)";
        EXPECT_TRUE(det <= 1 || det == 4) << "PxSCTL.DET (3.3.11)";
        if (det != (reg & 15)) {
            EXPECT_EQ(at(n, CMD) & (st | cr), 0u) << "PxSCTL.DET while ST or CR is 1 (3.3.11)";
        }
        if (det == 1 && (reg & 15) != 1) {
            ports_[n].reset_posted = true; // arrives with the next read, at the latest
            no_link(n);
        } else if (det == 0 && (reg & 15) == 1) {
            comresets++;
            EXPECT_FALSE(ports_[n].reset_posted) << "the write of DET 1 may not have arrived yet";
            EXPECT_GE(clock() - ports_[n].reset_since, std::chrono::milliseconds(1)) << "10.4.2";
            link_up(n);
        }
        reg = value;
    }

    void write_cmd(std::uint32_t n, std::uint32_t value) {
        Port& p = ports_[n];
        std::uint32_t& reg = at(n, CMD);
        const std::uint32_t was = reg;
        EXPECT_EQ(value & clo, 0u) << "CAP.SCLO is 0 (3.3.7)";
        EXPECT_TRUE((was & sud) == 0 || (value & sud) != 0) << "SUD of a device in use (3.3.7)";
        reg = (reg & (cr | fr)) | (value & 0x17);
        if ((was & sud) == 0 && (value & sud) != 0) {
            link_up(n); // 3.3.7, SUD: a COMRESET
        }
        if ((value & st) != 0 && (was & st) == 0) {
            EXPECT_NE(was & fr, 0u) << "ST before FR is 1 (10.3.1)";
            EXPECT_EQ(at(n, TFD) & 0x88, 0u) << "ST while the disk is busy (10.3.1)";
            EXPECT_EQ(p.busy, 0u) << "ST while the disk is busy (10.3.1)";
            EXPECT_EQ(at(n, SSTS) & 15, 3u) << "ST without a link (10.3.1)";
            EXPECT_EQ(was & cr, 0u) << "ST while CR is still 1 (10.3.1)";
            EXPECT_EQ(at(n, SERR) & diag_x, 0u) << "ST before PxSERR.DIAG.X is clear (3.3.12)";
            later(n, [this, n] { at(n, CMD) |= (at(n, CMD) & st) != 0 ? cr : 0; });
        } else if ((value & st) == 0 && (was & st) != 0) {
            stop_list(n);
        }
        if ((value & fre) != 0 && (was & fre) == 0) {
            later(n, [this, n] {
                at(n, CMD) |= (at(n, CMD) & fre) != 0 ? fr : 0;
                first_fis(n);
            });
        } else if ((value & fre) == 0 && (was & fre) != 0) {
            EXPECT_EQ(was & (st | cr), 0u) << "FRE cleared before ST and CR are 0 (10.3.2)";
            EXPECT_EQ(value & st, 0u) << "FRE cleared before ST and CR are 0 (10.3.2)";
            later(n, [this, n] { at(n, CMD) &= (at(n, CMD) & fre) != 0 ? ~0u : ~fr; });
        }
    }

    /// ST went to 0: PxCI and PxSACT are cleared with CR (3.3.13, 3.3.14).
    void stop_list(std::uint32_t n) {
        Port& p = ports_[n];
        p.starts++;
        p.unfetched = 0;
        if (!keeps_sact) {
            at(n, SACT) = 0;
        } else {
            stale_ |= at(n, SACT);
        }
        at(n, CI) = 0;
        if ((cr_hangs >> n & 1) == 0) {
            later(n, [this, n] {
                if ((at(n, CMD) & st) == 0) {
                    at(n, CMD) &= ~cr;
                    ports_[n].broken = false;
                }
            });
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
        EXPECT_EQ(words[2] % 128, 0u) << "128 bytes (4.2.2)";
        EXPECT_EQ(words[4] | words[5] | words[6] | words[7], 0u) << "reserved (4.2.2)";
        expect_address(words[3]);
        return std::uint64_t{words[3]} << 32 | words[2];
    }

    void issue(std::uint32_t n, std::uint32_t slots) {
        EXPECT_NE(at(n, CMD) & st, 0u) << "PxCI written while ST is 0 (3.3.14)";
        EXPECT_EQ(at(n, CI) & slots, 0u) << "slot is in use (3.3.14)";
        EXPECT_EQ(std::uint64_t{slots} >> ((cap >> 8 & 31) + 1), 0u)
            << "slots above CAP.NCS (3.1.1)";
        Port& p = ports_[n];
        at(n, CI) |= slots;
        p.unfetched |= slots;
        later(n, [this, n, starts = p.starts] {
            if (starts == ports_[n].starts) {
                fetch(n);
            }
        });
    }

    /// The HBA gets to the commands; after an error, only when ST has been 0 (6.2.2).
    void fetch(std::uint32_t n) {
        Port& p = ports_[n];
        if (p.broken || !bus_master) {
            return;
        }
        for (std::uint32_t set = std::exchange(p.unfetched, 0); set != 0; set &= set - 1) {
            const auto slot = static_cast<std::uint32_t>(std::countr_zero(set));
            Command command;
            command.slot = slot;
            std::uint16_t flags = 0;
            std::memcpy(&flags, header(n, slot), 2);
            EXPECT_EQ(flags & 31, 5) << "length of the FIS in dwords (4.2.2)";
            EXPECT_EQ(flags & 0xfba0, 0) << "ATAPI, prefetch, reset, BIST, PMP (4.2.2)";
            std::uint32_t prdbc = 0;
            std::memcpy(&prdbc, header(n, slot) + 4, 4);
            EXPECT_EQ(prdbc, 0u) << "PRDBC is counted up from 0 (5.4.1)";
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
        EXPECT_TRUE(!p.failed || command.opcode() == 0x2f)
            << "a disk with a failed queue takes only READ LOG EXT (6.2.2.2)";
        const bool alone = !command.queued();
        for (const Command& other : p.queue) {
            EXPECT_TRUE(p.failed || (!alone && other.queued()))
                << "queued and other commands together (ACS-3, NCQ feature set)";
            EXPECT_TRUE(p.failed || other.slot != command.slot) << "the disk still has that tag";
        }
        if (!alone) {
            EXPECT_NE(at(n, SACT) >> command.slot & 1, 0u) << "PxCI before PxSACT (3.3.13)";
            EXPECT_EQ(command.fis[12], command.slot << 3) << "tag";
            EXPECT_LE(command.slot, disks[n].identify[75] & 31u) << "tag above the disk's depth";
            EXPECT_NE(disks[n].identify[76] & 0x100, 0) << "a disk without NCQ";
            at(n, CI) &= ~(1u << command.slot);
            at(n, TFD) = 0x40;
        } else {
            at(n, TFD) = at(n, TFD) | 0x80;
        }
        if (command.opcode() == 0x2f && p.failed) {
            p.queue.clear(); // all aborted
        }
        p.queue.push_back(command);
        if (command.service()) {
            later(n, [this, n] { execute_some(n, 1); });
        }
    }

    void read_log(std::uint32_t n, const Command& command) {
        Port& p = ports_[n];
        EXPECT_EQ(command.lba(), 0x10u);
        EXPECT_EQ(command.blocks(), 1u);
        at(n, CI) &= ~(1u << command.slot);
        if (no_error_log) {
            at(n, TFD) &= ~0x80u;
            return; // CI is 0 again, and nothing has happened
        }
        EXPECT_TRUE(p.failed) << "no queued command has failed";
        p.failed = false;
        move(n, command.slot, p.error_log.data(), 512, true);
        at(n, TFD) = 0x50;
        cause(n, 1u << 1); // PSS
    }

    void execute(std::uint32_t n, const Command& c) {
        Disk& disk = disks[n];
        if (c.opcode() == 0x2f) {
            read_log(n, c);
            return;
        }
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
            d2h(n, static_cast<std::uint8_t>(!c.service() && disk.fault() ? 0x70 : 0x50), 0, true);
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
            EXPECT_EQ(prd[0] & 1, 0u) << "DBA is even (4.2.3.3)";
            EXPECT_EQ(prd[2], 0u) << "reserved (4.2.3.3)";
            EXPECT_EQ(prd[3] & 0x7fc00001, 1u) << "byte count: even, 22 bits (4.2.3.3)";
            expect_address(prd[1]);
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
        const auto& registers = disks[n].registers;
        fis[12] = registers[0];
        std::copy_n(registers.begin() + 1, 3, fis.begin() + 4);
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
    std::vector<Event> events_; ///< in the order of their time
    std::uint64_t reads_passed_ = 0;
    std::size_t spinning_up_ = 0;
    bool signalled_ = false; ///< IS is not 0, and its message was sent
    bool message_ = false;
    unsigned hr_reads_ = 0;
    unsigned bohc_reads_ = 0;
};

} // namespace udrv::test
