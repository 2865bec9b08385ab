// SPDX-License-Identifier: MIT
//
// Devices that are bound at each boot: `udrv bind --save` keeps how in /etc/udrv/BDF.bind, and
// packaging/udev/60-udrv.rules.in has `udrv bind --saved BDF` called for those.
#pragma once

#include <filesystem>
#include <functional>

#include "cli/bind.hpp"
#include "cli/system.hpp"

namespace udrv::cli {

[[nodiscard]] fs::path saved_file(const System& system, const PciAddress& address);
[[nodiscard]] bool saved(const System& system, const PciAddress& address);

/// Keeps the options: all of the file, or what was there before. Throws Error.
void save_binding(const System& system, const PciAddress& address, const BindOptions& options);
/// It is not bound at the next boot. Throws Error; not if it would not be anyway.
void forget_binding(const System& system, const PciAddress& address);

/// bind() with the options that were kept; `served` as there. The udev rule has kept the
/// kernel's driver away: if the device cannot be bound, for instance because there are no
/// modules for this kernel, that one gets it, and Error is thrown.
void bind_saved(const System& system, const PciAddress& address,
                std::function<bool(const PciId&)> served);

} // namespace udrv::cli
