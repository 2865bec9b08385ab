// SPDX-License-Identifier: MIT
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "libudrv/error.hpp"
#include "tests/unit/fake_mychip.hpp"

namespace udrv::test {
namespace {

using Rig = MyChipRig;

TEST(MyChip, WaitsForTheEndOfItsReset) {
    Rig rig;
    rig.start();
    EXPECT_EQ(rig.chip.resets, 1u);
    EXPECT_TRUE(rig.chip.running);
    EXPECT_EQ(rig.chip.mask, 1u);
}

TEST(MyChip, AResetThatDoesNotEndIsAnErrorThatNamesTheRegister) {
    Rig rig;
    rig.chip.stuck = true;
    try {
        mychip::reset(rig.chip);
        FAIL() << "it goes on";
    } catch (const Error& error) {
        EXPECT_NE(std::string(error.what()).find("CONTROL"), std::string::npos) << error.what();
    }
}

TEST(MyChip, FindsItsDisk) {
    Rig rig;
    rig.chip.sectors = 0x1'0000'0010;
    EXPECT_EQ(rig.start().disks()[0].nr_sectors, 0x1'0000'0010u);
    rig.chip.medium = false;
    EXPECT_THROW(rig.start(), Error);
}

TEST(MyChip, EachRequestIsCompletedOnce) {
    Rig rig;
    mychip::MyChip& driver = rig.start();
    const std::vector<BlkSubmission> many{rig.make(3, UDRV_BLK_FLUSH), rig.make(1, UDRV_BLK_FLUSH)};
    driver.submit(0, many);
    driver.reap();
    const auto done = rig.rings.take();
    ASSERT_EQ(done.size(), 2u);
    for (const BlkCompletion& one : done) {
        EXPECT_EQ(one.generation, rig.requests.at(one.tag).generation);
    }
    driver.reap();
    EXPECT_TRUE(rig.rings.take().empty());
}

TEST(MyChip, TellsItsInterruptFromOthers) {
    Rig rig;
    mychip::MyChip& driver = rig.start();
    EXPECT_FALSE(driver.interrupt());
    rig.chip.raise(1);
    EXPECT_TRUE(driver.interrupt());
    EXPECT_FALSE(driver.interrupt()) << "reading clears it";
}

TEST(MyChip, StopIsQuiet) {
    Rig rig;
    rig.start().stop();
    EXPECT_FALSE(rig.chip.running);
    EXPECT_EQ(rig.chip.mask, 0u);
}

} // namespace
} // namespace udrv::test
