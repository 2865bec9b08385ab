// SPDX-License-Identifier: MIT
#include "cli/list.hpp"

#include <cstdint>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace udrv::cli {

namespace {

using Json = nlohmann::ordered_json;

Json text_or_null(const std::string& text) {
    return text.empty() ? Json() : Json(text);
}

Json devices(const System& system, const Drivers& drivers) {
    Json all = Json::array();
    for (const PciAddress& address : list_functions(system.sys / "bus/pci/devices")) {
        const auto id = pci_id(system, address);
        const auto serving = id ? drivers.serving(*id) : std::vector<const DriverProgram*>();
        if (serving.empty()) {
            continue;
        }
        Json names = Json::array();
        for (const DriverProgram* driver : serving) {
            names.push_back(driver->name);
        }
        const std::int64_t pid = read_number(system.device(address) / "udrv/owner");
        all.push_back({{"bdf", address.str()},
                       {"id", fmt::format("{:04x}:{:04x}", id->vendor, id->device)},
                       {"class", fmt::format("{:06x}", id->class_code)},
                       {"description", find_id(serving.front()->ids, *id)->description},
                       {"drivers", names},
                       {"bound_to", text_or_null(system.bound_driver(address))},
                       {"pid", pid == 0 ? Json() : Json(pid)}});
    }
    return all;
}

std::string driven_by(const Json& device) {
    if (device["bound_to"].is_null()) {
        return "nobody";
    }
    const auto driver = device["bound_to"].get<std::string>();
    if (driver != "udrv") {
        return driver + " (kernel)";
    }
    return device["pid"].is_null() ? std::string("udrv, nobody runs")
                                   : fmt::format("udrv, process {}", device["pid"].dump());
}

} // namespace

std::string list_json(const System& system, const Drivers& drivers) {
    const Json document = {{"schema", 1}, {"devices", devices(system, drivers)}};
    return document.dump(2);
}

std::string list_table(const System& system, const Drivers& drivers) {
    const Json all = devices(system, drivers);
    if (all.empty()) {
        return fmt::format("No device here is served by one of: {}.\n", drivers.names());
    }
    constexpr const char* row = "{:<14}{:<11}{:<14}{:<24}{}\n";
    std::string table = fmt::format(row, "DEVICE", "ID", "DRIVER", "DRIVEN BY", "IS");
    for (const Json& device : all) {
        std::string names;
        for (const Json& name : device["drivers"]) {
            names += (names.empty() ? "" : ",") + name.get<std::string>();
        }
        table += fmt::format(row, device["bdf"].get<std::string>(), device["id"].get<std::string>(),
                             names, driven_by(device), device["description"].get<std::string>());
    }
    return table;
}

std::string list_names(const Drivers& drivers) {
    std::string names;
    for (const DriverProgram& driver : drivers.all()) {
        names += driver.name + "\n";
    }
    return names;
}

} // namespace udrv::cli
