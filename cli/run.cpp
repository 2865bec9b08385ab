// SPDX-License-Identifier: MIT
#include "cli/run.hpp"

#include <cerrno>
#include <csignal>

#include <fmt/format.h>
#include <unistd.h>

#include "cli/supervisor.hpp"
#include "libudrv/error.hpp"
#include "libudrv/process/output.hpp"
#include "libudrv/process/sandbox.hpp"
#include "libudrv/process/supervised.hpp"

namespace udrv::cli {

DriverProgram choose_driver(const System& system, const Drivers& drivers, const std::string& name,
                            const PciAddress& address) {
    const auto id = pci_id(system, address);
    if (name.empty()) {
        if (!id) {
            throw_error(ENODEV, fmt::format("find a driver for {}", address.str()),
                        "there is no such PCI device", "`lspci -D` lists those of this machine");
        }
        return drivers.find(*id, address);
    }
    DriverProgram driver = drivers.find(name);
    if (id) { // no such device: opening it says so better
        driver.require_served(*id, address);
    }
    return driver;
}

int run(const System& system, const Drivers& drivers, const PciAddress& address,
        const RunRequest& request) {
    survive_lost_output();
    if (request.restart) { // a signal that comes before the supervisor looks is not lost
        ::sigprocmask(SIG_BLOCK, &supervision_signals(), nullptr);
    }
    const DriverProgram driver = choose_driver(system, drivers, request.driver, address);
    std::vector<std::string> words{driver.path.filename().string(), address.str()};
    words.insert(words.end(), request.arguments.begin(), request.arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) {
        argv.push_back(word.data());
    }
    argv.push_back(nullptr);
    if (request.restart) {
        log_to_stderr(request.verbose);
        close_inherited_files();
        return supervise(system, address, {.path = driver.path, .argv = argv.data()},
                         supervision_limits(system, request.deadline_ms, request.restart_limit));
    }
    ::execv(driver.path.c_str(), argv.data());
    throw_errno(errno, fmt::format("run {} on {}: execute {}", driver.name, address.str(),
                                   driver.path.string()));
}

} // namespace udrv::cli
