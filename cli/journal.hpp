// SPDX-License-Identifier: MIT
//
// Journal: lines for systemd's journal with fields that journalctl can look for, as in
// `journalctl UDRV_BDF=0000:00:10.0`, by its native protocol.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "libudrv/file.hpp"

namespace udrv::cli {

class Journal {
  public:
    using Fields = std::vector<std::pair<std::string_view, std::string>>;

    /// Of a process whose standard error is the journal's (JOURNAL_STREAM in its environment
    /// says so); else it sends nothing.
    explicit Journal(const std::filesystem::path& socket = "/run/systemd/journal/socket");

    /// Whether the journal has it; if not, the line is for standard error.
    [[nodiscard]] bool warn(const std::string& message, const Fields& fields) const;

  private:
    std::string path_;
    FileDescriptor socket_;
};

} // namespace udrv::cli
