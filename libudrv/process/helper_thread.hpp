// SPDX-License-Identifier: MIT
#pragma once

#include <csignal>
#include <thread>
#include <utility>

#include "libudrv/device/port_io.hpp"

namespace udrv {

/// Starts a thread that leaves all signals, and all I/O ports, to the data thread.
template <typename Function>
[[nodiscard]] std::thread start_helper_thread(Function&& function) {
    sigset_t all;
    sigset_t old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    std::thread thread([run = std::forward<Function>(function)]() mutable {
        drop_port_rights();
        run();
    });
    pthread_sigmask(SIG_SETMASK, &old, nullptr);
    return thread;
}

} // namespace udrv
