// SPDX-License-Identifier: MIT
//
// The loop on pipes that carry struct udrv_irq_events, in place of IRQ files.
#include "libudrv/loop/event_loop.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <string>
#include <system_error>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <liburing.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libudrv/error.hpp"
#include "libudrv/loop/waiter.hpp"
#include "libudrv/process/helper_thread.hpp"

namespace udrv {
namespace {

using namespace std::chrono_literals;

/// One end is the IRQ file (read: counts, write: publish), the other the kernel.
class FakeIrq {
  public:
    FakeIrq() {
        std::array<int, 2> ends{};
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()), 0);
        irq = IrqFile(FileDescriptor(ends[0]));
        kernel = FileDescriptor(ends[1]);
    }
    void fire(std::uint32_t interrupts, std::uint32_t doorbells) const {
        const udrv_irq_events events{interrupts, doorbells};
        EXPECT_EQ(::write(kernel.value(), &events, sizeof(events)),
                  static_cast<ssize_t>(sizeof(events)));
    }
    /// How often the driver published.
    [[nodiscard]] int published() const {
        int count = 0;
        std::array<char, 16> buffer{};
        while (::recv(kernel.value(), buffer.data(), buffer.size(), MSG_DONTWAIT) > 0) {
            ++count;
        }
        return count;
    }

    IrqFile irq;
    FileDescriptor kernel;
};

TEST(IrqFileTest, WaitTryReadPublish) {
    FakeIrq fake;
    EXPECT_FALSE(fake.irq.try_read());
    fake.fire(3, 4);
    const auto events = fake.irq.wait();
    ASSERT_TRUE(events);
    EXPECT_EQ(events->interrupts, 3U);
    EXPECT_EQ(events->doorbells, 4U);
    EXPECT_TRUE(fake.irq.publish());
    EXPECT_EQ(fake.published(), 1);
    fake.kernel.reset();
    EXPECT_THROW((void)fake.irq.wait(), Error); // the session is over
}

TEST(EventLoop, ManyIrqs) {
    std::array<FakeIrq, 3> fakes;
    EventLoop loop;
    for (const FakeIrq& fake : fakes) {
        loop.add(fake.irq);
    }
    EXPECT_TRUE(loop.wait(0ns, false).timed_out);
    fakes[0].fire(1, 0);
    fakes[2].fire(0, 5);
    udrv_irq_events sums[3]{};
    while (sums[0].interrupts == 0 || sums[2].doorbells == 0) {
        EXPECT_FALSE(loop.wait(std::nullopt, false).timed_out);
        for (std::size_t n = 0; n < fakes.size(); ++n) {
            const udrv_irq_events events = loop.take(n);
            sums[n].interrupts += events.interrupts;
            sums[n].doorbells += events.doorbells;
        }
    }
    EXPECT_EQ(sums[0].interrupts, 1U);
    EXPECT_EQ(sums[1].interrupts + sums[1].doorbells, 0U);
    EXPECT_EQ(sums[2].doorbells, 5U);
    EXPECT_EQ(loop.take(0).interrupts, 0U); // taken
}

TEST(EventLoop, Timeout) {
    FakeIrq fake;
    EventLoop loop;
    loop.add(fake.irq);
    const auto start = std::chrono::steady_clock::now();
    EXPECT_TRUE(loop.wait(50ms, false).timed_out);
    EXPECT_GE(std::chrono::steady_clock::now() - start, 45ms);
}

TEST(EventLoop, WakesFromAnotherThread) {
    FakeIrq fake;
    EventLoop loop;
    loop.add(fake.irq);
    for (std::uint32_t round = 1; round <= 100; ++round) {
        std::thread other([&] { fake.fire(round, 0); });
        EXPECT_FALSE(loop.wait(20s, false).timed_out);
        EXPECT_EQ(loop.take(0).interrupts, round);
        other.join();
    }
}

// A read that is armed now publishes by itself; one that is pending does not.
TEST(EventLoop, PublishesOnlyWhenTheReadIsPending) {
    FakeIrq fake;
    EventLoop loop;
    loop.add(fake.irq);
    EXPECT_TRUE(loop.wait(1ms, true).timed_out);
    EXPECT_EQ(fake.published(), 0);
    (void)loop.wait(1ms, true);
    EXPECT_EQ(fake.published(), 1);
    EXPECT_TRUE(loop.wait(1ms, false).timed_out);
    EXPECT_EQ(fake.published(), 0);
}

TEST(EventLoop, Signals) {
    sigset_t old;
    pthread_sigmask(SIG_SETMASK, nullptr, &old);
    {
        EventLoop loop;
        loop.add_signals({SIGUSR1, SIGUSR2});
        pthread_kill(pthread_self(), SIGUSR1);
        const Wakeup wakeup = loop.wait(5s, false);
        EXPECT_TRUE(wakeup.has_signal(SIGUSR1));
        EXPECT_FALSE(wakeup.has_signal(SIGUSR2));
        EXPECT_TRUE(loop.wait(1ms, false).timed_out);
    }
    pthread_sigmask(SIG_SETMASK, &old, nullptr);
}

TEST(EventLoop, SessionOver) {
    FakeIrq fake;
    EventLoop loop;
    loop.add(fake.irq);
    fake.kernel.reset();
    try {
        (void)loop.wait(5s, false);
        FAIL() << "no error";
    } catch (const Error& error) {
        EXPECT_EQ(error.code().value(), ENODEV);
        EXPECT_NE(std::string(error.what()).find("unbound"), std::string::npos);
    }
}

// The reads that were pending are taken back: none swallows what comes after, or writes
// to the loop's memory when it is gone.
TEST(EventLoop, EndsWithReadsPending) {
    FakeIrq fake;
    for (std::uint32_t round = 1; round <= 20; ++round) {
        {
            EventLoop loop;
            loop.add(fake.irq);
            EXPECT_TRUE(loop.wait(0ns, false).timed_out);
        }
        fake.fire(round, 2 * round);
        const auto events = fake.irq.try_read();
        ASSERT_TRUE(events) << "round " << round;
        EXPECT_EQ(events->interrupts, round);
        EXPECT_EQ(events->doorbells, 2 * round);
    }
}

// An IDE controller has two: their counts are added up, and the rings are published
// through the first alone.
TEST(WaiterTest, SeveralFiles) {
    sigset_t old;
    pthread_sigmask(SIG_SETMASK, nullptr, &old);
    for (const WaitMode mode : {WaitMode::uring, WaitMode::read}) {
        std::array<FakeIrq, 2> fakes;
        const std::array<IrqFile, 2> irqs{std::move(fakes[0].irq), std::move(fakes[1].irq)};
        const auto waiter = make_waiter(mode, irqs);
        fakes[1].fire(2, 0);
        WaitResult result = waiter->wait(5s, false);
        EXPECT_EQ(result.events.interrupts, 2U);
        fakes[0].fire(1, 3);
        fakes[1].fire(1, 0);
        udrv_irq_events sum{};
        while (sum.interrupts < 2) {
            result = waiter->wait(5s, false);
            sum.interrupts += result.events.interrupts;
            sum.doorbells += result.events.doorbells;
        }
        EXPECT_EQ(sum.doorbells, 3U);
        (void)waiter->wait(1ms, false); // both reads are pending now
        (void)waiter->wait(1ms, true);
        waiter->publish();
        EXPECT_EQ(fakes[0].published(), 2);
        EXPECT_EQ(fakes[1].published(), 0);
        EXPECT_FALSE(result.stop);
    }
    pthread_sigmask(SIG_SETMASK, &old, nullptr);
}

/// The ring of this process, as somebody finds it who took the process over; or -1.
int ring_file() {
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        std::error_code error;
        if (std::filesystem::read_symlink(entry, error) == "anon_inode:[io_uring]") {
            return std::stoi(entry.path().filename());
        }
    }
    return -1;
}

TEST(WaiterTest, OneFileByPlainReads) {
    sigset_t old;
    pthread_sigmask(SIG_SETMASK, nullptr, &old);
    {
        const FakeIrq fake;
        const auto waiter = make_waiter(WaitMode::automatic, std::span(&fake.irq, 1));
        EXPECT_EQ(ring_file(), -1);
        fake.fire(2, 1);
        WaitResult result = waiter->wait(std::nullopt, false);
        EXPECT_EQ(result.events.interrupts, 2U);
        EXPECT_EQ(result.events.doorbells, 1U);
        result = waiter->wait(0ms, false); // only looks
        EXPECT_EQ(result.events.interrupts, 0U);
        result = waiter->wait(5ms, true); // publishes, polls
        EXPECT_EQ(fake.published(), 1);
        result = waiter->wait(120ms, false); // a tick of the timer
        EXPECT_FALSE(result.stop || result.report);

        ASSERT_EQ(::raise(SIGUSR1), 0); // before the read
        EXPECT_TRUE(waiter->wait(std::nullopt, false).report);
        const pid_t process = ::getpid();
        for (int n = 0; n < 50; ++n) { // about when it begins
            std::thread sender = start_helper_thread([&] { ::kill(process, SIGUSR1); });
            while (!waiter->wait(std::nullopt, false).report) {
            }
            sender.join();
        }
        ASSERT_EQ(::raise(SIGTERM), 0);
        EXPECT_TRUE(waiter->wait(std::nullopt, false).stop);
    }
    for (const int number : {SIGTERM, SIGINT, SIGUSR1, SIGALRM}) {
        ::signal(number, SIG_DFL);
    }
    pthread_sigmask(SIG_SETMASK, &old, nullptr);
}

// seccomp does not see what a ring is asked to do: the ring itself refuses it.
TEST(EventLoopTest, TheRingTakesNothingButReadsAndCancels) {
    const EventLoop loop;
    ASSERT_TRUE(loop.restricted());
    const int fd = ring_file();
    ASSERT_GE(fd, 0);
    // One of the same size has everything at the same offsets.
    io_uring twin{};
    io_uring_params params{};
    ASSERT_EQ(io_uring_queue_init_params(128, &twin, &params), 0);
    io_uring ring{};
    ASSERT_EQ(io_uring_queue_mmap(fd, &params, &ring), 0);
    char byte = 0;
    __kernel_timespec soon{};
    const auto refused = [&](auto prepare) {
        io_uring_sqe* entry = io_uring_get_sqe(&ring);
        prepare(entry);
        io_uring_submit_and_wait(&ring, 1);
        io_uring_cqe* done = nullptr;
        if (io_uring_peek_cqe(&ring, &done) != 0) {
            return 0;
        }
        const int result = done->res;
        io_uring_cqe_seen(&ring, done);
        return result;
    };
    EXPECT_EQ(refused([](auto* entry) { io_uring_prep_nop(entry); }), -EACCES);
    EXPECT_EQ(refused([](auto* entry) { io_uring_prep_openat(entry, AT_FDCWD, "/", O_RDONLY, 0); }),
              -EACCES);
    EXPECT_EQ(refused([&](auto* entry) { io_uring_prep_write(entry, 2, &byte, 0, 0); }), -EACCES);
    EXPECT_EQ(refused([&](auto* entry) { io_uring_prep_timeout(entry, &soon, 0, 0); }), -EACCES);
    EXPECT_EQ(refused([&](auto* entry) {
                  io_uring_prep_read(entry, fd, &byte, 0, 0);
                  entry->flags |= IOSQE_ASYNC;
              }),
              -EACCES);
    EXPECT_LT(io_uring_register(static_cast<unsigned>(fd), IORING_REGISTER_FILES, &fd, 1), 0);
    EXPECT_LT(
        io_uring_register(static_cast<unsigned>(fd), IORING_REGISTER_RESTRICTIONS, nullptr, 0), 0);
    io_uring_queue_exit(&twin);
}

} // namespace
} // namespace udrv
