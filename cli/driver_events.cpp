// SPDX-License-Identifier: MIT
#include "cli/driver_events.hpp"

#include <array>
#include <cerrno>
#include <string>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "libudrv/error.hpp"

namespace udrv::cli {

namespace {

constexpr const char* no_memory = "0 0 0 0 0 0 0"; ///< statm of a process that has none any more

/// Reads what a file of sysfs says now, which is what poll() compares with.
void reread(const FileDescriptor& file) {
    std::array<char, 32> text{};
    (void)!::pread(file.value(), text.data(), text.size(), 0);
}

} // namespace

DriverEvents::DriverEvents(const System& system, const PciAddress& address, const sigset_t& signals)
    : state_file_(system.device(address) / "udrv/state"), proc_(system.proc),
      signals_(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK)) {
    if (!signals_) {
        throw_errno(errno, "start the supervisor: wait for signals");
    }
}

void DriverEvents::restart() {
    // Each time: the device may have been unbound and bound in between. Without the file
    // the end of the process is what is left to wait for.
    state_ = FileDescriptor(::open(state_file_.c_str(), O_RDONLY | O_CLOEXEC));
    reread(state_);
    ended_ = false;
}

void DriverEvents::wait(std::chrono::milliseconds timeout, std::initializer_list<int> files) {
    std::vector<pollfd> polled{{signals_.value(), POLLIN, 0}, {state_.value(), POLLPRI, 0}};
    for (const int file : files) {
        polled.push_back({file, POLLIN, 0}); // poll() leaves out negative ones
    }
    if (::poll(polled.data(), polled.size(), static_cast<int>(timeout.count())) > 0 &&
        polled[1].revents != 0) {
        reread(state_);
        ended_ = true;
    }
}

std::optional<signalfd_siginfo> DriverEvents::next_signal() const {
    signalfd_siginfo signal{};
    if (::read(signals_.value(), &signal, sizeof(signal)) != sizeof(signal)) {
        return std::nullopt;
    }
    return signal;
}

bool DriverEvents::dying(pid_t pid) const {
    return ended_ && read_line(proc_ / std::to_string(pid) / "statm") == no_memory;
}

} // namespace udrv::cli
