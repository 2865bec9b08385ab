// SPDX-License-Identifier: MIT
#pragma once

namespace udrv {

/// For a driver of disks: the kernel frees memory by writing to them, so that the
/// driver must not need memory that is freed that way. Locks all memory the process
/// has and will have, stacks included, and tells the kernel that none of its system
/// calls may wait for a disk (PR_SET_IO_FLUSHER). Threads started later inherit that,
/// and get small stacks. Needs CAP_IPC_LOCK (or a high RLIMIT_MEMLOCK) and
/// CAP_SYS_RESOURCE; warns in one line if it cannot. Before other threads start.
void lock_memory();

} // namespace udrv
