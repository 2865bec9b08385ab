// SPDX-License-Identifier: MIT
#include "cli/status.hpp"

#include <cstdint>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "libudrv/error.hpp"

namespace udrv::cli {

namespace {

/// What blkloop shows of the disks below a device, also while nobody drives them.
nlohmann::ordered_json disks_of(const fs::path& device) {
    auto disks = nlohmann::ordered_json::array();
    for (const std::string& name : list(device / "udrv_disk")) {
        const fs::path disk = device / "udrv_disk" / name;
        const std::int64_t sectors = read_number(disk / name / "size"); // of 512 bytes
        disks.push_back({{"name", name},
                         {"model", read_line(disk / "model")},
                         {"serial", read_line(disk / "serial")},
                         {"size_bytes", sectors * 512}});
    }
    return disks;
}

nlohmann::ordered_json device_status(const System& system, const PciAddress& address) {
    const fs::path device = system.device(address);
    const fs::path attributes = device / "udrv";
    std::vector<std::string> names = list(device / "net");
    const nlohmann::ordered_json disks = disks_of(device);
    for (const auto& disk : disks) {
        names.push_back(disk["name"]);
    }
    std::string driver = read_line(attributes / "driver");
    if (driver.starts_with(process_prefix)) {
        driver.erase(0, std::string_view(process_prefix).size());
    }
    const std::int64_t pid = read_number(attributes / "owner");
    const auto id = pci_id(system, address).value_or(PciId{});

    nlohmann::ordered_json json;
    json["bdf"] = address.str();
    json["id"] = fmt::format("{:04x}:{:04x}", id.vendor, id.device);
    json["driver"] = driver.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(driver);
    json["pid"] = pid == 0 ? nlohmann::ordered_json() : nlohmann::ordered_json(pid);
    json["state"] = read_line(attributes / "state");
    json["name"] = names.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(names.front());
    json["names"] = names;
    json["disks"] = disks;
    json["iommu"] = read_number(attributes / "iommu") != 0;
    json["untrusted"] = read_number(attributes / "untrusted") != 0;
    for (const char* counter : {"interrupts", "violations", "pinned_bytes", "mappings"}) {
        json[counter] = read_number(attributes / counter);
    }
    return json;
}

std::string text_or_dash(const nlohmann::ordered_json& value) {
    if (value.is_null()) {
        return "-";
    }
    return value.is_string() ? value.get<std::string>() : value.dump();
}

nlohmann::ordered_json status(const System& system) {
    auto all = nlohmann::ordered_json::array();
    for (const std::string& entry : list(system.pci_driver("udrv"))) {
        if (entry.find(':') == std::string::npos) {
            continue; // bind, unbind, module ...
        }
        try {
            all.push_back(device_status(system, PciAddress::parse(entry)));
        } catch (const Error&) {
            continue; // not a device
        }
    }
    return all;
}

} // namespace

std::string status_json(const System& system) {
    return status(system).dump(2);
}

std::string status_table(const System& system) {
    if (!system.module_loaded()) {
        return "The kernel module udrv is not loaded.\n";
    }
    const auto devices = status(system);
    if (devices.empty()) {
        return "No device is bound to udrv.\n";
    }
    constexpr const char* row = "{:<14}{:<11}{:<10}{:<9}{:<9}{:<10}{:>12}{:>12}{:>12}  {}\n";
    std::string table = fmt::format(row, "DEVICE", "ID", "DRIVER", "PID", "STATE", "NAME",
                                    "INTERRUPTS", "VIOLATIONS", "PINNED KiB", "DRIVER IS");
    for (const auto& device : devices) {
        table += fmt::format(row, text_or_dash(device["bdf"]), text_or_dash(device["id"]),
                             text_or_dash(device["driver"]), text_or_dash(device["pid"]),
                             text_or_dash(device["state"]), text_or_dash(device["name"]),
                             text_or_dash(device["interrupts"]), text_or_dash(device["violations"]),
                             device["pinned_bytes"].get<std::int64_t>() / 1024,
                             std::string(device["untrusted"].get<bool>() ? "untrusted" : "trusted") +
                                 (device["iommu"].get<bool>() ? "" : ", no IOMMU"));
        for (const auto& disk : device["disks"]) {
            table += fmt::format("  {}: {}, serial {}, {} MiB\n", text_or_dash(disk["name"]),
                                 text_or_dash(disk["model"]), text_or_dash(disk["serial"]),
                                 disk["size_bytes"].get<std::int64_t>() >> 20);
        }
    }
    return table;
}

} // namespace udrv::cli
