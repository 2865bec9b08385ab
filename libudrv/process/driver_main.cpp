// SPDX-License-Identifier: MIT
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <exception>
#include <iostream>
#include <string>
#include <string_view>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <malloc.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "libudrv/device/pci_ids.hpp"
#include "libudrv/error.hpp"
#include "libudrv/process/driver.hpp"
#include "libudrv/process/driver_options.hpp"
#include "libudrv/process/output.hpp"
#include "libudrv/process/sandbox.hpp"
#include "libudrv/process/supervised.hpp"

namespace udrv {

namespace {

/// What a signal handler says; the program's name is in it.
std::string& went_away() {
    static std::string text;
    return text;
}

/// Registers and rings of a device that was unbound or unplugged raise SIGBUS;
/// there is nothing to go on with. The kernel has quieted the device already.
void on_bus_error(int /*signal*/) {
    const std::string& text = went_away();
    const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
    ::_exit(written < 0 ? 3 : 1);
}

void handle_bus_errors(const std::string& program) {
    went_away() = program + ": run the driver: the device went away (unbound or unplugged); "
                            "bind it again\n";
    struct sigaction action {};
    action.sa_handler = on_bus_error;
    ::sigaction(SIGBUS, &action, nullptr);
}

void on_stop(int /*signal*/) {
    ::_exit(0);
}

/// Until the driver's loop takes signals: nothing was begun that the kernel could not end as
/// well, so a wish to stop ends the process, without an error; and there is nothing to report.
void handle_signals_of_start() {
    struct sigaction action {};
    action.sa_handler = on_stop;
    ::sigaction(SIGTERM, &action, nullptr);
    ::sigaction(SIGINT, &action, nullptr);
    action.sa_handler = SIG_IGN;
    ::sigaction(SIGUSR1, &action, nullptr);
}

class DriverProcess {
  public:
    DriverProcess(const Driver& driver, const PciAddress& address, const RunOptions& options)
        : driver_(driver), address_(address), options_(options),
          program_("udrv-" + std::string(driver.name)), ids_(parse_ids(driver.ids, driver.name)) {}

    /// A process that a person or a service manager started, or a supervisor.
    int run() {
        if (auto supervised = Supervised::from_environment()) {
            return run_in_turn(*supervised);
        }
        close_inherited_files();
        prepare();
        return drive(Heartbeat());
    }

  private:
    int run_in_turn(Supervised& supervised) {
        ::prctl(PR_SET_NAME, "udrv-successor");
        // A terminal that hangs up tells all its processes: what follows is up to the supervisor.
        (void)std::signal(SIGHUP, SIG_IGN);
        prepare();
        return supervised.wait_for_turn() ? drive(supervised.heartbeat()) : 0;
    }

    void prepare() const {
        handle_bus_errors(program_);
        if (driver_.prepare != nullptr) {
            driver_.prepare();
        }
    }

    /// Serves the device until told to stop; returns the exit status.
    int drive(Heartbeat heartbeat) const {
        ::prctl(PR_SET_NAME, program_.c_str());
        Device device(address_);
        const udrv_info& info = device.info();
        require_served(ids_, {info.vendor, info.device, info.class_code}, driver_.name, address_);
        DriverContext context{driver_, device, options_, heartbeat};
        return driver_.run(context);
    }

    const Driver& driver_;
    PciAddress address_;
    const RunOptions& options_;
    std::string program_;
    std::vector<ServedId> ids_;
};

/// Reads the command line. False: it has been dealt with, `status` is the exit status.
bool read_command_line(const Driver& driver, int argc, char** argv, std::string& bdf,
                       RunOptions& options, int& status) {
    const std::string program = fmt::format("udrv-{}", driver.name);
    CLI::App app(
        fmt::format("Driver of {}. `udrv run {}` supervises it.", driver.description, driver.name),
        program);
    app.add_option("BDF", bdf, "PCI address of a device that is bound, as in 0000:00:10.0")
        ->required();
    add_driver_options(app, options);
    app.set_version_flag("--version", fmt::format("{} {}", program, driver.version));
    try {
        app.parse(argc, argv);
        return true;
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() != 0) {
            say(STDERR_FILENO, fmt::format("{}: read the command line: {}; see `{} --help`\n",
                                           program, error.what(), program));
            status = 2;
            return false;
        }
        app.exit(error); // --help, --version
        std::cout.flush();
        if (!std::cout) {
            throw_errno(errno, "write to standard output");
        }
        status = 0;
        return false;
    }
}

} // namespace

int driver_main(const Driver& driver, int argc, char** argv) {
    open_standard_files(); // before anything else is opened
    try {
        std::string bdf;
        RunOptions options;
        int status = 0;
        if (!read_command_line(driver, argc, argv, bdf, options, status)) {
            return status;
        }
        survive_lost_output();
        handle_signals_of_start();
        // One heap for all threads: a second one takes 64 MiB of address space at some moment
        // of its own choice, which may be after the sandbox limited that; or locks them.
        ::mallopt(M_ARENA_MAX, 1);
        log_to_stderr(options.verbose, fmt::format("udrv-{}", driver.name));
        return DriverProcess(driver, PciAddress::parse(bdf), options).run();
    } catch (const std::exception& error) {
        say(STDERR_FILENO, fmt::format("udrv-{}: {}\n", driver.name, error.what()));
        return 1;
    }
}

} // namespace udrv
