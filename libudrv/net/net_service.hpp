// SPDX-License-Identifier: MIT
//
// NetService: the first thread of every network driver, and most often the only one. It
// serves queues (net_loop.hpp), and sees to it that the chip is as the administrator
// wants it.
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

#include "libudrv/net/net_chip.hpp"
#include "libudrv/net/net_loop.hpp"
#include "libudrv/net/net_port.hpp"
#include "libudrv/net/net_workers.hpp"

namespace udrv {

/// The queues that thread `thread` of `nr_threads` serves.
template <NetChip C>
[[nodiscard]] std::vector<NetQueuePair<NetChipQueueOf<C>>>
net_queue_pairs(C& chip, NetPort& port, unsigned thread, unsigned nr_threads) {
    std::vector<NetQueuePair<NetChipQueueOf<C>>> pairs;
    for (std::size_t n = thread; n < port.queues.size(); n += nr_threads) {
        pairs.push_back({&net_chip_queue(chip, static_cast<unsigned>(n)), &port.queues[n]});
    }
    return pairs;
}

template <NetChip C>
class NetService : public NetLoop<NetService<C>, NetChipQueueOf<C>> {
    using Queues = NetLoop<NetService<C>, NetChipQueueOf<C>>;
    using Loop = ServiceLoop<NetService<C>>;
    using Loop::counters_;

  public:
    using typename Loop::Milliseconds;
    using Workers = NetWorkers<NetChipQueueOf<C>>;

    /// Nothing is owned; everything outlives the service. `cpus` is what the
    /// process may run on: with one, it never polls. With `workers` it serves its share of
    /// the queues, else all.
    NetService(C& chip, NetPort& port, Waiter& waiter, Reporter& reporter, unsigned cpus,
               Workers* workers = nullptr, unsigned nr_threads = 1)
        : Queues(waiter, reporter, cpus, net_queue_pairs(chip, port, 0, nr_threads),
                 chip.capabilities().tx_max_segments),
          chip_(chip), port_(port), workers_(workers) {
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

    /// Of all threads.
    [[nodiscard]] DriverCounters total() {
        DriverCounters sum = counters_;
        exclude([&] {
            if (workers_ != nullptr) {
                workers_->add_counters(sum);
            }
        });
        return sum;
    }

    // Of a Service.

    [[nodiscard]] bool changed() const { return port_.desired.changed(); }

    /// Makes the chip agree with the desired state.
    void refresh() {
        udrv_net_desired desired{};
        if (!port_.desired.read(desired)) {
            return; // the kernel is still writing: changed() stays true
        }
        ++counters_.applies;
        exclude([&] {
            chip_.apply(desired);
            if (workers_ != nullptr) {
                workers_->applied(desired.rx_usecs);
            }
        });
        if (workers_ != nullptr) {
            workers_->wake(); // what waited for room on a chip that was stopped goes on
        }
        up_ = desired.up != 0;
        // Renamed by an administrator or by udev: what we say names it as it is called now.
        std::copy_n(desired.name, name_.size() - 1, name_.begin());
        page_.applied = desired.generation;
        this->news();
        this->idle_.hold_off().limit(desired.rx_usecs);
        this->try_tx_again();
        publish_state();
    }

    [[nodiscard]] bool others_progress() { return workers_ == nullptr || workers_->progress(); }

    /// While up, until the next statistics.
    [[nodiscard]] std::optional<Milliseconds> timeout() const {
        if (!up_) {
            return std::nullopt;
        }
        return std::max(Milliseconds{1}, state_interval - (Loop::coarse_now() - state_time_));
    }

    void entered(bool interrupted) {
        if (interrupted) {
            this->try_tx_again();
            if (chip_.interrupt().link) {
                publish_state();
            }
        }
        if (up_ && Loop::coarse_now() - state_time_ >= state_interval) {
            publish_state();
        }
        const Heartbeat& heartbeat = this->heartbeat();
        if (workers_ != nullptr && heartbeat.watched() &&
            Loop::coarse_now() - wake_time_ >= heartbeat.interval()) {
            workers_->wake();
            wake_time_ = Loop::coarse_now();
        }
    }

    void stop() {
        if (workers_ != nullptr) {
            workers_->stop();
        }
        chip_.stop();
    }

  private:
    static constexpr Milliseconds state_interval{1000}; ///< statistics, while up

    /// With no other thread in a function of a queue.
    template <typename Function>
    void exclude(Function&& function) {
        if (workers_ == nullptr || workers_->empty()) {
            function();
        } else {
            workers_->exclude(function);
        }
    }

    /// Link and statistics to the published page. The kernel looks at it when we
    /// enter it, so a change of either makes that necessary: the last counters of a
    /// burst would stay unseen while the line is quiet.
    void publish_state() {
        NetLink link;
        exclude([&] {
            link = chip_.link();
            chip_.read_stats({stats_.data(), nr_stats_});
            chip_.read_counters(page_.counters);
            chip_.read_registers(page_.registers);
        });
        page_.link = (link.up ? UDRV_NET_LINK_UP : 0U) |
                     (link.full_duplex ? UDRV_NET_FULL_DUPLEX : 0U) |
                     (chip_.capabilities().phy.autoneg ? UDRV_NET_AUTONEG : 0U);
        page_.speed_mbps = link.speed_mbps;
        if (!std::equal(stats_.begin(), stats_.end(), page_.stats)) {
            std::copy(stats_.begin(), stats_.end(), page_.stats);
            this->news();
        }
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
    Workers* workers_; ///< nullptr: none
    bool up_ = false;
    std::optional<NetLink> link_;
    std::array<char, UDRV_NET_NAME_LEN> name_{}; ///< of the interface, as it is called now
    udrv_net_published page_{};
    std::size_t nr_stats_ = 0;
    std::array<std::uint64_t, UDRV_NET_MAX_STATS> stats_{};
    Milliseconds state_time_{0};
    Milliseconds wake_time_{0}; ///< of the other threads
};

} // namespace udrv
