// SPDX-License-Identifier: MIT
#include <array>
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
    EXPECT_EQ(rig.start().capabilities().mac,
              (MacAddress{0x52, 0x54, 0x00, 0x12, 0x34, 0x56}));
    EXPECT_EQ(rig.chip.resets, 1u);
    EXPECT_FALSE(rig.chip.running);
    EXPECT_EQ(rig.chip.mask, 0u);
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

TEST(MyChip, IsUpAndDownAsTheAdministratorWants) {
    Rig rig;
    mychip::MyChip& driver = rig.up();
    EXPECT_TRUE(rig.chip.running);
    EXPECT_EQ(rig.chip.mask, 3u);
    driver.apply(udrv_net_desired{});
    EXPECT_FALSE(rig.chip.running);
    EXPECT_EQ(rig.chip.mask, 0u);
}

TEST(MyChip, PacketsAreCompletedOnceAndInOrder) {
    Rig rig;
    mychip::MyChip& driver = rig.up();
    std::vector<udrv_net_tx> segments(5);
    for (std::uint32_t n = 0; n < 5; n++) {
        segments[n].id = n < 2 ? 7 : 5 + n; // the first packet has two segments
        segments[n].flags = n == 0 ? 0 : UDRV_NET_TX_EOP;
        segments[n].len_bytes = 60;
    }
    EXPECT_EQ(driver.tx_provide(segments), 5u);
    std::array<udrv_net_completion, 8> done{};
    ASSERT_EQ(driver.tx_return(done), 4u);
    for (std::uint32_t n = 0; n < 4; n++) {
        EXPECT_EQ(done[n].id, n == 0 ? 7u : 6 + n);
    }
    EXPECT_EQ(driver.tx_return(done), 0u);
}

TEST(MyChip, TakesNoPacketInPart) {
    Rig rig;
    mychip::MyChip& driver = rig.up();
    std::vector<udrv_net_tx> segments(2 * mychip::depth + 2);
    for (std::size_t n = 0; n < segments.size(); n++) {
        segments[n].flags = n % 2 == 1 ? UDRV_NET_TX_EOP : 0;
    }
    EXPECT_EQ(driver.tx_provide(segments), 2 * mychip::depth) << "it is full then";
}

TEST(MyChip, KeepsTheBuffersThatItHasRoomFor) {
    Rig rig;
    mychip::MyChip& driver = rig.up();
    const std::vector<udrv_net_fill> buffers(mychip::depth + 1);
    EXPECT_EQ(driver.rx_provide(buffers), mychip::depth);
    EXPECT_EQ(driver.rx_provide(buffers), 0u);
}

TEST(MyChip, TellsTheCausesOfItsInterrupts) {
    Rig rig;
    mychip::MyChip& driver = rig.up();
    rig.chip.raise(2);
    const NetCause cause = driver.interrupt();
    EXPECT_TRUE(cause.link && !cause.data);
    EXPECT_FALSE(driver.interrupt().link) << "reading clears it";
    EXPECT_TRUE(driver.link().up);
    rig.chip.link = false;
    EXPECT_FALSE(driver.link().up);
}

} // namespace
} // namespace udrv::test
