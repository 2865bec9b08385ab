// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <string>

#include "cli/system.hpp"
#include "libudrv/device/pci_address.hpp"

namespace udrv::cli {

struct BindOptions {
    bool force = false;         ///< even if the machine needs the device (in_use), or no
                                ///< driver serves it
    bool without_iommu = false; ///< even if no IOMMU confines it
    bool untrusted = false;     ///< copy what its driver hands up, show it nothing old
    std::function<bool(const PciId&)> served = {}; ///< whether a driver is there for it; empty: any
};

/// Why no IOMMU would confine the device, or empty. Whether its interrupts are remapped only
/// the kernel knows: it refuses to bind it otherwise.
[[nodiscard]] std::string unconfined(const System& system, const PciAddress& address);

/// Gives the device to udrv (driver_override, as for vfio-pci): takes it from its
/// present driver and has the kernel probe it again. Undoes everything if a step
/// fails. Refuses a device that no driver serves or the machine needs, and one that no IOMMU
/// confines, unless the options say otherwise; warns of the latter on stderr then. Refuses an
/// untrusted one behind an IOMMU of a kernel without bounce buffers. Throws Error.
void bind(const System& system, const PciAddress& address, const BindOptions& options);

/// Takes the device from udrv, clears driver_override, and lets the kernel find its
/// own driver for it again. A driver process that has it open loses it, and its disks
/// are gone. Refuses a device the machine needs (in_use) unless `force`. Says so on stderr if
/// it has no driver afterwards. Throws Error.
void unbind(const System& system, const PciAddress& address, bool force = false);

} // namespace udrv::cli
