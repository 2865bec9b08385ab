// SPDX-License-Identifier: MIT
#include "cli/top.hpp"

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <thread>

#include <fmt/format.h>
#include <unistd.h>

#include "cli/status.hpp"
#include "libudrv/error.hpp"

namespace udrv::cli {

namespace {

constexpr const char* home_and_clear = "\033[H\033[J";

/// utime and stime, the 14th and 15th fields; the second one may have blanks in it.
std::int64_t cpu_ticks(const System& system, std::int64_t pid) {
    const std::string line = read_line(system.proc / std::to_string(pid) / "stat");
    const std::size_t name_end = line.rfind(')');
    if (name_end == std::string::npos) {
        return 0;
    }
    std::istringstream fields(line.substr(name_end + 1));
    std::string skipped;
    for (int n = 3; n < 14; ++n) {
        fields >> skipped;
    }
    std::int64_t user = 0;
    std::int64_t kernel = 0;
    fields >> user >> kernel;
    return user + kernel;
}

void add_interface(const fs::path& interface, Activity& activity) {
    const fs::path statistics = interface / "statistics";
    activity.in += read_number(statistics / "rx_packets");
    activity.out += read_number(statistics / "tx_packets");
    activity.in_bytes += read_number(statistics / "rx_bytes");
    activity.out_bytes += read_number(statistics / "tx_bytes");
}

/// Documentation/block/stat.rst: reads, merged, sectors, ms, writes, merged, sectors ...
void add_disk(const fs::path& disk, Activity& activity) {
    std::ifstream stat(disk / "stat");
    std::int64_t reads = 0;
    std::int64_t read_sectors = 0;
    std::int64_t writes = 0;
    std::int64_t written_sectors = 0;
    std::int64_t skipped = 0;
    stat >> reads >> skipped >> read_sectors >> skipped >> writes >> skipped >> written_sectors;
    activity.in += reads;
    activity.out += writes;
    activity.in_bytes += read_sectors * 512;
    activity.out_bytes += written_sectors * 512;
}

Activity activity_of(const System& system, const fs::path& device) {
    const fs::path attributes = device / "udrv";
    Activity activity;
    activity.driver = driver_of(read_line(attributes / "driver"));
    activity.pid = read_number(attributes / "owner");
    activity.state = read_line(attributes / "state");
    activity.interrupts = read_number(attributes / "interrupts");
    for (const std::string& name : list(device / "net")) {
        activity.name = activity.name.empty() ? name : activity.name;
        add_interface(device / "net" / name, activity);
    }
    for (const std::string& name : list(device / "udrv_disk")) {
        activity.name = activity.name.empty() ? name : activity.name;
        add_disk(device / "udrv_disk" / name / name, activity);
    }
    if (activity.pid != 0) {
        activity.cpu_ticks = cpu_ticks(system, activity.pid);
    }
    return activity;
}

std::string or_dash(const std::string& text) {
    return text.empty() ? "-" : text;
}

} // namespace

Look look(const System& system) {
    Look result;
    result.time = std::chrono::steady_clock::now();
    for (const PciAddress& address : list_functions(system.pci_driver("udrv"))) {
        result.devices[address.str()] = activity_of(system, system.device(address));
    }
    return result;
}

std::string top_table(const Look& before, const Look& after, long ticks) {
    constexpr const char* row = "{:<14}{:<11}{:<9}{:<9}{:<11}{:>6}{:>10}{:>10}{:>10}{:>10}{:>10}\n";
    constexpr double mebibyte = 1024.0 * 1024.0;
    std::string table = fmt::format(row, "DEVICE", "DRIVER", "PID", "STATE", "NAME", "%CPU",
                                    "IRQ/s", "IN/s", "OUT/s", "IN MiB/s", "OUT MiB/s");
    const double seconds = std::chrono::duration<double>(after.time - before.time).count();
    for (const auto& [bdf, now] : after.devices) {
        const auto found = before.devices.find(bdf);
        const bool known = found != before.devices.end() && seconds > 0;
        const Activity& then = known ? found->second : now;
        // A counter of something that is new is smaller than that of the one before.
        const auto rate = [&](std::int64_t Activity::*counter) {
            const std::int64_t more = now.*counter - then.*counter;
            return known && more > 0 ? static_cast<double>(more) / seconds : 0.0;
        };
        const double cpu =
            then.pid == now.pid ? rate(&Activity::cpu_ticks) * 100 / static_cast<double>(ticks) : 0;
        table += fmt::format(
            row, bdf, or_dash(now.driver), now.pid == 0 ? "-" : std::to_string(now.pid),
            or_dash(now.state), or_dash(now.name), fmt::format("{:.1f}", cpu),
            fmt::format("{:.0f}", rate(&Activity::interrupts)),
            fmt::format("{:.0f}", rate(&Activity::in)), fmt::format("{:.0f}", rate(&Activity::out)),
            fmt::format("{:.1f}", rate(&Activity::in_bytes) / mebibyte),
            fmt::format("{:.1f}", rate(&Activity::out_bytes) / mebibyte));
    }
    return table;
}

void top(const System& system, const TopRequest& request) {
    const bool terminal = ::isatty(STDOUT_FILENO) != 0;
    const long ticks = ::sysconf(_SC_CLK_TCK);
    Look before = look(system);
    for (unsigned n = 0; request.count == 0 || n < request.count; ++n) {
        std::this_thread::sleep_for(request.interval);
        Look after = look(system);
        const std::string table =
            (terminal ? home_and_clear : "") + top_table(before, after, ticks);
        if (std::fwrite(table.data(), 1, table.size(), stdout) != table.size() ||
            std::fflush(stdout) != 0) {
            throw_errno(errno, "write to standard output");
        }
        before = std::move(after);
    }
}

} // namespace udrv::cli
