// SPDX-License-Identifier: MIT
#include "cli/status.hpp"

#include <cstdint>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/history.hpp"

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
    const std::string driver = driver_of(read_line(attributes / "driver"));
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
    const std::vector<DeathRecord> records = deaths(system, address);
    json["deaths"] = records.empty() ? 0 : records.back().number;
    json["history"] = nlohmann::ordered_json::array();
    for (const DeathRecord& record : records) {
        json["history"].push_back(
            {{"time", record.time}, {"driver", record.driver}, {"cause", record.cause}});
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
    for (const PciAddress& address : list_functions(system.pci_driver("udrv"))) {
        all.push_back(device_status(system, address));
    }
    return all;
}

/// A value between the quotes of OpenMetrics.
std::string quoted(const std::string& text) {
    std::string result;
    for (const char c : text) {
        if (c == '\n') {
            result += "\\n";
            continue;
        }
        if (c == '"' || c == '\\') {
            result += '\\';
        }
        result += c;
    }
    return result;
}

struct Metric {
    const char* name;
    const char* type;
    const char* help;
    const char* unit;
    const char* key; ///< in status()
};
constexpr Metric metrics[] = {
    {"udrv_interrupts", "counter", "Interrupts that were handed to drivers.", "", "interrupts"},
    {"udrv_violations", "counter", "Times that a driver broke the protocol.", "", "violations"},
    {"udrv_deaths", "counter", "Deaths of drivers under supervision since the boot.", "", "deaths"},
    {"udrv_pinned_bytes", "gauge", "Memory that the driver has pinned.", "bytes", "pinned_bytes"},
    {"udrv_mappings", "gauge", "DMA mappings of the driver.", "", "mappings"},
};

} // namespace

std::string status_json(const System& system) {
    const nlohmann::ordered_json document = {{"schema", 1}, {"devices", status(system)}};
    return document.dump(2);
}

std::string status_openmetrics(const System& system) {
    const auto devices = status(system);
    std::string text = "# TYPE udrv_up gauge\n"
                       "# HELP udrv_up Whether a driver runs.\n";
    const auto labels = [](const nlohmann::ordered_json& device) {
        return fmt::format("bdf=\"{}\"", quoted(device["bdf"].get<std::string>()));
    };
    for (const auto& device : devices) {
        text += fmt::format(
            "udrv_up{{{},driver=\"{}\",name=\"{}\"}} {}\n", labels(device),
            device["driver"].is_null() ? "" : quoted(device["driver"].get<std::string>()),
            device["name"].is_null() ? "" : quoted(device["name"].get<std::string>()),
            device["pid"].is_null() ? 0 : 1);
    }
    for (const Metric& metric : metrics) {
        text += fmt::format("# TYPE {} {}\n", metric.name, metric.type);
        if (*metric.unit != '\0') {
            text += fmt::format("# UNIT {} {}\n", metric.name, metric.unit);
        }
        text += fmt::format("# HELP {} {}\n", metric.name, metric.help);
        const char* suffix = std::string_view(metric.type) == "counter" ? "_total" : "";
        for (const auto& device : devices) {
            text += fmt::format("{}{}{{{}}} {}\n", metric.name, suffix, labels(device),
                                device[metric.key].dump());
        }
    }
    return text + "# EOF\n";
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
        table +=
            fmt::format(row, text_or_dash(device["bdf"]), text_or_dash(device["id"]),
                        text_or_dash(device["driver"]), text_or_dash(device["pid"]),
                        text_or_dash(device["state"]), text_or_dash(device["name"]),
                        text_or_dash(device["interrupts"]), text_or_dash(device["violations"]),
                        device["pinned_bytes"].get<std::int64_t>() / 1024,
                        std::string(device["untrusted"].get<bool>() ? "untrusted" : "trusted") +
                            (device["iommu"].get<bool>() ? "" : ", no IOMMU"));
        if (!device["history"].empty()) {
            const auto& last = device["history"].back();
            table += fmt::format("  deaths: {}, the last one at {}, of {}: {}\n",
                                 device["deaths"].dump(), text_or_dash(last["time"]),
                                 text_or_dash(last["driver"]), text_or_dash(last["cause"]));
        }
        for (const auto& disk : device["disks"]) {
            table += fmt::format("  {}: {}, serial {}, {} MiB\n", text_or_dash(disk["name"]),
                                 text_or_dash(disk["model"]), text_or_dash(disk["serial"]),
                                 disk["size_bytes"].get<std::int64_t>() >> 20);
        }
    }
    return table;
}

std::string driver_of(std::string program) {
    constexpr std::string_view prefix = "udrv-";
    if (program.starts_with(prefix)) {
        program.erase(0, prefix.size());
    }
    return program;
}

} // namespace udrv::cli
