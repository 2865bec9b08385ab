// SPDX-License-Identifier: MIT
//
// A model of a virtio 1.x device on PCI, whatever its type, on RegisterIo: for unit tests of
// what drives it. It is written from the specification (virtio_registers.hpp names it) with
// numbers of its own, so that a wrong offset or bit in the driver shows. What the
// specification forbids fails the test; docs/chips.md lists these rules. It answers late: a
// reset takes some reads, and chains are worked on when the test says so, never within a
// register write.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "drivers/virtio/transport.hpp"
#include "libudrv/device/registers.hpp"
#include "libudrv/testing/fake_memory.hpp"

namespace udrv::test {

/// One BAR that holds all structures.
class FakeVirtio : public RegisterIo {
  public:
    static constexpr std::uint32_t common_at = 0x0000, isr_at = 0x1000, device_at = 0x2000,
                                   notify_at = 0x3000, multiplier = 4;
    static constexpr std::uint64_t f_version_1 = 1ull << 32, f_event_idx = 1ull << 29,
                                   f_access_platform = 1ull << 33;

    /// A chain that the driver made available.
    struct Piece {
        std::uint64_t address;
        std::uint32_t bytes;
        bool device_writes;
    };
    struct Chain {
        std::uint16_t head = 0;
        std::vector<Piece> pieces;
        [[nodiscard]] std::uint32_t bytes(bool device_writes) const {
            std::uint32_t sum = 0;
            for (const Piece& piece : pieces) {
                sum += piece.device_writes == device_writes ? piece.bytes : 0;
            }
            return sum;
        }
    };

    FakeVirtio(FakeMemory& memory, std::uint64_t features, std::vector<std::uint16_t> sizes,
               std::uint32_t config_bytes)
        : offered(features), config(config_bytes, 0), memory_(memory), most_(std::move(sizes)) {
        reset_now();
    }

    // What a test may set.
    std::uint64_t offered;
    Bytes config; ///< the device type's own
    std::uint8_t generation = 0;
    bool reset_hangs = false;
    bool refuses_features = false;
    bool refuses_vectors = false;
    bool gone = false;       ///< all reads give all ones
    unsigned late_reads = 3; ///< of device_status, until a reset is over

    // What a test may look at.
    std::uint8_t isr = 0;
    std::uint8_t status = 0;
    std::uint64_t accepted = 0;
    unsigned resets = 0;
    unsigned isr_reads = 0;
    std::map<std::uint16_t, unsigned> notifications; ///< by queue
    std::map<std::uint16_t, unsigned> interrupts;    ///< by queue, that were not suppressed

    [[nodiscard]] virtio::Layout layout() const {
        return {{4, common_at, 0x38},
                {4, notify_at, 0x1000},
                {4, isr_at, 1},
                {4, device_at, static_cast<std::uint32_t>(config.size())},
                multiplier};
    }
    /// From the next reset on.
    void set_queue_size(std::uint16_t n, std::uint16_t size) { most_.at(n) = size; }
    [[nodiscard]] bool live() const { return (status & 4) != 0; }
    [[nodiscard]] bool has(std::uint64_t feature) const { return (accepted & feature) != 0; }

    void need_reset() {
        status |= 64;
        change_config();
    }
    void change_config() {
        generation++;
        isr |= 2;
    }

    // ---- Registers ------------------------------------------------------------------

    std::uint8_t read8(std::uint32_t at) override { return static_cast<std::uint8_t>(read(at, 1)); }
    std::uint16_t read16(std::uint32_t at) override {
        return static_cast<std::uint16_t>(read(at, 2));
    }
    std::uint32_t read32(std::uint32_t at) override { return read(at, 4); }
    void write8(std::uint32_t at, std::uint8_t value) override { write(at, 1, value); }
    void write16(std::uint32_t at, std::uint16_t value) override { write(at, 2, value); }
    void write32(std::uint32_t at, std::uint32_t value) override { write(at, 4, value); }

    // ---- Queues ---------------------------------------------------------------------

    [[nodiscard]] std::uint16_t waiting(std::uint16_t n) {
        const Queue& q = queues_.at(n);
        return q.enabled ? static_cast<std::uint16_t>(avail_idx(q) - q.next) : std::uint16_t{0};
    }

    /// The next chain of queue n.
    [[nodiscard]] std::optional<Chain> pop(std::uint16_t n) {
        Queue& q = queues_.at(n);
        if (!live() || !q.enabled || avail_idx(q) == q.next) {
            return std::nullopt;
        }
        EXPECT_LE(static_cast<std::uint16_t>(avail_idx(q) - q.next), q.size)
            << "more available than there are descriptors (2.7.6)";
        Chain chain;
        chain.head = word(q.driver + 4 + 2 * (q.next % q.size));
        q.next++;
        set_avail_event(q);
        EXPECT_LT(chain.head, q.size);
        std::uint16_t place = chain.head;
        bool writes = false;
        for (;;) {
            const std::uint64_t at = q.desc + 16 * std::uint64_t{place};
            const auto flags = word(at + 12);
            EXPECT_EQ(flags & ~3, 0) << "no indirect descriptors were agreed on (2.7.5.3)";
            const bool device_writes = (flags & 2) != 0;
            EXPECT_TRUE(device_writes || !writes) << "one to read after one to write (2.7.4.2)";
            writes = device_writes;
            Piece piece{load<std::uint64_t>(at), load<std::uint32_t>(at + 8), device_writes};
            EXPECT_NE(piece.bytes, 0u);
            chain.pieces.push_back(piece);
            if (!q.taken.insert({place, chain.head}).second) {
                ADD_FAILURE() << "descriptor " << place << " is in two chains";
                break;
            }
            if ((flags & 1) == 0) {
                break;
            }
            place = word(at + 14);
            if (place >= q.size || chain.pieces.size() > q.size) {
                ADD_FAILURE() << "a loop, or outside of the table (2.7.5.2)";
                break;
            }
        }
        return chain;
    }

    /// Done with a chain, into which `bytes` were written.
    void push(std::uint16_t n, const Chain& chain, std::uint32_t bytes) {
        Queue& q = queues_.at(n);
        std::erase_if(q.taken, [&](const auto& entry) { return entry.second == chain.head; });
        put_used(n, chain.head, bytes);
    }

    /// The used ring says that; it may be a lie.
    void put_used(std::uint16_t n, std::uint32_t id, std::uint32_t bytes) {
        Queue& q = queues_.at(n);
        const std::uint64_t at = q.device + 4 + 8ull * (q.used % q.size);
        store(at, id);
        store(at + 4, bytes);
        q.used++;
        store(q.device + 2, q.used);
        const std::uint16_t before = q.used - 1;
        const bool wanted = has(f_event_idx) ? word(q.driver + 4 + 2 * q.size) == before
                                             : (word(q.driver) & 1) == 0;
        if (wanted) {
            isr |= 1;
            interrupts[n]++;
        }
    }
    /// The same of its index.
    void set_used_idx(std::uint16_t n, std::uint16_t value) {
        store(queues_.at(n).device + 2, value);
    }
    [[nodiscard]] std::uint16_t size(std::uint16_t n) const { return queues_.at(n).size; }

    /// The bytes that the device may read, or where it may write them.
    [[nodiscard]] Bytes gather(const Chain& chain) {
        Bytes bytes;
        for (const Piece& piece : chain.pieces) {
            if (!piece.device_writes) {
                const std::byte* data = memory_.translate(piece.address, piece.bytes);
                if (data != nullptr) {
                    const auto* first = reinterpret_cast<const std::uint8_t*>(data);
                    bytes.insert(bytes.end(), first, first + piece.bytes);
                }
            }
        }
        return bytes;
    }
    void scatter(const Chain& chain, std::span<const std::uint8_t> bytes) {
        for (const Piece& piece : chain.pieces) {
            const std::size_t part = std::min<std::size_t>(piece.bytes, bytes.size());
            if (piece.device_writes && part != 0) {
                std::byte* data = memory_.translate(piece.address, part);
                if (data != nullptr) {
                    std::memcpy(data, bytes.data(), part);
                }
                bytes = bytes.subspan(part);
            }
        }
        EXPECT_TRUE(bytes.empty()) << "the chain is too short";
    }

  protected:
    /// Something of the device type's own that takes time; called at reads of device_status.
    virtual void work() {}
    virtual void forget() {} ///< at a reset
    virtual void check_config_read(std::uint32_t /*at*/) {}
    /// At FEATURES_OK.
    virtual void check_features() {
        EXPECT_EQ(accepted & ~offered, 0u) << "not offered (2.2.1)";
        EXPECT_TRUE(has(f_version_1)) << "6.1";
        EXPECT_TRUE(has(f_access_platform) || (offered & f_access_platform) == 0) << "6.1";
    }

    FakeMemory& memory_;

  private:
    struct Queue {
        std::uint16_t size = 0;
        std::uint16_t vector = 0xffff;
        bool enabled = false;
        std::uint64_t desc = 0, driver = 0, device = 0;
        std::uint16_t next = 0; ///< next to take of the available ring
        std::uint16_t used = 0;
        std::map<std::uint16_t, std::uint16_t> taken; ///< descriptor, head of its chain
    };

    template <typename Word>
    [[nodiscard]] Word load(std::uint64_t at) {
        Word value{};
        const std::byte* data = memory_.translate(at, sizeof(value));
        if (data != nullptr) {
            std::memcpy(&value, data, sizeof(value));
        }
        return value;
    }
    template <typename Word>
    void store(std::uint64_t at, Word value) {
        std::byte* data = memory_.translate(at, sizeof(value));
        if (data != nullptr) {
            std::memcpy(data, &value, sizeof(value));
        }
    }
    [[nodiscard]] std::uint16_t word(std::uint64_t at) { return load<std::uint16_t>(at); }
    [[nodiscard]] std::uint16_t avail_idx(const Queue& q) { return word(q.driver + 2); }

    void set_avail_event(const Queue& q) {
        if (has(f_event_idx)) {
            store(q.device + 4 + 8 * std::uint64_t{q.size}, q.next);
        }
    }

    void reset_now() {
        forget();
        status = 0;
        isr = 0;
        accepted = 0;
        config_vector_ = 0xffff;
        queues_.clear();
        for (const std::uint16_t most : most_) {
            queues_.push_back({});
            queues_.back().size = most;
        }
    }

    [[nodiscard]] std::uint32_t read(std::uint32_t at, std::uint32_t width) {
        if (gone) {
            return 0xffffffff;
        }
        if (at >= device_at && at < notify_at) {
            EXPECT_LE(at - device_at + width, config.size()) << "behind the configuration";
            EXPECT_NE(status & 2, 0) << "read before the driver said what it is (3.1.1)";
            EXPECT_EQ(resetting_, 0u) << "a reset is under way (4.1.4.3.2)";
            check_config_read(at - device_at);
            return load_le(std::span(config).subspan(at - device_at, width));
        }
        if (at == isr_at) {
            EXPECT_EQ(width, 1u);
            isr_reads++;
            return std::exchange(isr, std::uint8_t{0});
        }
        EXPECT_LT(at, 0x38u) << "no register there";
        EXPECT_TRUE(resetting_ == 0 || at == 0x14) << "a reset is under way (4.1.4.3.2)";
        Queue none;
        Queue& q = selected_ < queues_.size() ? queues_[selected_] : none;
        switch (at) {
        case 0x04:
            expect_width(width, 4);
            return static_cast<std::uint32_t>(offered >> (32 * device_select_));
        case 0x10:
            expect_width(width, 2);
            return config_vector_;
        case 0x12:
            expect_width(width, 2);
            return static_cast<std::uint32_t>(queues_.size());
        case 0x14:
            expect_width(width, 1);
            if (resetting_ != 0 && !reset_hangs && --resetting_ == 0) {
                reset_now();
            }
            work();
            features_seen_ = features_seen_ || (status & 8) != 0;
            return status;
        case 0x15:
            expect_width(width, 1);
            return generation;
        case 0x18:
            expect_width(width, 2);
            return q.size;
        case 0x1a:
            expect_width(width, 2);
            return q.vector;
        case 0x1e:
            expect_width(width, 2);
            return selected_;
        default:
            ADD_FAILURE() << "read of " << std::hex << at;
            return 0;
        }
    }

    void write(std::uint32_t at, std::uint32_t width, std::uint32_t value) {
        if (gone) {
            return;
        }
        if (at >= notify_at) {
            expect_width(width, 2);
            EXPECT_TRUE(live()) << "notified before DRIVER_OK (3.1.1)";
            ASSERT_LT(value, queues_.size());
            EXPECT_EQ(at, notify_at + value * multiplier) << "not where that queue is notified";
            EXPECT_TRUE(queues_[value].enabled);
            notifications[static_cast<std::uint16_t>(value)]++;
            return;
        }
        EXPECT_LT(at, 0x38u) << "not to be written";
        EXPECT_TRUE(resetting_ == 0 || at == 0x14) << "a reset is under way (4.1.4.3.2)";
        if (at == 0x14) {
            expect_width(width, 1);
            write_status(static_cast<std::uint8_t>(value));
        } else if (at < 0x16) {
            write_device(at, width, value);
        } else {
            write_queue(at, width, value);
        }
    }

    /// 2.1.1: no bit goes but by a reset; 3.1.1: their order.
    void write_status(std::uint8_t value) {
        if (value == 0) {
            resets++;
            resetting_ = status == 0 ? 0 : late_reads;
            features_seen_ = false;
            if (resetting_ == 0) {
                reset_now();
            }
            return;
        }
        EXPECT_EQ(resetting_, 0u) << "a reset is under way";
        EXPECT_EQ(status & 0x3f & ~value, 0) << "a status bit is cleared";
        const int added = value & ~status;
        EXPECT_TRUE((added & 2) == 0 || (status & 1) != 0) << "DRIVER before ACKNOWLEDGE";
        EXPECT_TRUE((added & 8) == 0 || (status & 2) != 0) << "FEATURES_OK before DRIVER";
        EXPECT_TRUE((added & 4) == 0 || ((status & 8) != 0 && features_seen_))
            << "DRIVER_OK before FEATURES_OK, or without reading it again";
        if ((added & 8) != 0) {
            check_features();
            if (refuses_features) {
                value = static_cast<std::uint8_t>(value & ~8);
            }
        }
        status = static_cast<std::uint8_t>((status & 64) | value);
    }

    void write_device(std::uint32_t at, std::uint32_t width, std::uint32_t value) {
        switch (at) {
        case 0x00:
            expect_width(width, 4);
            EXPECT_LT(value, 2u);
            device_select_ = value;
            break;
        case 0x08:
            expect_width(width, 4);
            EXPECT_LT(value, 2u);
            driver_select_ = value;
            break;
        case 0x0c:
            expect_width(width, 4);
            EXPECT_EQ(status & 0x0a, 2) << "features between DRIVER and FEATURES_OK (3.1.1)";
            accepted = (accepted & ~(0xffffffffull << (32 * driver_select_))) |
                       std::uint64_t{value} << (32 * driver_select_);
            break;
        case 0x10:
            expect_width(width, 2);
            config_vector_ = refuses_vectors ? 0xffff : static_cast<std::uint16_t>(value);
            break;
        default:
            ADD_FAILURE() << "write to " << std::hex << at;
        }
    }

    void write_queue(std::uint32_t at, std::uint32_t width, std::uint32_t value) {
        if (at == 0x16) {
            expect_width(width, 2);
            selected_ = static_cast<std::uint16_t>(value);
            return;
        }
        EXPECT_EQ(status & 0x0c, 8) << "queues between FEATURES_OK and DRIVER_OK (3.1.1)";
        ASSERT_LT(selected_, queues_.size());
        Queue& q = queues_[selected_];
        EXPECT_FALSE(q.enabled) << "changed after it was enabled (4.1.4.3.2)";
        const auto half = [&](std::uint64_t& address) {
            expect_width(width, 4);
            const unsigned shift = at % 8 == 0 ? 0 : 32;
            address = (address & ~(0xffffffffull << shift)) | std::uint64_t{value} << shift;
        };
        switch (at) {
        case 0x18:
            expect_width(width, 2);
            EXPECT_EQ(value & (value - 1), 0u) << "a power of two (2.7)";
            EXPECT_LE(value, most_.at(selected_));
            q.size = static_cast<std::uint16_t>(value);
            break;
        case 0x1a:
            expect_width(width, 2);
            q.vector = refuses_vectors ? 0xffff : static_cast<std::uint16_t>(value);
            break;
        case 0x1c:
            expect_width(width, 2);
            EXPECT_EQ(value, 1u) << "only 1 is written (4.1.4.3.2)";
            EXPECT_EQ(q.desc % 16, 0u);
            EXPECT_EQ(q.driver % 2, 0u);
            EXPECT_EQ(q.device % 4, 0u);
            EXPECT_NE(memory_.translate(q.desc, 16u * q.size), nullptr);
            EXPECT_NE(memory_.translate(q.driver, 6u + 2u * q.size), nullptr);
            EXPECT_NE(memory_.translate(q.device, 6u + 8u * q.size), nullptr);
            EXPECT_EQ(word(q.driver + 2), 0) << "a queue starts empty";
            EXPECT_EQ(word(q.device + 2), 0) << "a queue starts empty";
            q.enabled = true;
            break;
        case 0x20:
        case 0x24:
            half(q.desc);
            break;
        case 0x28:
        case 0x2c:
            half(q.driver);
            break;
        case 0x30:
        case 0x34:
            half(q.device);
            break;
        default:
            ADD_FAILURE() << "write to " << std::hex << at;
        }
    }

    /// 4.1.3.1
    static void expect_width(std::uint32_t width, std::uint32_t natural) {
        EXPECT_EQ(width, natural) << "not the register's width";
    }

    std::vector<std::uint16_t> most_;
    std::vector<Queue> queues_;
    std::uint32_t device_select_ = 0;
    std::uint32_t driver_select_ = 0;
    std::uint16_t config_vector_ = 0xffff;
    std::uint16_t selected_ = 0;
    unsigned resetting_ = 0;
    bool features_seen_ = false;
};

} // namespace udrv::test
