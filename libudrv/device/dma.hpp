// SPDX-License-Identifier: MIT
//
// Memory that the CPU and the device share.
#pragma once

#include <cstddef>
#include <cstdint>

namespace udrv {

/// A coherent block: zeroed, page aligned, contiguous for the device. Owned by
/// the allocator that gave it; valid until that allocator goes.
struct DmaBlock {
    std::byte* vaddr = nullptr;
    std::uint64_t dma_addr = 0;
    std::size_t len_bytes = 0;
};

/// Where chip drivers get their descriptor rings from: the session's Device, or
/// a fake in the unit tests. Only at set-up, never on the data path.
class DmaAllocator {
  public:
    DmaAllocator() = default;
    DmaAllocator(const DmaAllocator&) = delete;
    DmaAllocator& operator=(const DmaAllocator&) = delete;
    virtual ~DmaAllocator() = default;

    /// Throws std::system_error that says how much was asked for.
    [[nodiscard]] virtual DmaBlock allocate(std::size_t len_bytes) = 0;
};

} // namespace udrv
