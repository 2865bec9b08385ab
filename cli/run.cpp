// SPDX-License-Identifier: MIT
#include "cli/run.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <string_view>

#include <fmt/format.h>
#include <malloc.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "cli/status.hpp"
#include "cli/supervisor.hpp"
#include "libudrv/error.hpp"
#include "libudrv/process/sandbox.hpp"

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

void set_up_log(bool verbose) {
    auto logger = spdlog::stderr_logger_mt("udrv");
    logger->set_pattern("udrv: %l: %v");
    logger->set_level(verbose ? spdlog::level::debug : spdlog::level::info);
    spdlog::set_default_logger(std::move(logger));
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
    close_inherited_files();
    // One heap for all threads: a second one takes 64 MiB of address space at some moment
    // of its own choice, which may be after the sandbox limited that; or locks them.
    ::mallopt(M_ARENA_MAX, 1);
    set_up_log(options.verbose);
    require_served(system, driver, address);
    const auto prepare = [&] {
        handle_bus_errors();
        if (driver.prepare != nullptr) {
            driver.prepare();
        }
    };
    const auto serve = [&](Heartbeat heartbeat) {
        const std::string process_name = process_prefix + std::string(driver.name);
        ::prctl(PR_SET_NAME, process_name.c_str());
        Device device(address);
        DriverContext context{driver, device, options, heartbeat};
        return driver.run(context);
    };
    if (options.restart) {
        return supervise(system, address, options, argv, {prepare, serve});
    }
    prepare();
    return serve(Heartbeat());
}

} // namespace udrv::cli
