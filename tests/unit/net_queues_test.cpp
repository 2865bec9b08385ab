// SPDX-License-Identifier: MIT
//
// Interfaces of several queues: one thread for all, and a thread each.
#include <array>
#include <atomic>
#include <csignal>
#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "libudrv/net/net_serve.hpp"
#include "libudrv/net/net_service.hpp"
#include "tests/unit/fake_net.hpp"
#include "tests/unit/fake_waiter.hpp"

namespace udrv {
namespace {

using test::FakeChip;
using test::FakeKernel;
using test::ScriptedWaiter;
using test::SemaphoreWaiter;

/// A queue that knows whether a thread is in it.
class WatchedQueue {
  public:
    explicit WatchedQueue(std::uint32_t depth) : chip_(depth) {}
    std::size_t rx_provide(std::span<const udrv_net_fill> fill) {
        const Inside inside(*this);
        return chip_.rx_provide(fill);
    }
    std::size_t rx_return(std::span<udrv_net_rx> rx) {
        const Inside inside(*this);
        return chip_.rx_return(rx);
    }
    std::size_t tx_provide(std::span<const udrv_net_tx> tx) {
        const Inside inside(*this);
        return chip_.tx_provide(tx);
    }
    std::size_t tx_return(std::span<udrv_net_completion> completion) {
        const Inside inside(*this);
        return chip_.tx_return(completion);
    }
    [[nodiscard]] bool arm() {
        const Inside inside(*this);
        return chip_.arm();
    }

    std::atomic<int> threads{0};
    std::atomic<bool> shared{false}; ///< two threads were in it at once
    int touched = 0;                 ///< not atomic: ThreadSanitizer sees who is not kept out

  private:
    struct Inside {
        explicit Inside(WatchedQueue& queue) : queue_(queue) {
            if (queue_.threads.fetch_add(1) != 0) {
                queue_.shared = true;
            }
            ++queue_.touched;
        }
        ~Inside() { queue_.threads.fetch_sub(1); }
        WatchedQueue& queue_;
    };
    FakeChip chip_;
};

class FakeQueuesChip {
  public:
    FakeQueuesChip(unsigned nr_queues, std::uint32_t depth) {
        capabilities_.nr_queues = nr_queues;
        capabilities_.tx_depth = depth;
        capabilities_.rx_depth = depth;
        capabilities_.tx_max_segments = 8;
        for (unsigned n = 0; n < nr_queues; ++n) {
            queues.push_back(std::make_unique<WatchedQueue>(depth));
        }
    }
    [[nodiscard]] const NetCapabilities& capabilities() const { return capabilities_; }
    [[nodiscard]] WatchedQueue& queue(unsigned n) { return *queues[n]; }
    void route(unsigned /*queue*/, std::uint32_t /*vector*/) {}
    void apply(const udrv_net_desired& /*desired*/) {
        ++applies;
        look();
    }
    [[nodiscard]] NetCause interrupt() { return {true, false}; }
    [[nodiscard]] NetLink link() {
        look();
        return {true, true, 1000};
    }
    [[nodiscard]] static std::span<const std::string_view> stat_names() { return {}; }
    void read_stats(std::span<std::uint64_t> /*stats*/) { look(); }
    void read_counters(udrv_net_counters& /*counters*/) const {}
    void read_registers(std::span<udrv_net_register> /*registers*/) { look(); }
    void stop() { look(); }

    std::vector<std::unique_ptr<WatchedQueue>> queues;
    std::atomic<int> applies{0};
    bool disturbed = false; ///< a thread was in a queue while we were called

  private:
    void look() {
        for (const auto& queue : queues) {
            disturbed = disturbed || queue->threads != 0;
            ++queue->touched;
        }
    }
    NetCapabilities capabilities_;
};

static_assert(NetChip<FakeQueuesChip> && MultiQueueNetChip<FakeQueuesChip>);
static_assert(!MultiQueueNetChip<FakeChip>);

udrv_net_tx packet(std::uint32_t id) {
    udrv_net_tx entry{};
    entry.id = id;
    entry.flags = UDRV_NET_TX_EOP;
    return entry;
}

TEST(NetThreads, QueuesAreSpreadOverVectorsAndProcessors) {
    cpu_set_t all;
    CPU_ZERO(&all);
    for (const unsigned cpu : {1U, 2U, 3U, 5U}) {
        CPU_SET(cpu, &all);
    }
    const auto list = [](const cpu_set_t& set) {
        std::vector<unsigned> cpus;
        for (unsigned cpu = 0; cpu < 8; ++cpu) {
            if (CPU_ISSET(cpu, &set)) {
                cpus.push_back(cpu);
            }
        }
        return cpus;
    };
    const NetThreads four(4, 4, 8);
    EXPECT_EQ(four.nr_threads, 4U);
    EXPECT_EQ(four.queue_vectors, (std::vector<std::uint32_t>{0, 1, 2, 3}));
    EXPECT_EQ(list(four.processors(all, 3)), (std::vector<unsigned>{5}));
    // More queues than threads: the processors of queues 0 and 2 run thread 0.
    const NetThreads two(4, 2, 8);
    EXPECT_EQ(two.queue_vectors, (std::vector<std::uint32_t>{0, 1, 0, 1}));
    EXPECT_EQ(list(two.processors(all, 0)), (std::vector<unsigned>{1, 3}));
    EXPECT_EQ(list(two.processors(all, 1)), (std::vector<unsigned>{2, 5}));
    // More processors than queues: as the kernel shares them out.
    const NetThreads few(2, 8, 2);
    EXPECT_EQ(list(few.processors(all, 0)), (std::vector<unsigned>{1, 3}));
    EXPECT_EQ(NetThreads(4, 4, 1).queue_vectors, (std::vector<std::uint32_t>{0, 0, 0, 0}));
    EXPECT_EQ(NetThreads(1, 4, 4).nr_threads, 1U);
}

TEST(NetQueues, OneThreadServesAll) {
    FakeKernel kernel(64, 3);
    FakeQueuesChip chip(3, 64);
    NetPort port = kernel.port();
    ASSERT_EQ(port.queues.size(), 3U);
    ScriptedWaiter waiter;
    Reporter reporter({"fake", "0000:00:10.0", "udn7"}, "");
    NetService<FakeQueuesChip> service(chip, port, waiter, reporter, 1);
    service.start();
    for (std::uint32_t n = 0; n < 3; ++n) {
        ASSERT_TRUE(kernel.queues[n].fill.push({0, 2048, 70 + n}));
        ASSERT_TRUE(kernel.queues[n].tx.push(packet(5 + n)));
    }
    while (service.pass()) {
    }
    for (std::uint32_t n = 0; n < 3; ++n) {
        udrv_net_completion completion{};
        ASSERT_TRUE(kernel.queues[n].completion.pop(completion));
        EXPECT_EQ(completion.id, 5 + n);
        udrv_net_rx rx{};
        ASSERT_TRUE(kernel.queues[n].rx.pop(rx));
        EXPECT_EQ(rx.id, 70 + n);
        EXPECT_EQ(rx.len_bytes, 5 + n);
    }
    EXPECT_EQ(service.counters().tx_packets, 3U);
}

// Before it sleeps it wants the doorbell of each queue, and it enters the kernel if that wants
// to be woken for any.
TEST(NetQueues, SleepsAndWakesForEachQueue) {
    for (std::size_t sleeping = 0; sleeping < 3; ++sleeping) {
        FakeKernel kernel(64, 3);
        FakeQueuesChip chip(3, 64);
        NetPort port = kernel.port();
        ScriptedWaiter waiter;
        Reporter reporter({"fake", "0000:00:10.0", "udn7"}, "");
        NetService<FakeQueuesChip> service(chip, port, waiter, reporter, 1);
        service.start();
        kernel.queues[sleeping].need_wakeup->kernel = 1;
        ASSERT_TRUE(kernel.queues[1].fill.push({0, 2048, 1}));
        ASSERT_TRUE(kernel.queues[1].tx.push(packet(1)));
        bool published = false;
        int waits = 0;
        waiter.on_publish = [&] { published = true; };
        waiter.on_wait = [&](auto, bool publish) {
            published = published || publish;
            for (const auto& queue : kernel.queues) {
                EXPECT_EQ(queue.need_wakeup->driver, UDRV_WAKE_WORK);
            }
            return WaitResult{{}, ++waits == 2, false};
        };
        service.run();
        EXPECT_TRUE(published) << "the kernel sleeps on queue " << sleeping;
        for (const auto& queue : kernel.queues) {
            EXPECT_EQ(queue.need_wakeup->driver, 0U);
        }
    }
}

/// A vector: what the kernel's end of its file does. The driver's end is an IrqFile.
struct Vector {
    Vector() {
        std::array<int, 2> ends{};
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()), 0);
        kernel = FileDescriptor(ends[0]);
        driver = IrqFile(FileDescriptor(ends[1]));
    }
    void ring() const {
        const udrv_irq_events events{0, 1};
        EXPECT_EQ(::send(kernel.value(), &events, sizeof(events), MSG_NOSIGNAL),
                  static_cast<ssize_t>(sizeof(events)));
    }
    /// What the driver published: only that it did not wait.
    void drain() const {
        std::array<char, 8> word{};
        while (::recv(kernel.value(), word.data(), word.size(), MSG_DONTWAIT) > 0) {
        }
    }
    FileDescriptor kernel;
    IrqFile driver;
};

/// A driver of two queues and two threads, of which one is the first.
struct Driver {
    Driver()
        : kernel(64, 2), chip(2, 64), port(kernel.port()),
          reporter({"fake", "0000:00:10.0", "udn7"}, ""),
          service(chip, port, waiter, reporter, 1, &workers, 2) {
        CPU_ZERO(&anywhere);
        ::sched_getaffinity(0, sizeof(anywhere), &anywhere);
        workers.add(vector.driver, reporter, 1, net_queue_pairs(chip, port, 1, 2), 8, anywhere);
        service.watched_by(Heartbeat(page, std::chrono::milliseconds(10)));
        service.start();
        first = std::thread([this] {
            sigset_t stop;
            sigemptyset(&stop);
            sigaddset(&stop, SIGTERM);
            ::pthread_sigmask(SIG_BLOCK, &stop, nullptr); // how a worker's failure is told
            workers.start();
            service.run();
            sigset_t pending;
            ::sigpending(&pending);
            told_to_stop = sigismember(&pending, SIGTERM) == 1;
        });
    }
    void end() {
        waiter.stop = true;
        waiter.doorbell.release();
        first.join();
    }

    FakeKernel kernel;
    FakeQueuesChip chip;
    NetPort port;
    Vector vector;
    SemaphoreWaiter waiter;
    Reporter reporter;
    HeartbeatPage page{};
    NetService<FakeQueuesChip>::Workers workers;
    NetService<FakeQueuesChip> service;
    cpu_set_t anywhere{};
    std::thread first;
    bool told_to_stop = false;
};

// Each thread sleeps and is woken by its own vector; meanwhile the first one changes the chip,
// again and again, and nobody is in a queue then.
TEST(NetQueuesThreads, ChangesKeepTheOtherThreadsOut) {
    constexpr std::uint32_t total = 5'000;
    Driver driver;
    struct State {
        std::uint32_t sent = 0, completed = 0, received = 0;
    };
    std::array<State, 2> states{};
    for (auto& queue : driver.kernel.queues) {
        for (std::uint32_t id = 0; id < 32; ++id) {
            ASSERT_TRUE(queue.fill.push({0, 2048, id}));
        }
    }
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    const auto done = [&] {
        return std::all_of(states.begin(), states.end(), [](const State& state) {
            return state.received == total && state.completed == total;
        });
    };
    for (std::uint32_t turn = 0; !done() && std::chrono::steady_clock::now() < end; ++turn) {
        for (std::size_t n = 0; n < 2; ++n) {
            FakeKernel::Queue& queue = driver.kernel.queues[n];
            State& state = states[n];
            bool moved = false;
            if (state.sent < total && state.sent - state.received < 32 &&
                queue.tx.push(packet(state.sent))) {
                ++state.sent;
                moved = true;
            }
            udrv_net_completion completion{};
            while (queue.completion.pop(completion)) {
                EXPECT_EQ(completion.id, state.completed++);
            }
            udrv_net_rx rx{};
            while (queue.rx.pop(rx)) {
                EXPECT_EQ(rx.len_bytes, state.received++);
                EXPECT_TRUE(queue.fill.push({0, 2048, rx.id}));
                moved = true;
            }
            if (moved && WakeFlag(&queue.need_wakeup->driver).is_set()) {
                n == 0 ? driver.waiter.doorbell.release() : driver.vector.ring();
            }
        }
        driver.vector.drain();
        if (turn % 64 == 0) {
            driver.kernel.want_up(turn % 128 == 0);
            if (WakeFlag(&driver.kernel.need_wakeup->driver).is_set()) {
                driver.waiter.doorbell.release();
            }
            std::this_thread::yield();
        }
    }
    EXPECT_TRUE(done());
    driver.end();
    EXPECT_FALSE(driver.chip.disturbed);
    EXPECT_FALSE(driver.chip.queues[1]->shared);
    EXPECT_GT(driver.chip.applies, 10);
    EXPECT_EQ(driver.service.total().tx_packets, 2 * total);
    EXPECT_FALSE(driver.told_to_stop);
    EXPECT_NO_THROW(driver.workers.rethrow());
}

// A thread that sleeps shows that it lives when the first one asks; one that hangs does not.
TEST(NetQueuesThreads, TheHeartbeatIsThatOfAllThreads) {
    Driver driver;
    const auto beats_grow = [&](std::chrono::milliseconds within) {
        const auto before = driver.page.beats.load();
        const auto end = std::chrono::steady_clock::now() + within;
        while (driver.page.beats.load() == before && std::chrono::steady_clock::now() < end) {
            driver.waiter.doorbell.release(); // the first one goes round
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        return driver.page.beats.load() != before;
    };
    EXPECT_TRUE(beats_grow(std::chrono::seconds(20)));
    EXPECT_TRUE(beats_grow(std::chrono::seconds(20)));
    driver.end();
}

TEST(NetQueuesThreads, AThreadThatFailsEndsAll) {
    Driver driver;
    driver.vector.kernel = FileDescriptor(); // the session is over, for this vector
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    const auto failed = [&] {
        try {
            driver.workers.rethrow();
        } catch (const Error&) {
            return true;
        }
        return false;
    };
    while (!failed() && std::chrono::steady_clock::now() < end) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_TRUE(failed());
    driver.end();
    EXPECT_TRUE(driver.told_to_stop);
}

} // namespace
} // namespace udrv
