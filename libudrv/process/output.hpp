// SPDX-License-Identifier: MIT
//
// Output of a service: said if somebody listens, dropped if not. A reader that is gone, a
// full disk or a stopped terminal is no reason to stop serving a disk.
#pragma once

#include <string_view>

namespace udrv {

/// Opens /dev/null in place of each standard file (0 to 2) that is closed. Without it the
/// next file that is opened, a device's, would be standard output. Writing to it fails, as to
/// a closed one. First thing in main().
void open_standard_files() noexcept;

/// Output that fails is an error code from now on, never a signal that ends or stops the
/// process: a closed pipe (SIGPIPE), a file at its size limit (SIGXFSZ), a terminal that
/// belongs to the foreground (SIGTTOU). Children inherit that.
void survive_lost_output() noexcept;

/// Writes what the file takes at once and drops the rest. Never blocks, fails or throws.
void say(int fd, std::string_view text) noexcept;

/// Has spdlog write lines of "NAME: level: text" to standard error by say(); `name` is the
/// program's.
void log_to_stderr(bool verbose, std::string_view name = "udrv");

} // namespace udrv
