// SPDX-License-Identifier: MIT
//
// virtio_blk: features, what the disk is, and the end. Sections are those of virtio 1.2.
#include <string>

#include <gtest/gtest.h>

#include "tests/unit/fake_virtio_blk.hpp"

namespace udrv::test {
namespace {

using Fake = FakeVirtioBlk;

struct VirtioBlkSetup : testing::Test {
    VirtioBlkRig rig;
    void expect_error(const std::string& part) {
        const std::string text = rig.start_error();
        EXPECT_NE(text.find(part), std::string::npos) << text;
    }
};

TEST_F(VirtioBlkSetup, TheDiskAsTheDeviceDescribesIt) {
    rig.start();
    EXPECT_TRUE(rig.chip.live());
    const udrv_blk_disk& disk = rig.disk();
    EXPECT_EQ(disk.nr_sectors, 4096u);
    EXPECT_EQ(disk.logical_block_bytes, 512u);
    EXPECT_EQ(disk.physical_block_bytes, 512u);
    EXPECT_EQ(disk.flags, UDRV_BLK_WRITE_CACHE);
    EXPECT_STREQ(disk.vendor, "virtio");
    EXPECT_STREQ(disk.model, "virtio-blk");
    EXPECT_STREQ(disk.serial, "FAKE-1");
    EXPECT_EQ(disk.depth, 85u); // three descriptors each
    EXPECT_EQ(disk.max_segments, 64u);
    EXPECT_EQ(disk.dma_alignment, 3u);
    EXPECT_EQ(disk.max_segment_bytes, 0xffffffffu);
    EXPECT_EQ(disk.max_discard_sectors, 0x3fffffu);
    EXPECT_EQ(disk.max_discard_segments, 1u);
    EXPECT_EQ(disk.max_write_zeroes_sectors, 0x3fffffu);
    EXPECT_TRUE(rig.driver->notes().empty());
}

TEST_F(VirtioBlkSetup, WhatIsNotOfferedIsNotAnnounced) {
    rig.chip.offered = Fake::f_version_1;
    rig.start();
    const udrv_blk_disk& disk = rig.disk();
    EXPECT_EQ(disk.flags, 0u);
    EXPECT_EQ(disk.max_segments, 1u);
    EXPECT_EQ(disk.dma_alignment, 511u) << "the kernel refuses one segment otherwise";
    EXPECT_EQ(disk.logical_block_bytes, 512u);
    EXPECT_EQ(disk.max_discard_sectors + disk.max_discard_segments + disk.max_write_zeroes_sectors,
              0u);
}

// 5.2.5.1: with CONFIG_WCE the device says it, and the model checks when it is asked.
TEST_F(VirtioBlkSetup, AWriteThroughDeviceHasNoCache) {
    rig.chip.config[0x20] = 0;
    rig.start();
    EXPECT_EQ(rig.disk().flags & UDRV_BLK_WRITE_CACHE, 0u);
    rig.chip.offered &= ~Fake::f_config_wce;
    rig.start();
    EXPECT_NE(rig.disk().flags & UDRV_BLK_WRITE_CACHE, 0u);
    rig.chip.offered &= ~Fake::f_flush;
    rig.start();
    EXPECT_EQ(rig.disk().flags & UDRV_BLK_WRITE_CACHE, 0u);
}

TEST_F(VirtioBlkSetup, ReadOnly) {
    rig.chip.offered |= Fake::f_ro;
    rig.start();
    EXPECT_NE(rig.disk().flags & UDRV_BLK_READ_ONLY, 0u);
}

TEST_F(VirtioBlkSetup, DevicesThatAreNotForUs) {
    rig.chip.offered = Fake::usual & ~Fake::f_version_1;
    expect_error("VIRTIO_F_VERSION_1");
    rig.chip.offered = Fake::usual;
    rig.config.iommu = true;
    expect_error("VIRTIO_F_ACCESS_PLATFORM");
    rig.chip.offered |= Fake::f_access_platform;
    EXPECT_EQ(rig.start_error(), "no error");
    rig.chip.refuses_features = true;
    expect_error("refuses");
}

TEST_F(VirtioBlkSetup, Blocks) {
    rig.chip.set32(0x14, 4096);
    rig.chip.set_capacity(4095);
    rig.start();
    EXPECT_EQ(rig.disk().logical_block_bytes, 4096u);
    EXPECT_EQ(rig.disk().nr_sectors, 4088u) << "whole blocks";
    rig.chip.set32(0x14, 512);
    rig.chip.config[0x18] = 3; // physical_block_exp
    rig.start();
    EXPECT_EQ(rig.disk().logical_block_bytes, 512u);
    EXPECT_EQ(rig.disk().physical_block_bytes, 4096u);
    for (const unsigned exponent : {12u, 16u, 32u, 255u}) {
        rig.chip.config[0x18] = static_cast<std::uint8_t>(exponent);
        rig.start();
        EXPECT_EQ(rig.disk().physical_block_bytes, 512u) << exponent;
    }
    for (const std::uint32_t bytes : {0u, 256u, 520u, 8192u, 0x80000000u}) {
        rig.chip.set32(0x14, bytes);
        expect_error("blk_size");
    }
}

TEST_F(VirtioBlkSetup, Capacity) {
    rig.chip.set_capacity(0x1'0000'0010);
    rig.start();
    EXPECT_EQ(rig.disk().nr_sectors, 0x1'0000'0010u);
    rig.chip.set_capacity(0);
    expect_error("capacity");
}

TEST_F(VirtioBlkSetup, LimitsOfData) {
    rig.chip.offered |= Fake::f_size_max;
    rig.chip.set32(0x08, 65536);
    rig.chip.set32(0x0c, 12);
    rig.start();
    EXPECT_EQ(rig.disk().max_segment_bytes, 65536u);
    EXPECT_EQ(rig.disk().max_segments, 12u);
    rig.chip.set32(0x0c, 0);
    rig.start();
    EXPECT_EQ(rig.disk().max_segments, 1u);
    rig.chip.set32(0x08, 2048);
    expect_error("size_max");
}

TEST_F(VirtioBlkSetup, LimitsOfDiscards) {
    rig.chip.set32(0x24, 0); // none
    rig.chip.set32(0x28, 256);
    rig.chip.set32(0x30, 0);
    rig.start();
    EXPECT_EQ(rig.disk().max_discard_sectors, 0xffffffffu);
    EXPECT_EQ(rig.disk().max_discard_segments, 14u) << "what the driver has room for";
    EXPECT_EQ(rig.disk().max_write_zeroes_sectors, 0xffffffffu);
    rig.chip.config[0x18] = 3;
    rig.chip.set32(0x24, 7);
    rig.start();
    EXPECT_EQ(rig.disk().max_discard_sectors, 0u) << "not one physical block";
    EXPECT_EQ(rig.disk().max_discard_segments, 0u);
}

TEST_F(VirtioBlkSetup, AConfigurationThatIsTooShortIsAnError) {
    rig.chip.config.resize(0x30);
    expect_error("it has 48 bytes, not 52");
    rig.chip.offered &= ~Fake::f_write_zeroes;
    EXPECT_EQ(rig.start_error(), "no error");
    rig.chip.config.resize(4);
    expect_error("it has 4 bytes, not 8");
}

TEST_F(VirtioBlkSetup, QueuesOfAllSizes) {
    rig.chip.set_queue_size(0, 2);
    expect_error("2 entries");
    rig.chip.set_queue_size(0, 0);
    expect_error("0 entries");
    const std::uint32_t sizes[][3] = {{4, 1, 1}, {8, 2, 2}, {300, 85, 64}, {1024, 85, 64}};
    for (const auto& [size, depth, segments] : sizes) {
        rig.chip.set_queue_size(0, static_cast<std::uint16_t>(size));
        rig.start();
        EXPECT_EQ(rig.disk().depth, depth) << size;
        EXPECT_EQ(rig.disk().max_segments, segments) << size;
    }
}

// 5.2.6: up to 20 bytes of ASCII, without a NUL if there are 20.
TEST_F(VirtioBlkSetup, SerialNumbers) {
    rig.chip.serial = "ABCDEFGHIJKLMNOPQRSTUVWX";
    rig.start();
    EXPECT_STREQ(rig.disk().serial, "ABCDEFGHIJKLMNOPQRST");
    rig.chip.serial = "a b\x1b\xff";
    rig.start();
    EXPECT_STREQ(rig.disk().serial, "a?b??");
    rig.chip.serial = "";
    rig.start();
    EXPECT_STREQ(rig.disk().serial, "");
    rig.chip.serial = "secret";
    rig.chip.id_status = Fake::UNSUPP;
    rig.start();
    EXPECT_STREQ(rig.disk().serial, "");
}

TEST_F(VirtioBlkSetup, HoweverLateItAnswers) {
    rig.chip.late_reads = 50;
    rig.chip.id_late = 50;
    rig.start();
    EXPECT_STREQ(rig.disk().serial, "FAKE-1");
}

TEST_F(VirtioBlkSetup, ADeviceThatDoesNotAnswerIsAnError) {
    rig.config.identify_timeout = 50ms;
    rig.chip.hung = true;
    expect_error("device_status is 0x0f");
    rig.chip.refuses_vectors = true;
    expect_error("interrupt");
}

TEST_F(VirtioBlkSetup, ResetsWhatAPredecessorLeft) {
    rig.chip.status = 0x0f;
    rig.start();
    rig.read(1);
    rig.expect_right(rig.finish(1));
    EXPECT_GE(rig.chip.resets, 1u);
}

// The kernel takes a successor only if it describes the disk as its predecessor did.
TEST_F(VirtioBlkSetup, ADiskThatHasGrownKeepsItsSize) {
    rig.config.kept_sectors = 4000;
    rig.start();
    EXPECT_EQ(rig.disk().nr_sectors, 4000u);
    ASSERT_EQ(rig.driver->notes().size(), 1u);
    EXPECT_NE(rig.driver->notes()[0].find("grown"), std::string::npos);
    rig.config.kept_sectors = 4096;
    rig.start();
    EXPECT_TRUE(rig.driver->notes().empty());
    rig.config.kept_sectors = 5000; // what it was is gone: the kernel refuses the disk
    rig.start();
    EXPECT_EQ(rig.disk().nr_sectors, 4096u);
}

TEST_F(VirtioBlkSetup, TheEndIsQuiet) {
    virtio_blk::VirtioBlk& driver = rig.start();
    rig.read(8);
    driver.stop();
    EXPECT_EQ(rig.chip.status, 0);
    EXPECT_TRUE(rig.take().empty());
    EXPECT_EQ(driver.tick(rig.now), BlkClock::time_point::max());
}

} // namespace
} // namespace udrv::test
