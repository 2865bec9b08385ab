// SPDX-License-Identifier: MIT
//
// Stand-ins for the kernel that a service loop waits in.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <optional>
#include <semaphore>

#include "libudrv/loop/waiter.hpp"

namespace udrv::test {

/// Waits are calls of a function; what the test's "kernel" does while the driver
/// sleeps happens there.
class ScriptedWaiter final : public Waiter {
  public:
    std::function<WaitResult(std::optional<std::chrono::milliseconds>, bool)> on_wait;
    std::function<void()> on_publish = [] {};
    int publishes = 0;

    WaitResult wait(std::optional<std::chrono::milliseconds> timeout, bool publish) override {
        return on_wait(timeout, publish);
    }
    void publish() noexcept override {
        ++publishes;
        on_publish();
    }
};

/// For a kernel in a thread of its own: the doorbell is a semaphore.
class SemaphoreWaiter final : public Waiter {
  public:
    WaitResult wait(std::optional<std::chrono::milliseconds> timeout, bool /*publish*/) override {
        WaitResult result;
        published.release();
        if (timeout && timeout->count() == 0) {
            result.events.doorbells = doorbell.try_acquire() ? 1 : 0;
        } else if (doorbell.try_acquire_for(std::chrono::seconds(20))) {
            result.events.doorbells = 1;
        } else {
            lost = true;
            result.stop = true;
        }
        result.stop = result.stop || stop.load();
        return result;
    }
    void publish() noexcept override { published.release(); }

    std::counting_semaphore<> doorbell{0};
    std::counting_semaphore<> published{0};
    std::atomic<bool> stop{false};
    bool lost = false;
};

} // namespace udrv::test
