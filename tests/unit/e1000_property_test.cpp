// SPDX-License-Identifier: MIT
//
// e1000, property: whatever the order of sends, receives, stops and starts, no
// buffer and no packet is lost or returned twice, order is kept, and every byte
// that comes back through the loopback is the one that was sent.
#include <deque>
#include <random>

#include <gtest/gtest.h>

#include "tests/unit/e1000_rig.hpp"

namespace udrv::test {
namespace {

class Loop {
  public:
    Loop(const e1000::Config& config, std::uint32_t seed) : rig_(config), random_(seed) {
        rig_.chip.loopback = true;
        rig_.runs = false;
        fill_ = rig_.buffers(config.rx_depth, 0);
        for (const auto& buffer : fill_) {
            free_.push_back(buffer.id);
        }
        staging_ = rig_.memory.allocate(std::size_t{packet_room} * config.tx_depth);
        for (std::uint32_t i = 0; i < config.tx_depth; i++) {
            slots_.push_back(i);
        }
        desired_ = up_state();
        desired_.mtu = 9000;
        rig_.driver.apply(desired_);
    }

    void step() {
        switch (pick(100)) {
        case 0:
            toggle();
            break;
        case 1:
            desired_.rx_mode ^= UDRV_NET_PROMISC;
            apply();
            break;
        default:
            give();
            send();
            rig_.chip.run_transmit(pick(12));
            receive();
            reap();
        }
    }

    void finish() {
        if (desired_.up == 0) {
            toggle();
        }
        for (int i = 0; i < 1000 && (!pending_.empty() || !outstanding_.empty()); i++) {
            give();
            flush();
            rig_.chip.run_transmit();
            receive();
            reap();
        }
        EXPECT_TRUE(pending_.empty());
        EXPECT_TRUE(outstanding_.empty());
        for (int i = 0; i < 100; i++) {
            receive();
        }
        EXPECT_TRUE(partial_.empty());
        // What did not arrive is what the chip had no buffers for, and nothing else.
        EXPECT_EQ(lost_ + on_chip_.size(), rig_.chip.rx_missed - missed_);
        rig_.driver.stop();
        reap();
        // Every buffer is free here or with the driver, none in both or in neither.
        EXPECT_EQ(free_.size() + with_driver_.size(), fill_.size());
        EXPECT_EQ(slots_.size(), rig_.config.tx_depth);
    }

    std::uint64_t sent = 0, cut = 0, received = 0, restarts = 0;

  private:
    static constexpr std::uint32_t packet_room = 9216;

    std::uint32_t pick(std::uint32_t below) {
        return std::uniform_int_distribution<std::uint32_t>(0, below - 1)(random_);
    }

    void apply() { rig_.driver.apply(desired_); }

    void toggle() {
        desired_.up ^= 1u;
        apply();
        if (desired_.up != 0) {
            restarts++;
        } else {
            // What is in the chip and not yet taken is gone with the stop; the
            // packet cut in half, if any, is closed by the next to end.
            for (; seen_ < rig_.chip.wire.size(); seen_++) {
                on_chip_.push_back({});
            }
            EXPECT_LE(lost_, rig_.chip.rx_missed - missed_);
            on_chip_.clear();
            half_ = !partial_.empty();
            missed_ = rig_.chip.rx_missed;
            lost_ = 0;
        }
    }

    void give() {
        std::vector<udrv_net_fill> batch;
        for (std::uint32_t n = pick(4); n != 0 && !free_.empty(); n--) {
            batch.push_back(fill_[free_.front()]);
            free_.pop_front();
        }
        ASSERT_EQ(rig_.driver.rx_provide(batch), batch.size());
        for (const auto& buffer : batch) {
            EXPECT_TRUE(with_driver_.insert(buffer.id).second);
        }
    }

    void send() {
        for (std::uint32_t n = pick(4); n != 0; n--) {
            const std::uint32_t segments = 1 + pick(3);
            if (slots_.size() < segments) {
                break;
            }
            build(segments);
        }
        flush();
    }

    void build(std::uint32_t segments) {
        const std::uint32_t bytes = pick(10) == 0 ? 2000 + pick(7000) : 60 + pick(1400);
        const Bytes packet = frame_of(bytes, next_id_);
        const std::uint32_t slot = slots_.front();
        Outstanding out{next_id_, {}, bytes};
        std::uint32_t done = 0;
        const std::uint64_t start = std::uint64_t{slot} * packet_room;
        std::memcpy(staging_.vaddr + start, packet.data(), bytes);
        for (std::uint32_t s = 0; s < segments; s++) {
            out.slots.push_back(slots_.front());
            slots_.pop_front();
            udrv_net_tx tx{};
            tx.dma_addr = staging_.dma_addr + start + done;
            tx.len_bytes = s + 1 == segments ? bytes - done : 1 + pick(bytes / segments);
            done += tx.len_bytes;
            tx.id = next_id_;
            tx.flags = s + 1 == segments ? UDRV_NET_TX_EOP : 0;
            pending_.push_back(tx);
        }
        outstanding_.push_back(std::move(out));
        next_id_++;
    }

    void flush() {
        const std::size_t taken = rig_.driver.tx_provide(pending_);
        ASSERT_LE(taken, pending_.size());
        ASSERT_TRUE(taken == 0 || (pending_[taken - 1].flags & UDRV_NET_TX_EOP) != 0);
        pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(taken));
    }

    void reap() {
        for (const auto& done : rig_.take_completions(1 + pick(16))) {
            ASSERT_FALSE(outstanding_.empty());
            EXPECT_EQ(done.id, outstanding_.front().id); // in order, once
            (done.flags == 0 ? sent : cut)++;
            for (const std::uint32_t slot : outstanding_.front().slots) {
                slots_.push_back(slot);
            }
            outstanding_.pop_front();
        }
    }

    /// The wire is what the model sent; the loopback received it, or found no buffers.
    void receive() {
        for (; seen_ < rig_.chip.wire.size(); seen_++) {
            on_chip_.push_back(rig_.chip.wire[seen_].bytes);
        }
        for (const auto& rx : rig_.take_rx(1 + pick(16))) {
            ASSERT_EQ(with_driver_.erase(rx.id), 1u); // it had it, once
            free_.push_back(rx.id);
            const bool drop = (rx.flags & UDRV_NET_RX_DROP) != 0;
            EXPECT_EQ(drop, half_);
            const auto* data = reinterpret_cast<const std::uint8_t*>(
                rig_.memory.translate(fill_[rx.id].dma_addr, rx.len_bytes));
            partial_.insert(partial_.end(), data, data + rx.len_bytes);
            if ((rx.flags & UDRV_NET_RX_EOP) == 0) {
                continue;
            }
            if (half_) {
                half_ = false;
                partial_.clear();
                missed_--; // it is one of those that do not arrive
                continue;
            }
            match();
        }
    }

    void match() {
        Bytes packet;
        packet.swap(partial_);
        // Skip what the chip had no buffers for: order is kept, nothing comes twice.
        while (!on_chip_.empty() && on_chip_.front() != packet) {
            on_chip_.pop_front();
            lost_++;
        }
        ASSERT_FALSE(on_chip_.empty()) << "a packet that was not sent, or out of order";
        on_chip_.pop_front();
        received++;
    }

    struct Outstanding {
        std::uint32_t id;
        std::vector<std::uint32_t> slots;
        std::uint32_t bytes;
    };

    Rig rig_;
    std::mt19937 random_;
    udrv_net_desired desired_{};
    std::vector<udrv_net_fill> fill_;
    std::deque<std::uint32_t> free_;
    std::set<std::uint32_t> with_driver_;
    DmaBlock staging_;
    std::deque<std::uint32_t> slots_;
    std::vector<udrv_net_tx> pending_;
    std::deque<Outstanding> outstanding_;
    std::deque<Bytes> on_chip_;
    Bytes partial_;
    std::uint32_t next_id_ = 0;
    std::uint32_t missed_ = 0; ///< the model's count at the last stop
    std::uint32_t lost_ = 0;   ///< sent since then, and overtaken by a later one
    std::size_t seen_ = 0;     ///< of the wire
    bool half_ = false;        ///< a packet was cut by the stop
};

class E1000Property : public testing::TestWithParam<std::uint32_t> {};

TEST_P(E1000Property, NothingIsLostOrDuplicated) {
    Loop loop(tiny(), GetParam());
    for (int i = 0; i < 4000 && !testing::Test::HasFailure(); i++) {
        loop.step();
    }
    loop.finish();
    RecordProperty("sent", std::to_string(loop.sent));
    RecordProperty("received", std::to_string(loop.received));
    EXPECT_GT(loop.sent, 500u);
    EXPECT_GT(loop.received, 300u);
    EXPECT_GT(loop.restarts, 5u);
    EXPECT_LE(loop.received, loop.sent);
}

INSTANTIATE_TEST_SUITE_P(Seeds, E1000Property, testing::Values(1, 2, 3, 4, 5));

} // namespace
} // namespace udrv::test
