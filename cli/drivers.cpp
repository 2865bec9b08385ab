// SPDX-License-Identifier: MIT
#include "cli/drivers.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <string_view>

#include <fmt/format.h>
#include <unistd.h>

#include "cli/system.hpp"

namespace udrv::cli {

namespace {

constexpr std::string_view prefix = "udrv-";

bool executable(const fs::path& path) {
    std::error_code error;
    return fs::is_regular_file(path, error) && ::access(path.c_str(), X_OK) == 0;
}

[[noreturn]] void unknown(const std::string& tried, const std::string& problem,
                          const std::string& advice) {
    throw UnknownDriver(std::error_code(ENOENT, std::system_category()),
                        error_text(tried, problem, advice));
}

/// With the ids beside it, if there are any.
DriverProgram describe(const fs::path& path) {
    DriverProgram driver;
    driver.name = path.filename().string();
    if (driver.name.starts_with(prefix)) {
        driver.name.erase(0, prefix.size());
    }
    driver.path = fs::absolute(path);
    const fs::path file = path.parent_path() / (driver.name + ".ids");
    std::ifstream stream(file);
    if (!stream) {
        return driver;
    }
    const std::string text{std::istreambuf_iterator<char>(stream), {}};
    try {
        driver.ids = parse_ids(text, file.string());
        if (driver.ids.empty()) {
            driver.problem = fmt::format("read {}: there is no id in it", file.string());
        }
    } catch (const Error& error) {
        driver.problem = error.what();
    }
    return driver;
}

} // namespace

void DriverProgram::require_served(const PciId& id, const PciAddress& address) const {
    if (!problem.empty()) {
        throw Error(std::error_code(EINVAL, std::system_category()), problem);
    }
    if (!ids.empty()) {
        udrv::require_served(ids, id, name, address);
    }
}

Drivers::Drivers(const std::vector<fs::path>& folders) : folders_(folders) {
    std::map<std::string, DriverProgram> found;
    for (const fs::path& folder : folders) {
        for (const std::string& file : list(folder)) {
            if (file.starts_with(prefix) && file.size() > prefix.size() &&
                !found.contains(file.substr(prefix.size())) && executable(folder / file)) {
                DriverProgram driver = describe(folder / file);
                found.emplace(driver.name, std::move(driver));
            }
        }
    }
    for (auto& [name, driver] : found) {
        drivers_.push_back(std::move(driver));
    }
}

std::vector<fs::path> Drivers::folders(const fs::path& own) {
    std::vector<fs::path> folders;
    std::error_code error;
    const fs::path self = fs::read_symlink("/proc/self/exe", error);
    if (!error) {
        folders.push_back((self.parent_path() / own).lexically_normal());
    }
    const char* more = std::getenv("UDRV_DRIVER_PATH");
    std::string_view rest = more == nullptr ? "" : more;
    while (!rest.empty()) {
        const std::size_t length = std::min(rest.find(':'), rest.size());
        if (length > 0) {
            folders.emplace_back(rest.substr(0, length));
        }
        rest.remove_prefix(std::min(length + 1, rest.size()));
    }
    return folders;
}

std::string Drivers::names() const {
    std::string names;
    for (const DriverProgram& driver : drivers_) {
        names += (names.empty() ? "" : ", ") + driver.name;
    }
    return names.empty() ? "none" : names;
}

std::vector<const DriverProgram*> Drivers::serving(const PciId& id) const {
    std::vector<const DriverProgram*> serving;
    for (const DriverProgram& driver : drivers_) {
        if (find_id(driver.ids, id) != nullptr) {
            serving.push_back(&driver);
        }
    }
    return serving;
}

DriverProgram Drivers::find(const std::string& name) const {
    if (name.find('/') != std::string::npos) {
        if (!executable(name)) {
            unknown(fmt::format("find the driver {}", name),
                    "there is no such program, or it is not executable",
                    "build it, or name a driver without a slash: `udrv run --help` lists them");
        }
        return describe(name);
    }
    for (const DriverProgram& driver : drivers_) {
        if (driver.name == name) {
            return driver;
        }
    }
    std::string where;
    for (const fs::path& folder : folders_) {
        where += (where.empty() ? "" : " or ") + folder.string();
    }
    unknown(fmt::format("find the driver '{}'", name),
            fmt::format("there is no program {}{} in {}", prefix, name, where),
            fmt::format("there are: {} (UDRV_DRIVER_PATH names more folders)", names()));
}

const DriverProgram& Drivers::find(const PciId& id, const PciAddress& address) const {
    const std::vector<const DriverProgram*> found = serving(id);
    const std::string tried = fmt::format("find a driver for {}", address.str());
    if (found.empty()) {
        throw_error(ENODEV, tried,
                    fmt::format("none here serves a {:04x}:{:04x}", id.vendor, id.device),
                    fmt::format("there are: {}", names()));
    }
    if (found.size() > 1) {
        std::string both;
        for (const DriverProgram* driver : found) {
            both += (both.empty() ? "" : ", ") + driver->name;
        }
        throw_error(EINVAL, tried, fmt::format("{} serve it", both),
                    fmt::format("say which: `udrv run {} {}`", found.front()->name, address.str()));
    }
    return *found.front();
}

} // namespace udrv::cli
