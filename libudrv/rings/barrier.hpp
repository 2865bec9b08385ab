// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

namespace udrv {

/// Orders every load and store before it against every one after it, also a store
/// before against a load after (the barriers C and D of udrv/udrv.h).
inline void full_barrier() noexcept {
#if defined(__SANITIZE_THREAD__)
// GCC warns that ThreadSanitizer does not model fences; it still emits them, and
// what it checks here is accesses, which are all atomic.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"
#endif
    std::atomic_thread_fence(std::memory_order_seq_cst);
#if defined(__SANITIZE_THREAD__)
#pragma GCC diagnostic pop
#endif
}

/// Tells the processor that this is a polling loop.
inline void cpu_relax() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

} // namespace udrv
