// SPDX-License-Identifier: MIT
//
// What kernel and driver agree on, besides the layouts: tests/static/abi.sh has those.
#include <cstddef>
#include <cstdint>

#include <gtest/gtest.h>

#include <udrv/blk.h>
#include <udrv/net.h>
#include <udrv/udrv.h>

namespace {

TEST(Abi, EachSharedWordHasTwoCacheLinesOfItsOwn) {
    EXPECT_EQ(offsetof(udrv_ring_header, producer), 0U);
    EXPECT_EQ(offsetof(udrv_ring_header, consumer), 128U);
    EXPECT_EQ(offsetof(udrv_need_wakeup, driver), 0U);
    EXPECT_EQ(offsetof(udrv_need_wakeup, kernel), 128U);
}

TEST(Abi, MapOffsetsDoNotOverlap) {
    EXPECT_LT(UDRV_MMAP_BAR(UDRV_NR_BARS - 1), UDRV_MMAP_PORT);
    EXPECT_GE(UDRV_MMAP_PORT - UDRV_MMAP_BAR(UDRV_NR_BARS - 1), std::uint64_t{1} << 40);
    EXPECT_GE(UDRV_MMAP_COHERENT(0) - UDRV_MMAP_PORT, std::uint64_t{1} << 40);
    EXPECT_EQ(UDRV_MMAP_COHERENT(2) - UDRV_MMAP_COHERENT(1), std::uint64_t{64} << 20);
    // A 32-bit process names pages of 4 KiB by 32 bits. Handles begin with 1.
    EXPECT_LE(UDRV_MMAP_COHERENT(UDRV_MAX_DMA_REGIONS + 1), std::uint64_t{1} << 44);
}

} // namespace
