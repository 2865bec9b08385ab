// SPDX-License-Identifier: MIT
//
// queue_probe send INTERFACE COUNT: frames of an unknown protocol, each as soon as there is
//     room for it; exits when all are handed over.
// queue_probe listen INTERFACE QUEUES COUNT: counts the frames that come by each receive queue
//     with the hash 0x51000000 + the queue's number, as socket filters see them; prints the counts
//     when there are so many, or at SIGTERM.
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

constexpr std::uint16_t protocol = 0x88b5; // of IEEE, for local experiments
constexpr std::uint32_t hash_base = 0x51000000;

int packet_socket(const char* interface, int protocols) {
    const int fd =
        ::socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(static_cast<std::uint16_t>(protocols)));
    sockaddr_ll here{};
    here.sll_family = AF_PACKET;
    here.sll_protocol = htons(static_cast<std::uint16_t>(protocols));
    here.sll_ifindex = static_cast<int>(::if_nametoindex(interface));
    if (fd < 0 || here.sll_ifindex == 0 ||
        ::bind(fd, reinterpret_cast<const sockaddr*>(&here), sizeof(here)) < 0) {
        std::perror(interface);
        std::exit(1);
    }
    return fd;
}

int send_frames(const char* interface, long count) {
    const int fd = packet_socket(interface, 0); // receives nothing
    std::array<unsigned char, 200> frame{};
    std::memset(frame.data(), 0xff, 6);
    frame[6] = 0x52;
    frame[12] = protocol >> 8;
    frame[13] = protocol & 0xff;
    while (count > 0) {
        if (::send(fd, frame.data(), frame.size(), 0) >= 0) {
            count--;
            continue;
        }
        if (errno != EAGAIN && errno != ENOBUFS) {
            return 1;
        }
        pollfd room{fd, POLLOUT, 0};
        ::poll(&room, 1, errno == EAGAIN ? 1000 : 1); // ENOBUFS: the queue is full
    }
    return 0;
}

/// Takes frames that came by `queue` with its hash, and no others.
void filter(int fd, std::uint32_t queue) {
    const auto ancillary = [](std::uint32_t what) {
        return static_cast<std::uint32_t>(SKF_AD_OFF) + what;
    };
    std::array<sock_filter, 8> code{{
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ancillary(SKF_AD_PKTTYPE)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 5, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ancillary(SKF_AD_QUEUE)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, queue + 1, 0, 3), // as recorded: 0 is none
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ancillary(SKF_AD_RXHASH)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, hash_base + queue, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
    }};
    const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
    const int bytes = 64 << 20;
    if (::setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ||
        ::setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0) {
        std::perror("filter");
        std::exit(1);
    }
}

volatile std::sig_atomic_t stop = 0;

int listen(const char* interface, std::uint32_t queues, long wanted) {
    std::vector<pollfd> sockets;
    std::vector<long> counts(queues);
    for (std::uint32_t n = 0; n < queues; n++) {
        sockets.push_back({packet_socket(interface, ETH_P_ALL), POLLIN, 0});
        filter(sockets.back().fd, n);
    }
    std::printf("listening\n");
    std::fflush(stdout);
    struct sigaction action {};
    action.sa_handler = [](int) { stop = 1; };
    ::sigaction(SIGTERM, &action, nullptr);
    long all = 0;
    // What is there when the signal comes is still counted.
    for (bool last = false; !last && all < wanted;) {
        last = stop != 0;
        ::poll(sockets.data(), sockets.size(), 100);
        for (std::uint32_t n = 0; n < queues; n++) {
            char byte = 0;
            while (::recv(sockets[n].fd, &byte, 1, 0) >= 0) {
                counts[n]++;
                all++;
            }
        }
    }
    for (std::uint32_t n = 0; n < queues; n++) {
        std::printf("queue %u hash %#x: %ld\n", n, hash_base + n, counts[n]);
    }
    return 0;
}

} // namespace

int main(int argc, char** argv) {
    const std::string what = argc > 3 ? argv[1] : "";
    if (what == "send") {
        return send_frames(argv[2], std::atol(argv[3]));
    }
    if (what == "listen" && argc == 5) {
        return listen(argv[2], static_cast<std::uint32_t>(std::atol(argv[3])), std::atol(argv[4]));
    }
    std::fprintf(stderr,
                 "usage: queue_probe send INTERFACE COUNT | listen INTERFACE QUEUES COUNT\n");
    return 2;
}
