// SPDX-License-Identifier: MIT
//
// A small behavioural model of an 82540EM or 82545EM on RegisterIo, for unit tests of
// the driver. It is written from the SDM (drivers/e1000/e1000_registers.hpp names it)
// with numbers of its own, not the driver's, so that a wrong offset or bit in the
// driver shows. What the SDM or an erratum forbids fails the test; docs/chips.md lists
// these rules. It answers late: reset, EEPROM and PHY take some reads, and descriptors
// are worked on when the test says run_transmit(), never within a register write.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "libudrv/device/registers.hpp"
#include "libudrv/testing/fake_memory.hpp"

namespace udrv::test {

class FakeE1000 final : public RegisterIo {
  public:
    struct Access {
        std::uint32_t offset;
        std::uint32_t value;
        bool operator==(const Access&) const = default;
    };
    struct Frame {
        Bytes bytes;
        bool tagged = false;
        std::uint16_t tag = 0;
    };
    /// What the chip writes to the last descriptor of a received packet.
    struct RxMeta {
        std::uint8_t status = 0x04; // IXSM
        std::uint8_t errors = 0;
        bool tagged = false;
        std::uint16_t tag = 0;
    };

    explicit FakeE1000(FakeMemory& memory, bool pcix_mode = false)
        : pcix(pcix_mode), memory_(memory) {
        defaults();
    }

    const bool pcix; ///< an 82545EM in PCI-X mode, else conventional PCI

    // What a test may set.
    Bytes mac{0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
    bool reset_clears = true; ///< false: CTRL.RST does nothing, as in QEMU's model
    bool reset_hangs = false; ///< CTRL.RST never clears
    bool stats_clear = true;  ///< false: reading does not clear counters
    bool eeprom_hangs = false;
    bool has_io = true;               ///< has I/O ports; then they are the way to reset it
    bool premature_write_back = true; ///< the erratum, see transmit()
    bool loopback = false;            ///< what is sent is received
    /// The PHY's registers as a Marvell one has them after power on: negotiating, with
    /// pause frames; and those in force, as 16 and 20 wait for a reset of the PHY.
    std::array<std::uint16_t, 32> phy = power_on_phy();
    std::array<std::uint16_t, 32> phy_in_force = power_on_phy();

    // What a test may look at.
    std::vector<Access> writes;
    std::size_t reads = 0;
    std::vector<Frame> wire;
    std::uint32_t descriptors_sent = 0; ///< contexts not counted
    std::uint32_t contexts_sent = 0;
    std::uint32_t rx_missed = 0;
    unsigned negotiations = 0; ///< that the PHY was told to start
    unsigned io_resets = 0;

    static std::array<std::uint16_t, 32> power_on_phy() {
        std::array<std::uint16_t, 32> registers{};
        registers[0] = 0x1140;
        registers[2] = 0x0141;
        registers[3] = 0x0c20;
        registers[4] = 0x0de1;
        registers[9] = 0x0300;
        registers[16] = 0x0360;
        registers[20] = 0x0d60;
        return registers;
    }

    RegisterIo& io() { return io_; }

    [[nodiscard]] std::uint32_t& at(std::uint32_t offset) { return regs_.at(offset / 4); }
    [[nodiscard]] std::size_t writes_to(std::uint32_t offset) const {
        return static_cast<std::size_t>(std::count_if(
            writes.begin(), writes.end(), [&](const Access& a) { return a.offset == offset; }));
    }
    void forget() {
        writes.clear();
        reads = 0;
    }
    [[nodiscard]] std::uint32_t rx_free() {
        const std::uint32_t size = at(RDLEN) / 16;
        return size == 0 ? 0 : (at(RDT) + size - at(RDH)) % size;
    }
    [[nodiscard]] bool interrupting() { return (at(ICR) & at(IMS)) != 0; }
    void raise(std::uint32_t causes) { at(ICR) |= causes; }

    std::uint32_t read32(std::uint32_t offset) override {
        reads++;
        check_reset_time();
        const std::uint32_t value = at(offset);
        if (offset == EERD && !eeprom_hangs && eeprom_reads_ != 0 && --eeprom_reads_ == 0) {
            answer_eeprom();
        } else if (offset == MDIC && mdic_reads_ != 0 && --mdic_reads_ == 0) {
            at(MDIC) |= 1u << 28;
        } else if (offset == ICR || (offset >= 0x4000 && offset < 0x4100 && stats_clear)) {
            at(offset) = 0;
        } else if (offset == CTRL && !reset_hangs && (value & ctrl_rst) != 0 && ++rst_reads_ > 2) {
            at(CTRL) &= ~ctrl_rst; // takes a moment
        }
        return value;
    }

    void write32(std::uint32_t offset, std::uint32_t value) override {
        writes.push_back({offset, value});
        check_reset_time();
        switch (offset) {
        case CTRL:
            // 82540, 82545, 82546: such a write may never be acknowledged.
            EXPECT_FALSE(has_io && (value & ctrl_rst) != 0) << "reset through memory";
            write_ctrl(value);
            break;
        case RCTL:
            if ((at(RCTL) & 2) == 0 && (value & 2) != 0) {
                check_ring(RDBAL, "receive");
                EXPECT_EQ(at(MANC) & 1u << 13, 0u) << "driven while it answers ARP requests";
            }
            at(RCTL) = value;
            break;
        case TCTL:
            if ((at(TCTL) & 2) == 0 && (value & 2) != 0) {
                check_ring(TDBAL, "transmit");
                EXPECT_NE(at(0x0410), 0u) << "TIPG is not set";
            }
            at(TCTL) = value;
            break;
        case EERD:
            at(EERD) = value;
            eeprom_reads_ = late_reads;
            break;
        case MDIC:
            write_mdic(value);
            break;
        case IMS:
            at(IMS) |= value;
            break;
        case IMC:
            at(IMS) &= ~value;
            break;
        case RDH:
            EXPECT_EQ(at(RCTL) & 2, 0u) << "RDH written while the receiver is on";
            at(RDH) = value;
            break;
        case TDH:
            EXPECT_EQ(at(TCTL) & 2, 0u) << "TDH written while the transmitter is on";
            at(TDH) = value;
            break;
        case RDT:
        case TDT:
            check_tail(offset, value);
            at(offset) = value;
            break;
        case RDLEN:
        case TDLEN:
            EXPECT_EQ(value % 128, 0u);
            at(offset) = value;
            break;
        case RDBAL:
        case TDBAL:
            EXPECT_EQ(value % 16, 0u);
            at(offset) = value;
            break;
        case RDBAH:
        case TDBAH:
            EXPECT_TRUE(pcix || value == 0) << "a ring above 4 GiB on conventional PCI";
            at(offset) = value;
            break;
        case STATUS:
        case ICR:
            ADD_FAILURE() << "write to read-only " << std::hex << offset;
            break;
        default:
            at(offset) = value;
        }
    }

    std::uint8_t read8(std::uint32_t) override { return bad_width(); }
    std::uint16_t read16(std::uint32_t) override { return bad_width(); }
    void write8(std::uint32_t, std::uint8_t) override { bad_width(); }
    void write16(std::uint32_t, std::uint16_t) override { bad_width(); }

    // ---- Transmit --------------------------------------------------------------

    /// Processes up to `limit` descriptors. Without a link none (SDM 8.6.5.2).
    void run_transmit(std::uint32_t limit = 0xffffffff) {
        while ((at(TCTL) & 2) != 0 && (at(STATUS) & 2) != 0 && at(TDH) != at(TDT) && limit-- != 0) {
            const std::uint64_t place = std::uint64_t{at(TDBAH)} << 32 | at(TDBAL);
            std::byte* memory = memory_.translate(place + at(TDH) * 16, 16);
            std::array<std::uint8_t, 16> d{};
            std::memcpy(d.data(), memory, 16);
            transmit(d);
            if ((d[11] & 0x08) != 0) { // RS: write DD back
                std::byte done{static_cast<std::uint8_t>(d[12] | 1)};
                std::memcpy(memory + 12, &done, 1);
                at(ICR) |= 1; // TXDW
            }
            at(TDH) = (at(TDH) + 1) % (at(TDLEN) / 16);
        }
    }

    // ---- Receive ---------------------------------------------------------------

    /// A frame without FCS from the wire. False: filtered, or nowhere to put it.
    bool receive(const Bytes& frame, const RxMeta& meta) {
        if ((at(RCTL) & 2) == 0 || !accepts(frame)) {
            return false;
        }
        const std::size_t limit = (at(RCTL) & 0x20) != 0 ? 16384 : 1522;
        if (frame.size() + 4 > limit) {
            at(0x40ac)++; // ROC
            return false;
        }
        EXPECT_EQ(at(RCTL) & 0x04030000u, 0x04000000u) << "expected BSIZE 2048 and SECRC";
        const std::size_t needed = (frame.size() + 2047) / 2048;
        if (rx_free() < needed) {
            rx_missed++;
            at(0x4010)++; // MPC
            raise(0x40);  // RXO
            return false;
        }
        for (std::size_t start = 0; start < frame.size(); start += 2048) {
            const std::size_t bytes = std::min<std::size_t>(2048, frame.size() - start);
            const bool last = start + bytes == frame.size();
            put(frame.data() + start, bytes, last, meta);
        }
        at(0x4074)++; // GPRC
        raise(0x80);  // RXT0
        return true;
    }
    bool receive(const Bytes& frame) { return receive(frame, RxMeta{}); }

    /// Fills one descriptor as told, sense or nonsense.
    void put_raw(std::uint16_t length, std::uint8_t status, std::uint8_t errors,
                 std::uint16_t special) {
        std::byte* d = rx_descriptor();
        std::memcpy(d + 8, &length, 2);
        std::memcpy(d + 13, &errors, 1);
        std::memcpy(d + 14, &special, 2);
        std::memcpy(d + 12, &status, 1); // DD last
        at(RDH) = (at(RDH) + 1) % (at(RDLEN) / 16);
    }

    static constexpr std::uint32_t CTRL = 0x0000, STATUS = 0x0008, EERD = 0x0014, MDIC = 0x0020,
                                   ICR = 0x00c0, ITR = 0x00c4, IMS = 0x00d0, IMC = 0x00d8,
                                   RCTL = 0x0100, TCTL = 0x0400, RDBAL = 0x2800, RDBAH = 0x2804,
                                   RDLEN = 0x2808, RDH = 0x2810, RDT = 0x2818, TDBAL = 0x3800,
                                   TDBAH = 0x3804, TDLEN = 0x3808, TDH = 0x3810, TDT = 0x3818,
                                   RXCSUM = 0x5000, MTA = 0x5200, RAL = 0x5400, RAH = 0x5404,
                                   MANC = 0x5820;

  private:
    static constexpr std::uint32_t ctrl_rst = 1u << 26;

    static constexpr unsigned late_reads = 3; ///< until an answer is there

    /// SDM 13.2.2: IOADDR says which register, IODATA is it. 32 bits at a time.
    struct IoPorts final : RegisterIo {
        explicit IoPorts(FakeE1000& chip) : owner(chip) {}
        std::uint8_t read8(std::uint32_t) override { return bad_width(); }
        std::uint16_t read16(std::uint32_t) override { return bad_width(); }
        void write8(std::uint32_t, std::uint8_t) override { bad_width(); }
        void write16(std::uint32_t, std::uint16_t) override { bad_width(); }
        std::uint32_t read32(std::uint32_t offset) override {
            return offset == 0 ? address : owner.read32(address);
        }
        void write32(std::uint32_t offset, std::uint32_t value) override {
            EXPECT_TRUE(offset == 0 || offset == 4);
            if (offset == 0) {
                address = value;
            } else if (address == CTRL) {
                owner.check_reset_time();
                owner.writes.push_back({CTRL, value});
                owner.io_resets += (value & ctrl_rst) != 0 ? 1 : 0;
                owner.write_ctrl(value);
            } else {
                owner.write32(address, value);
            }
        }
        FakeE1000& owner;
        std::uint32_t address = 0;
    };

    /// SDM 13.4.1: no access for 1 us after the reset.
    void check_reset_time() {
        if (reset_time_) {
            EXPECT_GE(std::chrono::steady_clock::now() - *reset_time_, std::chrono::microseconds{1})
                << "accessed within 1 us of the reset";
            reset_time_.reset();
        }
    }

    /// SDM 14.4 and 14.5: the ring is set up before its unit is switched on.
    void check_ring(std::uint32_t base, const char* which) {
        EXPECT_NE(at(base), 0u) << which << " is on without a ring";
        EXPECT_GE(at(base + 8), 128u) << which << " is on without a length";
    }

    /// SDM 3.2.6 and 3.4: the tail stays in the ring, and never catches up with the head.
    void check_tail(std::uint32_t tail, std::uint32_t value) {
        const std::uint32_t size = at(tail - 0x10) / 16;
        ASSERT_LT(value, size);
        const std::uint32_t head = at(tail - 8);
        const std::uint32_t used = (at(tail) + size - head) % size;
        const std::uint32_t added = (value + size - at(tail)) % size;
        EXPECT_LT(used + added, size) << "a full ring looks empty";
    }

    void check_address(std::uint64_t address, std::uint32_t bytes) const {
        EXPECT_TRUE(pcix || (address + bytes - 1) >> 32 == 0)
            << "DMA above 4 GiB on conventional PCI";
    }

    void answer_eeprom() {
        if ((at(EERD) & 1) != 0) {
            const std::uint32_t word = at(EERD) >> 8 & 0x3f;
            const std::uint32_t data =
                word < 3 ? mac[2 * word] | std::uint32_t{mac[2 * word + 1]} << 8 : 0;
            at(EERD) = data << 16 | word << 8 | 0x10;
        }
    }

    static std::uint8_t bad_width() {
        ADD_FAILURE() << "registers are 32 bits wide";
        return 0;
    }

    void defaults() {
        const std::uint32_t pba = at(0x1000); // survives, as what firmware wrote to MANC
        const std::uint32_t manc = at(MANC);
        regs_.fill(0);
        at(0x1000) = pba;
        at(MANC) = manc;
        at(STATUS) = pcix ? 0x2083 : 0x83; // 1000 Mb/s, LU, FD
        // Contents are undefined after power up: tables, addresses, descriptors.
        for (std::uint32_t i = 0; i < 128; i++) {
            at(MTA + 4 * i) = 0xdeadbeef;
        }
        for (std::uint32_t i = 1; i < 16; i++) {
            at(RAL + 8 * i) = 0x11111111 * i;
            at(RAH + 8 * i) = 0x80001111;
        }
        at(RAL) = load_le(std::span(mac).first(4));
        at(RAH) = 0x80000000 | load_le(std::span(mac).subspan(4, 2));
    }

    void write_ctrl(std::uint32_t value) {
        rst_reads_ = 0;
        if ((value & ctrl_rst) != 0) {
            reset_time_ = std::chrono::steady_clock::now();
        }
        // SDM 8.6.2.2.3: the PHY tells the speed, it is neither measured nor forced.
        EXPECT_FALSE((value & 1u << 6) != 0 && (value & (1u << 5 | 1u << 11)) != 0)
            << "SLU with ASDE or FRCSPD";
        if ((value & ctrl_rst) != 0 && reset_clears) {
            defaults();
            at(CTRL) = ctrl_rst;
        } else {
            at(CTRL) = reset_clears || reset_hangs ? value : value & ~ctrl_rst;
        }
        if ((value & ctrl_rst) != 0) {
            packet_.clear();
            packet_descriptors_ = 0;
            after_tso_ = false;
        }
    }

    void write_mdic(std::uint32_t value) {
        EXPECT_EQ(value >> 21 & 31, 1u) << "the PHY's address";
        EXPECT_EQ(mdic_reads_, 0u) << "an access while another is under way (SDM 13.4, MDIC)";
        const std::uint32_t number = value >> 16 & 31;
        if ((value >> 26 & 3) == 1) {
            write_phy(number, static_cast<std::uint16_t>(value));
        } else if (number == 0 && phy_reset_reads_ != 0 && --phy_reset_reads_ == 0) {
            phy[0] &= 0x7fff;
            phy_in_force = phy;
        }
        at(MDIC) = (value & 0x0fff0000) | phy.at(number);
        mdic_reads_ = late_reads;
    }

    void write_phy(std::uint32_t number, std::uint16_t value) {
        EXPECT_EQ(phy_reset_reads_, 0u) << "the PHY is being reset";
        phy.at(number) = value;
        if (number != 16 && number != 20) {
            phy_in_force.at(number) = value;
        }
        if (number == 0) {
            phy_reset_reads_ = (value & 0x8000) != 0 ? late_reads : 0;
            negotiations += (value & 0x0200) != 0 ? 1 : 0;
            phy[0] &= 0xfdff; // RESTART_AN clears itself
        }
    }

    // -- transmit --

    struct Context {
        std::uint32_t ipcss = 0, ipcso = 0, ipcse = 0, tucss = 0, tucso = 0, tucse = 0;
        std::uint32_t paylen = 0, hdrlen = 0, mss = 0;
        bool tcp = false, ip = false;
    };

    void transmit(const std::array<std::uint8_t, 16>& d) {
        const std::uint32_t command = load_le(std::span(d).subspan(8, 4));
        const auto word = [&](std::size_t i) { return load_le(std::span(d).subspan(i, 2)); };
        EXPECT_NE(command & 1u << 29, 0u) << "a legacy descriptor";
        const bool tse = (command & 1u << 26) != 0;
        if ((command >> 20 & 15) == 0) {
            EXPECT_TRUE(packet_.empty()) << "a context inside a packet";
            contexts_sent++;
            // One set of registers for both kinds: the driver may not rely on two.
            context_ = {d[0],
                        d[1],
                        word(2),
                        d[4],
                        d[5],
                        word(6),
                        command & 0xfffff,
                        d[13],
                        word(14),
                        (command & 1u << 24) != 0,
                        (command & 1u << 25) != 0};
            context_tse_ = tse;
            return;
        }
        EXPECT_EQ(command >> 20 & 15, 1u);
        descriptors_sent++;
        packet_descriptors_++;
        const std::uint32_t bytes = command & 0xfffff;
        EXPECT_GT(bytes, 0u);
        EXPECT_LE(bytes, 16288u); // SDM 3.3.3
        if (tse) {
            EXPECT_LE(bytes, std::min(4 * context_.mss, 4096u)) << "overruns the FIFO";
        }
        if (pcix && packet_descriptors_ == 1) {
            EXPECT_LT(bytes, 2016u) << "erratum 10: the first descriptor in PCI-X mode";
        }
        if (packet_.empty()) {
            options_ = d[13];
        }
        std::uint64_t address = 0;
        std::memcpy(&address, d.data(), 8);
        check_address(address, bytes);
        const auto* data = reinterpret_cast<const std::uint8_t*>(memory_.translate(address, bytes));
        if (data != nullptr) {
            packet_.insert(packet_.end(), data, data + bytes);
        }
        if ((command & 1u << 24) == 0) {
            EXPECT_EQ(command & 1u << 27, 0u) << "RS is only for the last descriptor";
            return;
        }
        EXPECT_NE(command & 1u << 25, 0u) << "IFCS is missing";
        // The erratum: DD is written before the data of this descriptor is fetched. A few
        // bytes come along with the descriptor that precedes.
        if (premature_write_back && (tse || (after_tso_ && packet_descriptors_ == 1))) {
            EXPECT_LE(bytes, 8u) << "written back before it is fetched";
        }
        after_tso_ = tse;
        packet_descriptors_ = 0;
        Bytes packet;
        packet.swap(packet_);
        const bool tagged = (command & 1u << 30) != 0 && (at(CTRL) & 1u << 30) != 0;
        if (tse) {
            segment(packet, tagged, static_cast<std::uint16_t>(word(14)));
        } else {
            send(packet, tagged, static_cast<std::uint16_t>(word(14)));
        }
    }

    void insert(Bytes& frame, std::uint32_t start, std::uint32_t end, std::uint32_t place) const {
        const std::size_t stop = end == 0 ? frame.size() : end + 1;
        store_be16(frame, place, static_cast<std::uint16_t>(~ones_sum(frame, start, stop)));
    }

    void segment(const Bytes& packet, bool tagged, std::uint16_t tag) {
        EXPECT_TRUE(context_tse_) << "TSE without a segmentation context";
        EXPECT_LE(context_.hdrlen, 240u); // SDM 3.5.9
        ASSERT_EQ(packet.size(), context_.hdrlen + context_.paylen);
        for (std::uint32_t done = 0; done < context_.paylen; done += context_.mss) {
            const std::uint32_t part = std::min(context_.mss, context_.paylen - done);
            Bytes frame(packet.begin(), packet.begin() + context_.hdrlen);
            const auto payload = packet.begin() + context_.hdrlen + done;
            frame.insert(frame.end(), payload, payload + part);
            const auto size = static_cast<std::uint32_t>(frame.size());
            const std::uint32_t number = done / context_.mss;
            if (context_.ip) {
                store_be16(frame, context_.ipcss + 2, size - context_.ipcss);
                store_be16(frame, context_.ipcss + 4,
                           load_be16(frame, context_.ipcss + 4) + number);
            } else {
                store_be16(frame, context_.ipcss + 4, size - context_.ipcss - 40);
            }
            store_be32(frame, context_.tucss + 4, load_be32(frame, context_.tucss + 4) + done);
            if (done + part != context_.paylen) {
                frame.at(context_.tucss + 13) &= 0xf6; // neither FIN nor PSH
            }
            // The length goes into the pseudo header sum that the stack left there.
            std::uint32_t sum = load_be16(frame, context_.tucso) + size - context_.tucss;
            sum = (sum & 0xffff) + (sum >> 16);
            store_be16(frame, context_.tucso, sum);
            send(frame, tagged, tag);
        }
    }

    void send(Bytes frame, bool tagged, std::uint16_t tag) {
        if ((options_ & 2) != 0) {
            insert(frame, context_.tucss, context_.tucse, context_.tucso);
        }
        if ((options_ & 1) != 0) {
            insert(frame, context_.ipcss, context_.ipcse, context_.ipcso);
        }
        at(0x4080)++; // GPTC
        if (loopback) {
            const RxMeta meta{.status = 0x04, .errors = 0, .tagged = tagged, .tag = tag};
            receive(frame, meta);
        }
        wire.push_back({std::move(frame), tagged, tag});
    }

    // -- receive --

    [[nodiscard]] std::byte* rx_descriptor() {
        const std::uint64_t place = std::uint64_t{at(RDBAH)} << 32 | at(RDBAL);
        return memory_.translate(place + at(RDH) * 16, 16);
    }

    void put(const std::uint8_t* data, std::size_t bytes, bool last, const RxMeta& meta) {
        std::uint64_t address = 0;
        std::memcpy(&address, rx_descriptor(), 8);
        check_address(address, 2048);
        std::byte* buffer = memory_.translate(address, 2048);
        if (buffer != nullptr) {
            std::memcpy(buffer, data, bytes);
        }
        std::uint8_t status = 1;
        if (last) {
            status = static_cast<std::uint8_t>(status | 2 | meta.status | (meta.tagged ? 8 : 0));
        }
        put_raw(static_cast<std::uint16_t>(bytes), status, last ? meta.errors : std::uint8_t{0},
                last && meta.tagged ? meta.tag : std::uint16_t{0});
    }

    [[nodiscard]] bool accepts(const Bytes& frame) {
        if (std::all_of(frame.begin(), frame.begin() + 6, [](auto b) { return b == 0xff; })) {
            return (at(RCTL) & 0x8000) != 0; // BAM
        }
        const bool group = (frame.at(0) & 1) != 0;
        if ((at(RCTL) & (group ? 0x10u : 0x08u)) != 0) { // MPE, UPE
            return true;
        }
        const std::uint32_t low = load_le(std::span(frame).first(4));
        const std::uint32_t high = load_le(std::span(frame).subspan(4, 2));
        for (std::uint32_t i = 0; i < 16; i++) {
            if (at(RAL + 8 * i) == low && at(RAH + 8 * i) == (high | 0x80000000)) {
                return true;
            }
        }
        EXPECT_EQ(at(RCTL) & 0x3000, 0u) << "only MO = 0 is modelled";
        const std::uint32_t hash = high >> 4 & 0xfff;
        return group && (at(MTA + 4 * (hash >> 5)) >> (hash & 31) & 1) != 0;
    }

    FakeMemory& memory_;
    std::array<std::uint32_t, 0x6000 / 4> regs_{};
    IoPorts io_{*this};
    unsigned rst_reads_ = 0;
    unsigned eeprom_reads_ = 0;
    unsigned mdic_reads_ = 0;
    unsigned phy_reset_reads_ = 0;
    std::optional<std::chrono::steady_clock::time_point> reset_time_;
    std::uint32_t packet_descriptors_ = 0;
    bool after_tso_ = false;
    Context context_;
    bool context_tse_ = false;
    Bytes packet_;
    std::uint8_t options_ = 0;
};

} // namespace udrv::test
