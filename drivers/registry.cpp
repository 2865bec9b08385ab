// SPDX-License-Identifier: MIT
//
// The table of drivers. A new chip: its folder defines `const Driver driver` in a
// namespace of its name (libudrv/process/driver.hpp) and gets one line in CHIPS.
#include <array>

#include "libudrv/process/driver.hpp"

// clang-format off
#define CHIPS(X) \
    X(ahci) \
    X(e1000) \
    X(edu) \
    X(ide)
// clang-format on

namespace udrv {

#define DECLARE(chip)                                                                              \
    namespace chip {                                                                               \
    extern const Driver driver;                                                                    \
    }
CHIPS(DECLARE)
#undef DECLARE

namespace {

#define ENTRY(chip) &chip::driver,
constexpr std::array table{CHIPS(ENTRY)};
#undef ENTRY

} // namespace

std::span<const Driver* const> drivers() {
    return table;
}

const Driver* find_driver(std::string_view name) {
    for (const Driver* driver : table) {
        if (driver->name == name) {
            return driver;
        }
    }
    return nullptr;
}

} // namespace udrv
