// SPDX-License-Identifier: MIT
#include "cli/upgrade.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <string>
#include <thread>

#include <fmt/format.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include "cli/supervisor.hpp"
#include "libudrv/error.hpp"
#include "libudrv/file.hpp"

namespace udrv::cli {

namespace {

pid_t owner_of(const System& system, const PciAddress& address) {
    return static_cast<pid_t>(read_number(system.device(address) / "udrv/owner"));
}

/// The word behind `name` in a process's status file, or empty.
std::string status_of(const System& system, pid_t pid, const std::string& name) {
    std::ifstream status(system.proc / std::to_string(pid) / "status");
    std::string word;
    while (status >> word) {
        if (word == name && status >> word) {
            return word;
        }
    }
    return {};
}

pid_t parent_of(const System& system, pid_t pid) {
    return static_cast<pid_t>(std::strtol(status_of(system, pid, "PPid:").c_str(), nullptr, 10));
}

/// Signals that answer us; blocked from now on.
FileDescriptor answers() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, upgrade_answer);
    ::sigprocmask(SIG_BLOCK, &set, nullptr);
    return FileDescriptor(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

/// Sends the request and waits for the outage in milliseconds; -1: the old program goes on;
/// nothing: no answer within the limit.
std::optional<int> ask(const System& system, pid_t supervisor, std::chrono::milliseconds limit,
                       const std::string& tried) {
    const FileDescriptor answer = answers();
    const FileDescriptor process(static_cast<int>(::syscall(SYS_pidfd_open, supervisor, 0)));
    if (!answer || !process) {
        throw_errno(errno, tried);
    }
    for (int n = 0; n < 1000 && hangup_pending(system, supervisor); ++n) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    if (::sigqueue(supervisor, SIGHUP, {.sival_int = upgrade_request}) != 0) {
        throw_errno(errno, tried, "run as root");
    }
    std::array<pollfd, 2> files{{{answer.value(), POLLIN, 0}, {process.value(), POLLIN, 0}}};
    const auto end = std::chrono::steady_clock::now() + limit;
    for (auto left = limit; left.count() > 0; left = std::chrono::ceil<std::chrono::milliseconds>(
                                                  end - std::chrono::steady_clock::now())) {
        if (::poll(files.data(), files.size(), static_cast<int>(left.count())) <= 0) {
            continue;
        }
        signalfd_siginfo signal{};
        while (::read(answer.value(), &signal, sizeof(signal)) == sizeof(signal)) {
            if (static_cast<pid_t>(signal.ssi_pid) == supervisor) {
                return signal.ssi_int;
            }
        }
        if (files[1].revents != 0) {
            throw_error(ESRCH, tried, "the supervisor ended", "what `udrv run` printed says why");
        }
    }
    return std::nullopt;
}

} // namespace

bool hangup_pending(const System& system, pid_t pid) {
    const std::string mask = status_of(system, pid, "ShdPnd:"); // signal n is bit n - 1
    return (std::strtoull(mask.c_str(), nullptr, 16) >> (SIGHUP - 1) & 1) != 0;
}

std::string upgrade(const System& system, const PciAddress& address) {
    const std::string tried = "upgrade the driver of " + address.str();
    if (system.bound_driver(address) != "udrv") {
        throw_error(ENODEV, tried, "the device is not bound to udrv",
                    "`udrv status` lists those that are");
    }
    const pid_t old = owner_of(system, address);
    if (old == 0) {
        throw_error(ESRCH, tried, "no driver runs", "start the new one with `udrv run`");
    }
    const pid_t supervisor = parent_of(system, old);
    if (read_line(system.proc / std::to_string(supervisor) / "comm") != supervisor_name) {
        throw_error(ENOTSUP, tried, fmt::format("process {} has no supervisor", old),
                    "stop it and start the new one; with `udrv run --restart` this works");
    }
    const SupervisionLimits limits = supervision_limits(system, 0, 0);
    // All that can pass one after the other, and the start of the old program.
    const auto longest = limits.ready + limits.goodbye + limits.takeover + limits.start;
    const std::optional<int> outage_ms = ask(system, supervisor, longest, tried);
    if (!outage_ms) {
        throw_error(ETIMEDOUT, tried, fmt::format("no answer for {} ms", longest.count()),
                    "`udrv status` says who serves; what `udrv run` printed says why");
    }
    if (*outage_ms < 0) {
        throw_error(ENOEXEC, tried, "the new program does not serve, the old one goes on",
                    "what `udrv run` printed says why");
    }
    return fmt::format("{}: process {} replaced by {}, without a driver for {} ms", address.str(),
                       old, owner_of(system, address), *outage_ms);
}

} // namespace udrv::cli
