// SPDX-License-Identifier: MIT
#pragma once

#include <csignal>
#include <thread>
#include <utility>

namespace udrv {

/// Starts a thread that leaves all signals to the data thread.
template <typename Function>
[[nodiscard]] std::thread start_helper_thread(Function&& function) {
    sigset_t all;
    sigset_t old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    std::thread thread(std::forward<Function>(function));
    pthread_sigmask(SIG_SETMASK, &old, nullptr);
    return thread;
}

} // namespace udrv
