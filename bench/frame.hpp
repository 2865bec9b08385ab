// SPDX-License-Identifier: MIT
//
// The few frames that the network benchmark makes and reads: ARP for IPv4, and UDP
// datagrams that carry a stamp (which run, which number) and a known pattern.
#pragma once

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "libudrv/error.hpp"

namespace udrv::bench {

using Mac = std::array<std::uint8_t, 6>;

inline constexpr std::uint16_t arp_request = 1;
inline constexpr std::uint16_t arp_reply = 2;
inline constexpr std::size_t max_frame = 2048;
// Offsets in a frame without VLAN tag and IP options.
inline constexpr std::size_t ip_at = 14;
inline constexpr std::size_t udp_at = ip_at + 20;
inline constexpr std::size_t udp_headers = udp_at + 8;
inline constexpr int stamp_bytes = 12; ///< run, sequence number
inline constexpr int max_payload = 1472;

struct Arp {
    std::uint16_t operation = 0;
    Mac sender_mac{};
    std::uint32_t sender_ip = 0;
    Mac target_mac{};
    std::uint32_t target_ip = 0;
};

/// As the sender of a request sees it.
struct UdpPath {
    Mac source_mac{};
    Mac target_mac{};
    std::uint32_t source = 0;
    std::uint32_t target = 0;
    std::uint16_t source_port = 0;
    std::uint16_t target_port = 0;
};

struct Echo {
    enum class Kind { other, wrong, good };
    Kind kind = Kind::other;
    std::uint64_t sequence = 0;
};

inline void put16(std::byte* at, std::uint32_t value) {
    at[0] = static_cast<std::byte>(value >> 8);
    at[1] = static_cast<std::byte>(value);
}
inline void put32(std::byte* at, std::uint32_t value) {
    put16(at, value >> 16);
    put16(at + 2, value & 0xffff);
}
[[nodiscard]] inline std::uint32_t load16(const std::byte* at) {
    return std::to_integer<std::uint32_t>(at[0]) << 8 | std::to_integer<std::uint32_t>(at[1]);
}
[[nodiscard]] inline std::uint32_t load32(const std::byte* at) {
    return load16(at) << 16 | load16(at + 2);
}

/// The Internet checksum's sum, not yet folded.
[[nodiscard]] inline std::uint64_t sum16(std::span<const std::byte> bytes) {
    std::uint64_t sum = 0;
    std::size_t n = 0;
    for (; n + 1 < bytes.size(); n += 2) {
        sum += load16(&bytes[n]);
    }
    return n < bytes.size() ? sum + (std::to_integer<std::uint32_t>(bytes[n]) << 8) : sum;
}
[[nodiscard]] inline std::uint32_t fold(std::uint64_t sum) {
    while (sum > 0xffff) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return static_cast<std::uint32_t>(sum);
}
/// Of addresses, protocol, length and the datagram itself: 0xffff if it is whole.
[[nodiscard]] inline std::uint32_t udp_sum(std::span<const std::byte> frame, std::size_t udp_len) {
    return fold(sum16(frame.subspan(ip_at + 12, 8)) + 17 + udp_len +
                sum16(frame.subspan(udp_at, udp_len)));
}

inline Mac parse_mac(const std::string& text) {
    std::array<unsigned, 6> b{};
    char rest = 0;
    if (std::sscanf(text.c_str(), "%2x:%2x:%2x:%2x:%2x:%2x%c", &b[0], &b[1], &b[2], &b[3], &b[4],
                    &b[5], &rest) != 6) {
        throw_error(EINVAL, "use hardware address '" + text + "'", "it is not one",
                    "give six bytes, as in 52:54:00:00:00:01");
    }
    Mac mac{};
    for (std::size_t n = 0; n < mac.size(); ++n) {
        mac[n] = static_cast<std::uint8_t>(b[n]);
    }
    return mac;
}

inline std::vector<std::byte> arp_frame(const Arp& arp) {
    static constexpr Mac broadcast{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    std::vector<std::byte> frame(60);
    const Mac& to = arp.operation == arp_request ? broadcast : arp.target_mac;
    std::memcpy(&frame[0], to.data(), 6);
    std::memcpy(&frame[6], arp.sender_mac.data(), 6);
    put16(&frame[12], 0x0806);
    put16(&frame[14], 1);      // Ethernet
    put16(&frame[16], 0x0800); // IPv4
    put16(&frame[18], 0x0604); // lengths of their addresses
    put16(&frame[20], arp.operation);
    std::memcpy(&frame[22], arp.sender_mac.data(), 6);
    put32(&frame[28], arp.sender_ip);
    std::memcpy(&frame[32], arp.target_mac.data(), 6);
    put32(&frame[38], arp.target_ip);
    return frame;
}

[[nodiscard]] inline std::optional<Arp> parse_arp(std::span<const std::byte> frame) {
    if (frame.size() < 42 || load16(&frame[12]) != 0x0806 || load16(&frame[16]) != 0x0800) {
        return std::nullopt;
    }
    Arp arp;
    arp.operation = static_cast<std::uint16_t>(load16(&frame[20]));
    std::memcpy(arp.sender_mac.data(), &frame[22], 6);
    arp.sender_ip = load32(&frame[28]);
    std::memcpy(arp.target_mac.data(), &frame[32], 6);
    arp.target_ip = load32(&frame[38]);
    return arp;
}

[[nodiscard]] constexpr std::byte pattern(std::size_t n) {
    return static_cast<std::byte>(n * 7 + 1);
}

/// Makes `frame` a datagram of its size, with number 0.
inline void write_udp(std::span<std::byte> frame, const UdpPath& path, std::uint32_t run) {
    const std::size_t udp_len = frame.size() - udp_at;
    std::memset(frame.data(), 0, udp_headers);
    std::memcpy(&frame[0], path.target_mac.data(), 6);
    std::memcpy(&frame[6], path.source_mac.data(), 6);
    put16(&frame[12], 0x0800);
    frame[ip_at] = std::byte{0x45};
    put16(&frame[ip_at + 2], static_cast<std::uint32_t>(frame.size() - ip_at));
    put16(&frame[ip_at + 6], 0x4000); // do not fragment
    frame[ip_at + 8] = std::byte{64};
    frame[ip_at + 9] = std::byte{17};
    put32(&frame[ip_at + 12], path.source);
    put32(&frame[ip_at + 16], path.target);
    put16(&frame[ip_at + 10], ~fold(sum16(frame.subspan(ip_at, 20))));
    put16(&frame[udp_at], path.source_port);
    put16(&frame[udp_at + 2], path.target_port);
    put16(&frame[udp_at + 4], static_cast<std::uint32_t>(udp_len));
    for (std::size_t n = udp_headers; n < frame.size(); ++n) {
        frame[n] = pattern(n);
    }
    put32(&frame[udp_headers], run);
    put32(&frame[udp_headers + 4], 0);
    put32(&frame[udp_headers + 8], 0);
    put16(&frame[udp_at + 6], ~udp_sum(frame, udp_len));
}

/// Gives the datagram another number, and its checksum what that changes (RFC 1624).
inline void stamp_udp(std::span<std::byte> frame, std::uint64_t sequence) {
    const std::span<std::byte> field = frame.subspan(udp_headers + 4, 8);
    std::uint64_t sum = (~load16(&frame[udp_at + 6]) & 0xffff);
    for (std::size_t n = 0; n < field.size(); n += 2) {
        sum += ~load16(&field[n]) & 0xffff;
    }
    put32(&field[0], static_cast<std::uint32_t>(sequence >> 32));
    put32(&field[4], static_cast<std::uint32_t>(sequence));
    const std::uint32_t checksum = ~fold(sum + sum16(field)) & 0xffff;
    put16(&frame[udp_at + 6], checksum == 0 ? 0xffff : checksum); // 0 would say: none
}

/// What came back on `path`, every byte of it checked.
[[nodiscard]] inline Echo parse_echo(std::span<const std::byte> frame, const UdpPath& path,
                                     std::size_t size_bytes, std::uint32_t run) {
    Echo echo;
    if (frame.size() < udp_headers + static_cast<std::size_t>(stamp_bytes) ||
        load16(&frame[12]) != 0x0800 || frame[ip_at] != std::byte{0x45} ||
        frame[ip_at + 9] != std::byte{17} || load32(&frame[ip_at + 12]) != path.target ||
        load32(&frame[ip_at + 16]) != path.source || load16(&frame[udp_at]) != path.target_port ||
        load16(&frame[udp_at + 2]) != path.source_port || load32(&frame[udp_headers]) != run) {
        return echo;
    }
    echo.kind = Echo::Kind::wrong;
    echo.sequence =
        std::uint64_t{load32(&frame[udp_headers + 4])} << 32 | load32(&frame[udp_headers + 8]);
    const std::size_t udp_len = size_bytes + 8;
    if (load16(&frame[udp_at + 4]) != udp_len || frame.size() < udp_at + udp_len ||
        std::memcmp(&frame[0], path.source_mac.data(), 6) != 0 ||
        (load16(&frame[udp_at + 6]) != 0 && udp_sum(frame, udp_len) != 0xffff)) {
        return echo;
    }
    for (std::size_t n = udp_headers + stamp_bytes; n < udp_at + udp_len; ++n) {
        if (frame[n] != pattern(n)) {
            return echo;
        }
    }
    echo.kind = Echo::Kind::good;
    return echo;
}

/// Turns a UDP datagram round in place, as an echo server would answer it. The
/// checksums stay right. False if it is none.
[[nodiscard]] inline bool reflect_udp(std::span<std::byte> frame) {
    if (frame.size() < udp_headers || load16(&frame[12]) != 0x0800 ||
        frame[ip_at] != std::byte{0x45} || frame[ip_at + 9] != std::byte{17}) {
        return false;
    }
    std::array<std::byte, 6> other{};
    const auto swap = [&](std::size_t a, std::size_t b, std::size_t bytes) {
        std::memcpy(other.data(), &frame[a], bytes);
        std::memcpy(&frame[a], &frame[b], bytes);
        std::memcpy(&frame[b], other.data(), bytes);
    };
    swap(0, 6, 6);
    swap(ip_at + 12, ip_at + 16, 4);
    swap(udp_at, udp_at + 2, 2);
    return true;
}

} // namespace udrv::bench
