// SPDX-License-Identifier: MIT
//
// ServiceLoop: what the loop of every driver has in common, whatever its rings carry.
// It passes over the rings as long as there is something to do, polls for a bounded
// time, then sleeps; it publishes what was produced to the kernel.
//
// No wakeup is lost, because for each source one of two things holds:
//  - What the kernel shares (rings, desired state): it rings the doorbell after a
//    change if need_wakeup.driver is set; sleep() sets it, looks at everything once
//    more, and only then waits (need_wakeup.hpp).
//  - The chip: its interrupt is counted by the IRQ file even while nobody waits,
//    and a read returns at once if the count is not zero. An interrupt whose work
//    polling has already done costs one wait that returns early, never an entry.
// The interrupt cause is read only after the file reported an interrupt: until then
// the chip keeps asserting (INTx) or the cause keeps its bits.
//
// And nothing that was produced is forgotten: the kernel is entered before the loop
// sleeps (the wait publishes), before it polls for long or, on one processor, lets
// others answer, once a batch while it is busy, and at the end.
//
// What it does before it sleeps, and what it leaves for a moment where it is, is decided by
// IdlePolicy. While it rests, it has looked at all else and published, and looks again
// afterwards, so that nothing has to wake it; while it gathers it is awake for the kernel, which
// rings no doorbell.
#pragma once

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <ctime>
#include <optional>
#include <utility>

#include "libudrv/loop/idle_policy.hpp"
#include "libudrv/loop/waiter.hpp"
#include "libudrv/process/counters.hpp"
#include "libudrv/process/heartbeat.hpp"
#include "libudrv/process/reporter.hpp"
#include "libudrv/rings/barrier.hpp"
#include "libudrv/rings/need_wakeup.hpp"

namespace udrv {

/// What derives from ServiceLoop<S>. The first block has no default.
template <typename S>
concept Service = requires(S service, bool interrupted) {
    // One bounded look at everything; true if anything moved.
    { service.pass() } -> std::same_as<bool>;
    // Is there anything for refresh()? For the hot loop.
    { service.changed() } -> std::same_as<bool>;
    // What is not rings: makes the chip as it is wanted.
    {service.refresh()};
    // Looks at the clock, does what is due, and says how long the loop may sleep; none: for ever.
    { service.timeout() } -> std::same_as<std::optional<std::chrono::milliseconds>>;
    // The kernel was entered; reads the cause.
    {service.entered(interrupted)};
    // The chip.
    {service.stop()};

    // False: what comes next is an interrupt's news only.
    { service.worth_polling() } -> std::same_as<bool>;
    // What is under way has to interrupt from now on; false: some of it is done meanwhile.
    { service.before_sleep() } -> std::same_as<bool>;
    // Entries that wait for the driver.
    { service.offered() } -> std::same_as<std::uint32_t>;
    // False: another thread of the driver may hang, do not beat.
    { service.others_progress() } -> std::same_as<bool>;
    // Of all threads of the driver.
    { service.total() } -> std::same_as<DriverCounters>;
};

/// Base of a service, which derives from ServiceLoop<itself> and is a Service.
template <typename Derived>
class ServiceLoop {
  public:
    using Milliseconds = std::chrono::milliseconds;
    static constexpr std::uint32_t batch = 64; ///< entries a ring and pass at most

    ServiceLoop(const ServiceLoop&) = delete;
    ServiceLoop& operator=(const ServiceLoop&) = delete;

    /// Serves until a signal says stop, then stops the chip. Throws Error when the
    /// session is over.
    void run() {
        static_assert(Service<Derived>);
        heartbeat_.serving();
        while (!stop_) {
            if (service().others_progress()) {
                heartbeat_.beat();
            }
            if (service().changed()) {
                service().refresh();
            }
            if (service().pass()) {
                if (unpublished_ >= batch) {
                    publish();
                }
                tick();
                continue;
            }
            if (yield() || poll()) {
                tick(); // what comes may always be found there
            } else if (!rest()) {
                sleep();
            }
        }
        publish();
        service().stop();
    }

    /// Before run(): the supervisor's eye. It also bounds how long the loop sleeps.
    void watched_by(const Heartbeat& heartbeat) { heartbeat_ = heartbeat; }

    [[nodiscard]] const DriverCounters& counters() const { return counters_; }

    // Of a service that says nothing else.
    [[nodiscard]] static bool worth_polling() { return true; }
    [[nodiscard]] static bool before_sleep() { return true; }
    [[nodiscard]] static std::uint32_t offered() { return 0; }
    [[nodiscard]] static bool others_progress() { return true; }
    [[nodiscard]] DriverCounters total() { return counters_; }

  protected:
    ServiceLoop(Waiter& waiter, Reporter& reporter, const IdlePolicy& idle, SleepFlags sleep,
                WakeFlags kernel)
        : reporter_(reporter), idle_(idle), waiter_(waiter), sleep_(std::move(sleep)),
          kernel_(std::move(kernel)) {}
    ~ServiceLoop() = default;

    /// Entries were produced: the kernel gets to know if it wants to.
    void produced(std::uint32_t count) { unpublished_ += count; }
    /// The same, of what somebody waits for, and may answer.
    void produced_awaited(std::uint32_t count) {
        produced(count);
        answers_awaited_ = true;
    }
    /// What arrived on the chip, and somebody waits for, was taken.
    void took(std::uint32_t count, std::uint64_t bytes) {
        if (idle_.hold_off().enabled() && count != 0) {
            idle_.hold_off().took(HoldOff::Clock::now(), count, bytes);
        }
    }
    /// The kernel gets to know in any case.
    void news() { news_ = true; }

    [[nodiscard]] const Heartbeat& heartbeat() const { return heartbeat_; }

    /// A clock of a few milliseconds' grain that never needs a system call.
    [[nodiscard]] static Milliseconds coarse_now() {
        timespec now{};
        ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
        return Milliseconds{std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000};
    }

    Reporter& reporter_;
    DriverCounters counters_;
    IdlePolicy idle_;

  private:
    static constexpr Milliseconds look_interval{100}; ///< for signals and causes, while busy

    [[nodiscard]] Derived& service() { return static_cast<Derived&>(*this); }

    /// Bounded polling; true if there is something to do.
    bool poll() {
        if (idle_.polls() == 0 || !service().worth_polling()) {
            return false;
        }
        if (!idle_.short_poll()) {
            publish(); // whoever waits for what we have should not wait for this as well
        }
        for (std::uint32_t n = idle_.polls(); n > 0; --n) {
            cpu_relax();
            if (service().changed() || service().pass()) {
                idle_.polled(true);
                return true;
            }
        }
        idle_.polled(false);
        return false;
    }

    /// On one processor: lets those run who wait for what we have, before we sleep. What
    /// they answer then needs no doorbell, and two switches of the address space less: to
    /// us and back to them. True if there is something to do.
    bool yield() {
        if (!answers_awaited_ || !idle_.may_yield()) {
            return false;
        }
        answers_awaited_ = false;
        const std::uint64_t before = counters_.taken();
        const auto start = std::chrono::steady_clock::now();
        publish(); // wakes them, and they may preempt us at once
        bool found = service().changed() || service().pass();
        if (!found) {
            ++counters_.yields;
            ::sched_yield();
            found = service().changed() || service().pass();
        }
        idle_.yielded(std::chrono::steady_clock::now() - start, counters_.taken() - before);
        return found;
    }

    /// Until the hold-off is over; false if there is none. The doorbell is not heard
    /// meanwhile: what is to be sent waits as long.
    bool rest() {
        HoldOff& hold_off = idle_.hold_off();
        if (!hold_off.holds()) {
            return false;
        }
        publish();
        const auto start = HoldOff::Clock::now();
        const auto left =
            std::chrono::duration_cast<std::chrono::nanoseconds>(hold_off.due() - start).count();
        if (left > 0) {
            ++counters_.rests;
            const timespec time{0, std::min<std::int64_t>(left, 999'999'999)};
            ::clock_nanosleep(CLOCK_MONOTONIC, 0, &time, nullptr);
            hold_off.slept(HoldOff::Clock::now() - start);
        }
        return true;
    }

    void sleep() {
        sleep_.announce();
        // Once more, now that the kernel rings for whatever comes later. The clock
        // first: what is due may give the pass something to do.
        std::optional<Milliseconds> timeout = service().timeout();
        if (heartbeat_.watched()) {
            timeout = std::min(timeout.value_or(heartbeat_.interval()), heartbeat_.interval());
        }
        if (!service().changed() && !service().pass() && service().before_sleep()) {
            enter(timeout);
        }
        sleep_.withdraw();
        gather();
    }

    /// On one processor: whoever rang the doorbell may have been about to do more for us, and our
    /// wakeup took the processor from it. It goes on, and we take all of it at once.
    void gather() {
        const std::uint32_t before = service().offered();
        if (!idle_.may_gather(before)) {
            return;
        }
        ++counters_.rests;
        const auto start = std::chrono::steady_clock::now();
        const timespec time{0, std::chrono::nanoseconds(idle_.gather_time()).count()};
        ::clock_nanosleep(CLOCK_MONOTONIC, 0, &time, nullptr);
        idle_.gathered(std::chrono::steady_clock::now() - start, service().offered() - before);
    }

    /// While busy: the clock every 64 passes, a look at signals and interrupt causes
    /// a few times a second.
    void tick() {
        if ((++busy_passes_ & 63U) != 0) {
            return;
        }
        (void)service().timeout();
        if (coarse_now() - look_time_ >= look_interval) {
            enter(Milliseconds{0});
        }
    }

    [[nodiscard]] bool must_publish() const {
        return news_ || (unpublished_ != 0 && kernel_.is_set());
    }

    /// Enters the kernel to wait or to look, and deals with what came.
    void enter(std::optional<Milliseconds> timeout) {
        ++counters_.waits;
        const bool timed = idle_.hold_off().enabled();
        const auto start = timed ? HoldOff::Clock::now() : HoldOff::Clock::time_point{};
        const WaitResult result = waiter_.wait(timeout, must_publish());
        if (timed) {
            idle_.hold_off().slept(HoldOff::Clock::now() - start);
        }
        unpublished_ = 0;
        news_ = false;
        counters_.interrupts += result.events.interrupts;
        counters_.doorbells += result.events.doorbells;
        stop_ = stop_ || result.stop;
        if (result.report) {
            reporter_.snapshot(service().total());
        }
        look_time_ = coarse_now();
        service().entered(result.events.interrupts != 0);
    }

    /// Wakes the kernel for what was produced, if it wants to be woken.
    void publish() {
        if (must_publish()) {
            ++counters_.publishes;
            waiter_.publish();
            news_ = false;
        }
        unpublished_ = 0;
    }

    Waiter& waiter_;
    SleepFlags sleep_;
    WakeFlags kernel_;
    Heartbeat heartbeat_;
    std::uint32_t unpublished_ = 0; ///< entries produced since the kernel was entered
    std::uint32_t busy_passes_ = 0;
    bool answers_awaited_ = false; ///< produced what others wait for, and have not yielded since
    bool news_ = false;            ///< besides entries, something the kernel has not been told of
    bool stop_ = false;
    Milliseconds look_time_{0};
};

} // namespace udrv
