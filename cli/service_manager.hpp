// SPDX-License-Identifier: MIT
//
// ServiceManager: what a supervisor tells systemd, by the protocol of sd_notify(3).
#pragma once

#include <chrono>
#include <string>

#include "libudrv/file.hpp"

namespace udrv::cli {

/// Of a process that systemd did not start, or not with Type=notify: does nothing. What cannot
/// be said is dropped.
class ServiceManager {
  public:
    using Time = std::chrono::steady_clock::time_point;

    /// Takes NOTIFY_SOCKET and WATCHDOG_USEC from the environment: they are not for drivers.
    ServiceManager();

    /// The driver `pid` serves. The first time the unit is active then.
    void serving(int pid) const;
    /// Why there is none at the moment.
    void waiting() const;
    void stopping() const;
    /// The supervisor is awake: says so as often as WatchdogSec= wants it.
    void awake(Time now);

  private:
    void send(const std::string& text) const;

    std::string address_;
    FileDescriptor socket_;
    std::chrono::microseconds watchdog_{0}; ///< 0: nobody waits for us
    Time last_{};
};

} // namespace udrv::cli
