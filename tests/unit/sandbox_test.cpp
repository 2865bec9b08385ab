// SPDX-License-Identifier: MIT
#include "libudrv/process/sandbox.hpp"

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <semaphore>
#include <string>
#include <string_view>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <udrv/udrv.h>

namespace udrv {
namespace {

/// What becomes of a child that enters the sandbox and then does `action`, which returns
/// its exit status.
template <typename Action>
int fate_of(Action action, int stats_file = -1) {
    const pid_t pid = ::fork();
    if (pid == 0) {
        int status = 99;
        try {
            enter_sandbox({}, stats_file);
            status = action();
        } catch (const std::exception& error) {
            (void)!::write(STDERR_FILENO, error.what(), std::string_view(error.what()).size());
        }
        ::_exit(status);
    }
    int status = 0;
    ::waitpid(pid, &status, 0);
    return status;
}

template <typename Action>
void expect_killed(Action action) {
    const int status = fate_of([&] {
        action();
        return 0;
    });
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) << status;
}

template <typename Action>
void expect_status(int wanted, Action action) {
    const int status = fate_of(action);
    EXPECT_TRUE(WIFEXITED(status)) << status;
    EXPECT_EQ(WEXITSTATUS(status), wanted);
}

TEST(Sandbox, WhatServingNeedsWorks) {
    expect_status(7, [] {
        std::string text(100'000, 'x'); // memory
        timespec now{};
        ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
        if (::write(STDOUT_FILENO, text.data(), 0) != 0) {
            return 1;
        }
        iovec nowhere{};
        if (::preadv2(1000, &nowhere, 1, -1, RWF_NOWAIT) != -1 || errno != EBADF) {
            return 3;
        }
        if (::syscall(SYS_tgkill, ::getpid(), ::gettid(), 0) != 0) { // as abort() does
            return 4;
        }
        // The call reaches the kernel, which knows no such file.
        if (::ioctl(1000, UDRV_IOC_BUS_MASTER, 0UL) != -1 || errno != EBADF) {
            return 2;
        }
        return 7;
    });
}

TEST(Sandbox, EverythingElseKills) {
    expect_killed([] { (void)::open("/etc/passwd", O_RDONLY); });
    expect_killed([] { (void)::socket(AF_INET, SOCK_STREAM, 0); });
    expect_killed([] { (void)::fork(); });
    expect_killed([] { (void)::execl("/bin/true", "true", nullptr); });
    expect_killed([] { (void)::ioctl(0, TIOCSTI, "x"); });
    expect_killed([] { (void)::kill(::getppid(), 0); });
    expect_killed([] { (void)::syscall(SYS_tgkill, ::getppid(), ::getppid(), 0); });
    expect_killed([] {
        (void)::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    });
}

/// An open, empty file without a name.
int unnamed_file() {
    return ::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
}

TEST(Sandbox, OnlyTheStatsFileIsWrittenOver) {
    const int stats = unnamed_file();
    const int log = unnamed_file();
    ASSERT_GE(stats, 0);
    ASSERT_GE(log, 0);
    ASSERT_EQ(::write(log, "kept", 4), 4);
    const auto fate = [&](auto action) {
        return fate_of(
            [&] {
                action();
                return 7;
            },
            stats);
    };
    const auto killed = [](int status) {
        return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
    };
    const int allowed = fate([&] {
        (void)!::pwrite(stats, "new", 3, 0);
        (void)!::ftruncate(stats, 3);
        (void)!::write(log, ", and more", 10); // a log line
    });
    EXPECT_TRUE(WIFEXITED(allowed)) << allowed;
    EXPECT_EQ(WEXITSTATUS(allowed), 7);
    EXPECT_TRUE(killed(fate([&] { (void)!::ftruncate(log, 0); })));
    EXPECT_TRUE(killed(fate([&] { (void)!::pwrite(log, "lost", 4, 0); })));
    const int moved = fate([&] { // refused: what follows is appended
        (void)::lseek(log, 0, SEEK_SET);
        (void)!::write(log, ".", 1);
    });
    EXPECT_TRUE(WIFEXITED(moved)) << moved;
    std::array<char, 32> text{};
    EXPECT_EQ(::pread(log, text.data(), text.size(), 0), 15);
    EXPECT_STREQ(text.data(), "kept, and more.");
    EXPECT_EQ(::pread(stats, text.data(), text.size(), 0), 3);
    expect_killed([&] { (void)!::ftruncate(stats, 0); }); // with no such file
    ::close(stats);
    ::close(log);
}

TEST(Sandbox, ThreadsAreStartedOnTheWay) {
    const pid_t pid = ::fork();
    if (pid == 0) {
        std::thread thread;
        std::atomic<uid_t> user{0};
        std::binary_semaphore asked(0);
        enter_sandbox([&] {
            thread = std::thread([&] {
                user = ::getuid();
                asked.release();
            });
            asked.acquire(); // the filter does not know that call
        });
        thread.join();
        ::_exit(user != 0 ? 7 : 1); // without the privileges, if there were any
    }
    int status = 0;
    ::waitpid(pid, &status, 0);
    EXPECT_TRUE(WIFEXITED(status)) << status;
    EXPECT_EQ(WEXITSTATUS(status), 7);
    expect_killed([] { std::thread([] {}).join(); });
}

TEST(Sandbox, TheParentsDeathIsStillTold) {
    int told[2];
    ASSERT_EQ(::pipe(told), 0);
    const pid_t parent = ::fork();
    if (parent == 0) {
        const pid_t child = ::fork();
        if (child == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGTERM);
            enter_sandbox();
            (void)!::write(told[1], "x", 1);
            for (;;) {
                ::poll(nullptr, 0, -1); // until the signal
            }
        }
        ::close(told[1]);
        char byte = 0;
        (void)!::read(told[0], &byte, 1);
        ::_exit(0);
    }
    ::close(told[1]);
    ::waitpid(parent, nullptr, 0);
    // End of file: who could still write is gone.
    pollfd end{told[0], 0, 0};
    EXPECT_EQ(::poll(&end, 1, 30'000), 1);
    EXPECT_TRUE((end.revents & POLLHUP) != 0);
    ::close(told[0]);
}

} // namespace
} // namespace udrv
