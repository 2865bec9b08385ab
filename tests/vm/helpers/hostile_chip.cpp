// SPDX-License-Identifier: MIT
//
// hostile_chip BDF MUTATIONS [SEED]: the honest driver of an e1000, on real traffic,
// with a second thread in its process that mutates what it shares with the kernel. So
// the lies are about packets that are there; and descriptors that changed send the chip
// to addresses that it was not given: only behind an IOMMU. One process a session, which
// ends by a violation, by time, or by a signal at any moment.
#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>

#include <sys/prctl.h>
#include <sys/wait.h>

#include "drivers/e1000/e1000.hpp"
#include "hostile.hpp"
#include "libudrv/error.hpp"
#include "libudrv/net/net_service.hpp"

namespace {

using namespace hostile;

struct Shared {
    std::atomic<std::uint64_t> mutations;
};
Shared* shared = nullptr;

/// Where the parts of the shared map are, for rings of 256 entries.
struct Layout {
    struct Part {
        std::size_t offset, bytes;
    };
    std::size_t end = 0;
    Part place(std::size_t bytes) {
        const std::size_t offset = (end + 127) / 128 * 128;
        end = offset + bytes;
        return {offset, bytes};
    }
    template <typename T>
    Part ring() {
        return place(sizeof(udrv_ring_header) + 256 * sizeof(T));
    }
    Part desired = place(sizeof(udrv_net_desired));
    Part published = place(sizeof(udrv_net_published));
    Part wakeup = place(sizeof(udrv_need_wakeup));
    Part tx = ring<udrv_net_tx>();
    Part completion = ring<udrv_net_completion>();
    Part fill = ring<udrv_net_fill>();
    Part rx = ring<udrv_net_rx>();
};

/// The entries of a ring without its indices.
Target entries(const Layout::Part& part) {
    return {part.offset + sizeof(udrv_ring_header), part.bytes - sizeof(udrv_ring_header)};
}

std::vector<Target> targets(const Layout& layout, std::uint32_t theme) {
    switch (theme) {
    case 0:
        return {entries(layout.rx)};
    case 1:
        return {entries(layout.completion)};
    case 2:
        return {entries(layout.tx)};
    case 3:
        return {entries(layout.fill)};
    case 4:
        return {{layout.desired.offset, sizeof(udrv_net_desired)},
                {layout.published.offset, layout.published.bytes},
                {layout.wakeup.offset, layout.wakeup.bytes}};
    default:
        return {{0, layout.end / 4 * 4}};
    }
}

/// Exits with 0 (time is up) or 3 (the kernel ended the session).
int session(const udrv::PciAddress& address, std::uint32_t theme, Random& random) {
    udrv::Device device(address);
    device.dma_bits(32);
    udrv::BarMapping regs = device.map_bar(0);
    udrv::e1000::E1000 chip(regs, device);
    chip.quiet();
    chip.init();
    device.bus_master(true);
    udrv::NetPort port(device, chip.capabilities(), {});
    const udrv::IrqFile irq = device.open_irq(0);
    const auto waiter = udrv::make_waiter({}, {&irq, 1});
    udrv::Reporter reporter({"hostile", address.str(), port.name()}, "");
    reporter.start();
    udrv::NetService<udrv::e1000::E1000> service(chip, port, *waiter, reporter, 2);
    service.start();

    const Layout layout;
    const udrv::MemoryMap map =
        device.map_port((layout.end + page_bytes - 1) / page_bytes * page_bytes);
    std::atomic<bool> stop{false};
    std::thread thread([&, seed = random.next()] {
        Random own(seed);
        const auto list = targets(layout, theme);
        ::usleep(1'300'000); // the model receives nothing for a second after its start
        const auto end =
            std::chrono::steady_clock::now() + std::chrono::milliseconds(100 + own.below(900));
        while (!stop && std::chrono::steady_clock::now() < end) {
            for (int n = 0; n < 10; n++) {
                mutate(map.data(), list[own.below(static_cast<std::uint32_t>(list.size()))], own);
            }
            shared->mutations += 10;
            ::usleep(100 + own.below(400));
        }
        ::kill(::getpid(), own.one_in(2) ? SIGTERM : SIGKILL);
    });
    int status = 0;
    try {
        service.run();
    } catch (const udrv::Error&) {
        status = 3;
    }
    stop = true;
    ::_exit(status); // as it is, with the thread at work
}

} // namespace

int main(int argc, char** argv) {
    if (argc < 3) {
        std::fprintf(stderr, "usage: hostile_chip BDF MUTATIONS [SEED]\n");
        return 2;
    }
    void* at =
        ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) {
        return 1;
    }
    shared = static_cast<Shared*>(at);
    const auto [address, wanted, seed] = Arguments(argc, argv);
    fmt::print("seed {}\n", seed);
    std::fflush(stdout);
    Random random(seed);
    if (attribute(address, "iommu") != 1) {
        report(false, "an IOMMU confines the device");
        return 1;
    }
    std::uint64_t sessions = 0, stopped = 0, over = 0, killed = 0, violated = 0, other = 0;
    while (shared->mutations < wanted) {
        const auto violations = attribute(address, "violations");
        const auto theme = static_cast<std::uint32_t>(sessions % 6);
        const std::uint64_t own = random.next();
        const pid_t child = ::fork();
        if (child == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            survive_bus_errors();
            Random mine(own);
            try {
                return session(address, theme, mine);
            } catch (const std::exception& error) {
                fmt::print("note: {}\n", error.what());
                std::fflush(stdout);
                ::_exit(4);
            }
        }
        int status = 0;
        ::waitpid(child, &status, 0);
        sessions++;
        stopped += WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 1U : 0U;
        over += WIFEXITED(status) && WEXITSTATUS(status) == 3 ? 1U : 0U;
        killed += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? 1U : 0U;
        other += WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL ? 1U : 0U;
        violated += attribute(address, "violations") > violations ? 1U : 0U;
    }
    fmt::print(
        "total: {} sessions {} mutations {} violated {} over {} stopped {} killed {} crashed\n",
        sessions, shared->mutations.load(), violated, over, stopped, killed, other);
    report(violated > 0, "some sessions were violated");
    return failures == 0 ? 0 : 1;
}
