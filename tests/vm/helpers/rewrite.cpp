// SPDX-License-Identifier: MIT
//
// rewrite BDF trusted|untrusted PACKETS: a network driver on an e1000 that hands up UDP
// packets and has the chip write other ones into their buffers afterwards. What a socket
// reads must be what the stack checked if the driver is not trusted; if it is, the control,
// packets are seen that changed after the check. First in a fixed order: check, rewrite,
// read. Then as a race, in which a second thread writes all the time. Needs an IOMMU; makes
// udn0 and sets it up.
#include <array>
#include <cstdlib>
#include <optional>
#include <string_view>

#include <arpa/inet.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "hostile_e1000.hpp"
#include "hostile_net.hpp"
#include "libudrv/error.hpp"

namespace {

using namespace hostile;

constexpr std::size_t ip_at = 14, udp_at = ip_at + 20, payload_at = udp_at + 8;
constexpr std::uint32_t payload_bytes = 1400;
constexpr std::uint32_t packet_bytes = payload_at + payload_bytes;
constexpr std::uint16_t target_port = 7400, first_source_port = 1000;
constexpr std::uint32_t address_here = 0x0a000001, address_there = 0x0a000002; // 10.0.0.1, .2
constexpr int late_ms = 50; ///< for a packet that the checksum dropped; no check depends on it

using Packet = std::array<std::byte, packet_bytes>;

/// Two packets, told apart by the source port in the header and by the payload. Each word of
/// the second one's is one more. So no mixture of both passes for either: with k words of
/// the second its sum is k too much for the first and 700 - k too little for the second.
enum Kind : std::uint8_t { first, second, nr_kinds };

constexpr std::byte payload_byte(std::size_t n, unsigned kind) {
    return std::byte(0x20 + (n % 2 == 1 ? kind : 0));
}

void put(Packet& packet, std::size_t at, std::uint32_t value) {
    packet.at(at) = std::byte(value >> 8);
    packet.at(at + 1) = std::byte(value);
}
/// RFC 1071, of an even number of bytes.
std::uint16_t checksum(const Packet& packet, std::size_t begin, std::size_t end,
                       std::uint32_t sum) {
    for (std::size_t n = begin; n < end; n += 2) {
        sum += std::to_integer<std::uint32_t>(packet.at(n)) << 8 |
               std::to_integer<std::uint32_t>(packet.at(n + 1));
    }
    sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(~(sum + (sum >> 16)));
}

Packet make_packet(Kind kind) {
    Packet packet{};
    const udrv_net_attach shape = net_shape();
    std::memcpy(packet.data(), shape.mac, sizeof(shape.mac));
    packet[6] = std::byte{0x02}; // of nobody
    put(packet, 12, 0x0800);
    put(packet, ip_at, 0x4500);
    put(packet, ip_at + 2, packet_bytes - ip_at);
    put(packet, ip_at + 8, 64 << 8 | IPPROTO_UDP);
    put(packet, ip_at + 12, address_there >> 16);
    put(packet, ip_at + 14, address_there & 0xffff);
    put(packet, ip_at + 16, address_here >> 16);
    put(packet, ip_at + 18, address_here & 0xffff);
    put(packet, ip_at + 10, checksum(packet, ip_at, udp_at, 0));
    constexpr std::uint32_t udp_bytes = packet_bytes - udp_at;
    put(packet, udp_at, first_source_port + kind);
    put(packet, udp_at + 2, target_port);
    put(packet, udp_at + 4, udp_bytes);
    for (std::size_t n = 0; n < payload_bytes; n++) {
        packet.at(payload_at + n) = payload_byte(n, kind);
    }
    // With the addresses, which stand before the header.
    put(packet, udp_at + 6, checksum(packet, ip_at + 12, packet_bytes, IPPROTO_UDP + udp_bytes));
    return packet;
}

/// What a socket read.
struct Datagram {
    unsigned kind = 0;         ///< as the header says, which the kernel copied in any case
    std::uint64_t changed = 0; ///< bytes of the payload that are not that packet's
};

class Receiver {
  public:
    Receiver() : fd_(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
        // The checksum is looked at when the packet comes, for a socket that has a filter; without
        // one it may be when it is read, in one go with the copy.
        sock_filter all = BPF_STMT(BPF_RET | BPF_K, ~0U);
        const sock_fprog filter{1, &all};
        sockaddr_in here{};
        here.sin_family = AF_INET;
        here.sin_port = htons(target_port);
        const void* where = &here;
        if (::setsockopt(fd_.value(), SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) != 0 ||
            ::bind(fd_.value(), static_cast<const sockaddr*>(where), sizeof(here)) != 0) {
            udrv::throw_errno(errno, "make a socket");
        }
    }
    [[nodiscard]] bool waits() const {
        pollfd ready{fd_.value(), POLLIN, 0};
        return ::poll(&ready, 1, 0) > 0;
    }
    [[nodiscard]] std::optional<Datagram> read() const {
        std::array<std::byte, 2048> data{};
        sockaddr_in from{};
        socklen_t from_bytes = sizeof(from);
        void* where = &from;
        const auto bytes = ::recvfrom(fd_.value(), data.data(), data.size(), 0,
                                      static_cast<sockaddr*>(where), &from_bytes);
        if (bytes != payload_bytes) {
            return std::nullopt;
        }
        Datagram datagram{static_cast<unsigned>(ntohs(from.sin_port) - first_source_port)};
        for (std::size_t n = 0; n < payload_bytes; n++) {
            datagram.changed += data.at(n) == payload_byte(n, datagram.kind) ? 0U : 1U;
        }
        return datagram;
    }

  private:
    udrv::FileDescriptor fd_;
};

/// The session, and the packets in the chip's memory.
class Rig {
  public:
    explicit Rig(const udrv::PciAddress& address) : session(address), chip(session.device) {
        for (const Kind kind : {first, second}) {
            const Packet packet = make_packet(kind);
            std::memcpy(chip.frame() + kind * page_bytes / 2, packet.data(), packet.size());
        }
    }
    /// The chip writes that much of a packet, from `offset` on.
    bool write(unsigned kind, std::uint64_t target, std::uint32_t offset = 0,
               std::uint32_t bytes = packet_bytes) {
        return chip.transfer(chip.frame_addr() + kind * page_bytes / 2 + offset, target, bytes);
    }
    /// So many empty buffers at the head of the ring.
    bool buffers(std::uint32_t count) {
        return wait_until(patience_ms, [&] {
            return serve() && session.fill.producer() - session.fill.index >= count;
        });
    }
    /// What was handed up has arrived.
    bool arrives(int timeout_ms = patience_ms) {
        return wait_until(timeout_ms, [&] { return serve() && receiver.waits(); });
    }
    [[nodiscard]] std::uint64_t buffer(std::uint32_t n = 0) const {
        return session.fill.get(session.fill.index + n).dma_addr;
    }

    NetSession session;
    LoopbackChip chip;
    Receiver receiver;

  private:
    /// False: the session is over.
    bool serve() {
        session.complete_all(); // what the stack says by itself
        return session.publish();
    }
};

/// A packet in so many buffers: handed up, checked, rewritten while it waits, read.
void in_order(Rig& rig, std::uint32_t nr_buffers, bool untrusted) {
    constexpr std::uint32_t packets = 20;
    const std::uint32_t piece = packet_bytes / nr_buffers + 1;
    std::uint32_t arrived = 0, changed = 0, failed = 0;
    for (std::uint32_t n = 0; n < packets && rig.buffers(nr_buffers); n++) {
        std::array<std::uint64_t, 4> targets{};
        const auto write = [&](Kind kind) {
            for (std::uint32_t i = 0; i < nr_buffers; i++) {
                const std::uint32_t bytes = std::min(piece, packet_bytes - i * piece);
                failed += rig.write(kind, targets.at(i), i * piece, bytes) ? 0U : 1U;
            }
        };
        for (std::uint32_t i = 0; i < nr_buffers; i++) {
            targets.at(i) = rig.buffer(i);
        }
        write(first);
        for (std::uint32_t i = 0; i < nr_buffers; i++) {
            const bool last = i + 1 == nr_buffers;
            (void)rig.session.receive(std::min(piece, packet_bytes - i * piece),
                                      last ? UDRV_NET_RX_EOP : 0);
        }
        if (!rig.arrives()) {
            break;
        }
        write(second);
        const auto datagram = rig.receiver.read();
        arrived += datagram && datagram->kind == first ? 1U : 0U;
        changed += datagram && datagram->changed > 0 ? 1U : 0U;
    }
    const std::string what = fmt::format("packets of {} buffers", nr_buffers);
    check_eq(what + ": that arrived", arrived, packets);
    check_eq(what + ": transfers that failed", failed, 0);
    check_eq(what + ": that changed between the check and the read", changed,
             untrusted ? 0 : packets);
}

/// A packet with a wrong checksum of which the driver says that the chip found it right, one
/// of which it says nothing, and a good one, which shows that the others are through.
void wrong_checksums(Rig& rig, bool untrusted) {
    std::byte* last = rig.chip.frame() + packet_bytes - 1; // of the first packet
    unsigned wrong = 0;
    bool good = false;
    *last ^= std::byte{0x10};
    for (const unsigned flags : {UDRV_NET_RX_EOP | UDRV_NET_RX_CSUM_OK, UDRV_NET_RX_EOP}) {
        good = rig.buffers(1) && rig.write(first, rig.buffer());
        (void)rig.session.receive(packet_bytes, static_cast<std::uint16_t>(flags));
    }
    *last ^= std::byte{0x10};
    good = good && rig.buffers(1) && rig.write(first, rig.buffer());
    (void)rig.session.receive(packet_bytes);
    bool through = false;
    while (!through && rig.arrives()) {
        const auto datagram = rig.receiver.read();
        through = datagram && datagram->changed == 0;
        wrong += datagram && datagram->changed > 0 ? 1U : 0U;
    }
    report(good && through, "a good packet behind wrong checksums arrives");
    check_eq("wrong checksums believed", wrong, untrusted ? 0 : 1);
}

/// A second thread: the chip writes the one packet and the other, in turn, all the time.
class Rewriter {
  public:
    explicit Rewriter(Rig& rig) : rig_(rig), thread_([this] { run(); }) {}
    ~Rewriter() {
        stop_ = true;
        thread_.join();
    }
    Rewriter(const Rewriter&) = delete;
    Rewriter& operator=(const Rewriter&) = delete;

    void aim(std::uint64_t target) { target_ = target; }
    [[nodiscard]] std::uint64_t count() const { return count_; }
    [[nodiscard]] std::uint64_t failed() const { return failed_; }
    /// Returns after two more: one of them began after the call.
    void wait() const {
        for (const std::uint64_t begun = count_; count_ < begun + 2;) {
            ::sched_yield();
        }
    }

  private:
    void run() {
        while (!stop_) {
            const std::uint64_t target = target_;
            failed_ += target == 0 || rig_.write(count_ % nr_kinds, target) ? 0U : 1U;
            if (++count_ % 33 == 0) { // odd: either packet may be the one that stays
                ::usleep(20); // QEMU lets one processor at devices at a time, and not in turn
            }
        }
    }

    Rig& rig_;
    std::atomic<std::uint64_t> target_{0}, count_{0}, failed_{0};
    std::atomic<bool> stop_{false};
    std::thread thread_;
};

/// UDP packets whose checksum was found wrong: rewritten before or at the check.
std::uint64_t checksum_errors() {
    std::ifstream file("/proc/net/snmp");
    std::string line;
    std::uint64_t value = 0;
    while (std::getline(file, line)) {
        // Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors
        unsigned long long errors = 0;
        if (std::sscanf(line.c_str(), "Udp: %*u %*u %*u %*u %*u %*u %llu", &errors) == 1) {
            value = errors;
        }
    }
    return value;
}

void race(Rig& rig, std::uint64_t wanted, bool untrusted) {
    std::uint64_t handed = 0, arrived = 0, changed = 0, mixed = 0;
    const std::uint64_t errors = checksum_errors();
    Rewriter rewriter(rig);
    while (arrived < wanted && handed < 100 * wanted && rig.buffers(1)) {
        rewriter.aim(rig.buffer());
        rewriter.wait();
        handed += rig.session.receive(packet_bytes) ? 1U : 0U;
        if (!rig.arrives(late_ms)) {
            continue; // one that is late is the next that is read
        }
        rewriter.wait();
        if (const auto datagram = rig.receiver.read()) {
            arrived++;
            changed += datagram->changed > 0 ? 1U : 0U;
            mixed += datagram->changed > 0 && datagram->changed < payload_bytes / 2 ? 1U : 0U;
        }
    }
    fmt::print("total: {} handed {} arrived {} changed {} mixed {} checksum {} writes\n", handed,
               arrived, changed, mixed, checksum_errors() - errors, rewriter.count());
    check_eq("race: packets that arrived", arrived, wanted);
    check_eq("race: transfers that failed", rewriter.failed(), 0);
    if (untrusted) {
        check_eq("race: packets that changed after the check", changed, 0);
    } else { // the control: that there is something to see
        report(changed > 0, "race: packets that changed after the check, trusted",
               fmt::format("{}", changed));
    }
}

int run(const udrv::PciAddress& address, bool untrusted, std::uint64_t packets) {
    Rig rig(address);
    report((rig.session.device.info().flags & UDRV_DEV_IOMMU) != 0, "an IOMMU confines the device");
    check_eq("untrusted", attribute(address, "untrusted"), untrusted ? 1 : 0);
    (void)!std::system("ip addr replace 10.0.0.1/24 dev udn0; ip link set udn0 up");
    for (const std::uint32_t nr_buffers : {1U, 3U}) {
        in_order(rig, nr_buffers, untrusted);
    }
    wrong_checksums(rig, untrusted);
    race(rig, packets, untrusted);
    return failures == 0 ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
    if (argc != 4) {
        std::fprintf(stderr, "usage: rewrite BDF trusted|untrusted PACKETS\n");
        return 2;
    }
    try {
        return run(udrv::PciAddress::parse(argv[1]), std::string_view(argv[2]) == "untrusted",
                   std::strtoull(argv[3], nullptr, 0));
    } catch (const std::exception& error) {
        fmt::print("FAIL: {}\n", error.what());
        return 1;
    }
}
