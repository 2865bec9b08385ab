// SPDX-License-Identifier: MIT
#include "libudrv/process/memory_lock.hpp"

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>

#include <pthread.h>
#include <spdlog/spdlog.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57 // Linux 5.6
#endif

namespace udrv {

namespace {

constexpr std::size_t stack_bytes = 256 * 1024; ///< more than any of our threads uses

/// Grows this thread's stack; it never shrinks again.
[[gnu::noinline]] void touch_stack() {
    std::array<std::byte, stack_bytes> stack; // NOLINT: each page is written below
    for (std::size_t offset = 0; offset < stack.size(); offset += 4096) {
        static_cast<volatile std::byte&>(stack[offset]) = std::byte{0};
    }
}

void set_small_stacks() {
    pthread_attr_t attributes;
    if (::pthread_attr_init(&attributes) == 0) {
        if (::pthread_attr_setstacksize(&attributes, stack_bytes) == 0) {
            (void)::pthread_setattr_default_np(&attributes); // else they are larger: no harm
        }
        ::pthread_attr_destroy(&attributes);
    }
}

} // namespace

void lock_memory() {
    set_small_stacks();
    touch_stack();
    std::string problem;
    if (::mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
        problem = std::string("lock its memory: ") + std::strerror(errno);
    }
    if (::prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) != 0) {
        problem += std::string(problem.empty() ? "" : ", nor ") +
                   "become an I/O flusher: " + std::strerror(errno);
    }
    if (!problem.empty()) {
        spdlog::warn("the driver cannot {}; short of memory, it and its disk may wait for each "
                     "other (run it as root)",
                     problem);
    }
}

} // namespace udrv
