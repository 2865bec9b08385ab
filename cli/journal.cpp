// SPDX-License-Identifier: MIT
#include "cli/journal.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace udrv::cli {

namespace {

bool standard_error_is_the_journal() {
    const char* stream = std::getenv("JOURNAL_STREAM");
    struct stat status {};
    return stream != nullptr && ::fstat(STDERR_FILENO, &status) == 0 &&
           fmt::format("{}:{}", status.st_dev, status.st_ino) == stream;
}

/// A value of several lines is preceded by its length, in 64 bits, the lowest byte first.
void add(std::string& text, std::string_view name, const std::string& value) {
    text += name;
    if (value.find('\n') == std::string::npos) {
        text += '=';
    } else {
        text += '\n';
        for (unsigned shift = 0; shift < 64; shift += 8) {
            text += static_cast<char>(static_cast<std::uint64_t>(value.size()) >> shift & 0xff);
        }
    }
    text += value;
    text += '\n';
}

} // namespace

Journal::Journal(const std::filesystem::path& socket) : path_(socket.string()) {
    if (path_.size() < sizeof(sockaddr_un::sun_path) && standard_error_is_the_journal()) {
        socket_ = FileDescriptor(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    }
}

bool Journal::warn(const std::string& message, const Fields& fields) const {
    if (!socket_) {
        return false;
    }
    std::string text;
    add(text, "MESSAGE", message);
    add(text, "PRIORITY", "4");
    add(text, "SYSLOG_IDENTIFIER", "udrv");
    for (const auto& [name, value] : fields) {
        if (!value.empty()) {
            add(text, name, value);
        }
    }
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    std::memcpy(to.sun_path, path_.data(), path_.size());
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path_.size() + 1);
    return ::sendto(socket_.value(), text.data(), text.size(), MSG_NOSIGNAL,
                    reinterpret_cast<const sockaddr*>(&to),
                    length) == static_cast<ssize_t>(text.size());
}

} // namespace udrv::cli
