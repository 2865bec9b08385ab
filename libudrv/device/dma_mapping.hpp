// SPDX-License-Identifier: MIT
//
// Memory of the process, pinned and translated for the device (udrv/udrv.h, "DMA").
// For data that lives in user space; packets and sectors of the kernel never need it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "libudrv/device/device.hpp"
#include "libudrv/file.hpp"
#include <udrv/udrv.h>

namespace udrv {

/// Zeroed memory to be pinned: of huge pages if the machine has some to spare, else
/// aligned so that the kernel may give some later; a mapping of it has few segments.
/// Move-only.
class DmaBuffer {
  public:
    /// `len_bytes` is rounded up to whole pages (huge ones, if it is at least one of
    /// those). Throws Error.
    explicit DmaBuffer(std::size_t len_bytes);

    [[nodiscard]] std::span<std::byte> bytes() const { return {map_.data(), map_.len_bytes()}; }

  private:
    MemoryMap map_;
};

/// One region that is mapped for the device; unmapped and unpinned when this goes.
/// The memory and the Device must outlive it. Move-only.
class DmaMapping {
  public:
    DmaMapping() = default;

    /// Maps `memory` (page aligned, whole pages) in the directions of `flags`
    /// (UDRV_DMA_*). Throws Error: ENOMEM says what the limit of locked memory is.
    DmaMapping(Device& device, std::span<std::byte> memory, std::uint32_t flags);
    DmaMapping(DmaMapping&& other) noexcept;
    DmaMapping& operator=(DmaMapping&& other) noexcept;
    DmaMapping(const DmaMapping&) = delete;
    DmaMapping& operator=(const DmaMapping&) = delete;
    ~DmaMapping();

    [[nodiscard]] std::span<std::byte> memory() const { return memory_; }
    /// Where the device finds it, in order; each is contiguous for the device.
    [[nodiscard]] std::span<const udrv_dma_segment> segments() const { return segments_; }

    /// The exchange: unmaps all of `old` (empty afterwards) and maps each of `next`,
    /// in one system call where the number of regions allows. Throws Error; what was
    /// mapped is then unmapped again.
    [[nodiscard]] static std::vector<DmaMapping>
    exchange(Device& device, std::span<DmaMapping> old, std::span<const std::span<std::byte>> next,
             std::uint32_t flags);

  private:
    DmaMapping(Device& device, std::span<std::byte> memory);
    [[nodiscard]] udrv_dma_region unmap_request() const;
    void unmap() noexcept;

    int fd_ = -1; ///< of the device; -1: nothing is mapped
    std::uint32_t handle_ = 0;
    std::span<std::byte> memory_;
    std::vector<udrv_dma_segment> segments_;
};

} // namespace udrv
