// SPDX-License-Identifier: MIT
//
// The parts of /sys and /proc that the command reads and writes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "libudrv/device/pci_address.hpp"

namespace udrv::cli {

namespace fs = std::filesystem;

/// Where the kernel's file systems are; elsewhere in unit tests.
struct System {
    fs::path sys = "/sys";
    fs::path proc = "/proc";
    fs::path dev = "/dev";
    fs::path root = "/"; ///< of what is installed

    [[nodiscard]] fs::path device(const PciAddress& address) const {
        return sys / "bus/pci/devices" / address.str();
    }
    [[nodiscard]] fs::path pci_driver(const std::string& name) const {
        return sys / "bus/pci/drivers" / name;
    }
    [[nodiscard]] bool module_loaded() const { return fs::exists(pci_driver("udrv")); }
    /// Name of the driver the device is bound to, or empty.
    [[nodiscard]] std::string bound_driver(const PciAddress& address) const;
};

/// First line of a file; empty if it cannot be read.
[[nodiscard]] std::string read_line(const fs::path& path);

/// The decimal number that a file begins with; 0 if it cannot be read.
[[nodiscard]] std::int64_t read_number(const fs::path& path);

/// Writes `text` in one write(2), as sysfs wants it. Returns 0 or an errno value.
[[nodiscard]] int write_text(const fs::path& path, const std::string& text);

/// Names in a folder, sorted; empty if there is none.
[[nodiscard]] std::vector<std::string> list(const fs::path& folder);

/// The PCI functions that a folder of sysfs has an entry for, sorted. Other entries (bind,
/// module ...) are left out.
[[nodiscard]] std::vector<PciAddress> list_functions(const fs::path& folder);

/// PCI ids and class from sysfs; empty if there is no such device.
[[nodiscard]] std::optional<PciId> pci_id(const System& system, const PciAddress& address);

/// The PCI function that a word on the command line means: an address, or the name of an
/// interface, a disk or a partition on it (eth1, sda, /dev/sda1). Throws Error.
[[nodiscard]] PciAddress find_device(const System& system, const std::string& word);
/// Whether it is such a name.
[[nodiscard]] bool names_device(const System& system, const std::string& word);

/// Why the machine would miss the device ("it carries /boot (sda1)"), or empty.
/// Looks for mounted file systems and swap on its disks, also through device mapper
/// and md, and for default routes over its interfaces, also through bridges and the
/// like.
[[nodiscard]] std::string in_use(const System& system, const PciAddress& address);

/// Whether the kernel has bounce buffers (swiotlb), in which it copies the ends of
/// what an untrusted device may read or write; nothing if that cannot be known. Looks
/// into debugfs, wherever it is mounted.
[[nodiscard]] std::optional<bool> bounce_buffers(const System& system);

} // namespace udrv::cli
