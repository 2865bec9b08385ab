// SPDX-License-Identifier: MIT
//
// For tests of disk controllers: completion rings in plain memory, and the kernel's end of them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include <gtest/gtest.h>

#include "libudrv/blk/blk_completions.hpp"
#include "libudrv/testing/ring_memory.hpp"

namespace udrv::test {

/// As the kernel would read it.
struct BlkCompletion {
    std::uint32_t disk = 0;
    std::uint32_t tag = 0;
    std::uint32_t generation = 0;
    std::uint32_t status = UDRV_BLK_OK;
};

class BlkRings {
  public:
    /// For BlkChip::start(): empty rings of `nr_disks` disks, `depth` entries each, whose
    /// indices start at `index`.
    BlkCompletions& connect(std::size_t nr_disks, std::uint32_t depth = 256,
                            std::uint32_t index = 0) {
        queues_.assign(nr_disks, BlkQueue{});
        memory_.clear();
        consumers_.clear();
        taken_ = 0;
        for (BlkQueue& queue : queues_) {
            auto& ring = memory_.emplace_back(std::make_unique<Ring>(depth, index));
            queue.completion = ring->producer();
            queue.depth = depth;
            consumers_.push_back(ring->consumer());
        }
        return completions_.emplace(queues_);
    }

    /// What is done, of all disks, each disk's in the order of its ring.
    std::vector<BlkCompletion> take() {
        std::vector<BlkCompletion> all;
        const std::uint32_t count = completions_->commit();
        for (std::uint32_t disk = 0; disk < consumers_.size(); disk++) {
            for (udrv_blk_completion one{}; consumers_[disk].pop(one);) {
                EXPECT_EQ(one.reserved, 0u);
                all.push_back({disk, one.tag, one.generation, one.status});
            }
        }
        EXPECT_EQ(all.size(), count);
        taken_ += count;
        return all;
    }

    /// Something is done that was not taken.
    [[nodiscard]] bool pending() const { return completions_->added() != taken_; }

    [[nodiscard]] RingConsumer<udrv_blk_completion>& consumer(std::uint32_t disk) {
        return consumers_[disk];
    }
    [[nodiscard]] udrv_ring_header& header(std::uint32_t disk) { return memory_[disk]->header; }

  private:
    using Ring = RingMemory<udrv_blk_completion>;
    std::vector<std::unique_ptr<Ring>> memory_;
    std::vector<BlkQueue> queues_;
    std::vector<RingConsumer<udrv_blk_completion>> consumers_;
    std::optional<BlkCompletions> completions_;
    std::uint64_t taken_ = 0;
};

} // namespace udrv::test
