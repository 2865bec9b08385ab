// SPDX-License-Identifier: MIT
#include "cli/successor.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <utility>

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libudrv/error.hpp"

namespace udrv::cli {

namespace {

constexpr const char* waiting_name = "udrv-successor";

/// False: there will be none, the supervisor ended.
bool wait_for_turn() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR2);
    sigaddset(&signals, SIGTERM);
    int number = 0;
    while ((number = ::sigwaitinfo(&signals, nullptr)) < 0) {
    }
    return number == SIGUSR2;
}

} // namespace

Successor::Successor(std::function<void()> prepare, std::function<void()> serve)
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
    prepare_();
    if (wait_for_turn()) {
        serve_();
    }
    ::_exit(1);
}

void Successor::make() {
    if (waiting_ == 0) {
        waiting_ = std::max(fork(), 0); // else take() tries again, and complains
    }
}

pid_t Successor::take() {
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
