// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cli/drivers.hpp"
#include "cli/system.hpp"

namespace udrv::cli {

/// What `udrv doctor` found about one thing.
struct Finding {
    enum class Level {
        good,
        warning, ///< something will not work, or not as safely
        fault    ///< nothing will work
    };
    Level level = Level::good;
    std::string subject; ///< "IOMMU"
    std::string text;    ///< what there is
    std::string advice;  ///< empty if all is well
};

/// The machine and the process that asks.
struct Examined {
    std::string_view version;    ///< of the command
    std::string kernel;          ///< as uname -r has it
    std::uint64_t memlock_bytes; ///< RLIMIT_MEMLOCK
    bool may_lock = false;       ///< CAP_IPC_LOCK: the limit does not count
};

[[nodiscard]] Examined this_process(std::string_view version);

[[nodiscard]] std::vector<Finding> examine(const System& system, const Drivers& drivers,
                                           const Examined& examined);

/// A line a finding: "warning  IOMMU: ...; advice".
[[nodiscard]] std::string findings_text(const std::vector<Finding>& findings);
/// {"schema": 1, "findings": [{"level", "subject", "text", "advice"}]}
[[nodiscard]] std::string findings_json(const std::vector<Finding>& findings);
/// 1 if there is a fault.
[[nodiscard]] int findings_status(const std::vector<Finding>& findings);

} // namespace udrv::cli
