// SPDX-License-Identifier: MIT
#include "libudrv/blk/kept_disks.hpp"

#include <filesystem>
#include <iterator>
#include <system_error>

namespace udrv {

std::size_t kept_disks(const PciAddress& address, const std::string& sys) {
    // Each is a device of this class below its PCI function (udrv_disk in disk.c).
    std::error_code none;
    const std::filesystem::directory_iterator disks(
        sys + "/bus/pci/devices/" + address.str() + "/udrv_disk", none);
    return none ? 0 : static_cast<std::size_t>(std::distance(begin(disks), end(disks)));
}

} // namespace udrv
