// SPDX-License-Identifier: MIT
//
// What the kernel keeps for a device, on a sysfs of the test's own.
#include <filesystem>
#include <fstream>

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
    EXPECT_EQ(kept_sectors(address, 0, sys), 0u) << "nothing is known of it yet";
    fs::create_directories(device / "udrv_disk/udb1");
    fs::create_directories(sys / "class/block/udb1");
    EXPECT_EQ(kept_disks(address, sys), 2u);
    std::ofstream(device / "udrv_disk/udb0/unit") << "0\n";
    std::ofstream(device / "udrv_disk/udb1/unit") << "3\n";
    std::ofstream(sys / "class/block/udb1/size") << "8388608016\n";
    EXPECT_EQ(kept_sectors(address, 3, sys), 8388608016u);
    EXPECT_EQ(kept_sectors(address, 0, sys), 0u);
    EXPECT_EQ(kept_sectors(address, 1, sys), 0u);
    fs::remove_all(sys);
}

} // namespace

} // namespace udrv::test
