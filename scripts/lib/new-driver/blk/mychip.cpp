// SPDX-License-Identifier: MIT
#include "drivers/mychip/mychip.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <string_view>

#include "libudrv/error.hpp"

namespace udrv::mychip {

namespace {

using namespace std::chrono_literals;

constexpr WaitTime reset_time{100ms, 100us}; // section ...

void copy_text(std::string_view text, std::span<char> to) {
    text.copy(to.data(), to.size() - 1);
}

} // namespace

// ---- Reset, and who is there ----------------------------------------------------------

void reset(RegisterIo& regs) {
    reg::control.write(regs, control::reset);
    wait_until(regs, reg::control, "mychip", "CONTROL", control::reset, 0, reset_time);
    reg::mask.write(regs, 0);
}

MyChip::MyChip(RegisterIo& regs, DmaAllocator& /*dma*/) : regs_(regs) {
    if ((reg::status.read(regs_) & status::medium) == 0) {
        throw_error(ENODEV, "mychip: find a disk", "STATUS says that there is none");
    }
    udrv_blk_disk& disk = disks_[0];
    disk.nr_sectors =
        reg::size_low.read(regs_) | std::uint64_t{reg::size_high.read(regs_)} << 32;
    disk.logical_block_bytes = 512;
    disk.physical_block_bytes = 512;
    // A successor has to describe the disk with the same words and limits.
    copy_text("MyChip", disk.model);
    copy_text("1", disk.serial);
    copy_text("1", disk.revision);
    copy_text("MyChip", disk.vendor);
    // Limits: what the chip can do, and no more. The block layer keeps to them.
    disk.depth = 16;
    disk.max_sectors = 256;
    disk.max_segments = 32;
    disk.max_segment_bytes = 65536;
    disk.segment_boundary = 0xffffffff;
    disk.dma_alignment = 3;
}

// ---- The way of a request ---------------------------------------------------------------

void MyChip::start(BlkCompletions& done) {
    done_ = &done;
    reg::mask.write(regs_, cause::done);
    reg::control.write(regs_, control::run);
}

bool MyChip::interrupt() {
    const std::uint32_t causes = reg::cause.read(regs_);
    return causes != 0 && causes != 0xffffffff; // all ones: the device is gone
}

/// All of `submissions` are taken: there are no more than disks()[disk].depth under way. What can
/// not go to the chip now waits here.
void MyChip::submit(std::uint32_t disk, std::span<const BlkSubmission> submissions) {
    for (const BlkSubmission& submission : submissions) {
        // To do: encode submission.request (op, sector, nr_sectors) and its segments() for the
        // chip, note tag and generation, ring the doorbell once behind the loop.
        done_->add(disk, submission.tag, submission.generation, UDRV_BLK_NOTSUPP);
    }
}

void MyChip::reap() {
    // To do: for each request that the chip has completed, done_->add(...).
}

/// Time-outs, and steps of error recovery: no request is kept for 120 s, and none is given back
/// while the chip may still use its memory. Returns when it wants to be called again.
BlkClock::time_point MyChip::tick(BlkClock::time_point /*now*/) {
    return BlkClock::time_point::max();
}

void MyChip::stop() {
    try {
        reset(regs_);
    } catch (const Error&) {
        // It does not answer. The kernel takes bus mastering away in any case.
    }
}

} // namespace udrv::mychip
