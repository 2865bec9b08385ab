// SPDX-License-Identifier: MIT
#include "libudrv/blk/blk_completions.hpp"

#include <gtest/gtest.h>

#include "libudrv/testing/blk_rings.hpp"

namespace udrv {
namespace {

using test::BlkRings;

TEST(BlkCompletions, AreStoredAtOnceAndSeenAfterCommit) {
    BlkRings rings;
    BlkCompletions& done = rings.connect(2, 8);
    EXPECT_EQ(done.commit(), 0U);
    done.add(1, 5, 77, UDRV_BLK_MEDIUM);
    done.add(0, 3, 76, UDRV_BLK_OK);
    done.add(1, 6, 78, UDRV_BLK_OK);
    EXPECT_EQ(rings.consumer(0).available(), 0U);
    EXPECT_EQ(rings.consumer(1).available(), 0U);
    EXPECT_EQ(done.added(), 3U);
    EXPECT_EQ(done.failures(), 1U);
    const auto all = rings.take(); // commits
    ASSERT_EQ(all.size(), 3U);
    EXPECT_EQ(all[0].disk, 0U);
    EXPECT_EQ(all[0].tag, 3U);
    EXPECT_EQ(all[1].tag, 5U);
    EXPECT_EQ(all[1].generation, 77U);
    EXPECT_EQ(all[1].status, UDRV_BLK_MEDIUM);
    EXPECT_EQ(all[2].tag, 6U);
    EXPECT_EQ(done.commit(), 0U);
}

TEST(BlkCompletions, GoRoundTheRingAndTheIndex) {
    BlkRings rings;
    BlkCompletions& done = rings.connect(1, 8, 0xfffffffd);
    std::uint32_t sent = 0;
    std::uint32_t seen = 0;
    for (std::uint32_t round = 0; round < 40; round++) {
        for (std::uint32_t n = 0; n < round % 9; n++) {
            done.add(0, n, sent++, UDRV_BLK_OK);
        }
        for (const auto& one : rings.take()) {
            EXPECT_EQ(one.generation, seen++);
        }
    }
    EXPECT_EQ(sent, seen);
    EXPECT_EQ(done.dropped(), 0U);
}

TEST(BlkCompletions, AKernelThatTakesNothingLosesNothingThatItHas) {
    BlkRings rings;
    BlkCompletions& done = rings.connect(2, 8);
    for (std::uint32_t n = 0; n < 11; n++) {
        done.add(0, n, n, UDRV_BLK_OK);
    }
    EXPECT_EQ(done.dropped(), 3U);
    EXPECT_EQ(done.commit(), 8U);
    done.add(0, 1, 11, UDRV_BLK_OK);
    done.add(1, 1, 12, UDRV_BLK_OK); // another disk's ring has room
    EXPECT_EQ(done.dropped(), 4U);
    EXPECT_EQ(done.commit(), 1U);
    for (std::uint32_t n = 0; n < 8; n++) {
        udrv_blk_completion one{};
        ASSERT_TRUE(rings.consumer(0).pop(one));
        EXPECT_EQ(one.generation, n);
    }
    done.add(0, 1, 13, UDRV_BLK_OK); // and now there is room again
    EXPECT_EQ(done.commit(), 1U);
}

TEST(BlkCompletions, AnIndexThatMakesNoSenseIsNotBelieved) {
    BlkRings rings;
    BlkCompletions& done = rings.connect(1, 8);
    for (std::uint32_t n = 0; n < 8; n++) {
        done.add(0, n, n, UDRV_BLK_OK);
    }
    rings.header(0).consumer.value = 1000;
    done.add(0, 8, 8, UDRV_BLK_OK);
    EXPECT_EQ(done.dropped(), 1U);
    EXPECT_EQ(done.commit(), 8U);
}

} // namespace
} // namespace udrv
