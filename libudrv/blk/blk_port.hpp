// SPDX-License-Identifier: MIT
//
// BlkPort: the driver's end of the rings of udrv/blk.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "libudrv/device/device.hpp"
#include "libudrv/rings/need_wakeup.hpp"
#include "libudrv/rings/ring.hpp"
#include <udrv/blk.h>

namespace udrv {

/// One disk's rings and slots. Views of shared memory, for the data thread only.
struct BlkQueue {
    RingConsumer<udrv_blk_submission> submission;
    RingProducer<udrv_blk_completion> completion;
    const std::byte* slots = nullptr;
    std::uint32_t slot_bytes = 0;
    std::uint32_t depth = 0;  ///< tags
    std::uint32_t staged = 0; ///< completions stored and not committed (BlkCompletions)
    std::string name;         ///< of the block device, as the kernel gave it at attach

    /// The request of a tag below `depth`.
    [[nodiscard]] const udrv_blk_request* slot(std::uint32_t tag) const {
        const void* address = slots + std::size_t{tag} * slot_bytes;
        return static_cast<const udrv_blk_request*>(address);
    }
};

/// The attachment of a session to its disks. It ends with the session.
class BlkPort {
  public:
    /// Makes (or takes over) the block devices of the bound device, one for each of
    /// `disks`, and maps the rings; queues[n] is that of disks[n]. `vector` is the
    /// interrupt vector that carries the doorbells. Throws Error.
    BlkPort(Device& device, std::span<const udrv_blk_disk> disks, std::uint32_t vector);

    /// Over `len_bytes` of plain memory laid out as `layout` says: for unit tests
    /// that play the kernel. The memory is not owned.
    BlkPort(std::byte* memory, std::size_t len_bytes, const udrv_blk_attach& layout);

    /// Names of the block devices, as in "udb0 udb1".
    [[nodiscard]] std::string names() const;

    std::vector<BlkQueue> queues;
    SleepFlag sleep; ///< ours: ring my doorbell
    WakeFlag kernel; ///< the kernel's: enter the kernel after producing

  private:
    void lay_out(std::byte* memory, std::size_t len_bytes, const udrv_blk_attach& layout);

    MemoryMap map_;
};

} // namespace udrv
