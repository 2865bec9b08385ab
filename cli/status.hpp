// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "cli/system.hpp"

namespace udrv::cli {

/// {"schema": 1, "devices": [...]}, one object a device bound to udrv, by address: bdf, ids, driver
/// (null: nobody drives it), pid (or null), state (idle, open, running, ending), name
/// (first of names, or null), names (interfaces and disks), disks (of each its name,
/// model, serial, size_bytes), iommu, untrusted, and the counters interrupts, violations,
/// pinned_bytes, mappings, deaths; history has the last deaths (time, driver, cause), the oldest
/// first. No devices without the module. The schema's number changes when a field goes or changes
/// its meaning, not when one is added.
[[nodiscard]] std::string status_json(const System& system);

/// The same as a table for people.
[[nodiscard]] std::string status_table(const System& system);

/// The same for Prometheus and the like, as the OpenMetrics text format.
[[nodiscard]] std::string status_openmetrics(const System& system);

/// A driver's program, and its process, is called udrv-<driver>: the driver. Another name stays
/// as it is.
[[nodiscard]] std::string driver_of(std::string program);

} // namespace udrv::cli
