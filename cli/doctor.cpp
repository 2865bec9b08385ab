// SPDX-License-Identifier: MIT
#include "cli/doctor.hpp"

#include <array>
#include <cstdint>
#include <fstream>
#include <sstream>
#include <utility>

#include <cap-ng.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/resource.h>
#include <sys/utsname.h>

#include "cli/bind.hpp"

namespace udrv::cli {

namespace {

using Level = Finding::Level;

constexpr std::pair<int, int> oldest_kernel{6, 1};
constexpr std::uint64_t enough_memlock = std::uint64_t{64} << 20; ///< a NIC's buffers, and more

std::string level_name(Level level) {
    switch (level) {
    case Level::good:
        return "ok";
    case Level::warning:
        return "warning";
    case Level::fault:
        break;
    }
    return "fault";
}

Finding kernel(const Examined& examined) {
    std::pair<int, int> version{0, 0};
    char dot = 0;
    std::istringstream(examined.kernel) >> version.first >> dot >> version.second;
    if (version < oldest_kernel) {
        return {Level::fault, "kernel", examined.kernel + " is too old",
                fmt::format("boot {}.{} or newer", oldest_kernel.first, oldest_kernel.second)};
    }
    return {Level::good, "kernel", examined.kernel, {}};
}

/// A module that is not of this version speaks another ABI, perhaps.
Finding module(const System& system, const Examined& examined, const std::string& name,
               Level missing, const std::string& without) {
    const fs::path folder = system.sys / "module" / name;
    const std::string subject = "module " + name;
    if (!fs::exists(folder)) {
        return {missing, subject, fmt::format("not loaded: {}", without),
                fmt::format("`modprobe {}`", name)};
    }
    const std::string version = read_line(folder / "version");
    if (!version.empty() && version != examined.version) {
        return {Level::fault, subject,
                fmt::format("version {}, this command is {}", version, examined.version),
                "load the modules of this version, or use that version's command"};
    }
    return {Level::good, subject, version.empty() ? "loaded" : "loaded, version " + version, {}};
}

void look_at_drivers(const Drivers& drivers, std::vector<Finding>& findings) {
    if (drivers.all().empty()) {
        findings.push_back({Level::fault, "drivers", "there are none",
                            "install them, or name their folder in UDRV_DRIVER_PATH"});
        return;
    }
    findings.push_back({Level::good, "drivers", drivers.names(), {}});
    for (const DriverProgram& driver : drivers.all()) {
        if (!driver.problem.empty()) {
            findings.push_back({Level::fault, "driver " + driver.name, driver.problem,
                                "until then it serves nothing"});
        } else if (driver.ids.empty()) {
            findings.push_back({Level::warning, "driver " + driver.name,
                                fmt::format("no {}.ids beside it", driver.name),
                                "it is used only where it is named"});
        }
    }
}

bool remaps_interrupts(const System& system) {
    for (const std::string& number : list(system.sys / "kernel/irq")) {
        if (read_line(system.sys / "kernel/irq" / number / "chip_name").starts_with("IR-")) {
            return true;
        }
    }
    return false;
}

void look_at_iommu(const System& system, std::vector<Finding>& findings) {
    if (list(system.sys / "class/iommu").empty()) {
        findings.push_back({Level::warning, "IOMMU", "none: a driver's device can reach all memory",
                            "switch it on in the firmware (Intel: also intel_iommu=on)"});
        return;
    }
    findings.push_back({Level::good, "IOMMU", "there is one", {}});
    if (remaps_interrupts(system)) {
        findings.push_back({Level::good, "interrupt remapping", "on", {}});
    } else {
        findings.push_back({Level::warning, "interrupt remapping",
                            "off: a device can send any interrupt, and is not confined",
                            "switch on x2APIC or interrupt remapping in the firmware"});
    }
}

/// Whether each device that can be driven would be confined.
void look_at_devices(const System& system, const Drivers& drivers, std::vector<Finding>& findings) {
    unsigned served = 0;
    for (const PciAddress& address : list_functions(system.sys / "bus/pci/devices")) {
        const auto id = pci_id(system, address);
        if (!id || drivers.serving(*id).empty()) {
            continue;
        }
        ++served;
        const std::string reason = unconfined(system, address);
        if (!reason.empty()) {
            findings.push_back({Level::warning, "device " + address.str(), reason,
                                "`udrv bind --unsafe-no-iommu` if you trust its driver like the "
                                "kernel"});
        }
    }
    findings.push_back(
        {Level::good, "devices", fmt::format("{} that a driver serves", served), {}});
}

Finding opt_in(const System& system) {
    const std::string value =
        read_line(system.sys / "module/udrv/parameters/allow_unsafe_no_iommu");
    if (value == "Y" || value == "1") {
        return {Level::warning, "allow_unsafe_no_iommu",
                "on: devices are bound that no IOMMU confines",
                "write N to /sys/module/udrv/parameters/allow_unsafe_no_iommu when none is left"};
    }
    return {Level::good, "allow_unsafe_no_iommu", "off", {}};
}

Finding memlock(const Examined& examined) {
    if (examined.may_lock) {
        return {Level::good, "locked memory", "no limit (CAP_IPC_LOCK)", {}};
    }
    const std::string limit = examined.memlock_bytes == RLIM_INFINITY
                                  ? "no limit"
                                  : fmt::format("{} KiB", examined.memlock_bytes / 1024);
    if (examined.memlock_bytes < enough_memlock) {
        return {Level::warning, "locked memory", limit + ", which may be too little",
                "run drivers as root, or raise it with `ulimit -l` or LimitMEMLOCK="};
    }
    return {Level::good, "locked memory", limit, {}};
}

Finding swiotlb(const System& system) {
    const auto there = bounce_buffers(system);
    if (!there) {
        return {Level::good, "bounce buffers", "not known (debugfs is closed to this process)", {}};
    }
    if (!*there) {
        return {Level::warning, "bounce buffers", "none: `udrv bind --untrusted` does not work",
                "boot with swiotlb=force, or with memory above 4 GiB"};
    }
    return {Level::good, "bounce buffers", "there are some", {}};
}

Finding secure_boot(const System& system) {
    std::ifstream file(system.sys / "firmware/efi/efivars/"
                                    "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c",
                       std::ios::binary);
    std::array<char, 5> variable{}; // four bytes of attributes, then the value
    file.read(variable.data(), variable.size());
    const bool on =
        file.gcount() == static_cast<std::streamsize>(variable.size()) && variable.back() == 1;
    if (on && !system.module_loaded()) {
        return {Level::warning, "Secure Boot", "on: the kernel loads signed modules only",
                "sign them and enrol the key (mokutil --import)"};
    }
    return {Level::good, "Secure Boot", on ? "on" : "off", {}};
}

Finding lockdown(const System& system) {
    const std::string modes = read_line(system.sys / "kernel/security/lockdown");
    if (modes.find("[integrity]") != std::string::npos ||
        modes.find("[confidentiality]") != std::string::npos) {
        return {Level::warning, "lockdown",
                "on: no I/O ports for drivers (ide), no device without an IOMMU",
                "boot with lockdown=none, or do without these"};
    }
    return {Level::good, "lockdown", "off", {}};
}

Finding udev_rules(const System& system) {
    for (const char* folder : {"etc/udev/rules.d", "usr/lib/udev/rules.d", "lib/udev/rules.d",
                               "usr/local/lib/udev/rules.d"}) {
        if (fs::exists(system.root / folder / "60-udrv.rules")) {
            return {Level::good, "udev rules", fmt::format("in /{}", folder), {}};
        }
    }
    return {Level::warning, "udev rules", "not installed: disks get no names in /dev/disk",
            "install the package udrv, or 60-udrv.rules in /etc/udev/rules.d"};
}

} // namespace

Examined this_process(std::string_view version) {
    utsname names{};
    rlimit limit{};
    ::uname(&names);
    ::getrlimit(RLIMIT_MEMLOCK, &limit);
    return {.version = version,
            .kernel = names.release,
            .memlock_bytes = limit.rlim_cur,
            .may_lock = ::capng_have_capability(CAPNG_EFFECTIVE, CAP_IPC_LOCK) == 1};
}

std::vector<Finding> examine(const System& system, const Drivers& drivers,
                             const Examined& examined) {
    std::vector<Finding> findings;
    findings.push_back(kernel(examined));
    findings.push_back(module(system, examined, "udrv", Level::fault, "nothing can be bound"));
    findings.push_back(module(system, examined, "udrv_net", Level::warning, "no network cards"));
    findings.push_back(module(system, examined, "udrv_blk", Level::warning, "no disks"));
    look_at_drivers(drivers, findings);
    look_at_iommu(system, findings);
    look_at_devices(system, drivers, findings);
    findings.push_back(opt_in(system));
    findings.push_back(memlock(examined));
    findings.push_back(swiotlb(system));
    findings.push_back(secure_boot(system));
    findings.push_back(lockdown(system));
    findings.push_back(udev_rules(system));
    return findings;
}

std::string findings_text(const std::vector<Finding>& findings) {
    std::string text;
    for (const Finding& finding : findings) {
        text += fmt::format("{:<8} {}: {}{}{}\n", level_name(finding.level), finding.subject,
                            finding.text, finding.advice.empty() ? "" : "; ", finding.advice);
    }
    return text;
}

std::string findings_json(const std::vector<Finding>& findings) {
    auto all = nlohmann::ordered_json::array();
    for (const Finding& finding : findings) {
        all.push_back({{"level", level_name(finding.level)},
                       {"subject", finding.subject},
                       {"text", finding.text},
                       {"advice", finding.advice}});
    }
    const nlohmann::ordered_json document = {{"schema", 1}, {"findings", all}};
    return document.dump(2);
}

int findings_status(const std::vector<Finding>& findings) {
    for (const Finding& finding : findings) {
        if (finding.level == Level::fault) {
            return 1;
        }
    }
    return 0;
}

} // namespace udrv::cli
