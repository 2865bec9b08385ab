// SPDX-License-Identifier: MIT
//
// The sleep and wake protocol (udrv/udrv.h, struct udrv_need_wakeup), both roles.
//
// The interleaving that must not happen, and does without the barriers C and D,
// because a processor may let a load pass an earlier store to another place:
//
//     sleeper                          waker
//     ------------------------------   ------------------------------
//                                      read flag: 0, "it is awake"
//     write flag = 1
//     read ring: empty (old value)
//     sleep                            write ring index
//                                      (no doorbell: sleeps for ever)
//
// With a full barrier between the write and the read on both sides, at least one
// of the two sees the other's write: either the sleeper finds the entry, or the
// waker finds the flag and rings.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>
#include <vector>

#include "libudrv/rings/barrier.hpp"

namespace udrv {

/// The sleeper's flag. The word is shared and not owned.
class SleepFlag {
  public:
    SleepFlag() = default;
    explicit SleepFlag(std::uint32_t* word) : word_(word) {}

    /// Call this, look at everything once more, and only then sleep.
    void announce() const noexcept {
        mark();
        full_barrier(); // C, pairs with D in WakeFlag::is_set()
    }

    /// announce() without the barrier: whoever has several words needs one for all.
    void mark() const noexcept {
        std::atomic_ref<std::uint32_t>(*word_).store(1, std::memory_order_relaxed);
    }

    /// Awake: no doorbells, please. Needs no order: a doorbell too many is harmless.
    void withdraw() const noexcept {
        std::atomic_ref<std::uint32_t>(*word_).store(0, std::memory_order_relaxed);
    }

  private:
    std::uint32_t* word_ = nullptr;
};

/// The waker's view of the other side's flag.
class WakeFlag {
  public:
    WakeFlag() = default;
    explicit WakeFlag(std::uint32_t* word) : word_(word) {}

    /// Call after publishing: must the other side be woken?
    [[nodiscard]] bool is_set() const noexcept {
        full_barrier(); // D, pairs with C in SleepFlag::announce()
        return marked();
    }

    /// is_set() without the barrier: whoever has several words needs one for all.
    [[nodiscard]] bool marked() const noexcept {
        return std::atomic_ref<std::uint32_t>(*word_).load(std::memory_order_relaxed) != 0;
    }

  private:
    std::uint32_t* word_ = nullptr;
};

/// The flags of all queues that one thread serves. They are set before it runs.
class SleepFlags {
  public:
    SleepFlags(SleepFlag flag) : flags_{flag} {} // NOLINT: of one queue, it is the same
    explicit SleepFlags(std::vector<SleepFlag> flags) : flags_(std::move(flags)) {}

    void announce() const noexcept {
        for (const SleepFlag& flag : flags_) {
            flag.mark();
        }
        full_barrier(); // C, for each of them
    }
    void withdraw() const noexcept {
        for (const SleepFlag& flag : flags_) {
            flag.withdraw();
        }
    }

  private:
    std::vector<SleepFlag> flags_;
};

/// The kernel's, of all queues that one thread serves. It looks at all of them when it is
/// woken for one.
class WakeFlags {
  public:
    WakeFlags(WakeFlag flag) : flags_{flag} {} // NOLINT: of one queue, it is the same
    explicit WakeFlags(std::vector<WakeFlag> flags) : flags_(std::move(flags)) {}

    [[nodiscard]] bool is_set() const noexcept {
        full_barrier(); // D, for each of them
        for (const WakeFlag& flag : flags_) {
            if (flag.marked()) {
                return true;
            }
        }
        return false;
    }

  private:
    std::vector<WakeFlag> flags_;
};

} // namespace udrv
