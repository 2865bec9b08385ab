// SPDX-License-Identifier: MIT
//
// udrv: bind devices, run their drivers, see what runs.
// Exit status: 0 done, 1 it could not be done, 2 it was not asked for correctly.
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <exception>
#include <iostream>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <unistd.h>

#include "cli/bind.hpp"
#include "cli/run.hpp"
#include "cli/status.hpp"
#include "cli/upgrade.hpp"
#include "libudrv/error.hpp"
#include "libudrv/process/output.hpp"

namespace {

using namespace udrv;

struct Arguments {
    std::string bdf;
    std::string driver;
    bool force = false;
    bool json = false;
    bool without_iommu = false;
    bool untrusted = false;
    bool no_sandbox = false;
    std::string wait = "auto";
    RunOptions run;
};

std::string driver_names() {
    std::string names;
    for (const Driver* driver : drivers()) {
        names += fmt::format("{}{}", names.empty() ? "" : ", ", driver->name);
    }
    return names.empty() ? "none" : names;
}

bool served(PciId id) {
    return std::any_of(drivers().begin(), drivers().end(), [&](const Driver* driver) {
        return std::find(driver->ids.begin(), driver->ids.end(), id) != driver->ids.end();
    });
}

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

void add_bdf(CLI::App& command, Arguments& arguments) {
    command.add_option("BDF", arguments.bdf, "PCI address, as in 0000:00:10.0 or 00:10.0")
        ->required();
}

/// The output of these commands is their work.
void print(const std::string& text) {
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() ||
        std::fflush(stdout) != 0) {
        throw_errno(errno, "write to standard output");
    }
}

void add_commands(CLI::App& app, Arguments& arguments) {
    CLI::App* bind = app.add_subcommand("bind", "Give a device to udrv");
    add_bdf(*bind, arguments);
    bind->add_flag(
        "--force", arguments.force,
        "Even if it carries a mounted disk or the default route, or no driver serves it");
    bind->add_flag("--unsafe-no-iommu", arguments.without_iommu,
                   "Even if no IOMMU confines it: its driver can then reach all memory. Sets "
                   "udrv's parameter allow_unsafe_no_iommu");
    bind->add_flag("--untrusted", arguments.untrusted,
                   "Copy what its driver receives before the stack looks, and never show it or "
                   "a reader older memory");

    CLI::App* unbind = app.add_subcommand("unbind", "Give a device back to the kernel");
    add_bdf(*unbind, arguments);
    unbind->add_flag("--force", arguments.force,
                     "Even if it carries a mounted disk or the default route");

    CLI::App* run = app.add_subcommand("run", "Drive a bound device, in the foreground");
    run->add_option("DRIVER", arguments.driver, "One of: " + driver_names())->required();
    add_bdf(*run, arguments);
    run->add_option("--name", arguments.run.name, "Name of the network interface, as in udn0");
    run->add_option("--wait", arguments.wait,
                    "How to wait; auto (default) is read for one interrupt, else uring")
        ->check(check_wait_mode)
        ->type_name("auto|uring|read");
    run->add_option("--stats", arguments.run.stats_path,
                    "Write counters to this JSON file at exit and upon SIGUSR1");
    run->add_flag("--restart", arguments.run.restart,
                  "Start it again when it dies or makes no progress");
    run->add_option("--deadline", arguments.run.deadline_ms,
                    "With --restart: milliseconds without progress that are taken for death")
        ->check(CLI::Range(100U, 600'000U))
        ->capture_default_str();
    run->add_option("--restart-limit", arguments.run.restart_limit,
                    "With --restart: give up after so many lives of less than a second in a row")
        ->capture_default_str();
    run->add_flag("--no-sandbox", arguments.no_sandbox,
                  "Keep privileges and all system calls, for debugging");
    run->add_flag("-v,--verbose", arguments.run.verbose, "Log more");

    CLI::App* upgrade = app.add_subcommand(
        "upgrade", "Replace a running driver (of `run --restart`) by the program as it is now");
    add_bdf(*upgrade, arguments);

    CLI::App* status = app.add_subcommand("status", "List the devices that are bound to udrv");
    status->add_flag("--json", arguments.json, "As a JSON array");
    app.set_version_flag("--version", "udrv " UDRV_VERSION);
    app.require_subcommand(1);
}

/// The word where a command should be, if it is none.
std::string unknown_command(const CLI::App& app, int argc, char** argv) {
    if (argc < 2 || argv[1][0] == '-') {
        return {};
    }
    std::string names;
    for (const CLI::App* command : app.get_subcommands({})) {
        if (command->get_name() == argv[1]) {
            return {};
        }
        names += (names.empty() ? "" : ", ") + command->get_name();
    }
    return fmt::format("there is no command '{}'; there are: {}", argv[1], names);
}

int usage_error(const std::string& text) {
    say(STDERR_FILENO, fmt::format("udrv: read the command line: {}; see `udrv --help`\n", text));
    return 2;
}

int execute(const CLI::App& app, const Arguments& arguments, char** argv) {
    const cli::System system;
    if (app.got_subcommand("bind")) {
        cli::bind(system, PciAddress::parse(arguments.bdf),
                  {.force = arguments.force,
                   .without_iommu = arguments.without_iommu,
                   .untrusted = arguments.untrusted,
                   .served = served});
    } else if (app.got_subcommand("unbind")) {
        cli::unbind(system, PciAddress::parse(arguments.bdf), arguments.force);
    } else if (app.got_subcommand("upgrade")) {
        print(cli::upgrade(system, PciAddress::parse(arguments.bdf)) + "\n");
    } else if (app.got_subcommand("status")) {
        print(arguments.json ? cli::status_json(system) + "\n" : cli::status_table(system));
    } else {
        const Driver* driver = find_driver(arguments.driver);
        if (driver == nullptr) {
            return usage_error(fmt::format("there is no driver '{}'; this build has: {}",
                                           arguments.driver, driver_names()));
        }
        RunOptions options = arguments.run;
        options.wait = wait_mode(arguments.wait);
        options.sandbox = !arguments.no_sandbox;
        return cli::run(system, *driver, PciAddress::parse(arguments.bdf), options, argv);
    }
    return 0;
}

} // namespace

int main(int argc, char** argv) {
    open_standard_files(); // before anything else is opened
    try {
        Arguments arguments;
        CLI::App app("Linux device drivers as user processes", "udrv");
        add_commands(app, arguments);
        try {
            app.parse(argc, argv);
        } catch (const CLI::ParseError& error) {
            if (error.get_exit_code() == 0) {
                app.exit(error); // --help, --version
                std::cout.flush();
                if (!std::cout) {
                    throw_errno(errno, "write to standard output");
                }
                return 0;
            }
            const std::string unknown = unknown_command(app, argc, argv);
            return usage_error(unknown.empty() ? error.what() : unknown);
        }
        return execute(app, arguments, argv);
    } catch (const std::exception& error) {
        say(STDERR_FILENO, fmt::format("udrv: {}\n", error.what()));
        return 1;
    }
}
