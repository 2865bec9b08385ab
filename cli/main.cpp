// SPDX-License-Identifier: MIT
//
// udrv: bind devices, run their drivers, see what runs.
// Exit status: 0 done, 1 it could not be done, 2 it was not asked for correctly.
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <iostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <unistd.h>

#include "cli/bind.hpp"
#include "cli/doctor.hpp"
#include "cli/drivers.hpp"
#include "cli/list.hpp"
#include "cli/run.hpp"
#include "cli/saved.hpp"
#include "cli/status.hpp"
#include "cli/top.hpp"
#include "cli/upgrade.hpp"
#include "cli/version.hpp"
#include "libudrv/error.hpp"
#include "libudrv/process/driver_options.hpp"
#include "libudrv/process/output.hpp"

namespace {

using namespace udrv;

struct Arguments {
    std::string bdf;
    std::string driver_name;
    bool force = false;
    bool json = false;
    bool names = false;
    bool without_iommu = false;
    bool untrusted = false;
    bool save = false;
    bool saved = false;
    bool openmetrics = false;
    double interval_s = 2;
    cli::TopRequest top;
    cli::RunRequest run;
    RunOptions driver_options;
};

constexpr const char* device_help =
    "PCI address, as in 0000:00:10.0 or 00:10.0, or the name of an interface or a disk on it";

void add_bdf(CLI::App& command, Arguments& arguments) {
    command.add_option("BDF", arguments.bdf, device_help)->required();
}

/// The output of these commands is their work.
void print(const std::string& text) {
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() ||
        std::fflush(stdout) != 0) {
        throw_errno(errno, "write to standard output");
    }
}

void add_run(CLI::App& app, Arguments& arguments, const cli::Drivers& drivers) {
    CLI::App* run = app.add_subcommand("run", "Drive a bound device, in the foreground");
    run->add_option("DRIVER", arguments.driver_name,
                    fmt::format("Its name ({}), or the path of its program; may be left out",
                                drivers.names()))
        ->required();
    run->add_option("BDF", arguments.bdf, device_help);
    run->add_flag("--restart", arguments.run.restart,
                  "Start it again when it dies or makes no progress");
    run->add_option("--deadline", arguments.run.deadline_ms,
                    "With --restart: milliseconds without progress that are taken for death")
        ->check(CLI::Range(100U, 600'000U))
        ->capture_default_str();
    run->add_option("--restart-limit", arguments.run.restart_limit,
                    "With --restart: give up after so many consecutive runs under a second")
        ->capture_default_str();
    add_driver_options(*run, arguments.driver_options);
    run->footer("What follows a `--` is for the driver alone.");
}

void add_commands(CLI::App& app, Arguments& arguments, const cli::Drivers& drivers) {
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
    bind->add_flag("--save", arguments.save, "Now and at each boot, with these options");
    bind->add_flag("--saved", arguments.saved,
                   "With the options that --save kept, for the udev rule; else the kernel's "
                   "driver gets it");

    CLI::App* unbind = app.add_subcommand("unbind", "Give a device back to the kernel");
    add_bdf(*unbind, arguments);
    unbind->add_flag("--force", arguments.force,
                     "Even if it carries a mounted disk or the default route");
    unbind->add_flag("--save", arguments.save, "Now, and not again at boot");

    add_run(app, arguments, drivers);

    CLI::App* upgrade = app.add_subcommand(
        "upgrade", "Replace a running driver (of `run --restart`) by the program as it is now");
    add_bdf(*upgrade, arguments);

    CLI::App* status = app.add_subcommand("status", "List the devices that are bound to udrv");
    status->add_flag("--json", arguments.json, "As JSON");
    status->add_flag("--openmetrics", arguments.openmetrics, "As OpenMetrics, for Prometheus")
        ->excludes("--json");

    CLI::App* top = app.add_subcommand("top", "Show what the bound devices do, again and again");
    top->add_option("--interval", arguments.interval_s, "Seconds between two tables")
        ->check(CLI::Range(0.1, 3600.0))
        ->capture_default_str();
    top->add_option("--count", arguments.top.count, "End after so many tables; 0: never")
        ->capture_default_str();

    CLI::App* list =
        app.add_subcommand("list", "List the devices here that a driver serves, bound or not");
    list->add_flag("--json", arguments.json, "As JSON");
    list->add_flag("--names", arguments.names, "Only the names of the drivers, a line each");

    CLI::App* doctor = app.add_subcommand(
        "doctor", "Look whether the machine is ready; exit status 1 if it is not");
    doctor->add_flag("--json", arguments.json, "As JSON");
    app.set_version_flag("--version", std::function<std::string()>([] {
                             return cli::version_text({}, UDRV_VERSION,
                                                      UDRV_VERSION " (" UDRV_LIBRARY ")");
                         }),
                         "Versions of the command, the library, the ABI and the loaded modules");
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

int run(const CLI::App& command, Arguments& arguments, const cli::System& system,
        const cli::Drivers& drivers, const std::vector<std::string>& for_driver) {
    cli::RunRequest& request = arguments.run;
    request.driver = arguments.driver_name;
    if (arguments.bdf.empty()) { // the driver was left out, or the address
        std::swap(request.driver, arguments.bdf);
        if (arguments.bdf.find(':') == std::string::npos &&
            !cli::names_device(system, arguments.bdf)) {
            return usage_error(fmt::format("which device? `udrv run {} BDF`", arguments.bdf));
        }
    }
    const PciAddress address = cli::find_device(system, arguments.bdf);
    request.arguments = given_driver_options(command);
    request.arguments.insert(request.arguments.end(), for_driver.begin(), for_driver.end());
    request.verbose = arguments.driver_options.verbose;
    return cli::run(system, drivers, address, request);
}

void bind(const Arguments& arguments, const cli::System& system, const PciAddress& address,
          const cli::Drivers& drivers) {
    const auto served = [&](const PciId& id) { return !drivers.serving(id).empty(); };
    if (arguments.saved) {
        cli::bind_saved(system, address, served);
        return;
    }
    const cli::BindOptions options{.force = arguments.force,
                                   .without_iommu = arguments.without_iommu,
                                   .untrusted = arguments.untrusted,
                                   .served = served};
    cli::bind(system, address, options);
    if (arguments.save) {
        cli::save_binding(system, address, options);
    }
}

void unbind(const Arguments& arguments, const cli::System& system, const PciAddress& address) {
    if (!arguments.save) {
        cli::unbind(system, address, arguments.force);
        if (cli::saved(system, address)) {
            say(STDERR_FILENO,
                fmt::format("udrv: {0} is bound again at the next boot; `udrv unbind "
                            "--save {0}` forgets that, too\n",
                            address.str()));
        }
        return;
    }
    if (system.bound_driver(address) == "udrv" || !cli::saved(system, address)) {
        cli::unbind(system, address, arguments.force);
    }
    cli::forget_binding(system, address);
}

int execute(CLI::App& app, Arguments& arguments, const cli::Drivers& drivers,
            const std::vector<std::string>& for_driver) {
    const cli::System system;
    if (app.got_subcommand("run")) {
        return run(*app.get_subcommand("run"), arguments, system, drivers, for_driver);
    }
    if (app.got_subcommand("status")) {
        if (arguments.openmetrics) {
            print(cli::status_openmetrics(system));
        } else {
            print(arguments.json ? cli::status_json(system) + "\n" : cli::status_table(system));
        }
        return 0;
    }
    if (app.got_subcommand("top")) {
        arguments.top.interval =
            std::chrono::milliseconds(static_cast<std::int64_t>(arguments.interval_s * 1000));
        cli::top(system, arguments.top);
        return 0;
    }
    if (app.got_subcommand("list")) {
        if (arguments.names) {
            print(cli::list_names(drivers));
        } else {
            print(arguments.json ? cli::list_json(system, drivers) + "\n"
                                 : cli::list_table(system, drivers));
        }
        return 0;
    }
    if (app.got_subcommand("doctor")) {
        const auto findings = cli::examine(system, drivers, cli::this_process(UDRV_VERSION));
        print(arguments.json ? cli::findings_json(findings) + "\n" : cli::findings_text(findings));
        return cli::findings_status(findings);
    }
    const PciAddress address = cli::find_device(system, arguments.bdf);
    if (app.got_subcommand("bind")) {
        bind(arguments, system, address, drivers);
    } else if (app.got_subcommand("unbind")) {
        unbind(arguments, system, address);
    } else {
        print(cli::upgrade(system, address) + "\n");
    }
    return 0;
}

/// Takes what follows the first `--` off the command line of `run`.
std::vector<std::string> take_arguments_of_driver(int& argc, char** argv) {
    if (argc < 2 || std::string_view(argv[1]) != "run") {
        return {};
    }
    for (int n = 2; n < argc; ++n) {
        if (std::string_view(argv[n]) == "--") {
            const std::vector<std::string> taken(argv + n + 1, argv + argc);
            argc = n;
            return taken;
        }
    }
    return {};
}

} // namespace

int main(int argc, char** argv) {
    open_standard_files(); // before anything else is opened
    try {
        const cli::Drivers drivers(cli::Drivers::folders(UDRV_DRIVER_DIR));
        const std::vector<std::string> for_driver = take_arguments_of_driver(argc, argv);
        Arguments arguments;
        CLI::App app("Linux device drivers as user processes", "udrv");
        add_commands(app, arguments, drivers);
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
        return execute(app, arguments, drivers, for_driver);
    } catch (const cli::UnknownDriver& error) {
        say(STDERR_FILENO, fmt::format("udrv: {}\n", error.what()));
        return 2;
    } catch (const std::exception& error) {
        say(STDERR_FILENO, fmt::format("udrv: {}\n", error.what()));
        return 1;
    }
}
