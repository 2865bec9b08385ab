// SPDX-License-Identifier: MIT
//
// UDP echo through the sockets of the operating system, as in the evaluation of
// "User-Level Device Drivers: Achieved Performance" (2005), section 4.2.
//
//   udp_echo serve ADDRESS PORT
//   udp_echo load ADDRESS PORT [--size BYTES] [--seconds N] [--window N]
//
// `load` keeps `window` datagrams under way and prints one JSON line: what was
// sent, what came back (checked byte for byte), and how fast.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <cerrno>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "libudrv/error.hpp"

namespace {

using Clock = std::chrono::steady_clock;

struct Options {
    std::string address;
    std::uint16_t port = 0;
    std::uint32_t size_bytes = 1024;
    std::uint32_t seconds = 5;
    std::uint32_t window = 32;
};

sockaddr_in endpoint(const Options& options) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(options.port);
    if (inet_pton(AF_INET, options.address.c_str(), &address.sin_addr) != 1) {
        udrv::throw_error(EINVAL, fmt::format("use address '{}'", options.address),
                          "it is not an IPv4 address", "give four numbers, as in 10.0.0.2");
    }
    return address;
}

int open_socket() {
    const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        udrv::throw_errno(errno, "open a UDP socket");
    }
    const int bytes = 4 << 20;
    ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    return fd;
}

[[noreturn]] void serve(const Options& options) {
    const int fd = open_socket();
    const sockaddr_in here = endpoint(options);
    if (::bind(fd, reinterpret_cast<const sockaddr*>(&here), sizeof(here)) < 0) {
        udrv::throw_errno(errno, fmt::format("listen on {}:{}", options.address, options.port));
    }
    std::vector<char> buffer(65536);
    for (;;) {
        sockaddr_in peer{};
        socklen_t len = sizeof(peer);
        const auto got = ::recvfrom(fd, buffer.data(), buffer.size(), 0,
                                    reinterpret_cast<sockaddr*>(&peer), &len);
        if (got >= 0) {
            // A full queue drops the echo, as the network would.
            (void)::sendto(fd, buffer.data(), static_cast<std::size_t>(got), 0,
                           reinterpret_cast<const sockaddr*>(&peer), len);
        }
    }
}

/// Sequence number, then bytes that follow from it.
void stamp(std::vector<unsigned char>& datagram, std::uint64_t sequence) {
    std::memcpy(datagram.data(), &sequence, sizeof(sequence));
    for (std::size_t n = sizeof(sequence); n < datagram.size(); ++n) {
        datagram[n] = static_cast<unsigned char>(sequence * 31 + n);
    }
}

int load(const Options& options) {
    const int fd = open_socket();
    const sockaddr_in there = endpoint(options);
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&there), sizeof(there)) < 0) {
        udrv::throw_errno(errno, fmt::format("reach {}:{}", options.address, options.port));
    }
    std::vector<unsigned char> out(options.size_bytes);
    std::vector<unsigned char> in(65536);
    std::vector<unsigned char> expected(options.size_bytes);
    std::uint64_t sent = 0;
    std::uint64_t echoed = 0;
    std::uint64_t wrong = 0;
    std::uint64_t under_way = 0;
    std::uint64_t lost = 0;
    const auto start = Clock::now();
    const auto end = start + std::chrono::seconds(options.seconds);
    while (Clock::now() < end) {
        for (; under_way < options.window; ++under_way, ++sent) {
            stamp(out, sent);
            if (::send(fd, out.data(), out.size(), MSG_DONTWAIT) < 0) {
                break;
            }
        }
        pollfd waiting{fd, POLLIN, 0};
        if (::poll(&waiting, 1, 200) == 0) {
            lost += under_way; // nothing for 0.2 s: begin again
            under_way = 0;
            continue;
        }
        ssize_t got = 0;
        while ((got = ::recv(fd, in.data(), in.size(), MSG_DONTWAIT)) >= 0) {
            std::uint64_t sequence = 0;
            std::memcpy(&sequence, in.data(), sizeof(sequence));
            stamp(expected, sequence);
            const bool good = got == static_cast<ssize_t>(expected.size()) &&
                              std::equal(expected.begin(), expected.end(), in.begin());
            ++(good ? echoed : wrong);
            under_way -= under_way != 0 ? 1 : 0;
        }
    }
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    const double rate = static_cast<double>(echoed) / seconds;
    fmt::print("{}\n", nlohmann::json{{"size_bytes", options.size_bytes},
                                      {"seconds", seconds},
                                      {"sent", sent},
                                      {"echoed", echoed},
                                      {"wrong", wrong},
                                      {"lost", lost},
                                      {"echoes_per_s", rate},
                                      {"megabits_per_s", rate * options.size_bytes * 8 / 1e6}}
                           .dump());
    return echoed != 0 && wrong == 0 ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) try {
    CLI::App app{"UDP echo: a server, and a load that checks what comes back"};
    Options options;
    const auto add = [&](const char* name, const char* what) {
        CLI::App* command = app.add_subcommand(name, what);
        command->add_option("address", options.address)->required();
        command->add_option("port", options.port)->required();
        return command;
    };
    add("serve", "send back what comes");
    CLI::App* command = add("load", "send, and check what comes back");
    command->add_option("--size", options.size_bytes, "bytes of a datagram")
        ->check(CLI::Range(8, 65000))
        ->capture_default_str();
    command->add_option("--seconds", options.seconds)->capture_default_str();
    command->add_option("--window", options.window, "datagrams under way")
        ->check(CLI::Range(1, 100000))
        ->capture_default_str();
    app.require_subcommand(1);
    CLI11_PARSE(app, argc, argv);
    if (app.got_subcommand("serve")) {
        serve(options);
    }
    return load(options);
} catch (const std::exception& error) {
    fmt::print(stderr, "udp_echo: {}\n", error.what());
    return 1;
}
