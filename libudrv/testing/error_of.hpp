// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "libudrv/error.hpp"

namespace udrv::test {

/// The message of the Error that `action` throws, or "no error".
template <typename Action>
[[nodiscard]] std::string error_of(Action&& action) {
    try {
        action();
    } catch (const Error& error) {
        return error.what();
    }
    return "no error";
}

} // namespace udrv::test
