// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "cli/drivers.hpp"
#include "cli/system.hpp"

namespace udrv::cli {

/// A table of the devices that a driver here serves: what each is, which drivers serve it, and
/// what drives it now.
[[nodiscard]] std::string list_table(const System& system, const Drivers& drivers);

/// The same as JSON: {"schema": 1, "devices": [...]}; of each bdf, id, class, description,
/// drivers (names), bound_to (kernel driver or null), and pid of the udrv driver (or null).
[[nodiscard]] std::string list_json(const System& system, const Drivers& drivers);

/// Names of the drivers, a line each.
[[nodiscard]] std::string list_names(const Drivers& drivers);

} // namespace udrv::cli
