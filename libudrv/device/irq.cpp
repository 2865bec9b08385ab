// SPDX-License-Identifier: MIT
#include "libudrv/device/irq.hpp"

#include <cerrno>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/uio.h>
#include <unistd.h>

#include "libudrv/error.hpp"

namespace udrv {

namespace {

constexpr const char* session_over =
    "the device was unbound, or the kernel ended the session (see dmesg)";

[[noreturn]] void throw_read_error(int error) {
    throw_errno(error, "wait for interrupts", error == ENODEV ? session_over : "");
}

} // namespace

IrqFile IrqFile::open_line(std::uint32_t line) {
    const std::string path = fmt::format("/proc/irq/{}/irq", line);
    FileDescriptor fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (!fd) {
        throw_errno(errno, "open " + path,
                    errno == EBUSY ? "another file of this interrupt is open"
                                   : "is the device open and its interrupt set up?");
    }
    return IrqFile(std::move(fd));
}

std::optional<udrv_irq_events> IrqFile::wait() const {
    udrv_irq_events events{};
    const ssize_t got = ::read(fd_.value(), &events, sizeof(events));
    if (got == static_cast<ssize_t>(sizeof(events))) {
        return events;
    }
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) {
        return std::nullopt;
    }
    throw_read_error(got < 0 ? errno : ENODEV);
}

std::optional<udrv_irq_events> IrqFile::try_read() const {
    udrv_irq_events events{};
    iovec vector{&events, sizeof(events)};
    ssize_t got = ::preadv2(fd_.value(), &vector, 1, -1, RWF_NOWAIT);
    if (got < 0 && errno == EOPNOTSUPP) { // a file without RWF_NOWAIT: ask first
        pollfd poll_fd{fd_.value(), POLLIN, 0};
        if (::poll(&poll_fd, 1, 0) == 0) {
            return std::nullopt;
        }
        got = ::read(fd_.value(), &events, sizeof(events));
    }
    if (got == static_cast<ssize_t>(sizeof(events))) {
        return events;
    }
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) {
        return std::nullopt;
    }
    throw_read_error(got < 0 ? errno : ENODEV);
}

bool IrqFile::publish() const noexcept {
    const std::uint32_t word = 1;
    return ::write(fd_.value(), &word, sizeof(word)) >= 0 || errno == EINTR || errno == EAGAIN;
}

} // namespace udrv
