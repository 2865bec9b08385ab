// SPDX-License-Identifier: MIT
//
// Why drivers died: their supervisor keeps the last deaths of a device in /run/udrv/BDF.deaths,
// for `udrv status`, until the next boot.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/system.hpp"

namespace udrv::cli {

struct DeathRecord {
    std::uint64_t number = 0; ///< of this device, from 1; what came before the kept ones counts
    std::string time;         ///< 2026-11-27T19:00:00Z
    std::string driver;
    std::string cause; ///< "killed by SIGKILL"
};

/// Those that are kept, the oldest first. A line that is none is left out.
[[nodiscard]] std::vector<DeathRecord> deaths(const System& system, const PciAddress& address);

/// Adds one, with the time of now. Best effort: a driver is not kept waiting for its history.
void record_death(const System& system, const PciAddress& address, const std::string& driver,
                  const std::string& cause);

inline constexpr std::size_t kept_deaths = 16;

} // namespace udrv::cli
