// SPDX-License-Identifier: MIT
//
// EventLoop: waits for many IRQ files, signals and a deadline in one system call.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <optional>

#include <liburing.h>
#include <sys/signalfd.h>

#include "libudrv/device/irq.hpp"
#include "libudrv/file.hpp"
#include <udrv/udrv.h>

namespace udrv {

/// What ended a wait. Interrupt counts are fetched with EventLoop::take().
struct Wakeup {
    bool timed_out = false;    ///< the deadline passed and nothing else happened
    std::uint64_t signals = 0; ///< bit n: signal n arrived (see has_signal)
    [[nodiscard]] bool has_signal(int number) const {
        return ((signals >> static_cast<unsigned>(number)) & 1U) != 0;
    }
};

/// An io_uring of one thread (the one that constructs it). Each wait() re-arms the
/// reads that completed and sleeps in the same io_uring_enter, so that entering the
/// kernel publishes the rings, unmasks and waits at once. Files are not owned and
/// must outlive the loop. The ring is restricted, where the kernel can, to the
/// operations used here. Not movable: the kernel holds addresses of it.
class EventLoop {
  public:
    /// Throws Error where io_uring is not available.
    EventLoop();
    EventLoop(const EventLoop&) = delete;
    EventLoop& operator=(const EventLoop&) = delete;
    ~EventLoop();

    /// Adds an IRQ file; returns its number for take(). Not on the data path. With
    /// `publishes` false, no port is attached to it: wait() never writes it.
    std::size_t add(const IrqFile& irq, bool publishes = true);

    /// Takes these signals from now on as events; blocks them in this thread. Call
    /// once, before other threads start, so that they block them too.
    void add_signals(std::initializer_list<int> numbers);

    /// Sleeps until something happens or `timeout` passes (zero: only looks; none:
    /// for ever). A read of an IRQ file that is armed now publishes the rings; one
    /// that is still pending from an earlier wait does not, and with `publish` the
    /// file is written first: one more system call. Throws Error (ENODEV) when a
    /// session is over.
    Wakeup wait(std::optional<std::chrono::nanoseconds> timeout, bool publish);

    /// The counts of an IRQ file since the last take().
    [[nodiscard]] udrv_irq_events take(std::size_t irq);

    /// True if the ring is confined to the operations used here.
    [[nodiscard]] bool restricted() const { return restricted_; }

  private:
    struct Source {
        const IrqFile* irq = nullptr;
        bool publishes = true;
        bool armed = false;
        udrv_irq_events incoming{}; ///< the kernel writes here while armed
        udrv_irq_events counts{};
    };

    bool set_up(unsigned flags, bool restrict_operations);
    bool restrict_and_enable();
    io_uring_sqe& next_entry();
    void arm(bool publish);
    void reap(const io_uring_cqe& completion, Wakeup& wakeup);
    void cancel_all();

    io_uring ring_{};
    bool restricted_ = false;
    std::deque<Source> sources_; ///< a deque: addresses stay
    FileDescriptor signals_;
    bool signals_armed_ = false;
    signalfd_siginfo signal_{};
};

} // namespace udrv
