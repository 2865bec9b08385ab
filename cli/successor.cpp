// SPDX-License-Identifier: MIT
#include "cli/successor.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <exception>
#include <utility>

#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libudrv/error.hpp"

namespace udrv::cli {

namespace {

constexpr const char* waiting_name = "udrv-successor";

/// False: there will be none, the supervisor ended. Takes the other signals that were sent
/// to all processes of a name or a group: they would end the driver at its first step.
bool wait_for_turn() {
    sigset_t signals;
    ::sigprocmask(SIG_BLOCK, nullptr, &signals);
    sigdelset(&signals, SIGCHLD);
    int number = 0;
    do {
        number = ::sigwaitinfo(&signals, nullptr);
    } while (number != SIGUSR2 && number != SIGTERM);
    return number == SIGUSR2;
}

} // namespace

Successor::Successor(std::function<void()> prepare, std::function<int()> serve)
    : prepare_(std::move(prepare)), serve_(std::move(serve)) {
}

Successor::~Successor() {
    dismiss();
}

pid_t Successor::fork() const {
    const pid_t parent = ::getpid();
    const pid_t pid = ::fork();
    if (pid != 0) {
        return pid;
    }
    // Nobody would start it again, nor end it.
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != parent) {
        ::_exit(1);
    }
    ::prctl(PR_SET_NAME, waiting_name);
    const int status = live();
    std::fflush(nullptr);
    ::_exit(status);
}

/// The process, from start to end.
int Successor::live() const {
    try {
        prepare_();
        return wait_for_turn() ? serve_() : 1;
    } catch (const std::exception& error) {
        fmt::print(stderr, "udrv: {}\n", error.what());
        return 1;
    }
}

void Successor::make() {
    if (waiting_ == 0) {
        waiting_ = std::max(fork(), 0); // else take() tries again, and complains
    }
}

pid_t Successor::take() {
    reap(); // it may have died together with the driver
    const pid_t pid = waiting_ != 0 ? std::exchange(waiting_, 0) : fork();
    if (pid < 0) {
        throw_errno(errno, "start the driver");
    }
    ::kill(pid, SIGUSR2);
    return pid;
}

void Successor::reap() {
    if (waiting_ != 0 && ::waitpid(waiting_, nullptr, WNOHANG) != 0) {
        waiting_ = 0;
    }
}

void Successor::dismiss() {
    if (waiting_ != 0) {
        ::kill(waiting_, SIGKILL);
        ::waitpid(std::exchange(waiting_, 0), nullptr, 0);
    }
}

} // namespace udrv::cli
