// SPDX-License-Identifier: MIT
//
// The layouts that kernel and driver agree on; sizes are asserted in the headers.
#include <cstddef>

#include <gtest/gtest.h>

#include <udrv/blk.h>
#include <udrv/net.h>
#include <udrv/udrv.h>

namespace {

TEST(Abi, CoreOffsets) {
    EXPECT_EQ(offsetof(udrv_info, vendor), 8U);
    EXPECT_EQ(offsetof(udrv_info, class_code), 16U);
    EXPECT_EQ(offsetof(udrv_info, bars), 32U);
    EXPECT_EQ(offsetof(udrv_bar_info, page_offset), 20U);
    EXPECT_EQ(offsetof(udrv_irq_setup, line), 8U);
    EXPECT_EQ(offsetof(udrv_stop_write, len_bytes), 8U);
    EXPECT_EQ(offsetof(udrv_stop_write, mask), 24U);
    EXPECT_EQ(offsetof(udrv_dma_region, segments), 16U);
    EXPECT_EQ(offsetof(udrv_dma_region, handle), 32U);
    EXPECT_EQ(offsetof(udrv_dma_exchange, nr_regions), 8U);
    EXPECT_EQ(offsetof(udrv_attach, arg), 8U);
}

TEST(Abi, EachSharedWordHasTwoCacheLinesOfItsOwn) {
    EXPECT_EQ(offsetof(udrv_ring_header, producer), 0U);
    EXPECT_EQ(offsetof(udrv_ring_header, consumer), 128U);
    EXPECT_EQ(offsetof(udrv_need_wakeup, driver), 0U);
    EXPECT_EQ(offsetof(udrv_need_wakeup, kernel), 128U);
}

TEST(Abi, NetOffsets) {
    EXPECT_EQ(offsetof(udrv_net_tx, id), 12U);
    EXPECT_EQ(offsetof(udrv_net_tx, flags), 16U);
    EXPECT_EQ(offsetof(udrv_net_tx, csum_start), 20U);
    EXPECT_EQ(offsetof(udrv_net_tx, gso_size), 24U);
    EXPECT_EQ(offsetof(udrv_net_fill, id), 12U);
    EXPECT_EQ(offsetof(udrv_net_rx, flags), 8U);
    EXPECT_EQ(offsetof(udrv_net_rx, csum_start), 16U);
    EXPECT_EQ(offsetof(udrv_net_desired, mac), 36U);
    EXPECT_EQ(offsetof(udrv_net_desired, name), 44U);
    EXPECT_EQ(offsetof(udrv_net_desired, multicast), 60U);
    EXPECT_EQ(offsetof(udrv_net_desired, unicast), 828U);
    EXPECT_EQ(offsetof(udrv_net_published, applied), 12U);
    EXPECT_EQ(offsetof(udrv_net_published, supported), 24U);
    EXPECT_EQ(offsetof(udrv_net_published, counters), 72U);
    EXPECT_EQ(offsetof(udrv_net_published, stats), 200U);
    EXPECT_EQ(offsetof(udrv_net_published, registers), 712U);
    EXPECT_EQ(offsetof(udrv_net_attach, vector), 24U);
    EXPECT_EQ(offsetof(udrv_net_attach, flags), 60U);
    EXPECT_EQ(offsetof(udrv_net_attach, desired), 64U);
    EXPECT_EQ(offsetof(udrv_net_attach, map_bytes), 72U);
    EXPECT_EQ(offsetof(udrv_net_attach, queues), 80U);
    EXPECT_EQ(offsetof(udrv_net_attach, max_csum_field), 272U);
    EXPECT_EQ(offsetof(udrv_net_attach, driver), 296U);
    EXPECT_EQ(offsetof(udrv_net_attach, stat_names), 328U);
}

TEST(Abi, AtaCommand) {
    EXPECT_EQ(UDRV_BLK_ATA, 5);
    EXPECT_EQ(offsetof(udrv_blk_ata, nr_blocks), 6U);
    EXPECT_EQ(offsetof(udrv_blk_ata, out_status), 8U);
    EXPECT_EQ(offsetof(udrv_blk_ata, data), 16U);
    EXPECT_EQ(offsetof(udrv_intx_mask, unmask_offset), 12U);
}

TEST(Abi, MapOffsetsDoNotOverlap) {
    EXPECT_EQ(UDRV_MMAP_BAR(5) >> UDRV_MMAP_SHIFT, 5U);
    EXPECT_EQ(UDRV_MMAP_PORT >> UDRV_MMAP_SHIFT, 0x10U);
    EXPECT_EQ(UDRV_MMAP_COHERENT(0) >> UDRV_MMAP_SHIFT, 0x100U);
    EXPECT_LT(UDRV_MMAP_COHERENT(UDRV_MAX_DMA_REGIONS - 1), std::uint64_t{1} << 63);
}

} // namespace
