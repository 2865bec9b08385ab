// SPDX-License-Identifier: MIT
#include "libudrv/loop/waiter.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <vector>

#include <poll.h>
#include <sys/time.h>

#include "libudrv/error.hpp"
#include "libudrv/loop/event_loop.hpp"
#include "libudrv/loop/wait_timer.hpp"

namespace udrv {

namespace {

using std::chrono::milliseconds;

void add(udrv_irq_events& sum, const udrv_irq_events& events) {
    sum.interrupts += events.interrupts;
    sum.doorbells += events.doorbells;
}

class UringWaiter final : public Waiter {
  public:
    explicit UringWaiter(std::span<const IrqFile> irqs) : irqs_(irqs) {
        for (const IrqFile& irq : irqs) {
            loop_.add(irq, &irq == &irqs.front());
        }
        loop_.add_signals({SIGTERM, SIGINT, SIGUSR1});
    }

    WaitResult wait(std::optional<milliseconds> timeout, bool publish) override {
        const Wakeup wakeup = loop_.wait(timeout, publish);
        WaitResult result;
        for (std::size_t n = 0; n < irqs_.size(); ++n) {
            add(result.events, loop_.take(n));
        }
        result.stop = wakeup.has_signal(SIGTERM) || wakeup.has_signal(SIGINT);
        result.report = wakeup.has_signal(SIGUSR1);
        return result;
    }

    void publish() noexcept override { irqs_.front().publish(); }

  private:
    std::span<const IrqFile> irqs_;
    EventLoop loop_;
};

/// SIGALRM after `time` and then, should that come too early for a read that is about to
/// begin, every `again`. Zero: off.
void tick_after(milliseconds time, milliseconds again) {
    const auto value = [](milliseconds ms) {
        return timeval{ms.count() / 1000, ms.count() % 1000 * 1000};
    };
    const itimerval timer{value(again), value(time)};
    ::setitimer(ITIMER_REAL, &timer, nullptr);
}

// Written by the signal handlers below.
volatile std::sig_atomic_t stop_wanted = 0;
volatile std::sig_atomic_t report_wanted = 0;
volatile std::sig_atomic_t ticked = 0;

/// If the read is about to begin, it is too late to keep it from sleeping: the next tick ends
/// it, and it comes soon.
void hurry() {
    const int error = errno;
    tick_after(milliseconds{1}, milliseconds{1});
    errno = error;
}
void on_stop(int /*signal*/) {
    stop_wanted = 1;
    hurry();
}
void on_report(int /*signal*/) {
    report_wanted = 1;
    hurry();
}
void on_tick(int /*signal*/) {
    ticked = 1;
}

/// Signals interrupt the read (no SA_RESTART). A timer interrupts it as well, at the end of a
/// timeout (wait_timer.hpp). A read cannot wait for several files, or for milliseconds: then
/// it is publish, poll, read.
class ReadWaiter final : public Waiter {
  public:
    explicit ReadWaiter(std::span<const IrqFile> irqs) : irqs_(irqs) {
        for (const IrqFile& irq : irqs) {
            polled_.push_back({irq.fd(), POLLIN, 0});
        }
        stop_wanted = 0;
        report_wanted = 0;
        ticked = 0;
        handle(SIGTERM, on_stop);
        handle(SIGINT, on_stop);
        handle(SIGUSR1, on_report);
        handle(SIGALRM, on_tick);
    }
    ~ReadWaiter() override { tick_after(milliseconds{0}, milliseconds{0}); }

    WaitResult wait(std::optional<milliseconds> timeout, bool publish) override {
        WaitResult result;
        if (stop_wanted == 0 && report_wanted == 0) {
            if (irqs_.size() > 1 || (timeout && *timeout < shortest)) {
                poll_all(result.events, timeout, publish);
            } else {
                set_timer(timeout);
                // A signal that comes from here on makes the timer tick (hurry).
                if (stop_wanted == 0 && report_wanted == 0) {
                    add(result.events, irqs_.front().wait().value_or(udrv_irq_events{}));
                }
            }
        }
        result.stop = stop_wanted != 0;
        result.report = report_wanted != 0;
        if (result.stop || result.report) {
            report_wanted = 0;
            tick_after(milliseconds{0}, milliseconds{0}); // no hurry any more
            timer_ = WaitTimer();
            ticked = 0;
        }
        return result;
    }

    void publish() noexcept override { irqs_.front().publish(); }

  private:
    static void handle(int number, void (*handler)(int)) {
        struct sigaction action {};
        action.sa_handler = handler;
        if (::sigaction(number, &action, nullptr) < 0) {
            throw_errno(errno, "handle signals");
        }
    }

    void poll_all(udrv_irq_events& events, std::optional<milliseconds> timeout, bool publish) {
        const bool look = timeout && timeout->count() == 0;
        if (publish && !look) {
            this->publish();
        }
        // The ticks of the timer end it too: an int is long enough.
        if (!look &&
            ::poll(polled_.data(), polled_.size(),
                   timeout ? static_cast<int>(std::min(*timeout, milliseconds{1000}).count())
                           : -1) <= 0) {
            return;
        }
        for (const IrqFile& irq : irqs_) {
            add(events, irq.try_read().value_or(udrv_irq_events{})); // publishes
        }
    }

    void set_timer(std::optional<milliseconds> timeout) {
        timespec now{};
        ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now); // no system call
        const bool fired = ticked != 0;
        if (const auto time =
                timer_.wait(milliseconds{std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000},
                            timeout, fired)) {
            ticked = 0;
            tick_after(*time, time->count() == 0 ? *time : shortest);
        }
    }

    static constexpr milliseconds shortest{100}; ///< that the timer will do for
    WaitTimer timer_;
    std::span<const IrqFile> irqs_;
    std::vector<pollfd> polled_;
};

} // namespace

std::unique_ptr<Waiter> make_waiter(WaitMode mode, std::span<const IrqFile> irqs) {
    // io_uring does more for a read that has to wait: it tries, polls, sleeps, tries again.
    if (mode == WaitMode::read || (mode == WaitMode::automatic && irqs.size() == 1)) {
        return std::make_unique<ReadWaiter>(irqs);
    }
    return std::make_unique<UringWaiter>(irqs);
}

} // namespace udrv
