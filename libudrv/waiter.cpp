// SPDX-License-Identifier: MIT
#include "libudrv/waiter.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <vector>

#include <poll.h>
#include <sys/time.h>

#include "libudrv/error.hpp"
#include "libudrv/event_loop.hpp"

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

// Written by the signal handlers below.
volatile std::sig_atomic_t stop_wanted = 0;
volatile std::sig_atomic_t report_wanted = 0;

void on_stop(int /*signal*/) {
    stop_wanted = 1;
}
void on_report(int /*signal*/) {
    report_wanted = 1;
}
void on_tick(int /*signal*/) {
}

/// Signals interrupt the read (no SA_RESTART). One that arrives just before the
/// read would be missed, so a timer interrupts it every second as well; that is
/// also the clock of the timeouts, which are rounded up to its next tick. A read can
/// not wait for several files, or for milliseconds: then it is publish, poll, read.
class ReadWaiter final : public Waiter {
  public:
    explicit ReadWaiter(std::span<const IrqFile> irqs) : irqs_(irqs) {
        for (const IrqFile& irq : irqs) {
            polled_.push_back({irq.fd(), POLLIN, 0});
        }
        handle(SIGTERM, on_stop);
        handle(SIGINT, on_stop);
        handle(SIGUSR1, on_report);
        handle(SIGALRM, on_tick);
        const itimerval every_second{{1, 0}, {1, 0}};
        ::setitimer(ITIMER_REAL, &every_second, nullptr);
    }
    ~ReadWaiter() override {
        const itimerval off{};
        ::setitimer(ITIMER_REAL, &off, nullptr);
    }

    WaitResult wait(std::optional<milliseconds> timeout, bool publish) override {
        WaitResult result;
        if (stop_wanted == 0 && report_wanted == 0) {
            if (irqs_.size() > 1 || (timeout && *timeout < shortest)) {
                poll_all(result.events, timeout, publish);
            } else {
                add(result.events, irqs_.front().wait().value_or(udrv_irq_events{}));
            }
        }
        result.stop = stop_wanted != 0;
        result.report = report_wanted != 0;
        report_wanted = 0;
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

    static constexpr milliseconds shortest{100}; ///< that the timer will do for
    std::span<const IrqFile> irqs_;
    std::vector<pollfd> polled_;
};

} // namespace

std::unique_ptr<Waiter> make_waiter(WaitMode mode, std::span<const IrqFile> irqs) {
    if (mode == WaitMode::read) {
        return std::make_unique<ReadWaiter>(irqs);
    }
    return std::make_unique<UringWaiter>(irqs);
}

} // namespace udrv
