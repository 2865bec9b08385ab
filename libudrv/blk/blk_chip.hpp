// SPDX-License-Identifier: MIT
//
// What a disk controller driver is: the same functions in every folder. The
// service loop (blk_service.hpp) moves requests between these and the rings of
// BlkPort.
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>

#include "libudrv/blk/blk_completions.hpp"
#include <udrv/blk.h>

namespace udrv {

/// A request on its way to the chip. The slot stays valid until the request is
/// completed; its segments or ranges follow it, see segments() and ranges().
struct BlkSubmission {
    std::uint32_t tag = 0;        ///< 0 to the disk's depth - 1
    std::uint32_t generation = 0; ///< goes back with the completion
    const udrv_blk_request* request = nullptr;
};

/// The segments of a request, in the slot behind it.
[[nodiscard]] inline std::span<const udrv_blk_segment> segments(const udrv_blk_request& request) {
    return {reinterpret_cast<const udrv_blk_segment*>(&request + 1), request.nr_segments};
}

/// The ranges of a discard, in the slot behind it.
[[nodiscard]] inline std::span<const udrv_blk_range> ranges(const udrv_blk_request& request) {
    return {reinterpret_cast<const udrv_blk_range*>(&request + 1), request.nr_segments};
}

/// The ATA command of a request, in the slot behind it: the only part of a slot that a driver
/// writes. Our copy of the kernel's words may be read more than once: it is the kernel's.
[[nodiscard]] inline udrv_blk_ata& ata_command(const udrv_blk_request& request) {
    auto* behind = const_cast<udrv_blk_request*>(&request + 1);
    return *reinterpret_cast<udrv_blk_ata*>(behind);
}

using BlkClock = std::chrono::steady_clock;

/// What a person should hear of, all since the start.
struct BlkTroubles {
    std::uint64_t timeouts = 0;  ///< commands that did not end in time
    std::uint64_t resets = 0;    ///< of a port or channel, to get it going again
    std::uint64_t lost = 0;      ///< disks that did not come back
    std::uint64_t returned = 0;  ///< of these, those that did later
    std::uint64_t strangers = 0; ///< disks that came in another one's place
    std::uint64_t arrivals = 0;  ///< devices plugged in where there was no disk
    std::uint64_t warnings = 0;  ///< that the controller gave by itself: health, errors
    std::uint64_t changes = 0;   ///< reports that disks of the controller have changed
};

/// Order of the calls: construct (resets the controller, finds and identifies
/// the disks; throws std::system_error if the controller does not answer), start(), then
/// the data path from one thread, stop() at the end. No function of the data path
/// allocates, throws or blocks; waits for the hardware that take long (resets
/// during error recovery) are steps of a state machine driven by tick(). Each of them may
/// find that requests are done, and says so at once to the BlkCompletions of start(). Optional,
/// looked at after tick(): `BlkTroubles troubles() const`, and `const char* failure() const`: not
/// nullptr when the controller cannot be served any longer. The driver ends then, with
/// these words, and the kernel resets the device for the next one.
template <typename C>
concept BlkChip = requires(C chip, const C const_chip, std::uint32_t disk,
                           std::span<const BlkSubmission> submissions, BlkCompletions& done,
                           BlkClock::time_point now) {
    // reap() without interrupt() before it may find something.
    { C::completes_in_memory } -> std::convertible_to<bool>;
    // What was found; constant after construction, in the order of their units. The out fields
    // are zero. Empty: no disk. The kernel refuses (EINVAL) text without a NUL at its end, no
    // sectors or a part of a block, a physical block of more than 1 MiB, max_sectors below a page,
    // max_segment_bytes below a page, one segment where dma_alignment is below the block's size
    // - 1, segment_boundary below a page - 1, a virt_boundary other than that, masks that are not a
    // power of two - 1, and discards of less than a physical block. It refuses (ESTALE) a disk
    // that differs in anything from the one that a predecessor described for that unit.
    { const_chip.disks() } -> std::same_as<std::span<const udrv_blk_disk>>;
    // From here on the chip may interrupt; requests that are done go to `done`, which outlives
    // the chip's service.
    {chip.start(done)};
    // Reads and clears the controller's interrupt cause. False: not its interrupt.
    { chip.interrupt() } -> std::same_as<bool>;
    // Requests to the chip, one doorbell write a call where the chip allows it.
    // Takes all of them, since there are no more than tags; what cannot start
    // yet (a flush behind queued commands, the other drive of a channel) waits
    // inside.
    {chip.submit(disk, submissions)};
    // Looks which requests are done, of all disks.
    {chip.reap()};
    // Time passes: command timeouts, steps of error recovery. Returns when it
    // wants to be called next; time_point::max() if nothing is under way.
    { chip.tick(now) } -> std::same_as<BlkClock::time_point>;
    // Quiet: no command under way, no interrupt. What was not completed is the
    // kernel's to give to the next driver.
    {chip.stop()};
};

} // namespace udrv
