// SPDX-License-Identifier: MIT
//
// What both soakers are: a thread that gets what the others leave of one processor.
#pragma once

#include <cstddef>

#include <sched.h>

namespace udrv::bench {

/// The calling thread stays on `cpu`, in class SCHED_IDLE.
inline void run_idle_on(std::size_t cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    ::sched_setaffinity(0, sizeof(set), &set);
    const sched_param none{};
    ::sched_setscheduler(0, SCHED_IDLE, &none);
}

} // namespace udrv::bench
