// SPDX-License-Identifier: MIT
//
// What a network chip driver is: the same functions in every folder. The service
// loop (net_service.hpp) moves entries between these and the rings of NetPort.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include <linux/ethtool.h>

#include <udrv/net.h>

namespace udrv {

using MacAddress = std::array<std::uint8_t, 6>;

inline constexpr std::uint32_t unknown_speed = 0xffffffff; ///< SPEED_UNKNOWN of ethtool

struct NetLink {
    bool up = false;
    bool full_duplex = false;
    std::uint32_t speed_mbps = 0;
    friend bool operator==(const NetLink&, const NetLink&) = default;
};

/// Link modes by the numbers ETHTOOL_LINK_MODE_*_BIT of linux/ethtool.h.
using LinkModes = std::array<std::uint64_t, UDRV_NET_LINK_WORDS>;
constexpr LinkModes link_modes(std::initializer_list<unsigned> bits) {
    LinkModes modes{};
    for (const unsigned bit : bits) {
        modes[bit / 64] |= std::uint64_t{1} << (bit % 64);
    }
    return modes;
}

/// What `ethtool` says of the connector and of what can be negotiated on it.
struct NetPhy {
    std::uint8_t port = PORT_OTHER;
    std::uint8_t phy_address = 0;
    std::uint8_t mdix = ETH_TP_MDI_INVALID;      ///< ETH_TP_MDI_*: as it is
    std::uint8_t mdix_ctrl = ETH_TP_MDI_INVALID; ///< as it is chosen
    bool autoneg = false;                        ///< the link is negotiated
    LinkModes supported{};
    LinkModes advertising{};
};

/// What the chip offers; constant after construction. What is beyond one of the
/// limits is done in software, or refused.
struct NetCapabilities {
    MacAddress mac{};
    std::uint32_t nr_queues = 1;       ///< of either direction, up to UDRV_NET_MAX_QUEUES
    std::uint32_t tx_depth = 0;        ///< segments a queue can hold, a power of two
    std::uint32_t rx_depth = 0;        ///< buffers a queue can hold, a power of two
    std::uint32_t rx_buf_bytes = 0;    ///< size of one receive buffer
    std::uint32_t tx_max_segments = 0; ///< of one packet
    std::uint32_t max_mtu = 0;
    std::uint32_t features = 0;          ///< UDRV_NET_F_*
    std::uint32_t max_csum_field = 0;    ///< offset of a checksum in the packet; 0: no limit
    std::uint32_t max_tso_hdr_bytes = 0; ///< headers of a packet to segment; 0: no limit
    std::uint32_t max_tso_bytes = 0;     ///< all of such a packet; 0: no limit
    std::uint32_t max_rx_usecs = 0;      ///< interrupt hold-off; 0: it cannot be chosen
    std::uint32_t max_unicast = 0;       ///< addresses that it can filter besides its own
    bool tso_as_is = false; ///< UDRV_NET_ATTACH_TSO_AS_IS: lengths of the whole packet, not none
    NetPhy phy{};
};

/// Why the chip interrupted, in the terms of the service loop.
struct NetCause {
    bool data = false; ///< look at the receive and transmit rings
    bool link = false; ///< look at the link
};

/// The data path: a pair of queues, used by one thread. No function of it allocates,
/// throws or blocks.
template <typename Q>
concept NetChipQueue = requires(Q queue, std::span<const udrv_net_fill> fill,
                                std::span<udrv_net_rx> rx, std::span<const udrv_net_tx> tx,
                                std::span<udrv_net_completion> completion) {
    // Empty buffers to the chip, one tail write a call. Returns how many it took.
    { queue.rx_provide(fill) } -> std::same_as<std::size_t>;
    // Received buffers from the chip, in order. Returns how many it wrote to `rx`.
    { queue.rx_return(rx) } -> std::same_as<std::size_t>;
    // Whole packets to the chip, one tail write a call. Returns how many segments it took.
    { queue.tx_provide(tx) } -> std::same_as<std::size_t>;
    // Packets the chip is done with. Returns how many it wrote to `completion`.
    { queue.tx_return(completion) } -> std::same_as<std::size_t>;
    // Nothing moved, and the thread goes to sleep: what is under way has to interrupt. False:
    // some of it is done already, and may not; look again.
    { queue.arm() } -> std::same_as<bool>;
};

/// A chip with several pairs of queues. Each is used by one thread; another one may be
/// used by another thread at the same time.
template <typename C>
concept MultiQueueNetChip = requires(C chip, unsigned n, std::uint32_t vector) {
    requires NetChipQueue<std::remove_cvref_t<decltype(chip.queue(n))>>;
    // Queue `n`, below capabilities().nr_queues, is to interrupt by this vector of the
    // device. Before the first apply(), for each queue that is going to be used.
    {chip.route(n, vector)};
};

/// Order of the calls: `init()` (resets the chip and leaves it quiet), apply()
/// with each new desired state (starts and stops the chip), then the data path,
/// stop() at the end. Buffers stay provided across a stop and a start: the chip
/// class keeps them and posts them again.
///
/// A chip of one queue is its own NetChipQueue. With several queues there may be several
/// threads; the first one calls all that is not a queue's, while no other thread is in a
/// function of a queue. The exception is interrupt(): it may run beside them.
template <typename C>
concept NetChip = (MultiQueueNetChip<C> || NetChipQueue<C>)&&requires(
    C chip, const C const_chip, const udrv_net_desired& desired, std::span<std::uint64_t> stats,
    udrv_net_counters& counters, std::span<udrv_net_register> registers) {
    { const_chip.capabilities() } -> std::same_as<const NetCapabilities&>;
    // Makes the chip agree with what the administrator wants; idempotent. Of several queues
    // it receives into the first desired.nr_queues.
    {chip.apply(desired)};
    // Reads and clears the chip's interrupt cause: that of the first vector.
    { chip.interrupt() } -> std::same_as<NetCause>;
    { chip.link() } -> std::same_as<NetLink>;
    // Names are constant; read_stats adds up what the chip counted since the last call.
    { C::stat_names() } -> std::convertible_to<std::span<const std::string_view>>;
    {chip.read_stats(stats)};
    // The same in the terms of `ip -s -s link`, as of the last read_stats().
    {const_chip.read_counters(counters)};
    // For `ethtool -d`: as many of them as there is room for, none whose reading changes it.
    {chip.read_registers(registers)};
    {chip.stop()};
};

/// Queue `n` of a chip.
template <NetChip C>
[[nodiscard]] auto& net_chip_queue(C& chip, [[maybe_unused]] unsigned n) {
    if constexpr (MultiQueueNetChip<C>) {
        return chip.queue(n);
    } else {
        return chip;
    }
}
template <NetChip C>
using NetChipQueueOf = std::remove_reference_t<decltype(net_chip_queue(std::declval<C&>(), 0))>;

} // namespace udrv
