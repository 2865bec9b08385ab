// SPDX-License-Identifier: MIT
//
// BlkCompletions: where a chip says that a request is done.
#pragma once

#include <cstdint>
#include <span>

#include "libudrv/blk/blk_port.hpp"

namespace udrv {

/// The completion rings of all disks of a port, for the data thread only. A completion is stored
/// once, in its ring, as soon as the chip knows of it: in submit(), reap() or tick(). The kernel
/// sees it with the next commit(), which is one write of the index a ring.
class BlkCompletions {
  public:
    /// `queues[n]` is that of disk n; they outlive this.
    explicit BlkCompletions(std::span<BlkQueue> queues) : queues_(queues) {}

    /// Request `tag` of `disk` is done; `generation` is that of its submission, `status` is
    /// UDRV_BLK_OK, UDRV_BLK_IOERR, ... A ring has an entry for each tag, so there is room,
    /// unless the kernel's index makes no sense: then it is left out, and counted.
    void add(std::uint32_t disk, std::uint32_t tag, std::uint32_t generation,
             std::uint32_t status) {
        BlkQueue& queue = queues_[disk];
        if (queue.completion.room(queue.staged + 1) <= queue.staged) [[unlikely]] {
            ++dropped_;
            return;
        }
        queue.completion.ahead(queue.staged) = {tag, generation, status, 0};
        ++queue.staged;
        ++added_;
        failures_ += status != UDRV_BLK_OK ? 1 : 0;
    }

    /// Hands what was added to the kernel; returns how many.
    std::uint32_t commit() {
        if (added_ == committed_) {
            return 0;
        }
        const auto count = static_cast<std::uint32_t>(added_ - committed_);
        committed_ = added_;
        for (BlkQueue& queue : queues_) {
            if (queue.staged != 0) {
                queue.completion.commit(queue.staged);
                queue.staged = 0;
            }
        }
        return count;
    }

    // All since the start.
    [[nodiscard]] std::uint64_t added() const { return added_; }
    [[nodiscard]] std::uint64_t failures() const { return failures_; } ///< of those added
    [[nodiscard]] std::uint64_t dropped() const { return dropped_; }

  private:
    std::span<BlkQueue> queues_;
    std::uint64_t added_ = 0;
    std::uint64_t committed_ = 0;
    std::uint64_t failures_ = 0;
    std::uint64_t dropped_ = 0;
};

} // namespace udrv
