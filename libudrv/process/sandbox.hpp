// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <functional>

namespace udrv {

/// What a driver may still allocate once it serves, in bytes. Its data path allocates
/// nothing; this is for a log line, an error, the counters.
constexpr std::size_t sandbox_heap_bytes = std::size_t{32} << 20;

/// Before the driver opens anything: closes every file that was inherited but the
/// standard ones, and reads end of file from standard input.
void close_inherited_files();

/// Gives up all that a driver does not need to serve, for all its threads, for good:
///  - every capability, and the user: `nobody`, if it was root;
///  - new privileges (no_new_privs), new processes, new files, more memory than
///    sandbox_heap_bytes;
///  - every system call but those on the list in sandbox.cpp: one that is not there
///    kills the process (SIGSYS), and `ioctl` reaches udrv's own calls only;
///  - writing at a place of its choice into a file, or shortening one: only `stats_file`
///    (-1: none). Logs that were inherited can be added to.
/// Call it when everything is open and mapped: files cannot be had later, and threads
/// only in `start_threads`, which is called on the way. (Privileges are given up before
/// that: with several threads the C library has to stop each of them for it.) I/O ports
/// that were granted stay, and so does the signal at the parent's death. Throws Error.
void enter_sandbox(const std::function<void()>& start_threads = {}, int stats_file = -1);

} // namespace udrv
