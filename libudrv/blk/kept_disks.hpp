// SPDX-License-Identifier: MIT
//
// The disks that are there already: a predecessor's, whose openers wait for a successor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "libudrv/device/pci_address.hpp"

namespace udrv {

/// How many disks the kernel keeps for a device, by sysfs (`sys` is where that is mounted);
/// 0 if nobody attached since `udrv bind`. Before enter_sandbox(). Does not throw.
[[nodiscard]] std::size_t kept_disks(const PciAddress& address, const std::string& sys = "/sys");

/// The capacity of the one with that unit, in sectors of 512 bytes; 0 if there is none. Its
/// successor has to describe it with the same, even if the device has grown meanwhile.
[[nodiscard]] std::uint64_t kept_sectors(const PciAddress& address, std::uint32_t unit = 0,
                                         const std::string& sys = "/sys");

} // namespace udrv
