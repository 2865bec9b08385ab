// SPDX-License-Identifier: MIT
#include "cli/upgrade.hpp"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <fstream>
#include <string>
#include <thread>

#include <fmt/format.h>
#include <sys/types.h>

#include "cli/supervisor.hpp"
#include "libudrv/error.hpp"

namespace udrv::cli {

namespace {

using Clock = std::chrono::steady_clock;

pid_t owner_of(const System& system, const PciAddress& address) {
    return static_cast<pid_t>(read_number(system.device(address) / "udrv/owner"));
}

pid_t parent_of(const System& system, pid_t pid) {
    std::ifstream status(system.proc / std::to_string(pid) / "status");
    pid_t parent = 0;
    for (std::string word; status >> word;) {
        if (word == "PPid:" && status >> parent) {
            break;
        }
    }
    return parent;
}

} // namespace

void upgrade(const System& system, const PciAddress& address) {
    using namespace std::chrono_literals;
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
    if (::kill(supervisor, SIGHUP) != 0) {
        throw_errno(errno, tried, "run as root");
    }
    const auto begun = Clock::now();
    auto left = begun; // when the old one let go
    bool gone = false;
    while (Clock::now() - begun < 60s) {
        const pid_t owner = owner_of(system, address);
        if (!gone && owner != old) {
            gone = true;
            left = Clock::now();
        }
        if (gone && owner != 0 && read_line(system.device(address) / "udrv/state") == "running") {
            const auto outage =
                std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - left);
            fmt::print("{}: process {} replaced by {}, without a driver for {} ms\n", address.str(),
                       old, owner, outage.count());
            return;
        }
        std::this_thread::sleep_for(1ms);
    }
    throw_error(ETIMEDOUT, tried, "no new driver serves after 60 s",
                "what `udrv run` printed says why");
}

} // namespace udrv::cli
