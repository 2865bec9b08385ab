// SPDX-License-Identifier: MIT
//
// MyChip: a BlkChip (libudrv/blk/blk_chip.hpp). It knows registers and descriptors only: a
// device's, or those of the model in its tests.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "drivers/mychip/mychip_registers.hpp"
#include "libudrv/blk/blk_chip.hpp"
#include "libudrv/device/call.hpp"
#include "libudrv/device/dma.hpp"
#include "libudrv/device/registers.hpp"

namespace udrv::mychip {

/// For Device::stop_by(): what ends all transfers, when this process is gone. Here a reset,
/// and the wait until it is over: write 0 bits of `control` but `reset`, until it reads as 0.
inline constexpr udrv_stop_write end_of_transfers[] = {
    stop_write(bar_number, reg::control.offset, sizeof(std::uint32_t), control::reset,
               control::reset),
};

/// Nothing is under way afterwards, and the chip does not interrupt. Throws Error.
void reset(RegisterIo& regs);

class MyChip {
  public:
    /// True: reap() finds what is done without an interrupt, by a look into memory.
    static constexpr bool completes_in_memory = false;

    /// After reset(). Finds the disk, and takes memory for descriptors from `dma`. Throws
    /// Error, also if there is no disk.
    MyChip(RegisterIo& regs, DmaAllocator& dma);
    MyChip(const MyChip&) = delete;
    MyChip& operator=(const MyChip&) = delete;
    ~MyChip() = default;

    [[nodiscard]] std::span<const udrv_blk_disk> disks() const { return disks_; }
    void start(BlkCompletions& done);
    [[nodiscard]] bool interrupt();
    void submit(std::uint32_t disk, std::span<const BlkSubmission> submissions);
    void reap();
    [[nodiscard]] BlkClock::time_point tick(BlkClock::time_point now);
    void stop();

  private:
    RegisterIo& regs_;
    std::array<udrv_blk_disk, 1> disks_{};
    BlkCompletions* done_ = nullptr;
};

static_assert(BlkChip<MyChip>);

} // namespace udrv::mychip
