// SPDX-License-Identifier: MIT
#include "cli/service_manager.hpp"

#include <cstdint>
#include <cstdlib>
#include <cstring>

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace udrv::cli {

namespace {

/// The variable's value, which is gone from the environment.
std::string take(const char* name) {
    const char* value = std::getenv(name);
    const std::string taken = value == nullptr ? "" : value;
    ::unsetenv(name);
    return taken;
}

} // namespace

ServiceManager::ServiceManager() : address_(take("NOTIFY_SOCKET")) {
    const std::string watchdog = take("WATCHDOG_USEC");
    const std::string watched = take("WATCHDOG_PID");
    if (address_.size() < 2 || address_.size() > sizeof(sockaddr_un::sun_path) ||
        (address_.front() != '/' && address_.front() != '@')) {
        return;
    }
    socket_ = FileDescriptor(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (watched.empty() || watched == std::to_string(::getpid())) {
        watchdog_ = std::chrono::microseconds(std::strtoll(watchdog.c_str(), nullptr, 10));
    }
}

void ServiceManager::serving(int pid) const {
    send(fmt::format("READY=1\nSTATUS=process {} drives the device", pid));
}

void ServiceManager::waiting() const {
    send("STATUS=no driver; the next one starts");
}

void ServiceManager::stopping() const {
    send("STOPPING=1");
}

void ServiceManager::awake(Time now) {
    if (watchdog_.count() > 0 && now - last_ >= watchdog_ / 4) {
        last_ = now;
        send("WATCHDOG=1");
    }
}

void ServiceManager::send(const std::string& text) const {
    if (!socket_) {
        return;
    }
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    std::memcpy(to.sun_path, address_.data(), address_.size());
    if (to.sun_path[0] == '@') { // an abstract one
        to.sun_path[0] = '\0';
    }
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address_.size());
    (void)::sendto(socket_.value(), text.data(), text.size(), MSG_NOSIGNAL,
                   reinterpret_cast<const sockaddr*>(&to), length);
}

} // namespace udrv::cli
