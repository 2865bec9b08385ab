// SPDX-License-Identifier: MIT
//
// NVMe: requests, from the slot to the data and back. Sections are those of NVMe 1.4.
#include <gtest/gtest.h>

#include "tests/unit/nvme_rig.hpp"

namespace udrv::test {
namespace {

using Fake = FakeNvme;
constexpr std::uint32_t ok = UDRV_BLK_OK;

struct NvmeIo : testing::Test {
    NvmeRig rig;
    NvmeIo() { rig.fill(3); }
    /// The status of one request.
    std::uint32_t status(const BlkSubmission& one) {
        rig.submit(one);
        return rig.finish(1).begin()->second;
    }
};

TEST_F(NvmeIo, ReadsAndWritesOfAllSizesAndPlaces) {
    rig.start();
    std::mt19937 random(4);
    for (int round = 0; round < 200; round++) {
        std::vector<BlkSubmission> many;
        for (std::uint32_t n = 0; n < 8; n++) {
            const auto sectors = static_cast<std::uint32_t>(1 + random() % 256);
            const auto pieces =
                static_cast<std::uint32_t>(1 + random() % std::max(sectors / 8, 1u));
            const std::uint64_t sector = n * 512 + random() % (512 - sectors);
            const bool write = random() % 2 != 0;
            many.push_back(
                rig.make(0, n, write ? UDRV_BLK_WRITE : UDRV_BLK_READ, sector, sectors, pieces));
            for (std::uint32_t i = 0; write && i < sectors * 512; i += 64) {
                rig.tag(0, n).data()[i] = static_cast<std::uint8_t>(random());
            }
        }
        rig.submit(many);
        rig.expect_right(rig.finish(8));
    }
}

// 4.3: the first begins anywhere on a dword, the list takes what a page has room for.
TEST_F(NvmeIo, DataThatBeginInsideAPage) {
    rig.chip.mdts = 0;
    rig.start();
    for (const std::uint32_t offset : {4u, 512u, 2048u, 4092u}) {
        for (const std::uint32_t sectors : {1u, 8u, 9u, 16u, 400u}) {
            const BlkSubmission one = rig.make(0, 0, UDRV_BLK_READ, 17, sectors);
            auto& tag = rig.tag(0, 0);
            tag.segments()[0] = {tag.buffer.dma_addr + offset, sectors * 512, 0};
            EXPECT_EQ(status(one), ok);
            EXPECT_EQ(std::memcmp(tag.data() + offset,
                                  rig.chip.namespaces[1].data.data() + 17 * 512, sectors * 512),
                      0)
                << offset << ", " << sectors;
        }
    }
}

// 2 MiB from inside a page: 513 pages, PRP1 and a whole list. The model follows a pointer
// in the last entry if there is more; there never is.
TEST_F(NvmeIo, TheLongestTransferFillsOneList) {
    rig.chip.mdts = 0;
    rig.chip.add(1, 8192);
    rig.fill(5);
    rig.start();
    const DmaBlock buffer = rig.memory.allocate(2 * 1024 * 1024 + 4096);
    const BlkSubmission one = rig.make(0, 0, UDRV_BLK_READ, 0, 8);
    rig.tag(0, 0).request().nr_sectors = 4096;
    rig.tag(0, 0).segments()[0] = {buffer.dma_addr + 512, 2 * 1024 * 1024, 0};
    EXPECT_EQ(status(one), ok);
    EXPECT_EQ(std::memcmp(buffer.vaddr + 512, rig.chip.namespaces[1].data.data(), 2 * 1024 * 1024),
              0);
}

TEST_F(NvmeIo, SegmentsThatPrpsCanNotSayFailHere) {
    rig.start();
    const auto with = [&](std::vector<udrv_blk_segment> segments) {
        const BlkSubmission one = rig.make(0, 0, UDRV_BLK_READ, 0, 16);
        auto& tag = rig.tag(0, 0);
        for (std::size_t n = 0; n < segments.size(); n++) {
            tag.segments()[n] = {tag.buffer.dma_addr + segments[n].dma_addr, segments[n].len_bytes,
                                 0};
        }
        tag.request().nr_segments = static_cast<std::uint16_t>(segments.size());
        return status(one);
    };
    constexpr std::uint32_t error = UDRV_BLK_IOERR;
    EXPECT_EQ(with({{0, 8192, 0}}), ok);
    EXPECT_EQ(with({{2048, 2048, 0}, {8192, 6144, 0}}), ok);
    EXPECT_EQ(with({{0, 2048, 0}, {8192, 6144, 0}}), error) << "the first ends inside a page";
    EXPECT_EQ(with({{0, 4096, 0}, {8704, 4096, 0}}), error) << "the second begins inside one";
    EXPECT_EQ(with({{2, 8192, 0}}), error) << "not dwords";
    EXPECT_EQ(with({{0, 4096, 0}}), error) << "too short";
    EXPECT_EQ(with({{0, 12288, 0}}), error) << "too long";
    EXPECT_EQ(with({{0, 0, 0}, {0, 8192, 0}}), error) << "an empty one";
    EXPECT_EQ(with({}), error) << "none";
}

TEST_F(NvmeIo, RequestsOutsideOrNotOfWholeBlocksFailHere) {
    rig.chip.add(2, 1000, 12);
    rig.start();
    constexpr std::uint32_t error = UDRV_BLK_IOERR;
    EXPECT_EQ(status(rig.make(0, 0, UDRV_BLK_READ, 4095, 1)), ok);
    EXPECT_EQ(status(rig.make(0, 0, UDRV_BLK_READ, 4095, 2)), error);
    EXPECT_EQ(status(rig.make(0, 0, UDRV_BLK_READ, ~0ull - 7, 8)), error);
    EXPECT_EQ(status(rig.make(0, 0, UDRV_BLK_READ, 0, 0)), error);
    EXPECT_EQ(status(rig.make(0, 0, UDRV_BLK_READ, 0, 1032)), error) << "above MDTS";
    rig.submit(rig.make(1, 0, UDRV_BLK_READ, 4, 8), 1);
    EXPECT_EQ(rig.finish(1)[0], error) << "half a block of 4,096 bytes";
    EXPECT_EQ(status(rig.make_discard(0, 0, {{4090, 100, 0}})), std::uint32_t{UDRV_BLK_NOTSUPP});
    EXPECT_EQ(status(rig.make(0, 0, 77)), std::uint32_t{UDRV_BLK_NOTSUPP});
    EXPECT_TRUE(rig.chip.log.size() == 1) << "of all these, the controller saw the first";
}

TEST_F(NvmeIo, BlocksOf4096Bytes) {
    rig.chip.add(1, 1000, 12);
    rig.fill(6);
    rig.start();
    rig.submit({rig.make(0, 0, UDRV_BLK_READ, 80, 16), rig.make(0, 1, UDRV_BLK_WRITE, 160, 8)});
    rig.expect_right(rig.finish(2));
    EXPECT_EQ(rig.chip.log.at(0).slba(), 10u);
    EXPECT_EQ(rig.chip.log.at(0).blocks(), 2u);
}

TEST_F(NvmeIo, FlushAndFua) {
    rig.start();
    EXPECT_EQ(status(rig.make(0, 0, UDRV_BLK_FLUSH)), ok);
    EXPECT_EQ(rig.chip.log.back().opc(), Fake::FLUSH);
    EXPECT_EQ(rig.chip.log.back().dw[1], 1u) << "of its namespace";
    EXPECT_EQ(status(rig.make(0, 0, UDRV_BLK_WRITE, 0, 8, 1, UDRV_BLK_REQ_FUA)), ok);
    EXPECT_NE(rig.chip.log.back().dw[12] & 1u << 30, 0u);
    EXPECT_EQ(status(rig.make(0, 0, UDRV_BLK_WRITE, 0, 8)), ok);
    EXPECT_EQ(rig.chip.log.back().dw[12] & 1u << 30, 0u);
}

TEST_F(NvmeIo, DeallocatesManyRangesAtOnce) {
    rig.start();
    std::vector<udrv_blk_range> ranges;
    for (std::uint32_t n = 0; n < 256; n++) {
        ranges.push_back({(n * 37 % 256) * 16ull, 8, 0});
    }
    const auto before = rig.chip.namespaces[1].data;
    EXPECT_EQ(status(rig.make_discard(0, 3, ranges)), ok);
    EXPECT_EQ(rig.chip.log.size(), 1u);
    const auto& after = rig.chip.namespaces[1].data;
    for (std::size_t at = 0; at < after.size(); at++) {
        const bool trimmed = at / 512 % 16 < 8;
        ASSERT_EQ(after[at], trimmed ? 0 : before[at]) << at;
    }
}

TEST_F(NvmeIo, WriteZeroes) {
    rig.chip.namespaces[1].dlfeat = 0x9; // may deallocate, and zeroes are read then
    rig.start();
    EXPECT_EQ(status(rig.make(0, 0, UDRV_BLK_WRITE_ZEROES, 8, 1024)), ok);
    EXPECT_NE(rig.chip.log.back().dw[12] & 1u << 25, 0u);
    EXPECT_EQ(status(rig.make(0, 0, UDRV_BLK_WRITE_ZEROES, 8, 1024, 1, UDRV_BLK_REQ_NOUNMAP)), ok);
    EXPECT_EQ(rig.chip.log.back().dw[12] & 1u << 25, 0u);
    const auto& data = rig.chip.namespaces[1].data;
    EXPECT_TRUE(std::all_of(data.begin() + 8 * 512, data.begin() + 1032 * 512,
                            [](std::uint8_t byte) { return byte == 0; }));
}

TEST_F(NvmeIo, NamespacesShareTheQueueAndNothingElse) {
    rig.chip.add(5, 4096);
    rig.fill(7, 5);
    rig.start();
    rig.submit(rig.make(0, 9, UDRV_BLK_READ, 0, 8), 0);
    rig.submit(rig.make(1, 9, UDRV_BLK_READ, 0, 8), 1);
    rig.chip.run();
    EXPECT_EQ(rig.take().size(), 2u);
    EXPECT_TRUE(rig.same(9));
    EXPECT_TRUE(rig.same(9, 1, 5));
}

// One doorbell a batch; the controller gets the place of what was taken back with one more.
TEST_F(NvmeIo, DoorbellsAreBatched) {
    rig.start();
    rig.read(32);
    EXPECT_EQ(rig.writes_to(NvmeRig::sq_doorbell), 1u);
    rig.expect_right(rig.finish(32));
    EXPECT_EQ(rig.writes_to(NvmeRig::cq_doorbell), 1u);
    EXPECT_EQ(rig.chip.writes.size(), 2u) << "nothing else on the data path";
    EXPECT_LE(rig.chip.reads, 1u);
}

TEST_F(NvmeIo, MoreRequestsThanEntriesWait) {
    rig.chip.mqes = 7;
    rig.chip.add(2, 4096);
    rig.fill(8, 2);
    rig.start();
    ASSERT_EQ(rig.driver->disks()[0].depth, 7u);
    for (std::uint32_t disk = 0; disk < 2; disk++) {
        std::vector<BlkSubmission> many;
        for (std::uint32_t n = 0; n < 7; n++) {
            many.push_back(rig.make(disk, n, UDRV_BLK_READ, n * 8, 8));
        }
        rig.submit(many, disk);
    }
    EXPECT_EQ(rig.chip.under_way(), 7u);
    std::size_t done = 0;
    for (int round = 0; round < 100 && done < 14; round++) {
        rig.chip.run(3);
        done += rig.take().size();
    }
    EXPECT_EQ(done, 14u);
    for (std::uint32_t n = 0; n < 7; n++) {
        EXPECT_TRUE(rig.same(n));
        EXPECT_TRUE(rig.same(n, 1, 2));
    }
}

TEST_F(NvmeIo, IdleIsIdle) {
    rig.start();
    EXPECT_EQ(rig.driver->tick(rig.now), BlkClock::time_point::max());
    rig.read(1);
    EXPECT_NE(rig.driver->tick(rig.now), BlkClock::time_point::max());
    (void)rig.finish(1);
    EXPECT_EQ(rig.driver->tick(rig.now), BlkClock::time_point::max());
}

} // namespace
} // namespace udrv::test
