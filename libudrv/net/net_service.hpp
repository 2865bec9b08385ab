// SPDX-License-Identifier: MIT
//
// NetService: the loop of every network driver. It moves entries between a chip
// (net_chip.hpp) and the rings of a port (net_port.hpp), and sees to it that the chip
// is as the administrator wants it. When it sleeps, and why no wakeup is lost, is in
// libudrv/loop/service_loop.hpp.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "libudrv/loop/service_loop.hpp"
#include "libudrv/net/net_chip.hpp"
#include "libudrv/net/net_port.hpp"

namespace udrv {

template <NetChip C>
class NetService : public ServiceLoop<NetService<C>> {
    using Loop = ServiceLoop<NetService<C>>;
    using Loop::batch;
    using Loop::counters_;

  public:
    using typename Loop::Milliseconds;

    /// Nothing is owned; everything outlives the service. `cpus` is what the
    /// process may run on: with one, it never polls.
    NetService(C& chip, NetPort& port, Waiter& waiter, Reporter& reporter, unsigned cpus)
        : Loop(waiter, reporter, cpus, port.queue.sleep, port.queue.kernel), chip_(chip),
          port_(port), queue_(port.queue),
          tx_batch_(std::max(batch, chip.capabilities().tx_max_segments)) {
        this->hold_off_ = HoldOff(cpus);
        nr_stats_ = std::min<std::size_t>(C::stat_names().size(), UDRV_NET_MAX_STATS);
        const NetPhy& phy = chip.capabilities().phy;
        page_.port = phy.port;
        page_.phy_address = phy.phy_address;
        page_.mdix = phy.mdix;
        page_.mdix_ctrl = phy.mdix_ctrl;
        std::copy(phy.supported.begin(), phy.supported.end(), page_.supported);
        std::copy(phy.advertising.begin(), phy.advertising.end(), page_.advertising);
        std::strncpy(name_.data(), port.name().c_str(), name_.size() - 1);
    }

    /// Makes the chip agree with the desired state and publishes the link. Throws
    /// what the chip throws.
    void start() {
        refresh();
        publish_state();
    }

    /// One bounded look at everything; true if anything moved. Returning what is
    /// done goes first: it makes the room that the rest needs.
    bool pass() {
        ++counters_.passes;
        // No short circuit: each of the four gets its turn.
        const std::uint32_t moved = return_tx() + return_rx() + provide_rx() + provide_tx();
        counters_.idle_passes += moved == 0 ? 1 : 0;
        return moved != 0;
    }

  private:
    friend Loop;
    static constexpr Milliseconds state_interval{1000}; ///< statistics, while up

    /// tx_return -> completion ring.
    std::uint32_t return_tx() {
        const auto room = queue_.completion.reserve(batch);
        const auto count = static_cast<std::uint32_t>(chip_.tx_return(room));
        if (count != 0) {
            queue_.completion.commit(count);
            counters_.tx_completions += count;
            this->produced(count);
            tx_stalled_ = false;
        }
        return count;
    }

    /// rx_return -> rx ring.
    std::uint32_t return_rx() {
        if (this->hold_off_.holds()) {
            return 0;
        }
        const auto room = queue_.rx.reserve(batch);
        const auto count = static_cast<std::uint32_t>(chip_.rx_return(room));
        if (count != 0) {
            std::uint64_t bytes = 0;
            std::uint32_t packets = 0;
            for (const udrv_net_rx& entry : room.first(count)) {
                bytes += entry.len_bytes;
                packets += entry.flags & UDRV_NET_RX_EOP;
            }
            counters_.rx_packets += packets;
            counters_.rx_buffers += count;
            queue_.rx.commit(count);
            this->produced_awaited(count);
            this->took(packets, bytes);
        }
        return count;
    }

    [[nodiscard]] std::uint32_t offered() { return queue_.tx.available(batch); }

    /// fill ring -> rx_provide.
    std::uint32_t provide_rx() {
        const auto fill = queue_.fill.peek(batch);
        if (fill.empty()) {
            return 0;
        }
        const auto count = static_cast<std::uint32_t>(chip_.rx_provide(fill));
        if (count != 0) {
            queue_.fill.release(count);
        }
        return count;
    }

    /// tx ring -> tx_provide, whole packets only. Copied, so that a packet is in one
    /// piece also where the ring wraps.
    std::uint32_t provide_tx() {
        if (tx_stalled_) {
            return 0; // the chip was full and has returned nothing since
        }
        std::uint32_t whole = queue_.tx.copy(tx_batch_);
        while (whole != 0 && (tx_batch_[whole - 1].flags & UDRV_NET_TX_EOP) == 0) {
            --whole;
        }
        if (whole == 0) {
            return 0;
        }
        const std::span<const udrv_net_tx> packets(tx_batch_.data(), whole);
        const auto count = static_cast<std::uint32_t>(chip_.tx_provide(packets));
        tx_stalled_ = count < whole;
        if (count != 0) {
            std::uint64_t bytes = 0;
            for (const udrv_net_tx& segment : packets.first(count)) {
                bytes += segment.len_bytes;
                counters_.tx_packets += segment.flags & UDRV_NET_TX_EOP;
            }
            this->hold_off_.sent(bytes);
            counters_.tx_segments += count;
            queue_.tx.release(count);
        }
        return count;
    }

    [[nodiscard]] bool changed() const { return port_.desired.changed(); }

    /// Makes the chip agree with the desired state.
    void refresh() {
        udrv_net_desired desired{};
        if (!port_.desired.read(desired)) {
            return; // the kernel is still writing: changed() stays true
        }
        ++counters_.applies;
        chip_.apply(desired);
        up_ = desired.up != 0;
        // Renamed by an administrator or by udev: what we say names it as it is called now.
        std::copy_n(desired.name, name_.size() - 1, name_.begin());
        page_.applied = desired.generation;
        this->news();
        this->hold_off_.limit(desired.rx_usecs);
        tx_stalled_ = false;
        publish_state();
    }

    /// While up, until the next statistics.
    [[nodiscard]] std::optional<Milliseconds> timeout() const {
        if (!up_) {
            return std::nullopt;
        }
        return std::max(Milliseconds{1}, state_interval - (Loop::coarse_now() - state_time_));
    }

    [[nodiscard]] bool before_sleep() { return chip_.arm(); }

    void entered(bool interrupted) {
        if (interrupted) {
            tx_stalled_ = false;
            if (chip_.interrupt().link) {
                publish_state();
            }
        }
        if (up_ && Loop::coarse_now() - state_time_ >= state_interval) {
            publish_state();
        }
    }

    void stop() { chip_.stop(); }

    /// Link and statistics to the published page. The kernel looks at it when we
    /// enter it, so a change of either makes that necessary: the last counters of a
    /// burst would stay unseen while the line is quiet.
    void publish_state() {
        const NetLink link = chip_.link();
        chip_.read_stats({stats_.data(), nr_stats_});
        chip_.read_counters(page_.counters);
        page_.link = (link.up ? UDRV_NET_LINK_UP : 0U) |
                     (link.full_duplex ? UDRV_NET_FULL_DUPLEX : 0U) |
                     (chip_.capabilities().phy.autoneg ? UDRV_NET_AUTONEG : 0U);
        page_.speed_mbps = link.speed_mbps;
        if (!std::equal(stats_.begin(), stats_.end(), page_.stats)) {
            std::copy(stats_.begin(), stats_.end(), page_.stats);
            this->news();
        }
        chip_.read_registers(page_.registers);
        port_.published.write(page_);
        state_time_ = Loop::coarse_now();
        if (!link_ || *link_ != link) {
            link_ = link;
            this->news();
            ++counters_.link_changes;
            if (link.up && link.speed_mbps == unknown_speed) {
                this->reporter_.log(spdlog::level::info, "{}: link up", name_.data());
            } else {
                this->reporter_.log(spdlog::level::info, "{}: link {}, {} Mb/s, {} duplex",
                                    name_.data(), link.up ? "up" : "down", link.speed_mbps,
                                    link.full_duplex ? "full" : "half");
            }
        }
    }

    C& chip_;
    NetPort& port_;
    NetQueue& queue_;
    std::vector<udrv_net_tx> tx_batch_;
    bool tx_stalled_ = false; ///< the chip had no room for the next packet
    bool up_ = false;
    std::optional<NetLink> link_;
    std::array<char, UDRV_NET_NAME_LEN> name_{}; ///< of the interface, as it is called now
    udrv_net_published page_{};
    std::size_t nr_stats_ = 0;
    std::array<std::uint64_t, UDRV_NET_MAX_STATS> stats_{};
    Milliseconds state_time_{0};
};

} // namespace udrv
