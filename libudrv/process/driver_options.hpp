// SPDX-License-Identifier: MIT
//
// The options that every driver's program takes. `udrv run` takes them, too, and hands them
// on: they are declared here, once.
#pragma once

#include <string>
#include <vector>

#include "libudrv/process/driver.hpp"

namespace CLI {
class App;
}

namespace udrv {

/// Adds them to a command. `options` outlives it.
void add_driver_options(CLI::App& command, RunOptions& options);

/// Those of add_driver_options() that were given, as arguments for a driver's program. After
/// the command line has been read.
[[nodiscard]] std::vector<std::string> given_driver_options(const CLI::App& command);

} // namespace udrv
