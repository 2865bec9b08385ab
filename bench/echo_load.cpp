// SPDX-License-Identifier: MIT
//
// The load of the network benchmark, outside the machine under test: offers UDP
// datagrams at a steady rate and counts what comes back.
//
//   echo_load --wire LOCAL:REMOTE --target ADDRESS --rate N [OPTION]...
//   echo_load --interface NAME --source ADDRESS --target ADDRESS --rate N [OPTION]...
//
// --wire: the network is QEMU's `socket,udp=` netdev (scripts/vm --wire), on which a
// frame is a UDP datagram on loopback, so this needs no privilege. --interface: a
// real one, by a packet socket (CAP_NET_RAW); ADDRESS of --source must be a free one of
// that network, or the machine's own IP stack would answer as well.
//
// It speaks ARP, IPv4 and UDP itself. The rate is kept by the clock: a late packet is
// sent at once, but what is later than `backlog` is left out, so that a pause of this
// process does not become a burst. Prints one JSON line about the measured window.
#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <cerrno>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "bench/frame.hpp"
#include "libudrv/error.hpp"
#include "libudrv/file.hpp"

namespace {

using namespace udrv::bench;
using Clock = std::chrono::steady_clock;
using std::chrono::nanoseconds;

constexpr unsigned batch = 32;
constexpr nanoseconds backlog = std::chrono::milliseconds{5};
constexpr nanoseconds drain = std::chrono::milliseconds{150};

struct Options {
    std::string wire;
    std::string interface;
    std::string source = "10.0.0.2";
    std::string target = "10.0.0.1";
    std::string mac;
    std::uint16_t port = 7;
    std::uint32_t size_bytes = 1024;
    double rate = 0;
    std::uint32_t window = 0;
    double seconds = 2;
    double warmup = 0.3;
    int qemu = 0;
};

// ---- The network ---------------------------------------------------------------

/// One file descriptor that carries whole frames.
struct Link {
    udrv::FileDescriptor fd;
    Mac mac{0x52, 0x54, 0x00, 0xaa, 0x00, 0x02};
};

std::uint16_t port_number(std::string_view text, const std::string& whole) {
    std::uint16_t port = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (error != std::errc{} || end != text.data() + text.size() || port == 0) {
        udrv::throw_error(EINVAL, fmt::format("use --wire {}", whole), "it is not LOCAL:REMOTE",
                          "give the two port numbers that scripts/vm --wire was given");
    }
    return port;
}

/// QEMU listens at LOCAL and sends to REMOTE; we are REMOTE.
Link open_wire(const std::string& wire) {
    const std::size_t colon = std::min(wire.find(':'), wire.size());
    const std::uint16_t local = port_number(std::string_view(wire).substr(0, colon), wire);
    const std::uint16_t remote =
        port_number(std::string_view(wire).substr(std::min(colon + 1, wire.size())), wire);
    Link link{udrv::FileDescriptor(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0))};
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(remote);
    if (::bind(link.fd.value(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) < 0) {
        udrv::throw_errno(errno, fmt::format("listen on UDP port {}", remote));
    }
    address.sin_port = htons(local);
    if (::connect(link.fd.value(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) < 0) {
        udrv::throw_errno(errno, fmt::format("reach UDP port {}", local));
    }
    return link;
}

Link open_interface(const std::string& name) {
    Link link{udrv::FileDescriptor(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL)))};
    if (link.fd.value() < 0) {
        udrv::throw_errno(errno, "open a packet socket", "run as root or with CAP_NET_RAW");
    }
    ifreq request{};
    name.copy(request.ifr_name, IFNAMSIZ - 1);
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = static_cast<int>(::if_nametoindex(name.c_str()));
    if (address.sll_ifindex == 0 || ::ioctl(link.fd.value(), SIOCGIFHWADDR, &request) < 0 ||
        ::bind(link.fd.value(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) < 0) {
        udrv::throw_errno(errno, fmt::format("use the interface '{}'", name));
    }
    std::memcpy(link.mac.data(), request.ifr_hwaddr.sa_data, link.mac.size());
    return link;
}

std::uint32_t ipv4(const std::string& text) {
    in_addr address{};
    if (inet_pton(AF_INET, text.c_str(), &address) != 1) {
        udrv::throw_error(EINVAL, fmt::format("use address '{}'", text),
                          "it is not an IPv4 address", "give four numbers, as in 10.0.0.1");
    }
    return ntohl(address.s_addr);
}

// ---- CPU time of the machine under test ------------------------------------------

struct CpuTime {
    double vcpu_s = 0;
    double waited_s = 0; ///< ready to run, but this machine's CPUs had other work
    double other_s = 0;  ///< QEMU's other threads: the devices' side
};

/// A thread's schedstat: nanoseconds on a CPU, and waiting for one. Clock ticks would
/// be too coarse for windows of a second.
CpuTime qemu_cpu(int pid) {
    CpuTime time;
    if (pid == 0) {
        return time;
    }
    std::error_code error;
    for (const auto& task :
         std::filesystem::directory_iterator(fmt::format("/proc/{}/task", pid), error)) {
        std::string name;
        double ran_ns = 0;
        double waited_ns = 0;
        std::ifstream(task.path() / "comm") >> name;
        std::ifstream(task.path() / "schedstat") >> ran_ns >> waited_ns;
        if (name == "CPU") { // `CPU 0/TCG`
            time.vcpu_s += ran_ns * 1e-9;
            time.waited_s += waited_ns * 1e-9;
        } else {
            time.other_s += ran_ns * 1e-9;
        }
    }
    return time;
}

// ---- The load ---------------------------------------------------------------------

class Load {
  public:
    Load(Link link, const Options& options)
        : link_(std::move(link)), options_(options), source_(ipv4(options.source)),
          target_(ipv4(options.target)), run_(std::random_device{}()) {
        const int bytes = 4 << 20;
        ::setsockopt(link_.fd.value(), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
        ::prctl(PR_SET_TIMERSLACK, 1000UL);
        for (unsigned n = 0; n < batch; ++n) {
            out_[n].resize(udp_headers + options.size_bytes);
            in_[n].resize(max_frame);
            receive_vectors_[n] = {in_[n].data(), in_[n].size()};
            send_vectors_[n] = {out_[n].data(), out_[n].size()};
            received_[n].msg_hdr = {};
            received_[n].msg_hdr.msg_iov = &receive_vectors_[n];
            received_[n].msg_hdr.msg_iovlen = 1;
            sending_[n].msg_hdr = {};
            sending_[n].msg_hdr.msg_iov = &send_vectors_[n];
            sending_[n].msg_hdr.msg_iovlen = 1;
        }
    }

    nlohmann::ordered_json run() {
        resolve();
        for (auto& frame : out_) {
            write_udp(frame, {link_.mac, target_mac_, source_, target_, source_port, options_.port},
                      run_);
        }
        const auto start = Clock::now();
        measure_from_ = start + to_ns(options_.warmup);
        measure_to_ = measure_from_ + to_ns(options_.seconds);
        started_ = start;
        advance(measure_from_);
        const CpuTime cpu = qemu_cpu(options_.qemu);
        const auto begin = Clock::now();
        const std::uint64_t warmed = counted_.echoed;
        counted_ = {};
        advance(measure_to_);
        const CpuTime cpu_end = qemu_cpu(options_.qemu);
        const auto end = Clock::now();
        const Counted done = counted_;
        sending_over_ = true;
        advance(end + drain);
        counted_.echoed += warmed;
        return report(done, std::chrono::duration<double>(end - begin).count(),
                      {cpu_end.vcpu_s - cpu.vcpu_s, cpu_end.waited_s - cpu.waited_s,
                       cpu_end.other_s - cpu.other_s});
    }

  private:
    static constexpr std::uint16_t source_port = 9000;

    struct Counted {
        std::uint64_t sent = 0;
        std::uint64_t echoed = 0;
        std::uint64_t wrong = 0;
        std::uint64_t left_out = 0;
        std::uint64_t refused = 0;
    };

    static nanoseconds to_ns(double seconds) {
        return nanoseconds{static_cast<std::int64_t>(seconds * 1e9)};
    }

    /// Sends and receives until `end`.
    void advance(Clock::time_point end) {
        for (;;) {
            const auto now = Clock::now();
            receive_all();
            if (now >= end) {
                return;
            }
            if (!sending_over_) {
                send_due(now);
            }
            wait(std::min(end, next_send()));
        }
    }

    [[nodiscard]] Clock::time_point due_time(std::uint64_t sequence) const {
        return started_ + nanoseconds{static_cast<std::int64_t>(static_cast<double>(sequence) *
                                                                1e9 / options_.rate)};
    }

    /// Whole sleeps only while nothing is due.
    [[nodiscard]] Clock::time_point next_send() const {
        const auto later = Clock::now() + std::chrono::milliseconds{50};
        return sending_over_ || options_.window != 0 ? later : due_time(times_.size());
    }

    void send_due(Clock::time_point now) {
        if (options_.window != 0) {
            // What did not come back for a while is lost.
            if (now - last_progress_ > std::chrono::milliseconds{100}) {
                under_way_ = 0;
                last_progress_ = now;
            }
            while (under_way_ < options_.window) {
                send(std::min(batch, options_.window - under_way_));
            }
            return;
        }
        if (const auto late = now - due_time(times_.size()); late > backlog) {
            const auto skipped = std::chrono::duration<double>(late).count() * options_.rate;
            counted_.left_out += static_cast<std::uint64_t>(skipped);
            started_ += late;
        }
        unsigned due = 0;
        while (due < batch && due_time(times_.size() + due) <= now) {
            ++due;
        }
        if (due != 0) {
            send(due);
        }
    }

    void send(unsigned count) {
        const auto now = Clock::now();
        for (unsigned n = 0; n < count; ++n) {
            stamp_udp(out_[n], times_.size());
            times_.push_back(now.time_since_epoch().count());
        }
        unsigned sent = 0;
        while (sent < count) {
            const int done = ::sendmmsg(link_.fd.value(), &sending_[sent], count - sent, 0);
            if (done <= 0) {
                // The first frames may come before the machine listens.
                counted_.refused += errno == ECONNREFUSED ? 0 : 1;
                ++sent;
                continue;
            }
            sent += static_cast<unsigned>(done);
        }
        counted_.sent += count;
        under_way_ += count;
    }

    void receive_all() {
        for (;;) {
            const int count =
                ::recvmmsg(link_.fd.value(), received_.data(), batch, MSG_DONTWAIT, nullptr);
            if (count <= 0) {
                return;
            }
            const auto now = Clock::now();
            for (int n = 0; n < count; ++n) {
                const auto i = static_cast<std::size_t>(n);
                receive({in_[i].data(), received_[i].msg_len}, now);
            }
        }
    }

    void receive(std::span<const std::byte> frame, Clock::time_point now) {
        if (const auto request = parse_arp(frame)) {
            if (request->operation == arp_request && request->target_ip == source_) {
                send_arp(arp_reply, request->sender_mac, request->sender_ip);
            } else if (request->sender_ip == target_) {
                target_mac_ = request->sender_mac;
                resolved_ = true;
            }
            return;
        }
        const Echo echo = parse_echo(
            frame, {link_.mac, target_mac_, source_, target_, source_port, options_.port},
            options_.size_bytes, run_);
        if (echo.kind == Echo::Kind::other) {
            return;
        }
        if (echo.kind == Echo::Kind::wrong || echo.sequence >= times_.size() ||
            times_[echo.sequence] == 0) {
            ++counted_.wrong; // damaged, or came twice
            return;
        }
        const auto sent = Clock::time_point{Clock::duration{times_[echo.sequence]}};
        times_[echo.sequence] = 0;
        ++counted_.echoed;
        last_progress_ = now;
        under_way_ -= under_way_ != 0 ? 1 : 0;
        if (sent >= measure_from_ && sent < measure_to_) {
            round_trips_.push_back(std::chrono::duration<float, std::micro>(now - sent).count());
        }
    }

    void wait(Clock::time_point until) {
        const auto left = until - Clock::now();
        if (left <= nanoseconds{0}) {
            return;
        }
        pollfd waiting{link_.fd.value(), POLLIN, 0};
        const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(left);
        const timespec timeout{seconds.count(), (left - seconds).count()};
        ::ppoll(&waiting, 1, &timeout, nullptr);
    }

    void send_arp(std::uint16_t operation, const Mac& mac, std::uint32_t ip) {
        const auto frame = arp_frame({operation, link_.mac, source_, mac, ip});
        (void)::send(link_.fd.value(), frame.data(), frame.size(), 0);
    }

    /// The target's address: given, or asked for.
    void resolve() {
        if (!options_.mac.empty()) {
            target_mac_ = parse_mac(options_.mac);
            return;
        }
        sending_over_ = true;
        for (int attempt = 0; attempt < 50 && !resolved_; ++attempt) {
            send_arp(arp_request, {}, target_);
            wait(Clock::now() + std::chrono::milliseconds{100});
            receive_all();
        }
        sending_over_ = false;
        if (!resolved_) {
            udrv::throw_error(ETIMEDOUT, fmt::format("reach {}", options_.target),
                              "nobody answers ARP requests for it",
                              "is the machine up, with that address on this network?");
        }
    }

    nlohmann::ordered_json report(const Counted& done, double seconds, const CpuTime& cpu) {
        std::sort(round_trips_.begin(), round_trips_.end());
        const auto percentile = [&](double p) -> nlohmann::json {
            if (round_trips_.empty()) {
                return nullptr;
            }
            const double place = p * static_cast<double>(round_trips_.size() - 1);
            return round_trips_[static_cast<std::size_t>(place)];
        };
        nlohmann::ordered_json json{
            {"size_bytes", options_.size_bytes},
            {"seconds", seconds},
            {"offered_per_s", static_cast<double>(done.sent) / seconds},
            {"echoes_per_s", static_cast<double>(done.echoed) / seconds},
            {"sent", done.sent},
            {"echoed", done.echoed},
            {"wrong", counted_.wrong},
            {"left_out", done.left_out},
            {"refused", done.refused},
            {"total_echoed", counted_.echoed},
            {"rtt_us",
             {{"min", percentile(0)},
              {"p50", percentile(0.5)},
              {"p99", percentile(0.99)},
              {"max", percentile(1)}}},
        };
        if (options_.qemu != 0) {
            json["vcpu_s"] = cpu.vcpu_s;
            json["vcpu_waited_s"] = cpu.waited_s;
            json["device_s"] = cpu.other_s;
        }
        return json;
    }

    Link link_;
    const Options options_;
    const std::uint32_t source_;
    const std::uint32_t target_;
    const std::uint32_t run_; ///< so that an echo of an earlier run is not taken for ours
    Mac target_mac_{};
    bool resolved_ = false;
    bool sending_over_ = false;

    std::array<std::vector<std::byte>, batch> out_;
    std::array<std::vector<std::byte>, batch> in_;
    std::array<iovec, batch> send_vectors_{};
    std::array<iovec, batch> receive_vectors_{};
    std::array<mmsghdr, batch> sending_{};
    std::array<mmsghdr, batch> received_{};

    std::vector<std::int64_t> times_; ///< when each was sent; 0: came back
    std::uint32_t under_way_ = 0;
    Clock::time_point started_;
    Clock::time_point measure_from_;
    Clock::time_point measure_to_;
    Clock::time_point last_progress_ = Clock::now();
    Counted counted_;
    std::vector<float> round_trips_;
};

} // namespace

int main(int argc, char** argv) try {
    CLI::App app{"UDP echo load on a wire of scripts/vm or on a network interface"};
    Options options;
    auto* wire = app.add_option("--wire", options.wire, "LOCAL:REMOTE, as given to scripts/vm");
    app.add_option("--interface", options.interface, "a network interface")->excludes(wire);
    app.add_option("--source", options.source, "our address")->capture_default_str();
    app.add_option("--target", options.target, "who echoes")->capture_default_str();
    app.add_option("--mac", options.mac, "its hardware address (default: ask by ARP)");
    app.add_option("--port", options.port)->capture_default_str();
    app.add_option("--size", options.size_bytes, "bytes of a datagram")
        ->check(CLI::Range(stamp_bytes, max_payload))
        ->capture_default_str();
    auto* rate =
        app.add_option("--rate", options.rate, "datagrams a second")->check(CLI::Range(1.0, 1e8));
    app.add_option("--window", options.window, "as many under way, as fast as they come back")
        ->check(CLI::Range(1, 4096))
        ->excludes(rate);
    app.add_option("--seconds", options.seconds, "length of the measured window")
        ->check(CLI::Range(0.05, 3600.0))
        ->capture_default_str();
    app.add_option("--warmup", options.warmup, "seconds before it")
        ->check(CLI::Range(0.0, 60.0))
        ->capture_default_str();
    app.add_option("--qemu", options.qemu, "report the CPU time of this QEMU process's threads");
    CLI11_PARSE(app, argc, argv);
    if (options.wire.empty() == options.interface.empty()) {
        udrv::throw_error(EINVAL, "start the load", "no network was named",
                          "give --wire LOCAL:REMOTE or --interface NAME");
    }
    if (options.rate == 0 && options.window == 0) {
        udrv::throw_error(EINVAL, "start the load", "it is not said how much",
                          "give --rate or --window");
    }
    Load load(options.wire.empty() ? open_interface(options.interface) : open_wire(options.wire),
              options);
    fmt::print("{}\n", load.run().dump());
    return 0;
} catch (const std::exception& error) {
    fmt::print(stderr, "echo_load: {}\n", error.what());
    return 1;
}
