// SPDX-License-Identifier: MIT
#include "libudrv/process/driver_options.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <udrv/net.h>

namespace udrv {

namespace {

constexpr const char* group = "Options of the driver";

/// How to wait, by the name that a person gave it.
WaitMode wait_mode(const std::string& name) {
    if (name == "uring") {
        return WaitMode::uring;
    }
    return name == "read" ? WaitMode::read : WaitMode::automatic;
}

std::string check_wait_mode(const std::string& name) {
    if (name == "auto" || name == "uring" || name == "read") {
        return {};
    }
    return fmt::format("'{}' is no way to wait, it is auto, uring or read", name);
}

} // namespace

void add_driver_options(CLI::App& command, RunOptions& options) {
    command.add_option("--name", options.name, "Name of the network interface, as in udn0")
        ->group(group);
    command
        .add_option_function<std::string>(
            "--wait", [&options](const std::string& name) { options.wait = wait_mode(name); },
            "How to wait; auto (default) is read for one interrupt, else uring")
        ->check(check_wait_mode)
        ->type_name("auto|uring|read")
        ->group(group);
    command
        .add_option("--queues", options.queues,
                    "Queues of the interface at most; without it, as many as the chip has")
        ->check(CLI::Range(1, UDRV_NET_MAX_QUEUES))
        ->type_name("N")
        ->group(group);
    command
        .add_option("--stats", options.stats_path,
                    "Write counters to this JSON file at exit and upon SIGUSR1")
        ->group(group);
    command
        .add_flag_callback(
            "--no-sandbox", [&options] { options.sandbox = false; },
            "Keep privileges and all system calls, for debugging")
        ->group(group);
    command.add_flag("-v,--verbose", options.verbose, "Log more")->group(group);
}

std::vector<std::string> given_driver_options(const CLI::App& command) {
    std::vector<std::string> arguments;
    for (const CLI::Option* option : command.get_options()) {
        if (option->get_group() != group || option->count() == 0) {
            continue;
        }
        if (option->get_expected_max() == 0) { // a flag
            arguments.push_back(option->get_name());
        } else {
            for (const std::string& value : option->results()) {
                arguments.push_back(fmt::format("{}={}", option->get_name(), value));
            }
        }
    }
    return arguments;
}

} // namespace udrv
