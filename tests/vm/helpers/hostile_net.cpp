// SPDX-License-Identifier: MIT
//
// hostile_net BDF MUTATIONS [SEED]: attaches as a network interface, answers the
// kernel's rings, and mutates what it shares with the kernel, from a second thread
// too, while a child process sends and receives on the interface. A violation ends
// the session; the next one begins. Each session has one theme, so that nothing hides
// behind what ends sessions at once. Prints what was done and what came of it.
#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <string_view>

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "hostile_net.hpp"
#include "libudrv/error.hpp"

namespace {

using namespace hostile;

constexpr std::uint32_t max_queues = 4; ///< honest but for one, a different one each time

enum Theme : std::uint8_t {
    harmless, ///< state pages, wakeup words, the indices that the kernel only writes
    rx_entries,
    completion_entries,
    rx_index,
    completion_index,
    kernels_entries, ///< tx and fill: the kernel writes them and never reads
    anywhere,
    lies, ///< the first thread itself: a wrong entry now and then
    nr_themes
};
constexpr std::array<const char*, nr_themes> theme_names = {
    "state pages and flags", "rx entries",  "completion entries", "rx index",
    "completion index",      "tx and fill", "anywhere",           "wrong entries"};

struct Tally {
    std::uint64_t sessions = 0, mutations = 0, violated = 0, sent = 0, received = 0;
};

std::vector<Target> targets(NetSession& s, Theme theme) {
    const std::byte* map = s.map.data();
    switch (theme) {
    case harmless:
        return {word_at(map, s.desired, sizeof(*s.desired)),
                word_at(map, s.published, sizeof(*s.published)),
                word_at(map, &s.published->generation),
                word_at(map, &s.published->link, 12),
                word_at(map, s.wakeup, sizeof(*s.wakeup)),
                word_at(map, &s.wakeup->driver),
                word_at(map, &s.wakeup->kernel),
                word_at(map, &s.tx.header->consumer, sizeof(udrv_ring_index)),
                word_at(map, &s.completion.header->consumer, sizeof(udrv_ring_index)),
                word_at(map, &s.fill.header->consumer, sizeof(udrv_ring_index)),
                word_at(map, &s.rx.header->consumer, sizeof(udrv_ring_index))};
    case rx_entries:
        return {entries_of(map, s.rx)};
    case completion_entries:
        return {entries_of(map, s.completion)};
    case rx_index:
        return {word_at(map, &s.rx.header->producer)};
    case completion_index:
        return {word_at(map, &s.completion.header->producer)};
    case kernels_entries:
        return {entries_of(map, s.tx), entries_of(map, s.fill)};
    case anywhere:
        return {{0, s.map.len_bytes()}};
    default:
        return {};
    }
}

/// A wrong entry in place of a right one.
void lie(NetSession& s, Random& random) {
    if (random.one_in(2)) {
        udrv_net_rx entry = received(s.fill.get(s.fill.index).id, random.below(2049));
        switch (random.below(6)) {
        case 0:
            entry.id = evil(random, entry.id);
            break;
        case 1:
            entry.len_bytes = evil(random, entry.len_bytes);
            break;
        case 2:
            entry.flags = static_cast<std::uint16_t>(random.word());
            break;
        case 3:
            entry.hash = random.word();
            break;
        case 4: // a checksum that is said to be anywhere
            entry.flags |= UDRV_NET_RX_CSUM_PARTIAL;
            entry.csum_start = static_cast<std::uint16_t>(random.below(4096));
            entry.csum_offset = static_cast<std::uint16_t>(random.word());
            break;
        default:
            entry.vlan_tci = static_cast<std::uint16_t>(random.word());
            break;
        }
        s.rx.push(entry);
        ++s.fill.index;
    } else {
        std::uint32_t id = 0;
        const bool there = s.take(id);
        s.completion.push({random.one_in(2) && there ? id : evil(random, id), random.below(4)});
    }
}

void one_session(const udrv::PciAddress& address, Theme theme, Random& random, std::uint64_t budget,
                 Tally& tally) {
    udrv_net_attach shape = net_shape();
    shape.tx_depth = 64U << random.below(5);
    shape.rx_depth = 64U << random.below(5);
    shape.max_mtu = 65521;
    shape.rx_buf_bytes = random.one_in(2) ? 2048 : 256 + random.below(1793);
    shape.tx_max_segments = 1 + random.below(20);
    shape.nr_queues = 1 + random.below(max_queues);
    NetSession s(address, shape, random.below(shape.nr_queues));
    const auto violations = attribute(address, "violations");
    const std::uint32_t max_bytes = s.layout.rx_buf_bytes;
    {
        const bool index = theme == rx_index || theme == completion_index;
        Mutator mutator(s.map.data(), targets(s, theme), random.next(), budget, index ? 100 : 0);
        const bool alone = theme == lies;
        std::uint64_t lied = 0;
        const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(400);
        for (std::uint32_t pass = 0; s.publish(); pass++) {
            if ((alone ? lied >= budget : mutator.done()) ||
                ((pass & 15U) == 0 && std::chrono::steady_clock::now() > end)) {
                break;
            }
            for (std::uint32_t id = 0, n = 0; n < 32 && s.take(id); n++) {
                s.complete(id, random.one_in(16) ? UDRV_NET_TX_DROPPED : 0);
                tally.sent++;
            }
            for (std::uint32_t n = random.below(16); n > 0; n--) {
                const bool end_of_packet = !random.one_in(8);
                const auto flags = static_cast<std::uint16_t>(
                    (end_of_packet ? UDRV_NET_RX_EOP : 0) | (random.below(8) & 6U) |
                    (random.one_in(16) ? UDRV_NET_RX_DROP : 0));
                tally.received += s.receive(random.below(max_bytes + 1), flags) ? 1U : 0U;
            }
            if (alone && random.one_in(4) && s.fill.waiting()) {
                lie(s, random);
                lied++;
            }
            if (random.one_in(32)) {
                s.link(!random.one_in(4));
            }
            if (random.one_in(8)) {
                ::usleep(100);
            }
        }
        mutator.stop();
        tally.mutations += mutator.count() + lied;
    }
    // Not by the return value of a call: the end may have come just now.
    tally.violated += attribute(address, "violations") > violations ? 1U : 0U;
    tally.sessions++;
}

/// Traffic of all sizes, and a socket that reads every packet that arrives.
[[noreturn]] void traffic(unsigned ifindex, std::uint64_t seed) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    Random random(seed);
    const int udp = ::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    const int all = ::socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(ETH_P_ALL));
    sockaddr_ll here{};
    here.sll_family = AF_PACKET;
    here.sll_protocol = htons(ETH_P_ALL);
    here.sll_ifindex = static_cast<int>(ifindex);
    (void)::bind(all, reinterpret_cast<const sockaddr*>(&here), sizeof(here));
    sockaddr_in there{};
    there.sin_family = AF_INET;
    there.sin_port = htons(9);
    there.sin_addr.s_addr = htonl(0x0a000002); // 10.0.0.2
    static std::array<char, 65536> data;
    while (true) {
        for (int n = 0; n < 16; n++) {
            const std::size_t bytes = random.one_in(8) ? random.below(60000) : random.below(1473);
            (void)::sendto(udp, data.data(), bytes, 0, reinterpret_cast<const sockaddr*>(&there),
                           sizeof(there));
            while (::recv(all, data.data(), data.size(), 0) > 0) {
            }
        }
        ::usleep(500 + random.below(2000));
    }
}

} // namespace

int main(int argc, char** argv) {
    if (argc < 3) {
        std::fprintf(stderr, "usage: hostile_net BDF MUTATIONS [SEED]\n");
        return 2;
    }
    try {
        const auto [address, wanted, seed] = Arguments(argc, argv);
        fmt::print("seed {}\n", seed);
        std::fflush(stdout);
        survive_bus_errors();
        Random random(seed);
        // The first session makes the interface, and with small buffers: so that it
        // promises no larger MTU than any later one can keep.
        udrv_net_attach smallest = net_shape();
        smallest.max_mtu = 65521;
        smallest.rx_buf_bytes = 256;
        smallest.nr_queues = max_queues;
        const unsigned ifindex = NetSession(address, smallest).layout.ifindex;
        const pid_t child = ::fork();
        if (child == 0) {
            traffic(ifindex, random.next());
        }
        std::array<Tally, nr_themes> tallies{};
        Tally sum{};
        while (sum.mutations < wanted) {
            const auto theme = static_cast<Theme>(sum.sessions % nr_themes);
            Tally& tally = tallies[theme];
            const std::uint64_t before = tally.mutations, violated = tally.violated;
            one_session(address, theme, random, theme == lies ? 4096 : 20000, tally);
            sum.sessions++;
            sum.mutations += tally.mutations - before;
            sum.violated += tally.violated - violated;
        }
        ::kill(child, SIGKILL);
        ::waitpid(child, nullptr, 0);
        for (std::size_t n = 0; n < nr_themes; n++) {
            const Tally& t = tallies[n];
            fmt::print(
                "{:22} {:7} sessions {:10} mutations {:7} violated {:8} sent {:8} received\n",
                theme_names[n], t.sessions, t.mutations, t.violated, t.sent, t.received);
        }
        fmt::print("total: {} sessions {} mutations {} violated {} bus errors\n", sum.sessions,
                   sum.mutations, sum.violated, bus_errors.load());
        // What the kernel never reads, or reads as data only, ends no session.
        check_eq("violations by state pages and flags", tallies[harmless].violated, 0);
        for (const Theme theme :
             {rx_entries, completion_entries, rx_index, completion_index, lies}) {
            report(
                tallies[theme].violated > 0, fmt::format("violations by {}", theme_names[theme]),
                fmt::format("{} of {} sessions", tallies[theme].violated, tallies[theme].sessions));
        }
        return failures == 0 ? 0 : 1;
    } catch (const std::exception& error) {
        fmt::print("FAIL: {}\n", error.what());
        return 1;
    }
}
