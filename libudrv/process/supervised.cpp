// SPDX-License-Identifier: MIT
#include "libudrv/process/supervised.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <new>
#include <string_view>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "libudrv/error.hpp"
#include "libudrv/process/output.hpp"

namespace udrv {

namespace {

constexpr const char* tried = "take part in supervision";

int number_of(const char* name) {
    const char* text = std::getenv(name);
    const std::string_view digits = text == nullptr ? "" : text;
    int value = -1;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc{} || end != digits.data() + digits.size() || value < 0) {
        throw_error(EINVAL, tried, fmt::format("{} is '{}', not a number", name, digits),
                    "`udrv run --restart` sets it");
    }
    return value;
}

/// Does not go on to programs that this one executes.
FileDescriptor file_of(const char* name) {
    FileDescriptor file(number_of(name));
    if (::fcntl(file.value(), F_SETFD, FD_CLOEXEC) != 0) {
        throw_errno(errno, fmt::format("{}: use the file {}", tried, name));
    }
    return file;
}

void say_serving(int status_file) noexcept {
    say(status_file, "serving\n");
}

} // namespace

const sigset_t& supervision_signals() {
    static const sigset_t signals = [] {
        sigset_t set;
        sigemptyset(&set);
        for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGUSR1, SIGUSR2}) {
            sigaddset(&set, number);
        }
        return set;
    }();
    return signals;
}

std::optional<Supervised> Supervised::from_environment() {
    namespace env = supervised_env;
    const char* protocol = std::getenv(env::protocol);
    if (protocol == nullptr) {
        return std::nullopt;
    }
    if (std::string_view(protocol) != "1") {
        throw_error(EPROTO, tried, fmt::format("its protocol is {}, ours is 1", protocol),
                    "stop `udrv run` and start it again");
    }
    Supervised self;
    self.turn_ = file_of(env::turn_fd);
    self.status_ = file_of(env::status_fd);
    self.deadline_ = std::chrono::milliseconds(number_of(env::deadline_ms));
    const FileDescriptor page = file_of(env::heartbeat_fd);
    void* memory =
        ::mmap(nullptr, sizeof(HeartbeatPage), PROT_READ | PROT_WRITE, MAP_SHARED, page.value(), 0);
    if (memory == MAP_FAILED) {
        throw_errno(errno, fmt::format("{}: map the heartbeat's page", tried));
    }
    self.page_ = MemoryMap(memory, sizeof(HeartbeatPage));
    for (const char* name :
         {env::protocol, env::turn_fd, env::status_fd, env::heartbeat_fd, env::deadline_ms}) {
        ::unsetenv(name);
    }
    return self;
}

bool Supervised::wait_for_turn() {
    ::sigprocmask(SIG_BLOCK, &supervision_signals(), nullptr);
    const FileDescriptor signals(
        ::signalfd(-1, &supervision_signals(), SFD_CLOEXEC | SFD_NONBLOCK));
    if (!signals) {
        throw_errno(errno, fmt::format("{}: wait for signals", tried));
    }
    say(status_.value(), "ready\n");
    std::array<pollfd, 2> files{{{turn_.value(), POLLIN, 0}, {signals.value(), POLLIN, 0}}};
    bool go = false;
    while (!go) {
        (void)::poll(files.data(), files.size(), -1);
        if (files[0].revents != 0) {
            char byte = 0;
            if (::read(turn_.value(), &byte, 1) != 1) {
                return false; // the supervisor ended, or does without us
            }
            go = true;
        }
        for (signalfd_siginfo one{}; ::read(signals.value(), &one, sizeof(one)) == sizeof(one);) {
            if (one.ssi_signo == SIGTERM) {
                return false;
            }
        }
    }
    turn_.reset();
    ::sigprocmask(SIG_UNBLOCK, &supervision_signals(), nullptr);
    return true;
}

Heartbeat Supervised::heartbeat() {
    auto& page = *std::launder(reinterpret_cast<HeartbeatPage*>(page_.data()));
    return {page, std::max(deadline_ / 4, std::chrono::milliseconds{1}), say_serving,
            status_.value()};
}

} // namespace udrv
