// SPDX-License-Identifier: MIT
//
// For the tests of NetService: the kernel's end of a port in plain memory, and a
// chip that loops every packet back.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <memory>
#include <vector>

#include "libudrv/net/net_port.hpp"
#include "libudrv/rings/state_page.hpp"

namespace udrv::test {

/// The kernel's end: its producers and consumers, its state pages. The memory of
/// the port is its own.
class FakeKernel {
  public:
    explicit FakeKernel(std::uint32_t depth = 64, std::uint32_t nr_queues = 1)
        : queues(nr_queues), depth_(depth) {
        std::strcpy(layout_.name, "udn7");
        layout_.nr_queues = nr_queues;
        layout_.tx_depth = depth;
        layout_.rx_depth = depth;
        std::uint32_t end = 0;
        const auto place = [&end](std::size_t size) {
            const std::uint32_t at = end;
            end += static_cast<std::uint32_t>((size + 255) / 256 * 256);
            return at;
        };
        layout_.desired = place(sizeof(udrv_net_desired));
        layout_.published = place(sizeof(udrv_net_published));
        for (std::uint32_t n = 0; n < nr_queues; ++n) {
            udrv_net_queue_layout& queue = layout_.queues[n];
            queue.need_wakeup = place(sizeof(udrv_need_wakeup));
            queue.tx = place(sizeof(udrv_ring_header) + depth * sizeof(udrv_net_tx));
            queue.completion =
                place(sizeof(udrv_ring_header) + depth * sizeof(udrv_net_completion));
            queue.fill = place(sizeof(udrv_ring_header) + depth * sizeof(udrv_net_fill));
            queue.rx = place(sizeof(udrv_ring_header) + depth * sizeof(udrv_net_rx));
        }
        layout_.map_bytes = end;
        memory_.resize(end / sizeof(Line));

        for (std::uint32_t n = 0; n < nr_queues; ++n) {
            const udrv_net_queue_layout& from = layout_.queues[n];
            Queue& to = queues[n];
            to.tx =
                RingProducer<udrv_net_tx>(header(from.tx), entries<udrv_net_tx>(from.tx), depth);
            to.fill = RingProducer<udrv_net_fill>(header(from.fill),
                                                  entries<udrv_net_fill>(from.fill), depth);
            to.completion = RingConsumer<udrv_net_completion>(
                header(from.completion), entries<udrv_net_completion>(from.completion), depth);
            to.rx =
                RingConsumer<udrv_net_rx>(header(from.rx), entries<udrv_net_rx>(from.rx), depth);
            to.need_wakeup = at<udrv_need_wakeup>(from.need_wakeup);
        }
        desired = StatePageWriter<udrv_net_desired>(at<udrv_net_desired>(layout_.desired));
        published = StatePageReader<udrv_net_published>(at<udrv_net_published>(layout_.published));
    }

    [[nodiscard]] NetPort port() { return NetPort(bytes(), layout_.map_bytes, layout_); }
    [[nodiscard]] udrv_net_attach& layout() { return layout_; }
    [[nodiscard]] std::byte* bytes() {
        void* start = memory_.data();
        return static_cast<std::byte*>(start);
    }

    void want_up(bool up) {
        udrv_net_desired page{};
        page.up = up ? 1 : 0;
        page.mtu = 1500;
        std::strcpy(page.name, "udn7");
        desired.write(page);
    }

    struct Queue {
        RingProducer<udrv_net_tx> tx;
        RingProducer<udrv_net_fill> fill;
        RingConsumer<udrv_net_completion> completion;
        RingConsumer<udrv_net_rx> rx;
        udrv_need_wakeup* need_wakeup = nullptr;
    };
    std::vector<Queue> queues;
    // Of the first one.
    RingProducer<udrv_net_tx>& tx = queues[0].tx;
    RingProducer<udrv_net_fill>& fill = queues[0].fill;
    RingConsumer<udrv_net_completion>& completion = queues[0].completion;
    RingConsumer<udrv_net_rx>& rx = queues[0].rx;
    udrv_need_wakeup*& need_wakeup = queues[0].need_wakeup;
    StatePageWriter<udrv_net_desired> desired;
    StatePageReader<udrv_net_published> published;

  private:
    struct alignas(256) Line {
        std::array<std::byte, 256> bytes{};
    };
    template <typename T>
    [[nodiscard]] T* at(std::size_t offset) {
        void* place = bytes() + offset;
        return static_cast<T*>(place);
    }
    [[nodiscard]] udrv_ring_header* header(std::uint32_t offset) {
        return at<udrv_ring_header>(offset);
    }
    template <typename T>
    [[nodiscard]] T* entries(std::uint32_t offset) {
        return at<T>(offset + sizeof(udrv_ring_header));
    }

    std::uint32_t depth_;
    udrv_net_attach layout_{};
    std::vector<Line> memory_;
};

/// A chip whose every packet comes back: one receive buffer for each packet sent,
/// with the packet's id as its length. Records how it was used.
class FakeChip {
  public:
    explicit FakeChip(std::uint32_t depth = 64) {
        capabilities_.tx_depth = depth;
        capabilities_.rx_depth = depth;
        capabilities_.tx_max_segments = 8;
    }

    [[nodiscard]] const NetCapabilities& capabilities() const { return capabilities_; }
    void apply(const udrv_net_desired& desired) {
        ++applies;
        up = desired.up != 0;
    }
    [[nodiscard]] NetCause interrupt() {
        ++interrupts;
        return {true, std::exchange(link_interrupt, false)};
    }
    [[nodiscard]] std::size_t rx_provide(std::span<const udrv_net_fill> fill) {
        for (const udrv_net_fill& entry : fill) {
            buffers_.push_back(entry.id);
        }
        return fill.size();
    }
    [[nodiscard]] std::size_t rx_return(std::span<udrv_net_rx> rx) {
        std::size_t count = 0;
        while (count < rx.size() && !wire_.empty() && !buffers_.empty()) {
            rx[count++] = {.id = buffers_.front(),
                           .len_bytes = wire_.front(),
                           .flags = UDRV_NET_RX_EOP,
                           .vlan_tci = 0,
                           .hash = 0,
                           .csum_start = 0,
                           .csum_offset = 0,
                           .reserved = 0};
            buffers_.pop_front();
            wire_.pop_front();
        }
        return count;
    }
    [[nodiscard]] std::size_t tx_provide(std::span<const udrv_net_tx> tx) {
        partial_packets += tx.empty() || (tx.back().flags & UDRV_NET_TX_EOP) == 0 ? 1 : 0;
        std::size_t taken = 0;
        for (std::size_t n = 0; n < tx.size() && sent_.size() < tx_room; ++n) {
            if ((tx[n].flags & UDRV_NET_TX_EOP) != 0) {
                sent_.push_back(tx[n].id);
                taken = n + 1;
            }
        }
        ++tx_calls;
        return taken;
    }
    [[nodiscard]] std::size_t tx_return(std::span<udrv_net_completion> completion) {
        std::size_t count = 0;
        while (!hold_tx && count < completion.size() && !sent_.empty()) {
            completion[count++] = {sent_.front(), 0};
            wire_.push_back(sent_.front());
            sent_.pop_front();
        }
        return count;
    }
    [[nodiscard]] bool arm() {
        ++arms;
        return !std::exchange(done_at_arm, false);
    }
    [[nodiscard]] NetLink link() { return link_state; }
    [[nodiscard]] static std::span<const std::string_view> stat_names() {
        static constexpr std::array<std::string_view, 2> names{
            "frames", "a_name_that_is_longer_than_ETH_GSTRING_LEN_allows"};
        return names;
    }
    void read_stats(std::span<std::uint64_t> stats) { stats[0] += 1; }
    void read_counters(udrv_net_counters& counters) const { counters.rx_missed_errors = 5; }
    void read_registers(std::span<udrv_net_register> registers) { registers[0] = {0x10, 0xabcd}; }
    void stop() { ++stops; }

    std::size_t tx_room = 1000;
    bool hold_tx = false;
    bool up = false;
    bool link_interrupt = false;
    bool done_at_arm = false; ///< the next arm() finds something done
    NetLink link_state{true, true, 1000};
    int applies = 0;
    int interrupts = 0;
    int arms = 0;
    int stops = 0;
    int tx_calls = 0;
    int partial_packets = 0;

  private:
    NetCapabilities capabilities_;
    std::deque<std::uint32_t> buffers_;
    std::deque<std::uint32_t> sent_;
    std::deque<std::uint32_t> wire_;
};

} // namespace udrv::test
