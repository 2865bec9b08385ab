// SPDX-License-Identifier: MIT
#include "libudrv/device/registers.hpp"

#include <cerrno>
#include <thread>

#include <fmt/format.h>

#include "libudrv/error.hpp"

namespace udrv {

void wait_until(RegisterIo& io, Register<std::uint32_t> place, std::string_view who,
                std::string_view name, std::uint32_t mask, std::uint32_t value, WaitTime time) {
    constexpr std::uint32_t all_ones = 0xffffffff;
    const auto deadline = std::chrono::steady_clock::now() + time.timeout;
    for (;;) {
        const bool late = std::chrono::steady_clock::now() >= deadline;
        const std::uint32_t last = place.read(io);
        if ((last & mask) == value && last != all_ones) {
            return;
        }
        if (late) { // and the register was read once more after that
            throw_error(
                ETIMEDOUT,
                fmt::format("{}: wait for {} & {:#010x} == {:#010x}", who, name, mask, value),
                fmt::format("{} is still {:#010x} after {} ms", name, last, time.timeout.count()),
                last == all_ones ? "the device does not answer: is it still there?"
                                 : "unbind and bind the device, or restart the machine");
        }
        std::this_thread::sleep_for(time.pause);
    }
}

} // namespace udrv
