// SPDX-License-Identifier: MIT
#pragma once

#include "cli/system.hpp"
#include "libudrv/pci_address.hpp"

namespace udrv::cli {

/// Gives the device to udrv (driver_override, as for vfio-pci): takes it from its
/// present driver and has the kernel probe it again. Undoes everything if a step
/// fails. Refuses a device the machine needs (in_use) unless `force`. Throws Error.
/// Warns on stderr when no IOMMU confines the device.
void bind(const System& system, const PciAddress& address, bool force);

/// Takes the device from udrv, clears driver_override, and lets the kernel find its
/// own driver for it again. A driver process that has it open loses it, and its disks
/// are gone. Refuses a device the machine needs (in_use) unless `force`. Throws Error.
void unbind(const System& system, const PciAddress& address, bool force = false);

} // namespace udrv::cli
