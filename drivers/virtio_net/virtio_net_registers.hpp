// SPDX-License-Identifier: MIT
//
// The network device of the virtio specification (virtio_registers.hpp names it), 5.1.
#pragma once

#include <cstdint>

#include "libudrv/device/registers.hpp"

namespace udrv::virtio_net {

// 5.1.2, without VIRTIO_NET_F_MQ
namespace queue {
inline constexpr std::uint16_t receiveq1 = 0;
inline constexpr std::uint16_t transmitq1 = 1;
inline constexpr std::uint16_t controlq = 2;
} // namespace queue

/// Feature bits, 5.1.3: VIRTIO_NET_F_*.
namespace feature {
inline constexpr std::uint64_t csum = 1ull << 0;
inline constexpr std::uint64_t guest_csum = 1ull << 1;
inline constexpr std::uint64_t mtu = 1ull << 3;
inline constexpr std::uint64_t mac = 1ull << 5;
inline constexpr std::uint64_t host_tso4 = 1ull << 11;
inline constexpr std::uint64_t host_tso6 = 1ull << 12;
inline constexpr std::uint64_t status = 1ull << 16;
inline constexpr std::uint64_t ctrl_vq = 1ull << 17;
inline constexpr std::uint64_t ctrl_rx = 1ull << 18;
inline constexpr std::uint64_t ctrl_mac_addr = 1ull << 23;
inline constexpr std::uint64_t speed_duplex = 1ull << 63;
} // namespace feature

/// struct virtio_net_config, 5.1.4.
namespace config {
inline constexpr Register<std::uint8_t> mac{0x00}; ///< six of them
inline constexpr Register<std::uint16_t> status{0x06};
inline constexpr Register<std::uint16_t> mtu{0x0a};
inline constexpr Register<std::uint32_t> speed{0x0c};
inline constexpr Register<std::uint8_t> duplex{0x10};
inline constexpr std::uint16_t s_link_up = 1;
inline constexpr std::uint32_t speed_max = 0x7fffffff; ///< above: not known
inline constexpr std::uint8_t duplex_half = 0;

/// Bytes of it that a driver needs which has agreed on `features`: it may end there (2.5.1).
[[nodiscard]] constexpr std::uint32_t needed_bytes(std::uint64_t features) {
    if ((features & feature::speed_duplex) != 0) {
        return duplex.offset + 1;
    }
    if ((features & feature::mtu) != 0) {
        return mtu.offset + 2;
    }
    if ((features & feature::status) != 0) {
        return status.offset + 2;
    }
    return (features & feature::mac) != 0 ? 6 : 0;
}
} // namespace config

/// struct virtio_net_hdr, 5.1.6, before each packet.
struct Header {
    std::uint8_t flags;
    std::uint8_t gso_type;
    std::uint16_t hdr_len;
    std::uint16_t gso_size;
    std::uint16_t csum_start;
    std::uint16_t csum_offset;
    std::uint16_t num_buffers;
};
static_assert(sizeof(Header) == 12);

namespace header {
inline constexpr std::uint8_t f_needs_csum = 1;
inline constexpr std::uint8_t f_data_valid = 2;
inline constexpr std::uint8_t gso_tcpv4 = 1;
inline constexpr std::uint8_t gso_tcpv6 = 4;
} // namespace header

/// Control virtqueue, 5.1.6.5: class and command, data, and the device's answer.
struct Command {
    std::uint8_t class_;
    std::uint8_t command;
};
namespace ctrl {
inline constexpr std::uint8_t ok = 0;
inline constexpr Command rx_promisc{0, 0}; ///< 5.1.6.5.1
inline constexpr Command rx_allmulti{0, 1};
inline constexpr Command mac_table_set{1, 0}; ///< 5.1.6.5.2
inline constexpr Command mac_addr_set{1, 1};
} // namespace ctrl

} // namespace udrv::virtio_net
