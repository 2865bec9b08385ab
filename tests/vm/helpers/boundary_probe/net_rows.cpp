// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <cstdlib>
#include <functional>

#include <arpa/inet.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "../hostile_net.hpp"
#include "libudrv/error.hpp"
#include "rows.hpp"

namespace {

using namespace hostile;
using Attempt = std::function<void(NetSession&)>;

/// One attempt in a session of its own that has to end for `reason`.
void ends(const udrv::PciAddress& address, const std::string& name, const std::string& reason,
          const Attempt& attempt, std::uint32_t nr_queues) {
    udrv_net_attach shape = net_shape();
    shape.nr_queues = nr_queues;
    NetSession s(address, shape, nr_queues - 1);
    const auto violations = attribute(address, "violations");
    KernelLog log;
    attempt(s);
    const bool over = wait_until(patience_ms, [&] { return !s.publish(); });
    udrv_info info{};
    const bool refused = udrv::call(s.device.fd(), UDRV_IOC_INFO, info) < 0 && errno == ENODEV;
    const auto before = bus_errors.load();
    (void)revoked(s.wakeup->driver);
    const auto counted = attribute(address, "violations") - violations;
    const int lines = log.count(fmt::format("broke the protocol: {}", reason));
    const bool good = over && refused && counted >= 1 && lines == 1 && bus_errors > before;
    report(
        good, name,
        good ? reason
             : fmt::format("over {}, calls refused {}, {} violations, {} lines '{}', {} bus errors",
                           over, refused, counted, lines, reason, bus_errors - before));
}

/// One attempt that a session survives; `outcome` says what came of it.
void survives(const udrv::PciAddress& address, const std::string& name,
              const udrv_net_attach& shape,
              const std::function<std::string(NetSession&)>& outcome) {
    NetSession s(address, shape);
    const auto violations = attribute(address, "violations");
    KernelLog log;
    const std::string text = outcome(s);
    const bool alive = s.publish();
    const auto counted = attribute(address, "violations") - violations;
    report(alive && counted == 0 && log.count("broke the protocol") == 0 && !text.starts_with("!"),
           name, fmt::format("{}{}", text, alive ? "" : ", and the session ended"));
}

void survives(const udrv::PciAddress& address, const std::string& name,
              const std::function<std::string(NetSession&)>& outcome) {
    survives(address, name, net_shape(), outcome);
}

/// A difference of two is right also where a hostile driver's counters have brought it near 2^64.
std::uint64_t statistic(const NetSession& s, const std::string& name) {
    std::ifstream file(fmt::format("/sys/class/net/{}/statistics/{}", s.layout.name, name));
    std::uint64_t value = 0;
    if (!(file >> value)) {
        throw std::runtime_error(fmt::format("cannot read {} of {}", name, s.layout.name));
    }
    return value;
}

/// Packets of the interface as the stack sees them.
class Listener {
  public:
    explicit Listener(const NetSession& s)
        : fd_(::socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_ALL))) {
        sockaddr_ll here{};
        here.sll_family = AF_PACKET;
        here.sll_protocol = htons(ETH_P_ALL);
        here.sll_ifindex = static_cast<int>(s.layout.ifindex);
        (void)::bind(fd_.value(), reinterpret_cast<const sockaddr*>(&here), sizeof(here));
    }
    /// Length of the longest one that was received since the last call, not sent; and
    /// the number of bytes in them that are not zero.
    std::size_t longest(std::size_t& not_zero) {
        std::size_t most = 0;
        std::array<char, 65536> data{};
        while (true) {
            sockaddr_ll from{};
            socklen_t from_bytes = sizeof(from);
            const auto got = ::recvfrom(fd_.value(), data.data(), data.size(), MSG_TRUNC,
                                        reinterpret_cast<sockaddr*>(&from), &from_bytes);
            if (got < 0) {
                return most;
            }
            if (from.sll_pkttype == PACKET_OUTGOING) {
                continue;
            }
            const auto bytes = std::min(static_cast<std::size_t>(got), data.size());
            most = std::max(most, static_cast<std::size_t>(got));
            not_zero += bytes - static_cast<std::size_t>(std::count(
                                    data.begin(), data.begin() + static_cast<long>(bytes), '\0'));
        }
    }

  private:
    udrv::FileDescriptor fd_;
};

/// Attempts on the last of so many queues.
void entry_rows(const udrv::PciAddress& address, std::uint32_t nr_queues) {
    const std::string of = fmt::format(", queue {} of {}", nr_queues - 1, nr_queues);
    const std::string packet = "completion of a packet it does not have";
    const std::string buffer = "receive entry with a bad id, length or flag";
    const auto completes = [&](const std::string& name, const Attempt& attempt) {
        ends(address, name + of, packet, attempt, nr_queues);
    };
    const auto receives = [&](const std::string& name, const auto& change) {
        ends(
            address, name + of, buffer,
            [&](NetSession& s) {
                (void)wait_until(1000, [&] { return s.fill.waiting(); });
                udrv_net_rx entry = received(s.fill.get(s.fill.index).id, 100);
                change(entry, s);
                s.rx.push(entry);
            },
            nr_queues);
    };
    // corrupt an index
    for (const std::uint32_t by : {257U, 1U << 31, ~0U}) {
        ends(
            address, fmt::format("index: completion producer moved by {:#x}", by) + of,
            "completion index", [&](NetSession& s) { s.completion.produce(by); }, nr_queues);
        ends(
            address, fmt::format("index: rx producer moved by {:#x}", by) + of, "receive index",
            [&](NetSession& s) { s.rx.produce(by); }, nr_queues);
    }
    // complete twice, or what it never had
    completes("complete: nothing was sent", [](NetSession& s) {
        s.link(false);
        ::usleep(100'000);
        s.completion.push({s.tx.producer() + 1000, 0});
    });
    completes("complete: the same packet twice", [](NetSession& s) {
        std::uint32_t id = 0;
        if (s.take_within(patience_ms, id)) {
            s.complete(id);
            s.complete(id);
        }
    });
    completes("complete: the second before the first", [](NetSession& s) {
        std::uint32_t first = 0, second = 0;
        for (int n = 0; n < 30 && s.take_within(patience_ms, first); n++) {
            // A fresh queue is given one at a time, until some are completed.
            if (s.take_within(100, second)) {
                s.complete(second);
                break;
            }
            s.complete(first);
        }
    });
    completes("complete: unknown flags", [](NetSession& s) {
        std::uint32_t id = 0;
        if (s.take_within(patience_ms, id)) {
            s.complete(id, 2);
        }
    });
    // return a length larger than the buffer, bad fields
    receives("receive: a byte more than the buffer",
             [](udrv_net_rx& rx, NetSession& s) { rx.len_bytes = s.layout.rx_buf_bytes + 1; });
    receives("receive: 4 GiB", [](udrv_net_rx& rx, NetSession&) { rx.len_bytes = ~0U; });
    receives("receive: another buffer", [](udrv_net_rx& rx, NetSession&) { rx.id++; });
    receives("receive: a buffer of long ago", [](udrv_net_rx& rx, NetSession&) { rx.id -= 256; });
    receives("receive: unknown flags",
             [](udrv_net_rx& rx, NetSession&) { rx.flags |= UDRV_NET_RX_ALL + 1; });
    ends(
        address, "receive: the same buffer twice" + of, buffer,
        [](NetSession& s) {
            s.receive(60);
            s.rx.push(received(s.fill.get(s.fill.index - 1).id, 60));
        },
        nr_queues);
}

void packet_rows(const udrv::PciAddress& address) {
    survives(address, "receive: a packet that never ends is dropped and counted",
             [](NetSession& s) {
                 const auto errors = statistic(s, "rx_errors");
                 for (int n = 0; n < 200; n++) {
                     s.receive(100, 0);
                     (void)s.publish();
                 }
                 s.receive(100);
                 (void)s.publish();
                 const auto more = statistic(s, "rx_errors") - errors;
                 return fmt::format("{}{} errors", more == 1 ? "" : "!", more);
             });
    survives(address, "receive: no bytes, one byte, 13 bytes are errors", [](NetSession& s) {
        const auto errors = statistic(s, "rx_errors");
        for (const std::uint32_t bytes : {0U, 1U, 13U}) {
            s.receive(bytes, UDRV_NET_RX_EOP | UDRV_NET_RX_CSUM_OK | UDRV_NET_RX_VLAN);
        }
        (void)s.publish();
        const auto more = statistic(s, "rx_errors") - errors;
        return fmt::format("{}{} errors", more == 3 ? "" : "!", more);
    });
    survives(address, "read without the device: received buffers that nothing wrote are zero",
             [](NetSession& s) {
                 Listener listener(s);
                 std::size_t not_zero = 0, longest = 0;
                 for (int n = 0; n < 2000; n++) {
                     s.receive(s.layout.rx_buf_bytes, UDRV_NET_RX_EOP);
                     s.complete_all(); // or it would be taken for one that hangs
                     (void)s.publish();
                     longest = std::max(longest, listener.longest(not_zero));
                 }
                 return fmt::format("{}longest {}, {} bytes not zero",
                                    longest == s.layout.rx_buf_bytes && not_zero == 0 ? "" : "!",
                                    longest, not_zero);
             });
    // double fetch: the length changes between good and bad while the kernel reads
    std::uint64_t accepted = 0, refused = 0, too_long = 0;
    for (int round = 0; round < 40; round++) {
        NetSession s(address);
        Listener listener(s);
        std::atomic<bool> stop{false};
        std::thread racer([&] {
            while (!stop) {
                udrv_net_rx& next = s.rx.entries[(s.rx.index - 1) & (s.rx.depth - 1)];
                std::atomic_ref(next.len_bytes).store(60000, std::memory_order_relaxed);
                std::atomic_ref(next.len_bytes).store(64, std::memory_order_relaxed);
            }
        });
        std::size_t not_zero = 0;
        for (int n = 0; n < 500 && s.publish(); n++) {
            if (s.receive(64) && s.publish()) {
                accepted++;
                too_long += listener.longest(not_zero) > s.layout.rx_buf_bytes ? 1U : 0U;
            }
        }
        refused += s.publish() ? 0U : 1U;
        stop = true;
        racer.join();
    }
    report(accepted > 0 && refused > 0 && too_long == 0,
           "double fetch: a length that changes is refused or was good",
           fmt::format("{} accepted, {} sessions ended, {} longer than a buffer", accepted, refused,
                       too_long));
}

/// Counters and their names, as `ethtool -S` gets them; the number of names.
std::size_t ethtool_names(const NetSession& s, std::size_t& unprintable) {
    const udrv::FileDescriptor fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const std::uint32_t room = s.layout.nr_stats; // another number gets none
    std::vector<std::uint32_t> buffer((sizeof(ethtool_gstrings) + room * ETH_GSTRING_LEN) / 4 + 1);
    void* memory = buffer.data();
    auto* strings = static_cast<ethtool_gstrings*>(memory);
    strings->cmd = ETHTOOL_GSTRINGS;
    strings->string_set = ETH_SS_STATS;
    strings->len = room;
    ifreq request{};
    std::memcpy(request.ifr_name, s.layout.name, IFNAMSIZ);
    request.ifr_data = static_cast<char*>(memory);
    if (::ioctl(fd.value(), SIOCETHTOOL, &request) < 0) {
        std::perror("SIOCETHTOOL");
        return 0;
    }
    for (std::uint32_t n = 0; n < strings->len; n++) {
        const char* name = reinterpret_cast<const char*>(strings->data) + n * ETH_GSTRING_LEN;
        const auto bytes = ::strnlen(name, ETH_GSTRING_LEN);
        unprintable += bytes == ETH_GSTRING_LEN ? 1U : 0U;
        // Letters of ISO 8859-1 pass; nothing that a terminal would obey.
        unprintable += static_cast<std::size_t>(std::count_if(name, name + bytes, [](char c) {
            return (static_cast<unsigned char>(c) & 0x7fU) < 0x20 || c == 0x7f;
        }));
    }
    return strings->len;
}

/// The values of the counters, as `ethtool -S` gets them.
std::vector<std::uint64_t> ethtool_values(const NetSession& s) {
    const udrv::FileDescriptor fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    std::vector<std::uint64_t> buffer(1 + s.layout.nr_stats); // cmd and n_stats, then data
    void* memory = buffer.data();
    auto* stats = static_cast<ethtool_stats*>(memory);
    stats->cmd = ETHTOOL_GSTATS;
    stats->n_stats = s.layout.nr_stats;
    ifreq request{};
    std::memcpy(request.ifr_name, s.layout.name, IFNAMSIZ);
    request.ifr_data = static_cast<char*>(memory);
    if (::ioctl(fd.value(), SIOCETHTOOL, &request) < 0) {
        std::perror("SIOCETHTOOL");
    }
    return {buffer.begin() + 1, buffer.end()};
}

void state_rows(const udrv::PciAddress& address) {
    udrv_net_attach shouting = net_shape();
    shouting.nr_stats = UDRV_NET_MAX_STATS - 1; // another set than that of the others
    std::memset(shouting.driver, 0x1b, sizeof(shouting.driver) - 1);
    for (auto& name : shouting.stat_names) {
        std::memset(name, 0x1b, sizeof(name) - 1);
    }
    survives(address, "state: counters with names of control characters", shouting,
             [](NetSession& s) {
                 s.published->speed_mbps = ~0U;
                 s.published->port = 0xff;
                 s.link(true);
                 (void)s.publish();
                 std::size_t unprintable = 0;
                 const std::size_t names = ethtool_names(s, unprintable);
                 return fmt::format("{}{} names, {} characters that a terminal obeys",
                                    names == UDRV_NET_MAX_STATS - 1 && unprintable == 0 ? "" : "!",
                                    names, unprintable);
             });
    survives(address, "state: a page that is torn is never shown", [](NetSession& s) {
        std::atomic<bool> stop{false};
        std::thread writer([&] {
            std::atomic_ref generation(s.published->generation);
            for (std::uint64_t n = 1; !stop; n++) {
                generation.store(generation.load() | 1);
                for (auto& value : s.published->stats) {
                    std::atomic_ref(value).store(n, std::memory_order_release);
                }
                generation.store(generation.load() + 1, std::memory_order_release);
            }
        });
        std::uint64_t torn = 0, changes = 0, last = 0;
        for (int n = 0; n < 3000; n++) {
            s.complete_all();
            (void)s.publish();
            const auto values = ethtool_values(s);
            torn += std::count(values.begin(), values.end(), values.front()) !=
                            static_cast<long>(values.size())
                        ? 1U
                        : 0U;
            changes += values.front() != last ? 1U : 0U;
            last = values.front();
        }
        stop = true;
        writer.join();
        return fmt::format("{}{} torn, {} different ones", torn == 0 && changes > 0 ? "" : "!",
                           torn, changes);
    });
    survives(address, "state: a generation that stays odd keeps what was", [](NetSession& s) {
        s.link(true);
        (void)s.publish();
        s.published->link = 0;
        std::atomic_ref(s.published->generation).store(1001);
        (void)s.publish();
        std::ifstream file(fmt::format("/sys/class/net/{}/carrier", s.layout.name));
        int carrier = -1;
        file >> carrier;
        return fmt::format("{}carrier {}", carrier == 1 ? "" : "!", carrier);
    });
    survives(address, "state: pages that change all the time hold nobody up", [](NetSession& s) {
        Mutator mutator(s.map.data(),
                        {word_at(s.map.data(), s.published, sizeof(*s.published)),
                         word_at(s.map.data(), &s.published->generation),
                         word_at(s.map.data(), s.desired, sizeof(*s.desired)),
                         word_at(s.map.data(), &s.desired->generation)},
                        1, ~0ULL);
        const auto begun = std::chrono::steady_clock::now();
        std::size_t unprintable = 0, names = 0;
        for (int n = 0; n < 500; n++) {
            names += ethtool_names(s, unprintable);
            s.complete_all();
            (void)s.publish();
        }
        const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(
            std::chrono::steady_clock::now() - begun);
        mutator.stop();
        return fmt::format(
            "{}{} names in {} ms against {} changes, {} that a terminal obeys",
            names == 500 * UDRV_NET_MAX_STATS && took.count() < 20'000 && unprintable == 0 ? ""
                                                                                           : "!",
            names, took.count(), mutator.count(), unprintable);
    });
    survives(address, "state: what it writes to the desired state is not believed",
             [](NetSession& s) {
                 std::memset(s.desired, 0xff, sizeof(*s.desired));
                 const std::string up = fmt::format("ip link set {} mtu 1404", s.layout.name);
                 const int status = std::system(up.c_str());
                 const bool good = status == 0 && s.desired->mtu == 1404 && s.desired->up == 1 &&
                                   s.desired->nr_multicast <= UDRV_NET_MAX_MULTICAST &&
                                   (s.desired->generation & 1) == 0;
                 return fmt::format("{}mtu {}, generation {}", good ? "" : "!", s.desired->mtu,
                                    s.desired->generation);
             });
    survives(address, "state: need_wakeup of the kernel overwritten", [](NetSession& s) {
        Mutator mutator(s.map.data(), {word_at(s.map.data(), s.wakeup, sizeof(*s.wakeup))}, 1,
                        ~0ULL);
        std::uint32_t packets = 0;
        for (int n = 0; n < 2000; n++) {
            for (std::uint32_t id = 0; s.take(id); packets++) {
                s.complete(id);
            }
            (void)s.publish();
        }
        mutator.stop();
        return fmt::format("{} packets", packets);
    });
    NetSession s(address);
    udrv_attach again{};
    again.kind = UDRV_PORT_NET;
    udrv_net_attach shape = net_shape();
    shape.size = sizeof(shape);
    again.arg = reinterpret_cast<std::uintptr_t>(&shape);
    check_errno("attach: twice", udrv::call(s.device.fd(), UDRV_IOC_ATTACH, again), EBUSY);
    check_errno("map: longer than the rings",
                ::mmap(nullptr, s.layout.map_bytes + page_bytes, PROT_READ, MAP_SHARED,
                       s.device.fd(), static_cast<off_t>(UDRV_MMAP_PORT)) == MAP_FAILED
                    ? -1
                    : 0,
                EINVAL);
}

void attach_rows(const udrv::PciAddress& address) {
    const auto refused = [&](const std::string& name, auto&& change) {
        udrv_net_attach shape = net_shape();
        change(shape);
        try {
            const NetSession s(address, shape);
            report(false, "attach: " + name, "it was taken");
        } catch (const udrv::Error& error) {
            report(error.code().value() == EINVAL, "attach: " + name, error.code().message());
        }
    };
    refused("a depth of 2^31", [](auto& a) { a.tx_depth = 1U << 31; });
    refused("a depth that is no power of two", [](auto& a) { a.rx_depth = 100; });
    refused("no depth", [](auto& a) { a.rx_depth = 0; });
    refused("buffers over their page", [](auto& a) { a.rx_buf_bytes = UDRV_NET_MAX_BUF + 1; });
    refused("no queue", [](auto& a) { a.nr_queues = 0; });
    refused("more queues than there may be",
            [](auto& a) { a.nr_queues = UDRV_NET_MAX_QUEUES + 1; });
    refused("four billion queues", [](auto& a) { a.nr_queues = ~0U; });
    refused("a queue's vector that is not there", [](auto& a) {
        a.nr_queues = 2;
        a.queues[1].vector = 7;
    });
    refused("a reserved field of a queue", [](auto& a) {
        a.nr_queues = 2;
        a.queues[1].reserved[1] = 1;
    });
    refused("a vector that is not there", [](auto& a) { a.vector = 7; });
    refused("an unknown feature", [](auto& a) { a.features |= 1U << 31; });
    refused("fewer features than the interface promised", [](auto& a) { a.features = 0; });
    refused("an MTU below the interface's", [](auto& a) { a.max_mtu = 68; });
    // The interface's is 1,500 now, but anybody may make it larger at any time.
    refused("a largest MTU below the one that the interface promised",
            [](auto& a) { a.max_mtu = 4000; });
    refused("a TSO limit that no packet fits", [](auto& a) { a.max_tso_bytes = 1; });
    refused("more addresses than there is room for",
            [](auto& a) { a.max_unicast = UDRV_NET_MAX_UNICAST + 1; });
    refused("more counters than there is room for",
            [](auto& a) { a.nr_stats = UDRV_NET_MAX_STATS + 1; });
    refused("a counter without a name", [](auto& a) { a.stat_names[0][0] = 0; });
    refused("a counter's name without an end",
            [](auto& a) { std::memset(a.stat_names[3], 'x', UDRV_NET_STAT_LEN); });
    refused("a driver's name without an end",
            [](auto& a) { std::memset(a.driver, 'x', sizeof(a.driver)); });
    refused("a broadcast address of its own", [](auto& a) { std::memset(a.mac, 0xff, 6); });
    refused("a reserved field", [](auto& a) { a.reserved0 = 1; });
    refused("an unknown flag", [](auto& a) { a.flags = UDRV_NET_ATTACH_ALL + 1; });
}

} // namespace

void net_rows(const udrv::PciAddress& address) {
    survive_bus_errors();
    entry_rows(address, 1);
    entry_rows(address, 2);
    packet_rows(address);
    state_rows(address);
    attach_rows(address);
}
