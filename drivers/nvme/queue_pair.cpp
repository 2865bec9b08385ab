// SPDX-License-Identifier: MIT
#include "drivers/nvme/queue_pair.hpp"

#include <atomic>
#include <cstring>

namespace udrv::nvme {

void QueuePair::allocate(DmaAllocator& dma, std::uint16_t number, std::uint32_t depth,
                         std::uint32_t stride) {
    // The blocks begin at a page, as both must (NVMe 5.3, 5.4, 3.1.8, 3.1.9).
    submission_ = dma.allocate(depth * sizeof(SubmissionEntry));
    completion_ = dma.allocate(depth * sizeof(CompletionEntry));
    depth_ = depth;
    tail_doorbell_ = R32{reg::doorbells}.at(2u * number, stride);
    head_doorbell_ = R32{reg::doorbells}.at(2u * number + 1, stride);
    clear();
}

/// The completions' phase tags too: the first new one is told by a 1.
void QueuePair::clear() {
    std::memset(completion_.vaddr, 0, depth_ * sizeof(CompletionEntry));
    tail_ = rung_ = taken_ = released_ = 0;
    phase_ = status::phase;
}

void QueuePair::push(const SubmissionEntry& entry) {
    submissions()[tail_] = entry;
    tail_ = next(tail_);
}

void QueuePair::ring(RegisterIo& regs) {
    if (rung_ != tail_) {
        rung_ = tail_;
        tail_doorbell_.write(regs, tail_);
    }
}

/// Acquire: what the controller wrote before the phase tag is read after it.
bool QueuePair::completed() const {
    std::uint16_t& status = completions()[taken_].status;
    const auto value = std::atomic_ref<std::uint16_t>(status).load(std::memory_order_acquire);
    return (value & status::phase) == phase_;
}

bool QueuePair::take(CompletionEntry& entry) {
    if (!completed()) {
        return false;
    }
    entry = completions()[taken_];
    taken_ = next(taken_);
    if (taken_ == 0) {
        phase_ ^= status::phase;
    }
    return true;
}

void QueuePair::release(RegisterIo& regs) {
    if (released_ != taken_) {
        released_ = taken_;
        head_doorbell_.write(regs, taken_);
    }
}

} // namespace udrv::nvme
