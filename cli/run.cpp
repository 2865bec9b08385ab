// SPDX-License-Identifier: MIT
#include "cli/run.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <string_view>

#include <fmt/format.h>
#include <malloc.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "cli/status.hpp"
#include "cli/supervisor.hpp"
#include "libudrv/error.hpp"
#include "libudrv/process/output.hpp"
#include "libudrv/process/sandbox.hpp"
#include "libudrv/process/supervised.hpp"

namespace udrv::cli {

namespace {

/// Registers and rings of a device that was unbound or unplugged raise SIGBUS;
/// there is nothing to go on with. The kernel has quieted the device already.
void on_bus_error(int /*signal*/) {
    constexpr std::string_view text =
        "udrv: run the driver: the device went away (unbound or unplugged); bind it again\n";
    const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
    ::_exit(written < 0 ? 3 : 1);
}

void handle_bus_errors() {
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

/// Serves the device until told to stop; returns the exit status.
int drive(const Driver& driver, const PciAddress& address, const RunOptions& options,
          Heartbeat heartbeat) {
    const std::string process_name = process_prefix + std::string(driver.name);
    ::prctl(PR_SET_NAME, process_name.c_str());
    Device device(address);
    DriverContext context{driver, device, options, heartbeat};
    return driver.run(context);
}

void prepare(const Driver& driver) {
    handle_bus_errors();
    if (driver.prepare != nullptr) {
        driver.prepare();
    }
}

/// A process that a supervisor started.
int drive_in_turn(Supervised& supervised, const Driver& driver, const PciAddress& address,
                  const RunOptions& options) {
    ::prctl(PR_SET_NAME, "udrv-successor");
    // A terminal that hangs up tells all its processes: what follows is up to the supervisor.
    (void)std::signal(SIGHUP, SIG_IGN);
    prepare(driver);
    return supervised.wait_for_turn() ? drive(driver, address, options, supervised.heartbeat()) : 0;
}

} // namespace

void require_served(const System& system, const Driver& driver, const PciAddress& address) {
    const auto id = pci_id(system, address);
    if (!id || std::find(driver.ids.begin(), driver.ids.end(), *id) != driver.ids.end()) {
        return; // no such device: opening it says so better
    }
    std::string served;
    for (const PciId& one : driver.ids) {
        served += fmt::format(" {:04x}:{:04x}", one.vendor, one.device);
    }
    throw_error(ENODEV, fmt::format("run {} on {}", driver.name, address.str()),
                fmt::format("the device is {:04x}:{:04x}, which this driver does not serve",
                            id->vendor, id->device),
                fmt::format("it serves{}", served));
}

int run(const System& system, const Driver& driver, const PciAddress& address,
        const RunOptions& options, char** argv) {
    survive_lost_output();
    handle_signals_of_start();
    if (options.restart) { // a signal that comes before the supervisor looks is not lost
        ::sigprocmask(SIG_BLOCK, &supervision_signals(), nullptr);
    }
    // One heap for all threads: a second one takes 64 MiB of address space at some moment
    // of its own choice, which may be after the sandbox limited that; or locks them.
    ::mallopt(M_ARENA_MAX, 1);
    log_to_stderr(options.verbose);
    if (auto supervised = Supervised::from_environment()) {
        require_served(system, driver, address);
        return drive_in_turn(*supervised, driver, address, options);
    }
    close_inherited_files();
    require_served(system, driver, address);
    if (options.restart) {
        return supervise(system, address,
                         {.path = fs::read_symlink("/proc/self/exe"), .argv = argv},
                         supervision_limits(system, options.deadline_ms, options.restart_limit));
    }
    prepare(driver);
    return drive(driver, address, options, Heartbeat());
}

} // namespace udrv::cli
