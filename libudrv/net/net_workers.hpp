// SPDX-License-Identifier: MIT
//
// The further threads of a network driver whose chip has several queues: each serves
// queues of its own, and waits for a vector of its own.
#pragma once

#include <atomic>
#include <csignal>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include <pthread.h>
#include <sched.h>

#include "libudrv/device/irq.hpp"
#include "libudrv/error.hpp"
#include "libudrv/net/net_loop.hpp"
#include "libudrv/process/helper_thread.hpp"

namespace udrv {

/// Lets the first thread stop another one for a moment. The other thread holds the lock
/// while it touches its queues, but not while it sleeps in the kernel, so that nobody has
/// to be woken for it.
class WorkerGate {
  public:
    /// The worker: is somebody waiting for it? One load.
    [[nodiscard]] bool wanted() const noexcept { return wanted_.load(std::memory_order_relaxed); }
    void enter() { queues_.lock(); }
    void leave() { queues_.unlock(); }
    /// The worker lets the other one in, and comes back afterwards.
    void step_aside() {
        leave();
        wanted_.wait(true, std::memory_order_acquire);
        enter();
    }

    /// The first thread: from close() to open() the worker is in no function of a queue.
    void close() {
        wanted_.store(true, std::memory_order_relaxed);
        queues_.lock();
    }
    void open() {
        wanted_.store(false, std::memory_order_release);
        queues_.unlock();
        wanted_.notify_one();
    }

  private:
    std::mutex queues_;
    std::atomic<bool> wanted_{false};
};

/// Waits for one vector. A signal that the first thread sends ends a wait.
class WorkerWaiter final : public Waiter {
  public:
    WorkerWaiter(const IrqFile& irq, WorkerGate& gate) : irq_(irq), gate_(gate) {}

    WaitResult wait(std::optional<std::chrono::milliseconds> timeout, bool /*publish*/) override {
        WaitResult result;
        waits_.fetch_add(1, std::memory_order_relaxed);
        const bool look = timeout && timeout->count() == 0;
        if (look || !stop_.load(std::memory_order_acquire)) {
            gate_.leave();
            try {
                result.events = (look ? irq_.try_read() : irq_.wait()).value_or(udrv_irq_events{});
            } catch (...) {
                gate_.enter();
                throw;
            }
            gate_.enter();
        }
        result.stop = stop_.load(std::memory_order_acquire);
        return result;
    }
    void publish() noexcept override { irq_.publish(); }

    /// The first thread: end at the next wait.
    void ask_to_stop() noexcept { stop_.store(true, std::memory_order_release); }
    /// The first thread: changes while the worker makes progress.
    [[nodiscard]] std::uint64_t waits() const noexcept {
        return waits_.load(std::memory_order_relaxed);
    }

  private:
    const IrqFile& irq_;
    WorkerGate& gate_;
    std::atomic<bool> stop_{false};
    std::atomic<std::uint64_t> waits_{0};
};

/// What a further thread does.
template <NetChipQueue Q>
class NetWorker : public NetLoop<NetWorker<Q>, Q> {
    using Base = NetLoop<NetWorker<Q>, Q>;
    using Loop = ServiceLoop<NetWorker<Q>>;

  public:
    NetWorker(WorkerWaiter& waiter, WorkerGate& gate, Reporter& reporter, unsigned cpus,
              std::span<const NetQueuePair<Q>> pairs, std::uint32_t tx_max_segments)
        : Base(waiter, reporter, cpus, pairs, tx_max_segments), gate_(gate) {}

    /// The first thread, with the gate closed: the desired state is another one.
    void applied(std::uint32_t rx_usecs) {
        this->idle_.hold_off().limit(rx_usecs);
        this->try_tx_again();
    }

    // Of a Service.
    [[nodiscard]] bool changed() const { return gate_.wanted(); }
    void refresh() { gate_.step_aside(); }
    [[nodiscard]] std::optional<typename Loop::Milliseconds> timeout() const {
        return std::nullopt;
    }
    void entered(bool interrupted) {
        if (interrupted) {
            this->try_tx_again();
        }
    }
    void stop() {}

  private:
    WorkerGate& gate_;
};

/// The further threads of a driver.
template <NetChipQueue Q>
class NetWorkers {
  public:
    NetWorkers() = default;
    NetWorkers(const NetWorkers&) = delete;
    NetWorkers& operator=(const NetWorkers&) = delete;
    ~NetWorkers() { stop(); }

    /// Not yet running. `irq` and what `pairs` point to outlive the workers. `processors`:
    /// where it may run.
    void add(const IrqFile& irq, Reporter& reporter, unsigned cpus,
             std::span<const NetQueuePair<Q>> pairs, std::uint32_t tx_max_segments,
             const cpu_set_t& processors) {
        workers_.push_back(
            std::make_unique<Worker>(irq, reporter, cpus, pairs, tx_max_segments, processors));
    }

    /// Starts all. Their signals are left to the first thread, but for the one that ends a
    /// wait; it is this thread that is asked to stop when a worker fails.
    void start() {
        struct sigaction action {};
        action.sa_handler = [](int /*signal*/) {};
        if (::sigaction(wakeup_signal, &action, nullptr) < 0) { // without SA_RESTART
            throw_errno(errno, "handle signals");
        }
        const pthread_t first = ::pthread_self();
        for (const auto& worker : workers_) {
            worker->thread = start_helper_thread([one = worker.get(), first] { run(*one, first); });
            // Only a wish: a processor may have gone meanwhile.
            (void)::pthread_setaffinity_np(worker->thread.native_handle(),
                                           sizeof(worker->processors), &worker->processors);
        }
    }

    /// Ends all threads. May be called twice.
    void stop() noexcept {
        for (const auto& worker : workers_) {
            worker->waiter.ask_to_stop();
        }
        for (const auto& worker : workers_) {
            // A signal that comes just before the wait begins ends nothing: once more.
            while (worker->thread.joinable() && !worker->done.load(std::memory_order_acquire)) {
                wake(*worker);
                const timespec soon{0, 1'000'000};
                ::clock_nanosleep(CLOCK_MONOTONIC, 0, &soon, nullptr);
            }
            if (worker->thread.joinable()) {
                worker->thread.join();
            }
        }
    }

    /// With all workers held, which they are soon.
    template <typename Function>
    void exclude(Function&& function) {
        for (const auto& worker : workers_) {
            worker->gate.close();
        }
        struct Open {
            std::vector<std::unique_ptr<Worker>>& workers;
            ~Open() {
                for (const auto& worker : workers) {
                    worker->gate.open();
                }
            }
        } open{workers_};
        function();
    }

    /// With all workers held.
    void applied(std::uint32_t rx_usecs) {
        for (const auto& worker : workers_) {
            worker->service.applied(rx_usecs);
        }
    }
    void add_counters(DriverCounters& sum) const {
        for (const auto& worker : workers_) {
            sum += worker->service.counters();
        }
    }

    /// True once all workers have entered the kernel since it last was.
    [[nodiscard]] bool progress() {
        for (const auto& worker : workers_) {
            if (worker->waiter.waits() == worker->seen) {
                return false;
            }
        }
        for (const auto& worker : workers_) {
            worker->seen = worker->waiter.waits();
        }
        return true;
    }
    /// Has those that sleep show that they live.
    void wake() noexcept {
        for (const auto& worker : workers_) {
            wake(*worker);
        }
    }

    /// Throws what ended a worker, if one failed.
    void rethrow() const {
        for (const auto& worker : workers_) {
            if (worker->done.load(std::memory_order_acquire) && worker->failure) {
                std::rethrow_exception(worker->failure);
            }
        }
    }

    [[nodiscard]] bool empty() const { return workers_.empty(); }

  private:
    static constexpr int wakeup_signal = SIGUSR2;

    struct Worker {
        Worker(const IrqFile& irq, Reporter& reporter, unsigned cpus,
               std::span<const NetQueuePair<Q>> pairs, std::uint32_t tx_max_segments,
               const cpu_set_t& where)
            : waiter(irq, gate), service(waiter, gate, reporter, cpus, pairs, tx_max_segments),
              processors(where) {}

        WorkerGate gate;
        WorkerWaiter waiter;
        NetWorker<Q> service;
        cpu_set_t processors;
        std::thread thread;
        std::exception_ptr failure;
        std::atomic<bool> done{false};
        std::uint64_t seen = 0;
    };

    static void run(Worker& worker, pthread_t first) noexcept {
        sigset_t wakeup;
        sigemptyset(&wakeup);
        sigaddset(&wakeup, wakeup_signal);
        ::pthread_sigmask(SIG_UNBLOCK, &wakeup, nullptr);
        worker.gate.enter();
        try {
            worker.service.run();
        } catch (...) {
            worker.failure = std::current_exception();
        }
        worker.gate.leave();
        const bool failed = worker.failure != nullptr;
        worker.done.store(true, std::memory_order_release);
        if (failed) {
            ::pthread_kill(first, SIGTERM);
        }
    }

    static void wake(Worker& worker) noexcept {
        if (worker.thread.joinable() && !worker.done.load(std::memory_order_acquire)) {
            ::pthread_kill(worker.thread.native_handle(), wakeup_signal);
        }
    }

    std::vector<std::unique_ptr<Worker>> workers_;
};

} // namespace udrv
