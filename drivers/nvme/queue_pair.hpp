// SPDX-License-Identifier: MIT
//
// A submission queue and its completion queue (NVMe 4.1): circular, of entries in memory;
// the producer tells the other side by a doorbell.
#pragma once

#include <cstdint>

#include "drivers/nvme/nvme_registers.hpp"
#include "libudrv/device/dma.hpp"

namespace udrv::nvme {

class QueuePair {
  public:
    /// `depth`: entries of each. `stride`: bytes between doorbells.
    void allocate(DmaAllocator& dma, std::uint16_t number, std::uint32_t depth,
                  std::uint32_t stride);
    /// Empty, as the controller sees them when they have just been created. Only while it
    /// has them not.
    void clear();

    [[nodiscard]] std::uint32_t depth() const { return depth_; }
    [[nodiscard]] std::uint64_t submission_dma_addr() const { return submission_.dma_addr; }
    [[nodiscard]] std::uint64_t completion_dma_addr() const { return completion_.dma_addr; }

    /// At most depth() - 1 commands may be under way: a full queue would look empty (NVMe 4.1.2).
    /// That is for the caller to see to. What the controller says of its head is not needed, since
    /// it fetches in order, and only what it has fetched is completed.
    void push(const SubmissionEntry& entry);
    /// Tells the controller of all that was pushed, with one write.
    void ring(RegisterIo& regs);

    /// Something has been completed. A look into memory, no register access.
    [[nodiscard]] bool completed() const;
    /// The next completion; false: there is none.
    [[nodiscard]] bool take(CompletionEntry& entry);
    /// Gives the controller back what was taken, with one write.
    void release(RegisterIo& regs);

  private:
    [[nodiscard]] std::uint32_t next(std::uint32_t index) const {
        return index + 1 == depth_ ? 0 : index + 1;
    }
    [[nodiscard]] SubmissionEntry* submissions() const {
        return reinterpret_cast<SubmissionEntry*>(submission_.vaddr);
    }
    [[nodiscard]] CompletionEntry* completions() const {
        return reinterpret_cast<CompletionEntry*>(completion_.vaddr);
    }

    DmaBlock submission_;
    DmaBlock completion_;
    std::uint32_t depth_ = 0;
    R32 tail_doorbell_{0};
    R32 head_doorbell_{0};
    std::uint32_t tail_ = 0;              ///< of submissions: ours
    std::uint32_t rung_ = 0;              ///< what the controller was told of it
    std::uint32_t taken_ = 0;             ///< head of the completions
    std::uint32_t released_ = 0;          ///< what the controller was told of it
    std::uint16_t phase_ = status::phase; ///< of completions that are new (NVMe 4.6)
};

} // namespace udrv::nvme
