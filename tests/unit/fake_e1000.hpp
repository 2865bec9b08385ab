// SPDX-License-Identifier: MIT
//
// A small behavioural model of an 82540EM on RegisterIo, for unit tests of the
// driver. It is written from the SDM (drivers/e1000/e1000_registers.hpp names it)
// with numbers of its own, not the driver's, so that a wrong offset or bit in the
// driver shows. What the SDM forbids fails the test.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "libudrv/device/dma.hpp"
#include "libudrv/device/registers.hpp"

namespace udrv::test {

using Bytes = std::vector<std::uint8_t>;

/// Memory as the device sees it: addresses of its own, far from the CPU's, with
/// gaps in between. Mixing the two up, or running over an end, is a fault.
class FakeMemory final : public DmaAllocator {
  public:
    [[nodiscard]] DmaBlock allocate(std::size_t len_bytes) override {
        const std::size_t whole = (len_bytes + 4095) / 4096 * 4096;
        blocks_.emplace_back(
            static_cast<std::byte*>(::operator new (whole, std::align_val_t{4096})));
        std::memset(blocks_.back().get(), 0, whole);
        return {blocks_.back().get(), map(blocks_.back().get(), whole), whole};
    }

    [[nodiscard]] std::uint64_t map(std::byte* vaddr, std::size_t len_bytes) {
        const std::uint64_t dma_addr = next_;
        next_ += (len_bytes + 4095) / 4096 * 4096 + 0x10000;
        regions_[dma_addr] = {vaddr, len_bytes};
        return dma_addr;
    }

    /// nullptr and a failed test if the device may not touch it.
    [[nodiscard]] std::byte* translate(std::uint64_t dma_addr, std::size_t len_bytes) {
        const auto after = regions_.upper_bound(dma_addr);
        if (after != regions_.begin()) {
            const auto& [start, region] = *std::prev(after);
            if (dma_addr - start <= region.size() &&
                len_bytes <= region.size() - (dma_addr - start)) {
                return region.data() + (dma_addr - start);
            }
        }
        ADD_FAILURE() << "DMA fault: " << std::hex << dma_addr << ", " << std::dec << len_bytes
                      << " bytes";
        return nullptr;
    }

  private:
    struct Free {
        void operator()(std::byte* memory) const {
            ::operator delete (memory, std::align_val_t{4096});
        }
    };
    std::vector<std::unique_ptr<std::byte, Free>> blocks_;
    std::map<std::uint64_t, std::span<std::byte>> regions_;
    std::uint64_t next_ = 0x12'3400'0000; // needs the high halves of all address registers
};

/// Little endian, as descriptors and address registers are.
inline std::uint32_t load_le(std::span<const std::uint8_t> bytes) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < bytes.size(); i++) {
        value |= std::uint32_t{bytes[i]} << (8 * i);
    }
    return value;
}
inline std::uint16_t load_be16(const Bytes& bytes, std::size_t at) {
    return static_cast<std::uint16_t>(bytes.at(at) << 8 | bytes.at(at + 1));
}
inline void store_be16(Bytes& bytes, std::size_t at, std::uint32_t value) {
    bytes.at(at) = static_cast<std::uint8_t>(value >> 8);
    bytes.at(at + 1) = static_cast<std::uint8_t>(value);
}
inline std::uint32_t load_be32(const Bytes& bytes, std::size_t at) {
    return std::uint32_t{load_be16(bytes, at)} << 16 | load_be16(bytes, at + 2);
}
inline void store_be32(Bytes& bytes, std::size_t at, std::uint32_t value) {
    store_be16(bytes, at, value >> 16);
    store_be16(bytes, at + 2, value & 0xffff);
}
/// Ones' complement sum from `start` up to but not including `end`.
inline std::uint16_t ones_sum(const Bytes& bytes, std::size_t start, std::size_t end) {
    std::uint64_t sum = 0;
    for (std::size_t i = start; i < end; i++) {
        sum += std::uint64_t{bytes.at(i)} << ((i - start) % 2 == 0 ? 8 : 0);
    }
    while (sum >> 16 != 0) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return static_cast<std::uint16_t>(sum);
}

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

    explicit FakeE1000(FakeMemory& memory) : memory_(memory) { defaults(); }

    // What a test may set.
    Bytes mac{0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
    bool reset_clears = true; ///< false: CTRL.RST does nothing, as in QEMU's model
    bool reset_hangs = false; ///< CTRL.RST never clears
    bool stats_clear = true;  ///< false: reading does not clear counters
    bool eeprom_hangs = false;
    bool transmit_at_once = true; ///< else: on run_transmit()
    bool loopback = false;        ///< what is sent is received
    std::uint16_t pctrl = 0x1140; ///< the PHY's control register

    // What a test may look at.
    std::vector<Access> writes;
    std::size_t reads = 0;
    std::vector<Frame> wire;
    std::uint32_t descriptors_sent = 0; ///< contexts not counted
    std::uint32_t contexts_sent = 0;
    std::uint32_t rx_missed = 0;

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
        const std::uint32_t value = at(offset);
        if (offset == ICR || (offset >= 0x4000 && offset < 0x4100 && stats_clear)) {
            at(offset) = 0;
        } else if (offset == CTRL && !reset_hangs && (value & ctrl_rst) != 0 && ++rst_reads_ > 2) {
            at(CTRL) &= ~ctrl_rst; // takes a moment
        }
        return value;
    }

    void write32(std::uint32_t offset, std::uint32_t value) override {
        writes.push_back({offset, value});
        switch (offset) {
        case CTRL:
            write_ctrl(value);
            break;
        case EERD:
            at(EERD) = value;
            if ((value & 1) != 0 && !eeprom_hangs) {
                const std::uint32_t word = value >> 8 & 0x3f;
                const std::uint32_t data =
                    word < 3 ? mac[2 * word] | std::uint32_t{mac[2 * word + 1]} << 8 : 0;
                at(EERD) = data << 16 | word << 8 | 0x10;
            }
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
            EXPECT_LT(value, at(RDLEN) / 16);
            at(RDT) = value;
            break;
        case TDT:
            EXPECT_LT(value, at(TDLEN) / 16);
            at(TDT) = value;
            if (transmit_at_once) {
                run_transmit();
            }
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

    /// Processes up to `limit` descriptors.
    void run_transmit(std::uint32_t limit = 0xffffffff) {
        while ((at(TCTL) & 2) != 0 && at(TDH) != at(TDT) && limit-- != 0) {
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
                                   RXCSUM = 0x5000, MTA = 0x5200, RAL = 0x5400, RAH = 0x5404;

  private:
    static constexpr std::uint32_t ctrl_rst = 1u << 26;

    static std::uint8_t bad_width() {
        ADD_FAILURE() << "registers are 32 bits wide";
        return 0;
    }

    void defaults() {
        const std::uint32_t pba = at(0x1000); // survives
        regs_.fill(0);
        at(0x1000) = pba;
        at(STATUS) = 0x83; // 1000 Mb/s, LU, FD
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
        if ((value & ctrl_rst) != 0 && reset_clears) {
            defaults();
            at(CTRL) = ctrl_rst;
        } else {
            at(CTRL) = reset_clears || reset_hangs ? value : value & ~ctrl_rst;
        }
        if ((value & ctrl_rst) != 0) {
            packet_.clear();
        }
    }

    void write_mdic(std::uint32_t value) {
        EXPECT_EQ(value >> 21 & 31, 1u) << "the PHY's address";
        EXPECT_EQ(value >> 16 & 31, 0u) << "only the control register is modelled";
        if ((value >> 26 & 3) == 1) {
            pctrl = static_cast<std::uint16_t>(value);
        }
        at(MDIC) = (value & 0x0fff0000) | pctrl | 1u << 28;
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
        const std::uint32_t bytes = command & 0xfffff;
        EXPECT_GT(bytes, 0u);
        EXPECT_LE(bytes, 16288u); // SDM 3.3.3
        if (packet_.empty()) {
            options_ = d[13];
        }
        std::uint64_t address = 0;
        std::memcpy(&address, d.data(), 8);
        const auto* data = reinterpret_cast<const std::uint8_t*>(memory_.translate(address, bytes));
        if (data != nullptr) {
            packet_.insert(packet_.end(), data, data + bytes);
        }
        if ((command & 1u << 24) == 0) {
            EXPECT_EQ(command & 1u << 27, 0u) << "RS is only for the last descriptor";
            return;
        }
        EXPECT_NE(command & 1u << 25, 0u) << "IFCS is missing";
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
    unsigned rst_reads_ = 0;
    Context context_;
    bool context_tse_ = false;
    Bytes packet_;
    std::uint8_t options_ = 0;
};

} // namespace udrv::test
