// SPDX-License-Identifier: MIT
//
// The disks that are there already: a predecessor's, whose openers wait for a successor.
#pragma once

#include <cstddef>
#include <string>

#include "libudrv/device/pci_address.hpp"

namespace udrv {

/// How many disks the kernel keeps for a device, by sysfs (`sys` is where that is mounted);
/// 0 if nobody attached since `udrv bind`. Before enter_sandbox(). Does not throw.
[[nodiscard]] std::size_t kept_disks(const PciAddress& address, const std::string& sys = "/sys");

} // namespace udrv
