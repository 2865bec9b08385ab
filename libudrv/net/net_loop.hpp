// SPDX-License-Identifier: MIT
//
// NetLoop: what a thread does with the queues that it serves. It moves entries between
// the chip's queues (net_chip.hpp) and the rings of the port's (net_port.hpp). When it
// sleeps, and why no wakeup is lost, is in libudrv/loop/service_loop.hpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "libudrv/loop/service_loop.hpp"
#include "libudrv/net/net_chip.hpp"
#include "libudrv/net/net_port.hpp"

namespace udrv {

/// A queue of the chip and that of the port which belongs to it. Not owned.
template <NetChipQueue Q>
struct NetQueuePair {
    Q* chip = nullptr;
    NetQueue* port = nullptr;
};

/// Base of the services of network drivers, one a thread. Is a ServiceLoop's pass(),
/// offered() and before_sleep().
template <typename Service, NetChipQueue Q>
class NetLoop : public ServiceLoop<Service> {
    using Loop = ServiceLoop<Service>;

  public:
    /// One bounded look at everything; true if anything moved. Returning what is
    /// done goes first: it makes the room that the rest needs.
    bool pass() {
        ++this->counters_.passes;
        std::uint32_t moved = 0;
        for (Lane& lane : lanes_) {
            // No short circuit: each of the four gets its turn.
            moved += return_tx(lane) + return_rx(lane) + provide_rx(lane) + provide_tx(lane);
        }
        this->counters_.idle_passes += moved == 0 ? 1 : 0;
        return moved != 0;
    }

    [[nodiscard]] std::uint32_t offered() {
        std::uint32_t entries = 0;
        for (Lane& lane : lanes_) {
            entries += lane.pair.port->tx.available(Loop::batch);
        }
        return entries;
    }

    [[nodiscard]] bool before_sleep() {
        bool armed = true;
        for (Lane& lane : lanes_) {
            armed = lane.pair.chip->arm() && armed;
        }
        return armed;
    }

  protected:
    /// `tx_max_segments` is the chip's, of one packet.
    NetLoop(Waiter& waiter, Reporter& reporter, unsigned cpus,
            std::span<const NetQueuePair<Q>> pairs, std::uint32_t tx_max_segments)
        : Loop(waiter, reporter, IdlePolicy(cpus, false, true),
               SleepFlags(flags(pairs, &NetQueue::sleep)),
               WakeFlags(flags(pairs, &NetQueue::kernel))),
          tx_batch_(std::max(Loop::batch, tx_max_segments)) {
        for (const NetQueuePair<Q>& pair : pairs) {
            lanes_.push_back({pair, false});
        }
    }
    ~NetLoop() = default;

    /// The chip may have room again, of which nothing was returned.
    void try_tx_again() {
        for (Lane& lane : lanes_) {
            lane.tx_stalled = false;
        }
    }

  private:
    struct Lane {
        NetQueuePair<Q> pair;
        bool tx_stalled = false; ///< the chip had no room for the next packet
    };

    template <typename Flag>
    [[nodiscard]] static std::vector<Flag> flags(std::span<const NetQueuePair<Q>> pairs,
                                                 Flag NetQueue::*flag) {
        std::vector<Flag> all;
        for (const NetQueuePair<Q>& pair : pairs) {
            all.push_back(pair.port->*flag);
        }
        return all;
    }

    /// tx_return -> completion ring.
    std::uint32_t return_tx(Lane& lane) {
        const auto room = lane.pair.port->completion.reserve(Loop::batch);
        const auto count = static_cast<std::uint32_t>(lane.pair.chip->tx_return(room));
        if (count != 0) {
            lane.pair.port->completion.commit(count);
            this->counters_.tx_completions += count;
            this->produced(count);
            lane.tx_stalled = false;
        }
        return count;
    }

    /// rx_return -> rx ring.
    std::uint32_t return_rx(Lane& lane) {
        if (this->idle_.hold_off().holds()) {
            return 0;
        }
        const auto room = lane.pair.port->rx.reserve(Loop::batch);
        const auto count = static_cast<std::uint32_t>(lane.pair.chip->rx_return(room));
        if (count != 0) {
            std::uint64_t bytes = 0;
            std::uint32_t packets = 0;
            for (const udrv_net_rx& entry : room.first(count)) {
                bytes += entry.len_bytes;
                packets += entry.flags & UDRV_NET_RX_EOP;
            }
            this->counters_.rx_packets += packets;
            this->counters_.rx_buffers += count;
            lane.pair.port->rx.commit(count);
            this->produced_awaited(count);
            this->took(packets, bytes);
        }
        return count;
    }

    /// fill ring -> rx_provide.
    std::uint32_t provide_rx(Lane& lane) {
        const auto fill = lane.pair.port->fill.peek(Loop::batch);
        if (fill.empty()) {
            return 0;
        }
        const auto count = static_cast<std::uint32_t>(lane.pair.chip->rx_provide(fill));
        if (count != 0) {
            lane.pair.port->fill.release(count);
        }
        return count;
    }

    /// tx ring -> tx_provide, whole packets only. Copied, so that a packet is in one
    /// piece also where the ring wraps.
    std::uint32_t provide_tx(Lane& lane) {
        if (lane.tx_stalled) {
            return 0; // the chip was full and has returned nothing since
        }
        std::uint32_t whole = lane.pair.port->tx.copy(tx_batch_);
        while (whole != 0 && (tx_batch_[whole - 1].flags & UDRV_NET_TX_EOP) == 0) {
            --whole;
        }
        if (whole == 0) {
            return 0;
        }
        const std::span<const udrv_net_tx> packets(tx_batch_.data(), whole);
        const auto count = static_cast<std::uint32_t>(lane.pair.chip->tx_provide(packets));
        lane.tx_stalled = count < whole;
        if (count != 0) {
            std::uint64_t bytes = 0;
            for (const udrv_net_tx& segment : packets.first(count)) {
                bytes += segment.len_bytes;
                this->counters_.tx_packets += segment.flags & UDRV_NET_TX_EOP;
            }
            this->idle_.hold_off().sent(bytes);
            this->counters_.tx_segments += count;
            lane.pair.port->tx.release(count);
        }
        return count;
    }

    std::vector<Lane> lanes_;
    std::vector<udrv_net_tx> tx_batch_;
};

} // namespace udrv
