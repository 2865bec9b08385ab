// SPDX-License-Identifier: MIT
#include "libudrv/loop/event_loop.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <exception>

#include "libudrv/error.hpp"

namespace udrv {

namespace {

constexpr unsigned queue_entries = 128;
constexpr std::size_t max_sources = queue_entries / 2 - 2; // a read and a cancel each

// user_data of a request: an IRQ file's number, or one of these.
constexpr std::uint64_t tag_signal = std::uint64_t{1} << 32;
constexpr std::uint64_t tag_cancel = std::uint64_t{2} << 32;

} // namespace

EventLoop::EventLoop() {
    // One submitter, and completions only when we ask for them: the interrupt's
    // wakeup then does no more than wake. Kernels before 6.1 know less.
    constexpr unsigned best = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
    for (const unsigned flags : {best, unsigned{IORING_SETUP_COOP_TASKRUN}, 0U}) {
        for (const bool restrict_operations : {true, false}) {
            if (set_up(flags, restrict_operations)) {
                return;
            }
        }
    }
    throw_errno(errno, "set up io_uring",
                "is it switched off (sysctl kernel.io_uring_disabled)? `--wait read` does without");
}

bool EventLoop::set_up(unsigned flags, bool restrict_operations) {
    if (restrict_operations) {
        flags |= IORING_SETUP_R_DISABLED;
    }
    const int result = io_uring_queue_init(queue_entries, &ring_, flags);
    if (result < 0) {
        errno = -result;
        return false;
    }
    if (restrict_operations && !restrict_and_enable()) {
        io_uring_queue_exit(&ring_);
        return false;
    }
    restricted_ = restrict_operations;
    return true;
}

bool EventLoop::restrict_and_enable() {
    std::array<io_uring_restriction, 3> allowed{};
    std::size_t n = 0;
    for (const auto operation : {IORING_OP_READ, IORING_OP_ASYNC_CANCEL}) {
        allowed[n].opcode = IORING_RESTRICTION_SQE_OP;
        allowed[n++].sqe_op = static_cast<__u8>(operation);
    }
    allowed[n].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
    allowed[n].sqe_flags = 0;
    // Not io_uring_register_restrictions(): liburing 2.3 does not export it.
    const auto fd = static_cast<unsigned>(ring_.ring_fd);
    int result = io_uring_register(fd, IORING_REGISTER_RESTRICTIONS, allowed.data(),
                                   static_cast<unsigned>(allowed.size()));
    if (result == 0) {
        result = io_uring_register(fd, IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
    }
    errno = -result;
    return result == 0;
}

EventLoop::~EventLoop() {
    cancel_all();
    io_uring_queue_exit(&ring_);
}

std::size_t EventLoop::add(const IrqFile& irq, bool publishes) {
    if (sources_.size() == max_sources) {
        throw_error(ENOSPC, "wait for one more IRQ file", "the loop is full");
    }
    Source& source = sources_.emplace_back();
    source.irq = &irq;
    source.publishes = publishes;
    return sources_.size() - 1;
}

void EventLoop::add_signals(std::initializer_list<int> numbers) {
    sigset_t set;
    sigemptyset(&set);
    for (const int number : numbers) {
        sigaddset(&set, number);
    }
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    signals_ = FileDescriptor(::signalfd(-1, &set, SFD_CLOEXEC));
    if (!signals_) {
        throw_errno(errno, "take signals as events");
    }
}

io_uring_sqe& EventLoop::next_entry() {
    // The queue has room for a read and a cancel of every source, and each wait
    // submits all of it.
    io_uring_sqe* entry = io_uring_get_sqe(&ring_);
    if (entry == nullptr) {
        std::terminate();
    }
    return *entry;
}

void EventLoop::arm(bool publish) {
    for (std::size_t n = 0; n < sources_.size(); ++n) {
        Source& source = sources_[n];
        if (!source.armed) {
            io_uring_sqe& entry = next_entry();
            io_uring_prep_read(&entry, source.irq->fd(), &source.incoming, sizeof(source.incoming),
                               0);
            io_uring_sqe_set_data64(&entry, n);
            source.armed = true;
        } else if (publish && source.publishes) {
            // Not through the ring: io_uring does not write at once to a file that can
            // be polled and has no write_iter, it waits until poll says writable, which
            // an IRQ file never does. A session that is over is what the read reports.
            static_cast<void>(source.irq->publish());
        }
    }
    if (signals_ && !signals_armed_) {
        io_uring_sqe& entry = next_entry();
        io_uring_prep_read(&entry, signals_.value(), &signal_, sizeof(signal_), 0);
        io_uring_sqe_set_data64(&entry, tag_signal);
        signals_armed_ = true;
    }
}

void EventLoop::reap(const io_uring_cqe& completion, Wakeup& wakeup) {
    const std::uint64_t tag = completion.user_data;
    const int result = completion.res;
    if (tag == tag_signal) {
        signals_armed_ = false;
        if (result == sizeof(signal_)) {
            wakeup.signals |= std::uint64_t{1} << (signal_.ssi_signo & 63U);
        }
    } else if (tag < sources_.size()) {
        Source& source = sources_[tag];
        source.armed = false;
        if (result == sizeof(source.incoming)) {
            source.counts.interrupts += source.incoming.interrupts;
            source.counts.doorbells += source.incoming.doorbells;
        } else if (result != -EAGAIN && result != -EINTR && result != -ECANCELED) {
            throw_errno(result < 0 ? -result : ENODEV, "wait for interrupts",
                        "the device was unbound, or the kernel ended the session (see dmesg)");
        }
    }
}

Wakeup EventLoop::wait(std::optional<std::chrono::nanoseconds> timeout, bool publish) {
    arm(publish);
    __kernel_timespec deadline{};
    if (timeout) {
        const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(*timeout);
        deadline.tv_sec = seconds.count();
        deadline.tv_nsec = (*timeout - seconds).count();
    }
    io_uring_cqe* first = nullptr;
    const int result =
        io_uring_submit_and_wait_timeout(&ring_, &first, 1, timeout ? &deadline : nullptr, nullptr);
    Wakeup wakeup;
    if (result < 0 && result != -ETIME && result != -EINTR && result != -EAGAIN) {
        throw_errno(-result, "wait for events");
    }
    unsigned head = 0;
    unsigned count = 0;
    io_uring_cqe* completion = nullptr;
    io_uring_for_each_cqe(&ring_, head, completion) {
        ++count;
        reap(*completion, wakeup);
    }
    io_uring_cq_advance(&ring_, count);
    wakeup.timed_out = count == 0;
    return wakeup;
}

udrv_irq_events EventLoop::take(std::size_t irq) {
    return std::exchange(sources_[irq].counts, udrv_irq_events{});
}

void EventLoop::cancel_all() {
    // Pending reads point into this object: take them back before it goes.
    const auto armed = [this] {
        std::size_t count = signals_armed_ ? 1 : 0;
        for (const Source& source : sources_) {
            count += source.armed ? 1 : 0;
        }
        return count;
    };
    if (armed() == 0) {
        return;
    }
    for (std::size_t n = 0; n < sources_.size(); ++n) {
        if (sources_[n].armed) {
            io_uring_sqe& entry = next_entry();
            io_uring_prep_cancel64(&entry, n, 0);
            io_uring_sqe_set_data64(&entry, tag_cancel);
        }
    }
    if (signals_armed_) {
        io_uring_sqe& entry = next_entry();
        io_uring_prep_cancel64(&entry, tag_signal, 0);
        io_uring_sqe_set_data64(&entry, tag_cancel);
    }
    io_uring_submit(&ring_);
    for (int attempt = 0; attempt < 1000 && armed() != 0; ++attempt) {
        __kernel_timespec soon{0, 10'000'000};
        io_uring_cqe* completion = nullptr;
        if (io_uring_wait_cqe_timeout(&ring_, &completion, &soon) < 0) {
            continue;
        }
        if (completion->user_data == tag_signal) {
            signals_armed_ = false;
        } else if (completion->user_data < sources_.size()) {
            sources_[completion->user_data].armed = false;
        }
        io_uring_cqe_seen(&ring_, completion);
    }
}

} // namespace udrv
