// SPDX-License-Identifier: MIT
//
// neighbours BDF trusted|untrusted: a network driver on an e1000 that is handed packets
// to send, and has the chip read all of the pages that their segments lie on. The packets
// are of another process, from the middle of a page that is full of a secret otherwise,
// without a copy; their headers stand among other memory of the kernel. The payload has
// to be seen; the rest of the pages is seen if the driver is trusted, and must not be if it
// is not. Needs an IOMMU; makes udn0 and sets it up.
#include <array>
#include <cstdlib>
#include <string_view>
#include <vector>

#include <arpa/inet.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "hostile_e1000.hpp"
#include "hostile_net.hpp"
#include "libudrv/error.hpp"

namespace {

using namespace hostile;

constexpr std::size_t payload_at = 1536;
constexpr std::uint32_t payload_bytes = 500;
constexpr std::byte payload_byte{0x21};
constexpr std::byte secret_byte{0x5e};
constexpr std::uint32_t wanted_packets = 20;

/// Another process, with no file of ours: sends for as long as it lives.
[[noreturn]] void send_forever() {
    (void)!std::system("ip addr replace 10.0.0.1/24 dev udn0; ip link set udn0 up;"
                       "ip neigh replace 10.0.0.2 lladdr 52:54:00:00:00:02 dev udn0 nud permanent");
    void* at =
        ::mmap(nullptr, page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    std::memset(at, static_cast<int>(secret_byte), page_bytes);
    std::byte* payload = static_cast<std::byte*>(at) + payload_at;
    std::memset(payload, static_cast<int>(payload_byte), payload_bytes);
    const int fd = ::socket(AF_INET, SOCK_DGRAM, 0);
    const int on = 1;
    ::setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof(on));
    sockaddr_in peer{};
    peer.sin_family = AF_INET;
    peer.sin_port = htons(9);
    ::inet_pton(AF_INET, "10.0.0.2", &peer.sin_addr);
    const void* where = &peer;
    while (true) {
        (void)::sendto(fd, payload, payload_bytes, MSG_ZEROCOPY,
                       static_cast<const sockaddr*>(where), sizeof(peer));
        std::array<char, 512> control{}; // the notices that it was sent
        msghdr notice{};
        notice.msg_control = control.data();
        notice.msg_controllen = control.size();
        (void)::recvmsg(fd, &notice, MSG_ERRQUEUE | MSG_DONTWAIT);
        ::usleep(2000);
    }
}

struct Seen {
    std::uint64_t pages = 0, payload = 0, foreign = 0, secret = 0;
};

/// All of the page on which a segment begins.
void look(LoopbackChip& chip, const udrv_net_tx& segment, Seen& seen) {
    std::array<std::byte, page_bytes> page{};
    const std::uint64_t begin = segment.dma_addr & (page_bytes - 1);
    const std::uint64_t end = begin + segment.len_bytes;
    chip.read_page(segment.dma_addr - begin, page.data());
    for (std::size_t n = 0; n < page_bytes; n++) {
        const bool own = n >= begin && n < end;
        seen.payload += own && page[n] == payload_byte ? 1U : 0U;
        seen.foreign += !own && page[n] != std::byte{} ? 1U : 0U;
        seen.secret += !own && page[n] == secret_byte ? 1U : 0U;
    }
    seen.pages++;
}

int run(const udrv::PciAddress& address, bool untrusted) {
    std::array<int, 2> start{};
    (void)!::pipe(start.data());
    const pid_t sender = ::fork(); // before the device is open
    if (sender == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        char go = 0;
        (void)!::read(start[0], &go, 1);
        send_forever();
    }
    NetSession session(address);
    report((session.device.info().flags & UDRV_DEV_IOMMU) != 0, "an IOMMU confines the device");
    check_eq("untrusted", attribute(address, "untrusted"), untrusted ? 1 : 0);
    LoopbackChip chip(session.device);
    (void)session.publish();
    (void)!::write(start[1], "", 1);

    Seen heads, payloads;
    for (std::uint32_t packets = 0; packets < wanted_packets;) {
        std::vector<udrv_net_tx> packet;
        const bool came =
            wait_until(60'000, [&] { return session.tx.waiting() || !session.publish(); });
        while (session.tx.waiting() &&
               (packet.empty() || (packet.back().flags & UDRV_NET_TX_EOP) == 0)) {
            packet.push_back(session.tx.get(session.tx.index));
            ++session.tx.index;
        }
        if (!came || packet.empty()) {
            report(false, "packets come");
            break;
        }
        for (const udrv_net_tx& segment : packet) {
            const bool payload = packet.size() == 2 && segment.len_bytes == payload_bytes;
            look(chip, segment, payload ? payloads : heads);
            packets += payload ? 1U : 0U;
        }
        session.complete(packet.front().id);
        (void)session.publish();
    }
    ::kill(sender, SIGKILL);
    ::waitpid(sender, nullptr, 0);
    check_eq("bytes of payloads that the chip reads", payloads.payload,
             std::uint64_t{wanted_packets} * payload_bytes);
    fmt::print("total: {} pages {} foreign {} secret {} headpages {} headforeign\n", payloads.pages,
               payloads.foreign, payloads.secret, heads.pages, heads.foreign);
    if (untrusted) {
        check_eq("bytes around payloads", payloads.foreign, 0);
        check_eq("bytes around heads", heads.foreign, 0);
    } else { // the control: that there is something to see
        check_eq("secret bytes around payloads, trusted", payloads.secret,
                 std::uint64_t{wanted_packets} * (page_bytes - payload_bytes));
        report(heads.foreign > 0, "bytes around heads, trusted", fmt::format("{}", heads.foreign));
    }
    return failures == 0 ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
    if (argc != 3) {
        std::fprintf(stderr, "usage: neighbours BDF trusted|untrusted\n");
        return 2;
    }
    try {
        return run(udrv::PciAddress::parse(argv[1]), std::string_view(argv[2]) == "untrusted");
    } catch (const std::exception& error) {
        fmt::print("FAIL: {}\n", error.what());
        return 1;
    }
}
