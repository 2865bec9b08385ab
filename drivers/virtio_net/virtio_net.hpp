// SPDX-License-Identifier: MIT
//
// VirtioNet: driver of the virtio network device (1af4:1041, and 1af4:1000 if it is more
// than legacy), a NetChip. One pair of queues and the control queue.
//
// A packet's header (virtio_net_hdr) is memory of the driver, the packet is not: each chain
// begins with a piece for the header alone, as 2.7.4.2 allows. Merged receive buffers
// (VIRTIO_NET_F_MRG_RXBUF) have a header in the first only, so that part of the packet would
// come to lie in ours: they are not used. A chain has as many buffers as a packet may need.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "drivers/virtio/transport.hpp"
#include "drivers/virtio/virtqueue.hpp"
#include "drivers/virtio_net/virtio_net_registers.hpp"
#include "libudrv/device/dma.hpp"
#include "libudrv/net/net_chip.hpp"

namespace udrv::virtio_net {

struct Config {
    std::uint16_t rx_size = 512; ///< descriptors at most, if the device has as many
    std::uint16_t tx_size = 256;
    bool iommu = false;      ///< an IOMMU translates what the platform's devices read and write
    bool rx_checksum = true; ///< let the device leave checksums of received packets to us
    /// For the answers to a new filter. Nothing else is done meanwhile: later ones are looked
    /// for once a second.
    std::chrono::milliseconds answer_wait{1'000};
    /// For an answer, while the link is up; then the device is reset.
    std::chrono::milliseconds answer_limit{60'000};
};

inline constexpr std::uint32_t rx_buffer_bytes = 2048;
inline constexpr std::uint32_t max_rx_buffers = 8;      ///< of one packet
inline constexpr std::uint32_t ethernet_bytes = 14 + 4; ///< header and a VLAN tag
inline constexpr std::uint32_t max_mtu = max_rx_buffers * rx_buffer_bytes - ethernet_bytes;
inline constexpr std::uint32_t max_tx_segments = 64; ///< of one packet, if the queue has room

class VirtioNet {
  public:
    /// Touches nothing. Neither is owned.
    VirtioNet(virtio::Transport& transport, DmaAllocator& dma, const Config& config = {});

    /// Resets the device, agrees on features, takes memory and leaves it quiet. Once,
    /// before anything else. Throws Error.
    void init();

    [[nodiscard]] const NetCapabilities& capabilities() const { return capabilities_; }
    void apply(const udrv_net_desired& desired);
    [[nodiscard]] NetCause interrupt();
    [[nodiscard]] std::size_t rx_provide(std::span<const udrv_net_fill> fill);
    [[nodiscard]] std::size_t rx_return(std::span<udrv_net_rx> rx);
    [[nodiscard]] std::size_t tx_provide(std::span<const udrv_net_tx> tx);
    [[nodiscard]] std::size_t tx_return(std::span<udrv_net_completion> completion);
    [[nodiscard]] bool arm();
    [[nodiscard]] NetLink link();
    [[nodiscard]] static std::span<const std::string_view> stat_names();
    void read_stats(std::span<std::uint64_t> stats);
    void read_counters(udrv_net_counters& counters) const { counters = {}; }
    void read_registers(std::span<udrv_net_register> registers);
    void stop();

  private:
    /// Receive buffers and the header that belong together. `done`: the device used it.
    struct RxChain {
        std::uint32_t len_bytes = 0; ///< of header and packet, as the device says
        bool done = false;
    };
    struct TxPacket {
        enum class State : std::uint8_t { posted, sent, dropped };
        std::uint32_t id = 0;
        State state = State::dropped;
    };
    enum Stat : std::size_t {
        rx_csum_partial,
        rx_csum_valid,
        rx_dropped,
        tx_dropped,
        rx_notified,
        tx_notified,
        ctrl_refused,
        ctrl_late,
        device_resets,
        nr_stats
    };

    // virtio_net.cpp: reset and init, start and stop
    [[nodiscard]] std::uint64_t choose_features(std::uint64_t offered);
    [[nodiscard]] bool has(std::uint64_t feature) const { return (features_ & feature) != 0; }
    [[nodiscard]] MacAddress read_mac();
    void allocate();
    [[nodiscard]] std::uint32_t buffers_for(std::uint32_t mtu) const;
    void start(const udrv_net_desired& desired);
    void restart();
    // virtio_net.cpp: what the administrator may change while the device runs
    using Clock = std::chrono::steady_clock;
    /// Commands that make the filter, in their order.
    enum class Filter : std::uint8_t { own_address, table, promisc, allmulti, done };
    void set_filter(const udrv_net_desired& desired, bool all);
    void go_on_with_filter(Clock::time_point until);
    [[nodiscard]] bool answered(Clock::time_point until);
    void evaluate(bool done);
    [[nodiscard]] bool ask();
    [[nodiscard]] bool ask_table();
    void command(const Command& what, std::span<const std::uint8_t> data);
    // virtio_net_rings.cpp
    void post_receive();
    [[nodiscard]] udrv_net_rx received(const RxChain& chain, const Header& header);
    void rx_checksum(udrv_net_rx& entry, const Header& header, std::uint32_t bytes);
    [[nodiscard]] bool tx_packet(std::span<const udrv_net_tx> packet);
    [[nodiscard]] std::optional<Header> plan(std::span<const udrv_net_tx> packet) const;
    void collect_tx();
    void cut();

    virtio::Transport& transport_;
    DmaAllocator& dma_;
    const Config config_;
    NetCapabilities capabilities_;
    std::uint64_t features_ = 0;
    bool running_ = false;
    udrv_net_desired state_{}; ///< what the device agrees with while it runs

    // Receive. Buffers, free-running: [consumer, posted) are in chains, [posted, producer)
    // wait for a chain to be whole, or for room.
    std::optional<virtio::Virtqueue> rx_;
    Header* rx_headers_ = nullptr; ///< by chain
    std::uint64_t rx_headers_dma_addr_ = 0;
    std::vector<udrv_net_fill> rx_buffers_;
    std::uint32_t rx_mask_ = 0;
    std::uint32_t rx_producer_ = 0;
    std::uint32_t rx_posted_ = 0;
    std::uint32_t rx_consumer_ = 0;
    // Chains, free-running, in the order in which their buffers came.
    std::vector<RxChain> rx_chains_;
    std::uint32_t chain_buffers_ = 1; ///< in each
    std::uint32_t chain_producer_ = 0;
    std::uint32_t chain_consumer_ = 0;
    std::uint32_t rx_part_ = 0; ///< buffers of the oldest chain that were handed up
    bool rx_dropping_ = false;  ///< drop up to and with the next end of packet

    // Transmit: packets, free-running, in the order given.
    std::optional<virtio::Virtqueue> tx_;
    Header* tx_headers_ = nullptr; ///< by packet
    std::uint64_t tx_headers_dma_addr_ = 0;
    std::vector<TxPacket> tx_packets_;
    std::uint32_t tx_mask_ = 0;
    std::uint32_t tx_producer_ = 0;
    std::uint32_t tx_consumer_ = 0;

    // Control: one command at a time. What it is about is in state_.
    std::optional<virtio::Virtqueue> ctrl_;
    DmaBlock ctrl_memory_;             ///< the device's as long as asked_
    Filter filter_ = Filter::done;     ///< which command is next, or under way
    bool asked_ = false;               ///< it is under way
    bool again_ = false;               ///< after it, from the first one
    bool own_ = false;                 ///< the device has been given its address
    bool filtered_ = true;             ///< it lets through the addresses wanted, and no others
    Clock::time_point answer_limit_{}; ///< for the answer

    std::array<std::uint64_t, nr_stats> stats_{};
};

static_assert(NetChip<VirtioNet>);

} // namespace udrv::virtio_net
