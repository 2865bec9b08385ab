// SPDX-License-Identifier: MIT
//
// What the programs of the tests print: "ok NAME" or "FAIL NAME: why", a line each.
#pragma once

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

#include <fmt/format.h>
#include <sys/mman.h>

#include "libudrv/device/device.hpp"

namespace checks {

inline int failures = 0;

inline void report(bool good, const std::string& name, const std::string& why = {}) {
    failures += good ? 0 : 1;
    if (good) {
        fmt::print("ok {}{}\n", name, why.empty() ? "" : " (" + why + ")");
    } else {
        fmt::print("FAIL {}: {}\n", name, why);
    }
    std::fflush(stdout);
}
template <typename A, typename B>
void check_eq(const std::string& name, const A& got, const B& wanted) {
    const bool good = got == static_cast<A>(wanted);
    report(good, name,
           good ? fmt::format("{}", got) : fmt::format("got {}, wanted {}", got, wanted));
}
/// `result` of a call that has to fail so.
inline void check_errno(const std::string& name, long result, int wanted) {
    const int error = result < 0 ? errno : 0;
    report(error == wanted, name,
           error == wanted
               ? std::strerror(error)
               : fmt::format("{}, wanted {}", error == 0 ? "no error" : std::strerror(error),
                             std::strerror(wanted)));
}

/// Maps a piece of the device's file and unmaps it again: 0, or -1 with errno.
inline long try_map(const udrv::Device& device, std::size_t bytes, std::uint64_t offset,
                    int flags = MAP_SHARED) {
    void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, device.fd(),
                      static_cast<off_t>(offset));
    if (at == MAP_FAILED) {
        return -1;
    }
    ::munmap(at, bytes);
    return 0;
}

} // namespace checks
