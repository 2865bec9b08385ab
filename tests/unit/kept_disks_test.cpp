// SPDX-License-Identifier: MIT
//
// How many disks the kernel keeps for a device, on a sysfs of the test's own.
#include <filesystem>

#include <gtest/gtest.h>
#include <unistd.h>

#include "libudrv/blk/kept_disks.hpp"

namespace udrv::test {

namespace {

TEST(KeptDisks, AreTheDiskDevicesBelowTheFunction) {
    namespace fs = std::filesystem;
    const fs::path sys =
        fs::temp_directory_path() / ("udrv_kept_disks." + std::to_string(::getpid()));
    const PciAddress address = PciAddress::parse("0000:00:18.0");
    const fs::path device = sys / "bus/pci/devices" / address.str();
    EXPECT_EQ(kept_disks(address, sys), 0u) << "no such device";
    fs::create_directories(device);
    EXPECT_EQ(kept_disks(address, sys), 0u) << "nobody attached yet";
    fs::create_directories(device / "udrv_disk/udb0");
    EXPECT_EQ(kept_disks(address, sys), 1u);
    fs::create_directories(device / "udrv_disk/udb1");
    EXPECT_EQ(kept_disks(address, sys), 2u);
    fs::remove_all(sys);
}

} // namespace

} // namespace udrv::test
