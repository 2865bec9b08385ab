// SPDX-License-Identifier: MIT
//
// net_probe: frames and packets that no ordinary tool sends, for the tests.
//
//   net_probe frame IFACE MAC TEXT       a frame of EtherType 0x88b5 to MAC
//   net_probe advertise IFACE PREFIX     an IPv6 router advertisement, prefix /64
//   net_probe join IFACE GROUP PORT SECONDS   joins the group, prints one datagram
//   net_probe cast IFACE GROUP PORT TEXT      a datagram to the group
//   net_probe receive PORT             one TCP connection, to standard output
//   net_probe send ADDRESS PORT [BYTES]   standard input (a file), by sendfile(2); with so
//                                      many bytes of IPv6 destination options in each packet
//   net_probe hoard PORT SECONDS       datagrams that a socket of the usual size still has
//                                      then, of those that came meanwhile and were not read
//   net_probe volley ADDRESS PORT BYTES COUNT   so many datagrams of that size, in 2 s
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

[[noreturn]] void die(const char* what) {
    std::fprintf(stderr, "net_probe: %s: %s\n", what, std::strerror(errno));
    std::exit(1);
}

int require(int result, const char* what) {
    if (result < 0) {
        die(what);
    }
    return result;
}

unsigned index_of(const std::string& name) {
    const unsigned index = ::if_nametoindex(name.c_str());
    if (index == 0) {
        die(name.c_str());
    }
    return index;
}

template <typename Address>
const sockaddr* generic(const Address& address) {
    const void* plain = &address;
    return static_cast<const sockaddr*>(plain);
}

int frame(const std::string& name, const std::string& mac, const std::string& text) {
    constexpr std::uint16_t type = 0x88b5; // for local experiments
    std::array<unsigned, 6> bytes{};
    if (std::sscanf(mac.c_str(), "%x:%x:%x:%x:%x:%x", &bytes[0], &bytes[1], &bytes[2], &bytes[3],
                    &bytes[4], &bytes[5]) != 6) {
        errno = EINVAL;
        die(mac.c_str());
    }
    const int fd = require(::socket(AF_PACKET, SOCK_DGRAM, htons(type)), "socket");
    sockaddr_ll to{};
    to.sll_family = AF_PACKET;
    to.sll_protocol = htons(type);
    to.sll_ifindex = static_cast<int>(index_of(name));
    to.sll_halen = 6;
    for (std::size_t i = 0; i < bytes.size(); i++) {
        to.sll_addr[i] = static_cast<unsigned char>(bytes[i]);
    }
    std::string body = text;
    body.resize(std::max<std::size_t>(body.size(), ETH_ZLEN - ETH_HLEN)); // no short frames
    require(static_cast<int>(::sendto(fd, body.data(), body.size(), 0, generic(to), sizeof(to))),
            "send");
    return 0;
}

int advertise(const std::string& name, const std::string& prefix) {
    struct {
        nd_router_advert advert;
        nd_opt_prefix_info prefix;
    } message{};
    static_assert(sizeof(message) == 48);
    message.advert.nd_ra_type = ND_ROUTER_ADVERT; // the kernel fills in the checksum
    message.advert.nd_ra_curhoplimit = 64;
    message.prefix.nd_opt_pi_type = ND_OPT_PREFIX_INFORMATION;
    message.prefix.nd_opt_pi_len = 4; // in units of 8 bytes
    message.prefix.nd_opt_pi_prefix_len = 64;
    message.prefix.nd_opt_pi_flags_reserved = ND_OPT_PI_FLAG_ONLINK | ND_OPT_PI_FLAG_AUTO;
    message.prefix.nd_opt_pi_valid_time = htonl(3600);
    message.prefix.nd_opt_pi_preferred_time = htonl(1800);
    if (::inet_pton(AF_INET6, prefix.c_str(), &message.prefix.nd_opt_pi_prefix) != 1) {
        die(prefix.c_str());
    }
    const int fd = require(::socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6), "socket");
    const int hops = 255; // others are not from this link, and ignored
    require(::setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, sizeof(hops)), "hop limit");
    sockaddr_in6 all_nodes{};
    all_nodes.sin6_family = AF_INET6;
    all_nodes.sin6_scope_id = index_of(name);
    ::inet_pton(AF_INET6, "ff02::1", &all_nodes.sin6_addr);
    require(static_cast<int>(
                ::sendto(fd, &message, sizeof(message), 0, generic(all_nodes), sizeof(all_nodes))),
            "send");
    return 0;
}

sockaddr_in group_address(const std::string& group, const std::string& port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(std::stoul(port)));
    if (::inet_pton(AF_INET, group.c_str(), &address.sin_addr) != 1) {
        die(group.c_str());
    }
    return address;
}

int join(const std::string& name, const std::string& group, const std::string& port, int seconds) {
    const sockaddr_in address = group_address(group, port);
    const int fd = require(::socket(AF_INET, SOCK_DGRAM, 0), "socket");
    require(::bind(fd, generic(address), sizeof(address)), "bind");
    ip_mreqn request{};
    request.imr_multiaddr = address.sin_addr;
    request.imr_ifindex = static_cast<int>(index_of(name));
    require(::setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof(request)), "join");
    pollfd ready{fd, POLLIN, 0};
    if (require(::poll(&ready, 1, seconds * 1000), "poll") == 0) {
        std::fprintf(stderr, "net_probe: nothing came in %d s\n", seconds);
        return 1;
    }
    std::array<char, 2048> text{};
    const auto length = ::recv(fd, text.data(), text.size(), 0);
    require(static_cast<int>(length), "receive");
    std::printf("%.*s\n", static_cast<int>(length), text.data());
    return 0;
}

int cast(const std::string& name, const std::string& group, const std::string& port,
         const std::string& text) {
    const sockaddr_in address = group_address(group, port);
    const int fd = require(::socket(AF_INET, SOCK_DGRAM, 0), "socket");
    ip_mreqn request{};
    request.imr_ifindex = static_cast<int>(index_of(name));
    require(::setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &request, sizeof(request)), "interface");
    require(static_cast<int>(
                ::sendto(fd, text.data(), text.size(), 0, generic(address), sizeof(address))),
            "send");
    return 0;
}

/// Both families; the peer's end of the stream is the end.
int receive(const std::string& port) {
    const int listener = require(::socket(AF_INET6, SOCK_STREAM, 0), "socket");
    const int yes = 1;
    ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    sockaddr_in6 any{};
    any.sin6_family = AF_INET6;
    any.sin6_port = htons(static_cast<std::uint16_t>(std::stoul(port)));
    require(::bind(listener, generic(any), sizeof(any)), "bind");
    require(::listen(listener, 1), "listen");
    const int fd = require(::accept(listener, nullptr, nullptr), "accept");
    static std::array<char, 1 << 16> chunk;
    for (;;) {
        const auto length = ::read(fd, chunk.data(), chunk.size());
        require(static_cast<int>(length), "read");
        if (length == 0) {
            return 0;
        }
        require(static_cast<int>(::write(STDOUT_FILENO, chunk.data(), static_cast<size_t>(length))),
                "write");
    }
}

/// An extension header of `bytes` (8 to 2,048, a multiple of 8) with each packet, RFC 8200
/// 4.6: options that a receiver is to skip, of 256 bytes at most.
void add_destination_options(int fd, std::size_t bytes) {
    constexpr std::uint8_t experiment = 0x1e; // RFC 4727 3.6: 00 in front means skip
    std::array<std::uint8_t, 2048> header{};
    bytes = std::min(bytes, header.size()) / 8 * 8;
    header[1] = static_cast<std::uint8_t>(bytes / 8 - 1);
    for (std::size_t at = 2; at < bytes;) {
        std::size_t length = std::min<std::size_t>(bytes - at, 256);
        length -= bytes - at - length == 1 ? 1 : 0; // the next one has two bytes at least
        header[at] = experiment;
        header[at + 1] = static_cast<std::uint8_t>(length - 2);
        at += length;
    }
    require(
        ::setsockopt(fd, IPPROTO_IPV6, IPV6_DSTOPTS, header.data(), static_cast<socklen_t>(bytes)),
        "destination options");
}

int send_file(const std::string& address, const std::string& port, std::size_t option_bytes) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    addrinfo* found = nullptr;
    if (::getaddrinfo(address.c_str(), port.c_str(), &hints, &found) != 0) {
        errno = EINVAL;
        die(address.c_str());
    }
    const int fd = require(::socket(found->ai_family, SOCK_STREAM, 0), "socket");
    if (option_bytes != 0) {
        add_destination_options(fd, option_bytes);
    }
    int status = -1;
    for (int attempt = 0; attempt < 50 && status != 0; attempt++) {
        status = ::connect(fd, found->ai_addr, found->ai_addrlen);
        if (status != 0) {
            ::usleep(100'000); // the other end may be starting still
        }
    }
    require(status, "connect");
    for (;;) {
        const auto length = ::sendfile(fd, STDIN_FILENO, nullptr, 1 << 20);
        require(static_cast<int>(length), "send");
        if (length == 0) {
            break;
        }
    }
    ::shutdown(fd, SHUT_WR);
    char last = 0;
    require(static_cast<int>(::read(fd, &last, 1)), "wait for the other end");
    return 0;
}

int hoard(const char* port, const char* seconds) {
    const int fd = require(::socket(AF_INET, SOCK_DGRAM, 0), "socket");
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(port)));
    require(::bind(fd, generic(address), sizeof(address)), "bind");
    std::puts("listening");
    std::fflush(stdout);
    ::sleep(static_cast<unsigned>(std::atoi(seconds)));
    int count = 0;
    char byte = 0;
    while (::recv(fd, &byte, 1, MSG_DONTWAIT) >= 0) {
        count++;
    }
    std::printf("%d\n", count);
    return 0;
}

int volley(const char* to, const char* port, const char* bytes, const char* count) {
    const int fd = require(::socket(AF_INET, SOCK_DGRAM, 0), "socket");
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(port)));
    if (::inet_pton(AF_INET, to, &address.sin_addr) != 1) {
        die(to);
    }
    require(::connect(fd, generic(address), sizeof(address)), "connect");
    const std::string datagram(std::stoul(bytes), 'x');
    const int all = std::atoi(count);
    for (int n = 0; n < all; n++) {
        require(static_cast<int>(::send(fd, datagram.data(), datagram.size(), 0)), "send");
        ::usleep(static_cast<useconds_t>(2'000'000 / all));
    }
    return 0;
}

} // namespace

int main(int argc, char** argv) {
    const std::string what = argc > 1 ? argv[1] : "";
    if (what == "frame" && argc == 5) {
        return frame(argv[2], argv[3], argv[4]);
    }
    if (what == "advertise" && argc == 4) {
        return advertise(argv[2], argv[3]);
    }
    if (what == "join" && argc == 6) {
        return join(argv[2], argv[3], argv[4], std::atoi(argv[5]));
    }
    if (what == "cast" && argc == 6) {
        return cast(argv[2], argv[3], argv[4], argv[5]);
    }
    if (what == "receive" && argc == 3) {
        return receive(argv[2]);
    }
    if (what == "send" && (argc == 4 || argc == 5)) {
        return send_file(argv[2], argv[3], argc == 5 ? std::stoul(argv[4]) : 0);
    }
    if (what == "hoard" && argc == 4) {
        return hoard(argv[2], argv[3]);
    }
    if (what == "volley" && argc == 6) {
        return volley(argv[2], argv[3], argv[4], argv[5]);
    }
    std::fprintf(stderr, "net_probe: see the head of its source for how to call it\n");
    return 2;
}
