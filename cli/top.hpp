// SPDX-License-Identifier: MIT
//
// `udrv top`: what each bound device does, as rates between two looks.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>

#include "cli/system.hpp"

namespace udrv::cli {

/// What counts up, of a device. In and out of a network card are packets received and sent, of
/// a disk reads and writes.
struct Activity {
    std::string driver; ///< empty: nobody drives it
    std::int64_t pid = 0;
    std::string state;
    std::string name; ///< of the first interface or disk
    std::int64_t interrupts = 0;
    std::int64_t in = 0;
    std::int64_t out = 0;
    std::int64_t in_bytes = 0;
    std::int64_t out_bytes = 0;
    std::int64_t cpu_ticks = 0; ///< of the driver's process
};

struct Look {
    std::chrono::steady_clock::time_point time{};
    std::map<std::string, Activity> devices; ///< by address
};

[[nodiscard]] Look look(const System& system);

/// `ticks`: of the processor, a second. A device that was not there before, and a driver that is
/// another process, has no rates yet.
[[nodiscard]] std::string top_table(const Look& before, const Look& after, long ticks);

struct TopRequest {
    std::chrono::milliseconds interval{2000};
    unsigned count = 0; ///< tables; 0: until interrupted
};

/// Writes tables to standard output: on a terminal each over the one before. Throws Error.
void top(const System& system, const TopRequest& request);

} // namespace udrv::cli
