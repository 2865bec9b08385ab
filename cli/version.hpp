// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>

#include "cli/system.hpp"

namespace udrv::cli {

/// What `udrv --version` says: the first line is the command's alone, for scripts; then the
/// library and the ABI that it was built with, and the kernel modules that are loaded now.
[[nodiscard]] std::string version_text(const System& system, std::string_view version,
                                       std::string_view library);

} // namespace udrv::cli
