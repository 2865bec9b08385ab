// SPDX-License-Identifier: MIT
#include "libudrv/blk/kept_disks.hpp"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

namespace udrv {

namespace {

namespace fs = std::filesystem;

/// Each is a device of this class below its PCI function (udrv_disk in disk.c).
fs::directory_iterator disks_of(const PciAddress& address, const std::string& sys) {
    std::error_code none;
    fs::directory_iterator disks(sys + "/bus/pci/devices/" + address.str() + "/udrv_disk", none);
    return none ? fs::directory_iterator() : disks;
}

/// The number that a file begins with, or 0.
std::uint64_t number_in(const fs::path& path) {
    std::uint64_t value = 0;
    return std::ifstream(path) >> value ? value : 0;
}

} // namespace

std::size_t kept_disks(const PciAddress& address, const std::string& sys) {
    const fs::directory_iterator disks = disks_of(address, sys);
    return static_cast<std::size_t>(std::distance(begin(disks), end(disks)));
}

std::uint64_t kept_sectors(const PciAddress& address, std::uint32_t unit, const std::string& sys) {
    for (const fs::directory_entry& disk : disks_of(address, sys)) {
        if (fs::exists(disk.path() / "unit") && number_in(disk.path() / "unit") == unit) {
            return number_in(fs::path(sys) / "class/block" / disk.path().filename() / "size");
        }
    }
    return 0;
}

} // namespace udrv
