// SPDX-License-Identifier: MIT
//
// Our ring against boost::lockfree::spsc_queue, on the same work:
//   build/bin/ring_bench
// The wide entry is a network descriptor of 32 bytes, the narrow one of 8.
#include <array>
#include <atomic>
#include <thread>

#include <benchmark/benchmark.h>
#include <boost/lockfree/spsc_queue.hpp>

#include "libudrv/rings/barrier.hpp"
#include "libudrv/rings/ring.hpp"
#include <udrv/net.h>

namespace {

using udrv::RingConsumer;
using udrv::RingProducer;

constexpr std::uint32_t depth = 512;
constexpr std::size_t batch = 32;

/// Both have push/pop of one and of many, returning how many.
template <typename T>
class Ours {
  public:
    bool push(const T& entry) { return producer_.push(entry); }
    bool pop(T& entry) { return consumer_.pop(entry); }
    std::size_t push(const T* entries, std::size_t count) {
        return producer_.push(std::span(entries, count));
    }
    std::size_t pop(T* entries, std::size_t count) {
        return consumer_.pop(std::span(entries, count));
    }

  private:
    // As the kernel lays it out: the header, then the entries, in whole pages.
    alignas(4096) udrv_ring_header header_{};
    std::array<T, depth> entries_{};
    alignas(128) RingProducer<T> producer_{&header_, entries_.data(), depth};
    alignas(128) RingConsumer<T> consumer_{&header_, entries_.data(), depth};
};

template <typename T>
using Boost = boost::lockfree::spsc_queue<T>;

template <template <typename> class Queue, typename T>
struct Make {
    Queue<T> queue;
};
template <typename T>
struct Make<Boost, T> {
    Boost<T> queue{depth};
};

template <template <typename> class Queue, typename T>
void single_push_pop(benchmark::State& state) {
    Make<Queue, T> made;
    T entry{};
    for (auto _ : state) {
        benchmark::DoNotOptimize(made.queue.push(entry));
        benchmark::DoNotOptimize(made.queue.pop(entry));
        benchmark::ClobberMemory();
    }
    state.SetItemsProcessed(state.iterations());
}

template <template <typename> class Queue, typename T>
void batch_push_pop(benchmark::State& state) {
    Make<Queue, T> made;
    std::array<T, batch> entries{};
    for (auto _ : state) {
        benchmark::DoNotOptimize(made.queue.push(entries.data(), batch));
        benchmark::DoNotOptimize(made.queue.pop(entries.data(), batch));
        benchmark::ClobberMemory();
    }
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(batch));
}

/// A second thread pops what this one pushes; `count` entries a call.
template <template <typename> class Queue, typename T, std::size_t Count>
void two_threads(benchmark::State& state) {
    Make<Queue, T> made;
    std::atomic<bool> done{false};
    std::thread consumer([&] {
        std::array<T, Count> out{};
        std::size_t idle = 0;
        while (!done.load(std::memory_order_relaxed)) {
            std::size_t got = 0;
            if constexpr (Count == 1) {
                got = made.queue.pop(out[0]) ? 1 : 0;
            } else {
                got = made.queue.pop(out.data(), Count);
            }
            if (got != 0) {
                idle = 0;
            } else if (++idle % 1024 == 0) {
                std::this_thread::yield();
            } else {
                udrv::cpu_relax();
            }
        }
    });
    std::array<T, Count> entries{};
    std::int64_t pushed = 0;
    for (auto _ : state) {
        std::size_t idle = 0;
        std::size_t sent = 0;
        while (sent < Count) {
            std::size_t now = 0;
            if constexpr (Count == 1) {
                now = made.queue.push(entries[0]) ? 1 : 0;
            } else {
                now = made.queue.push(entries.data() + sent, Count - sent);
            }
            sent += now;
            if (now == 0 && ++idle % 1024 == 0) {
                std::this_thread::yield();
            } else if (now == 0) {
                udrv::cpu_relax();
            }
        }
        pushed += static_cast<std::int64_t>(Count);
    }
    done = true;
    consumer.join();
    state.SetItemsProcessed(pushed);
}

using Narrow = udrv_net_completion;
using Wide = udrv_net_tx;

BENCHMARK(single_push_pop<Ours, Narrow>)->Name("single/narrow/udrv");
BENCHMARK(single_push_pop<Boost, Narrow>)->Name("single/narrow/boost");
BENCHMARK(single_push_pop<Ours, Wide>)->Name("single/wide/udrv");
BENCHMARK(single_push_pop<Boost, Wide>)->Name("single/wide/boost");
BENCHMARK(batch_push_pop<Ours, Narrow>)->Name("batch32/narrow/udrv");
BENCHMARK(batch_push_pop<Boost, Narrow>)->Name("batch32/narrow/boost");
BENCHMARK(batch_push_pop<Ours, Wide>)->Name("batch32/wide/udrv");
BENCHMARK(batch_push_pop<Boost, Wide>)->Name("batch32/wide/boost");
BENCHMARK(two_threads<Ours, Wide, 1>)->Name("threads/single/udrv")->UseRealTime();
BENCHMARK(two_threads<Boost, Wide, 1>)->Name("threads/single/boost")->UseRealTime();
BENCHMARK(two_threads<Ours, Wide, batch>)->Name("threads/batch32/udrv")->UseRealTime();
BENCHMARK(two_threads<Boost, Wide, batch>)->Name("threads/batch32/boost")->UseRealTime();

} // namespace

BENCHMARK_MAIN();
