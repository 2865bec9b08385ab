// SPDX-License-Identifier: MIT
//
// Registers of MyChip. Source document: name it here, with its version, and say at each
// register where it is described. Only those that are used.
#pragma once

#include <cstdint>

#include "libudrv/device/registers.hpp"

namespace udrv::mychip {

inline constexpr unsigned bar_number = 0;

namespace reg {
using R32 = Register<std::uint32_t>;
inline constexpr R32 control{0x00};   // section ...
inline constexpr R32 status{0x04};    // section ...
inline constexpr R32 cause{0x08};     // section ...; reading it clears it
inline constexpr R32 mask{0x0c};      // section ...; causes that may interrupt
//!net
inline constexpr R32 mac_low{0x10};   // section ...; bytes 0 to 3
inline constexpr R32 mac_high{0x14};  // section ...; bytes 4 and 5
//!blk
inline constexpr R32 size_low{0x10};  // section ...; in sectors of 512 bytes
inline constexpr R32 size_high{0x14}; // section ...
//!end
} // namespace reg

namespace control {
inline constexpr std::uint32_t reset = 1u << 0; // reads as 1 until the reset is over
inline constexpr std::uint32_t run = 1u << 1;
} // namespace control

//!net
namespace status {
inline constexpr std::uint32_t link_up = 1u << 0;
} // namespace status

namespace cause {
inline constexpr std::uint32_t data = 1u << 0;
inline constexpr std::uint32_t link = 1u << 1;
} // namespace cause
//!blk
namespace status {
inline constexpr std::uint32_t medium = 1u << 0; // there is one
} // namespace status

namespace cause {
inline constexpr std::uint32_t done = 1u << 0;
} // namespace cause
//!end

} // namespace udrv::mychip
