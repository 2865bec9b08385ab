// SPDX-License-Identifier: MIT
//
// AHCI: reset, finding and identifying disks, what is refused and with which words,
// and stop, against the model. Sections are those of AHCI 1.3.1.
#include <gtest/gtest.h>

#include "tests/unit/ahci_rig.hpp"

namespace udrv::test {
namespace {

using Fake = FakeAhci;

struct AhciSetup : testing::Test {
    AhciRig rig;

    /// Set-up with all register writes kept.
    void construct() {
        (void)ahci::reset_hba(rig.chip);
        rig.driver = std::make_unique<ahci::Ahci>(rig.chip, rig.memory, rig.config);
    }

    /// Position of the first write of `value` under `mask` to a register, from `from` on.
    std::size_t first(std::uint32_t offset, std::uint32_t mask, std::uint32_t value,
                      std::size_t from = 0) {
        const auto& w = rig.chip.writes;
        std::size_t i = from;
        while (i < w.size() && (w[i].offset != offset || (w[i].value & mask) != value)) {
            i++;
        }
        EXPECT_LT(i, w.size()) << "no such write to " << std::hex << offset;
        return i;
    }
};

TEST_F(AhciSetup, OrderOfTheSteps) {
    construct();
    EXPECT_EQ(rig.chip.at(0, Fake::PIE), 0u) << "it does not interrupt before start()";
    rig.serve();
    const auto port = [](std::uint32_t offset) { return Fake::place(0, offset); };
    // 10.4.3: AHCI mode, then HR; 10.1.2: port idle, addresses, FRE, PxSERR, ST,
    // PxIE, and GHC.IE last of all.
    const std::size_t ae = first(Fake::GHC, 0x80000000, 0x80000000);
    const std::size_t hr = first(Fake::GHC, 0x80000001, 0x80000001);
    const std::size_t quiet = first(port(Fake::CMD), 0x11, 0, hr);
    const std::size_t clb = first(port(Fake::CLB), 0, 0, hr);
    const std::size_t fb = first(port(Fake::FB), 0, 0, hr);
    const std::size_t fre = first(port(Fake::CMD), 0x11, 0x10, fb);
    const std::size_t serr = first(port(Fake::SERR), 0, 0, fre);
    const std::size_t st = first(port(Fake::CMD), 0x11, 0x11, fre);
    const std::size_t identify = first(port(Fake::CI), 1, 1, st);
    const std::size_t ie = first(port(Fake::PIE), 0x40000009, 0x40000009, identify);
    const std::size_t ghc_ie = first(Fake::GHC, 2, 2, ie);
    EXPECT_LT(ae, hr);
    EXPECT_LT(hr, quiet);
    EXPECT_LT(quiet, clb);
    EXPECT_LT(clb, fre);
    EXPECT_LT(fre, serr);
    EXPECT_LT(serr, st);
    EXPECT_EQ(ghc_ie, rig.chip.writes.size() - 1);
    // TFES, HBFS, HBDS, IFS, OFS, PRCS, PCS, UFS, SDBS, DHRS (3.3.6).
    EXPECT_EQ(rig.chip.at(0, Fake::PIE), 0x7940005bu);
    EXPECT_EQ(rig.chip.at(1, Fake::PIE), 0x00400040u) << "PRCS, PCS of a port without a disk";
    EXPECT_EQ(rig.chip.hba_resets, 1u);
    EXPECT_FALSE(rig.chip.interrupting());
}

TEST_F(AhciSetup, DiskAsTheKernelIsTold) {
    rig.chip.plug(2, 1000);
    auto& driver = rig.start();
    ASSERT_EQ(driver.disks().size(), 2u);
    const udrv_blk_disk& disk = driver.disks()[0];
    EXPECT_EQ(disk.unit, 0u);
    EXPECT_EQ(driver.disks()[1].unit, 2u);
    EXPECT_STREQ(disk.model, "Fake disk");
    EXPECT_STREQ(driver.disks()[1].serial, "SN-2");
    EXPECT_EQ(disk.nr_sectors, AhciRig::disk_blocks);
    EXPECT_EQ(disk.depth, 32u);
    EXPECT_EQ(disk.max_segments, 128u);
    EXPECT_EQ(disk.max_segment_bytes, 4u << 20);
    EXPECT_EQ(disk.segment_boundary, 0xffffffffu);
    EXPECT_EQ(disk.dma_alignment, 1u);
    EXPECT_EQ(disk.max_sectors, 65535u);
    EXPECT_EQ(disk.max_discard_sectors, 32u * 65535);
    EXPECT_EQ(disk.max_write_zeroes_sectors, 0u);
    EXPECT_EQ(disk.flags, std::uint32_t{UDRV_BLK_WRITE_CACHE | UDRV_BLK_ATA_COMMANDS});
    EXPECT_EQ(disk.slots + disk.submission + disk.completion + disk.ring_depth, 0u);
    EXPECT_TRUE(driver.notes().empty());
}

TEST_F(AhciSetup, DepthIsTheSmallerOfHbaAndDisk) {
    rig.chip.cap = 0xc0000703; // NCS 7: 8 slots
    EXPECT_EQ(rig.start().disks()[0].depth, 8u);
    rig.chip.cap = 0xc0001f03;
    rig.chip.disks[0].identify[75] = 3;
    seal(rig.chip.disks[0].identify);
    EXPECT_EQ(rig.start().disks()[0].depth, 4u);
}

TEST_F(AhciSetup, FourKilobyteBlocks) {
    auto& words = rig.chip.disks[0].identify;
    words[106] = 0x5000;
    words[117] = 2048;
    seal(words);
    const udrv_blk_disk disk = rig.start().disks()[0];
    EXPECT_EQ(disk.nr_sectors, AhciRig::disk_blocks * 8);
    EXPECT_EQ(disk.max_sectors % 8, 0u);
    EXPECT_EQ(disk.logical_block_bytes, 4096u);
}

TEST_F(AhciSetup, WaitsForADiskThatSpinsUp) {
    rig.chip.disks[0].spin_up = 20;
    EXPECT_EQ(rig.start().disks().size(), 1u);
}

TEST_F(AhciSetup, WaitsForNoOtherPortOnceItHasWhatTheKernelKeeps) {
    rig.config.detect = 24h; // for the ports that have none
    rig.config.expected_disks = 1;
    EXPECT_EQ(rig.start().disks().size(), 1u);
}

TEST_F(AhciSetup, ADiskThatTheKernelKeepsIsWaitedForUntilItHasSpunUp) {
    rig.chip.plug(2, 100);
    rig.chip.lateness = 1000; // no sign of it for as many reads
    rig.config.detect = 0ms;
    rig.config.spin_up_timeout = 10s;
    rig.config.expected_disks = 2;
    EXPECT_EQ(rig.start().disks().size(), 2u);
}

TEST_F(AhciSetup, APortThatHadADeviceBeforeTheResetIsWaitedFor) {
    rig.chip.plug(2, 100);
    rig.chip.at(2, Fake::SSTS) = 0x133;
    rig.chip.lateness = 100;
    rig.config.spin_up_timeout = 10s;
    rig.config.expected_disks = 1;
    rig.chip.at(0, Fake::SSTS) = 0x133;
    EXPECT_EQ(rig.start().disks().size(), 2u);
}

TEST_F(AhciSetup, OneSickPortDoesNotHoldUpTheOthers) {
    rig.chip.disks[0].spin_up = 1u << 30; // never ready
    rig.chip.plug(1, 100);
    rig.chip.plug(2, 100);
    rig.chip.disks[1].spin_up = 200;
    rig.chip.disks[2].spin_up = 200;
    rig.config.spin_up_timeout = 2s;
    auto& driver = rig.start();
    ASSERT_EQ(driver.disks().size(), 2u);
    // All were asked before the sick one was given up.
    EXPECT_EQ(driver.notes().size(), 1u);
    EXPECT_EQ(rig.chip.most_spinning, 3u) << "at the same time";
}

TEST_F(AhciSetup, StaggeredSpinUpStartsOneDiskAfterTheOther) { // 3.1.1, CAP.SSS
    rig.chip.cap |= 1u << 27;
    rig.config.spin_up_timeout = 10s;
    for (std::uint32_t n = 0; n < 4; n++) {
        rig.chip.plug(n, 100);
        rig.chip.disks[n].spin_up = 50;
    }
    rig.config.detect = 1s; // real time, and the host may be busy
    EXPECT_EQ(rig.start().disks().size(), 4u);
    EXPECT_EQ(rig.chip.most_spinning, 1u);
}

TEST_F(AhciSetup, ADiskInStandbyIsWoken) { // ACS-3, PUIS; IDENTIFY DEVICE, word 2
    for (const unsigned word : {0x37c8u, 0x738cu, 0x8c73u, 0xc837u}) {
        rig.chip.disks[0].standby = word == 0xc837 ? 0 : static_cast<std::uint16_t>(word);
        rig.chip.disks[0].standby_identifies = 2;
        rig.chip.disks[0].identify[2] = static_cast<std::uint16_t>(word == 0x37c8 ? word : 0xc837);
        seal(rig.chip.disks[0].identify);
        rig.config.spin_up_timeout = 5s;
        ASSERT_EQ(rig.start().disks().size(), 1u) << std::hex << word;
        EXPECT_EQ(rig.driver->disks()[0].nr_sectors, AhciRig::disk_blocks);
        EXPECT_EQ(rig.chip.disks[0].standby, 0);
    }
}

TEST_F(AhciSetup, CompactFlashCard) { // ACS-3, IDENTIFY DEVICE, word 0
    rig.chip.disks[0].identify[0] = 0x848a;
    seal(rig.chip.disks[0].identify);
    EXPECT_EQ(rig.start().disks().size(), 1u);
}

TEST_F(AhciSetup, GoesOnWithoutADiskThatTheKernelKeeps) {
    rig.config.detect = 1ms;
    rig.config.expected_disks = 2;
    EXPECT_EQ(rig.start().disks().size(), 1u);
}

TEST_F(AhciSetup, BiosLetsGoBeforeTheReset) {
    rig.chip.bios_owns = true;
    construct();
    EXPECT_LT(first(Fake::BOHC, 2, 2), first(Fake::GHC, 1, 1)); // OOS, 10.6.3
}

TEST_F(AhciSetup, ResetTimeoutNamesTheRegisterAndItsLastValue) {
    rig.chip.hr_hangs = true;
    EXPECT_EQ(rig.start_error(),
              "ahci: wait for GHC & 0x00000001 == 0x00000000: GHC is still 0x80000001 after 1000 "
              "ms; unbind and bind the device, or restart the machine");
    rig.chip.gone = true;
    EXPECT_EQ(rig.start_error(),
              "ahci: wait for GHC & 0x00000001 == 0x00000000: GHC is still 0xffffffff after 1000 "
              "ms; the device does not answer: is it still there?");
}

TEST_F(AhciSetup, PortsWithoutAUsableDiskAreSkippedWithANote) {
    rig.chip.plug(1, 100);
    rig.chip.disks[1].sig = 0xeb140101;
    rig.chip.plug(2, 100);
    put_capacity(rig.chip.disks[2].identify, 0);
    seal(rig.chip.disks[2].identify);
    rig.chip.plug(3, 100);
    rig.chip.disks[3].spin_up = 1u << 30;
    auto& driver = rig.start();
    ASSERT_EQ(driver.disks().size(), 1u);
    ASSERT_EQ(driver.notes().size(), 3u);
    EXPECT_EQ(driver.notes()[0],
              "port 1: an ATAPI device (CD or DVD), which this driver does not serve");
    EXPECT_EQ(driver.notes()[1],
              "port 2: a disk that cannot be used: it says that it has no sectors");
    EXPECT_EQ(driver.notes()[2], "port 3: a disk that does not get ready: PxTFD is still "
                                 "0x00000080 after 100 ms");
    // And their ports are quiet: ST, CR, FRE, FR.
    for (std::uint32_t n = 1; n < 4; n++) {
        EXPECT_EQ(rig.chip.at(n, Fake::CMD) & 0xc011, 0u);
    }
}

TEST_F(AhciSetup, IdentifyThatIsAborted) {
    rig.chip.disks[0].aborts_identify = true;
    EXPECT_EQ(rig.start_error(), "ahci: find a disk: none on its 4 ports; port 0: IDENTIFY DEVICE "
                                 "failed (PxTFD is 0x451, PxIS is 0x40000001)");
}

TEST_F(AhciSetup, NonsenseInIdentify) {
    rig.chip.disks[0].identify.fill(0xffff);
    EXPECT_EQ(rig.start_error(),
              "ahci: find a disk: none on its 4 ports; port 0: a disk that cannot be used: its "
              "IDENTIFY data are all 0xffff: nothing answered");
}

TEST_F(AhciSetup, IdentifyThatHangs) {
    rig.config.identify_timeout = 20ms;
    rig.chip.disks[0].frozen = true;
    EXPECT_EQ(rig.start_error(),
              "ahci: find a disk: none on its 4 ports; port 0: IDENTIFY DEVICE does not end: PxCI "
              "is still 0x1 after 20 ms, PxTFD is 0x1d0");
}

TEST_F(AhciSetup, NoDiskAtAll) {
    rig.chip.disks[0].present = false;
    EXPECT_EQ(rig.start_error(), "ahci: find a disk: none on its 4 ports");
}

TEST_F(AhciSetup, AddressesOf32Bits) {
    EXPECT_EQ(ahci::dma_bits(rig.chip), 64u);
    rig.chip.cap &= 0x7fffffff;
    EXPECT_EQ(ahci::dma_bits(rig.chip), 32u);
    // The memory of this rig is above 4 GiB.
    const std::string error = rig.start_error();
    EXPECT_NE(error.find("this HBA has 32-bit addresses (CAP.S64A is 0)"), std::string::npos)
        << error;
}

TEST_F(AhciSetup, StopLeavesTheChipQuiet) {
    rig.start();
    rig.submit(rig.make(0, 3, UDRV_BLK_READ, 0, 8));
    rig.driver->stop();
    EXPECT_EQ(rig.chip.ghc() & 2, 0u);
    EXPECT_EQ(rig.chip.at(0, Fake::PIE), 0u);
    EXPECT_EQ(rig.chip.at(0, Fake::CMD) & 0xc011, 0u);
    EXPECT_EQ(rig.chip.with_disk(0), 0u) << "a command is still under way";
    EXPECT_TRUE(rig.take().empty()) << "the kernel gives it to the next driver";
    EXPECT_EQ(rig.driver->tick(rig.now), BlkClock::time_point::max());
    // And that one finds everything as it should be.
    EXPECT_EQ(rig.start().disks().size(), 1u);
}

} // namespace
} // namespace udrv::test
