// SPDX-License-Identifier: MIT
//
// null_net BDF QUEUES [THREADS]: a network driver with several queues and no hardware behind
// them. It takes any device with as many MSI-X vectors as it has threads. What is sent on a
// queue comes back on the next one of the same thread, as long as it was, with a hash that
// says on which queue it was sent; what is in it is whatever the buffer holds, since a driver
// sees no packet. It is served by the runtime as any driver is.
#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>

#include <malloc.h>
#include <unistd.h>

#include <boost/lockfree/queue.hpp>
#include <boost/lockfree/spsc_queue.hpp>

#include "libudrv/device/device.hpp"
#include "libudrv/error.hpp"
#include "libudrv/net/net_serve.hpp"
#include "libudrv/process/output.hpp"

namespace udrv {
namespace {

constexpr std::uint32_t depth = 256;
constexpr std::uint32_t hash_base = 0x51000000; ///< and the queue that it was sent on

/// What one queue sends to the next.
struct Frame {
    std::uint32_t len_bytes = 0;
    std::uint32_t hash = 0;
};
using Wire = boost::lockfree::queue<Frame, boost::lockfree::capacity<16384>>;

class NullQueue {
  public:
    NullQueue(unsigned number, unsigned stride, std::array<Wire, UDRV_NET_MAX_QUEUES>& wires)
        : number_(number), stride_(stride), wires_(wires) {}

    std::size_t rx_provide(std::span<const udrv_net_fill> fill) {
        std::size_t count = 0;
        for (; count < fill.size() && buffers_.push(fill[count].id); ++count) {
        }
        return count;
    }
    std::size_t rx_return(std::span<udrv_net_rx> rx) {
        std::size_t count = 0;
        Frame frame;
        while (count < rx.size() && buffers_.read_available() != 0 && wires_[number_].pop(frame)) {
            std::uint32_t id = 0;
            buffers_.pop(id);
            udrv_net_rx& entry = rx[count++];
            entry = {};
            entry.id = id;
            entry.len_bytes = std::min<std::uint32_t>(frame.len_bytes, UDRV_NET_MAX_BUF);
            entry.flags = UDRV_NET_RX_EOP | UDRV_NET_RX_HASH | UDRV_NET_RX_HASH_L4;
            entry.hash = frame.hash;
        }
        return count;
    }
    /// The frame is on the wire at once. One that finds it full is lost, as it may be.
    std::size_t tx_provide(std::span<const udrv_net_tx> tx) {
        for (const udrv_net_tx& segment : tx) {
            len_bytes_ += segment.len_bytes;
            if ((segment.flags & UDRV_NET_TX_EOP) != 0) {
                const unsigned in_use = in_use_.load(std::memory_order_relaxed);
                (void)wires_[(number_ + stride_) % in_use].push({len_bytes_, hash_base + number_});
                (void)sent_.push(segment.id);
                len_bytes_ = 0;
            }
        }
        return tx.size();
    }
    std::size_t tx_return(std::span<udrv_net_completion> completion) {
        std::size_t count = 0;
        std::uint32_t id = 0;
        while (count < completion.size() && sent_.pop(id)) {
            completion[count++] = {id, 0};
        }
        return count;
    }
    bool arm() { return true; }

    void use(unsigned queues) { in_use_ = std::max(1U, queues); }

  private:
    unsigned number_;
    unsigned stride_;
    std::array<Wire, UDRV_NET_MAX_QUEUES>& wires_;
    boost::lockfree::spsc_queue<std::uint32_t, boost::lockfree::capacity<2 * depth>> buffers_;
    boost::lockfree::spsc_queue<std::uint32_t, boost::lockfree::capacity<2 * depth>> sent_;
    std::uint32_t len_bytes_ = 0;
    std::atomic<unsigned> in_use_{1};
};

class NullChip {
  public:
    NullChip(unsigned queues, unsigned threads) {
        capabilities_.mac = {0x52, 0x54, 0, 0, 0, 0x77};
        capabilities_.nr_queues = queues;
        capabilities_.tx_depth = depth;
        capabilities_.rx_depth = depth;
        capabilities_.rx_buf_bytes = UDRV_NET_MAX_BUF;
        capabilities_.tx_max_segments = 17;
        capabilities_.max_mtu = 1400;
        capabilities_.features = UDRV_NET_F_RX_HASH;
        for (unsigned n = 0; n < queues; ++n) {
            queues_.emplace_back(n, threads, wires_);
        }
    }

    [[nodiscard]] const NetCapabilities& capabilities() const { return capabilities_; }
    [[nodiscard]] NullQueue& queue(unsigned n) { return queues_[n]; }
    void route(unsigned queue, std::uint32_t vector) {
        std::printf("queue %u by vector %u\n", queue, vector);
        std::fflush(stdout);
    }
    void apply(const udrv_net_desired& desired) {
        for (NullQueue& queue : queues_) {
            queue.use(desired.nr_queues);
        }
        in_use_ = desired.nr_queues;
    }
    [[nodiscard]] NetCause interrupt() { return {true, false}; }
    [[nodiscard]] NetLink link() { return {true, true, 10000}; }
    [[nodiscard]] static std::span<const std::string_view> stat_names() {
        static constexpr std::array<std::string_view, 1> names{"queues_in_use"};
        return names;
    }
    void read_stats(std::span<std::uint64_t> stats) { stats[0] = in_use_; }
    void read_counters(udrv_net_counters& /*counters*/) const {}
    void read_registers(std::span<udrv_net_register> /*registers*/) {}
    void stop() {}

  private:
    NetCapabilities capabilities_;
    std::array<Wire, UDRV_NET_MAX_QUEUES> wires_;
    std::deque<NullQueue> queues_;
    unsigned in_use_ = 1;
};

static_assert(MultiQueueNetChip<NullChip>);

int run(const PciAddress& address, unsigned queues, unsigned threads) {
    Device device(address);
    const bool msix = device.info().nr_msix != 0;
    const auto vectors = device.irq_setup(msix ? UDRV_IRQ_MSIX : UDRV_IRQ_INTX, threads);
    const auto chip = std::make_unique<NullChip>(queues, static_cast<unsigned>(vectors.size()));
    const Driver driver{.name = "null_net", .description = "no hardware", .ids = {}};
    RunOptions options;
    DriverContext context{driver, device, options, Heartbeat()};
    return serve_net(context, *chip, static_cast<std::uint32_t>(vectors.size()));
}

} // namespace
} // namespace udrv

int main(int argc, char** argv) {
    if (argc < 3) {
        std::fprintf(stderr, "usage: null_net BDF QUEUES [THREADS]\n");
        return 2;
    }
    ::mallopt(M_ARENA_MAX, 1);
    udrv::log_to_stderr(false, "null_net"); // as is: no time, which would be looked up in a file
    const auto queues = static_cast<unsigned>(std::strtoul(argv[2], nullptr, 0));
    const auto threads =
        argc > 3 ? static_cast<unsigned>(std::strtoul(argv[3], nullptr, 0)) : queues;
    try {
        return udrv::run(udrv::PciAddress::parse(argv[1]), queues, threads);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "null_net: %s\n", error.what());
        return 1;
    }
}
