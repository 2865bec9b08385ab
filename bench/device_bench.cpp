// SPDX-License-Identifier: MIT
//
// What crossing into udrv.ko costs: mapping memory, an interrupt on its way to a
// sleeping process, a doorbell likewise. On QEMU's edu device, bound to udrv:
//
//   bench/micro          boots a machine with one and runs this there
//   device_bench BDF [GOOGLE-BENCHMARK-OPTION]...
#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include <benchmark/benchmark.h>
#include <cerrno>
#include <fmt/format.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "libudrv/device/device.hpp"
#include "libudrv/device/dma_mapping.hpp"
#include "libudrv/error.hpp"
#include "libudrv/net/net_port.hpp"

namespace {

using namespace udrv;
using Clock = std::chrono::steady_clock;

constexpr Register<std::uint32_t> irq_status{0x24}; // edu's registers, see drivers/edu
constexpr Register<std::uint32_t> irq_raise{0x60};
constexpr Register<std::uint32_t> irq_ack{0x64};
constexpr std::size_t page_bytes = 4096;
constexpr std::uint32_t both_ways = UDRV_DMA_TO_DEVICE | UDRV_DMA_FROM_DEVICE;

std::unique_ptr<Device> device; ///< for all benchmarks; the chip's DMA is never started

// ---- DMA ------------------------------------------------------------------------

/// One region of `range` pages: mapped, unmapped.
void map_unmap(benchmark::State& state) {
    const auto len_bytes = static_cast<std::size_t>(state.range(0)) * page_bytes;
    const DmaBuffer memory(len_bytes);
    for (auto _ : state) {
        const DmaMapping mapping(*device, memory.bytes().first(len_bytes), both_ways);
        benchmark::DoNotOptimize(mapping.segments().data());
    }
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(len_bytes));
}

/// The paper's exchange: `range` pages unmapped and as many others mapped, in one call.
void exchange(benchmark::State& state) {
    const auto count = static_cast<std::size_t>(state.range(0));
    const DmaBuffer memory(2 * count * page_bytes);
    std::array<std::vector<std::span<std::byte>>, 2> pages;
    for (std::size_t n = 0; n < 2 * count; ++n) {
        pages[n / count].push_back(memory.bytes().subspan(n * page_bytes, page_bytes));
    }
    std::vector<DmaMapping> mapped = DmaMapping::exchange(*device, {}, pages[0], both_ways);
    std::size_t next = 1;
    for (auto _ : state) {
        mapped = DmaMapping::exchange(*device, mapped, pages[next], both_ways);
        next ^= 1U;
    }
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(count));
}

// ---- Interrupts and doorbells -------------------------------------------------------

/// A thread that sleeps in the IRQ file and notes when it woke.
class Sleeper {
  public:
    template <typename Awake>
    Sleeper(const IrqFile& irq, Awake awake)
        : thread_([this, &irq, awake](const std::stop_token& stop) {
              while (!stop.stop_requested()) {
                  const auto events = irq.wait();
                  const std::int64_t now = Clock::now().time_since_epoch().count();
                  if (events) {
                      awake();
                      woke_.store(now, std::memory_order_release);
                  }
              }
          }) {}

    /// Seconds from the start of `ring` until the thread was awake. Beforehand it gets
    /// the time to fall asleep.
    template <typename Ring>
    double latency(Ring ring) {
        std::this_thread::sleep_for(std::chrono::microseconds{500});
        woke_.store(0, std::memory_order_relaxed);
        const auto start = Clock::now();
        ring();
        while (woke_.load(std::memory_order_acquire) == 0) {
            std::this_thread::yield();
            if (Clock::now() - start > std::chrono::seconds{2}) {
                throw_error(ETIMEDOUT, "wake the driver", "it sleeps on after 2 s");
            }
        }
        const std::chrono::nanoseconds took{woke_.load(std::memory_order_relaxed) -
                                            start.time_since_epoch().count()};
        return std::chrono::duration<double>(took).count();
    }
    void stop() { thread_.request_stop(); }

  private:
    std::atomic<std::int64_t> woke_{0};
    std::jthread thread_;
};

void interrupt_to_user(benchmark::State& state) {
    const IrqFile irq = device->open_irq(0);
    BarMapping registers = device->map_bar(0);
    Sleeper sleeper(irq, [&registers] { irq_ack.write(registers, irq_status.read(registers)); });
    for (auto _ : state) {
        state.SetIterationTime(sleeper.latency([&registers] { irq_raise.write(registers, 1); }));
    }
    sleeper.stop();
    irq_raise.write(registers, 1); // the last wait
}

std::unique_ptr<NetPort> attach_port() {
    NetCapabilities capabilities{};
    capabilities.mac = {0x52, 0x54, 0, 0, 1, 1};
    capabilities.tx_depth = UDRV_NET_MIN_DEPTH;
    capabilities.rx_depth = UDRV_NET_MIN_DEPTH;
    capabilities.rx_buf_bytes = UDRV_NET_MAX_BUF;
    capabilities.tx_max_segments = 1;
    capabilities.max_mtu = 1500;
    return std::make_unique<NetPort>(*device, capabilities, NetPortOptions{});
}

/// The kernel wants something of the driver: an ioctl that changes the desired state.
void doorbell_to_driver(benchmark::State& state) {
    // A session attaches once, but this function is called several times.
    static const std::unique_ptr<NetPort> attached = attach_port();
    NetPort& port = *attached;
    const IrqFile irq = device->open_irq(0);
    const FileDescriptor control(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{};
    port.name().copy(request.ifr_name, IFNAMSIZ - 1);
    const auto set_flags = [&](int flags) {
        request.ifr_flags = static_cast<short>(flags);
        if (::ioctl(control.value(), SIOCSIFFLAGS, &request) < 0) {
            throw_errno(errno, "set the flags of " + port.name());
        }
    };
    set_flags(IFF_UP);
    Sleeper sleeper(irq, [&port] { port.queues[0].sleep.announce(); });
    port.queues[0].sleep.announce();
    bool promiscuous = false;
    for (auto _ : state) {
        promiscuous = !promiscuous;
        state.SetIterationTime(
            sleeper.latency([&] { set_flags(IFF_UP | (promiscuous ? IFF_PROMISC : 0)); }));
    }
    sleeper.stop();
    set_flags(0); // the last wait
}

BENCHMARK(map_unmap)->Name("dma/map+unmap/pages")->Arg(1)->Arg(64)->Arg(512);
BENCHMARK(exchange)->Name("dma/exchange/pages")->Arg(1)->Arg(64)->Arg(256);
BENCHMARK(interrupt_to_user)->Name("irq_to_user")->UseManualTime();
BENCHMARK(doorbell_to_driver)->Name("doorbell_to_driver")->UseManualTime();

} // namespace

int main(int argc, char** argv) try {
    if (argc < 2 || argv[1][0] == '-') {
        fmt::print(stderr, "usage: device_bench BDF [GOOGLE-BENCHMARK-OPTION]...\n");
        return 2;
    }
    device = std::make_unique<Device>(PciAddress::parse(argv[1]));
    device->dma_bits(64);
    argv[1] = argv[0];
    int count = argc - 1;
    benchmark::Initialize(&count, argv + 1);
    benchmark::RunSpecifiedBenchmarks();
    device.reset();
    return 0;
} catch (const std::exception& error) {
    fmt::print(stderr, "device_bench: {}\n", error.what());
    return 1;
}
