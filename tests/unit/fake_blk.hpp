// SPDX-License-Identifier: MIT
//
// For the tests of BlkService: the kernel's end of a port in plain memory, and a chip
// that does every request at once, or when told to.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <vector>

#include <fmt/format.h>

#include "libudrv/blk/blk_chip.hpp"
#include "libudrv/blk/blk_port.hpp"

namespace udrv::test {

/// The kernel's end of some disks: its producers and consumers, its slots. The memory
/// of the port is its own.
class FakeBlkKernel {
  public:
    struct Disk {
        RingProducer<udrv_blk_submission> submission;
        RingConsumer<udrv_blk_completion> completion;
        std::byte* slots = nullptr;
        std::uint32_t slot_bytes = 0;
    };

    explicit FakeBlkKernel(std::uint32_t nr_disks = 1, std::uint32_t depth = 32,
                           std::uint32_t ring_depth = 32) {
        std::uint32_t end = 0;
        const auto place = [&end](std::size_t size) {
            const std::uint32_t at = end;
            end += static_cast<std::uint32_t>((size + 127) / 128 * 128);
            return at;
        };
        layout_.nr_disks = nr_disks;
        layout_.need_wakeup = place(sizeof(udrv_need_wakeup));
        for (std::uint32_t n = 0; n < nr_disks; ++n) {
            udrv_blk_disk& disk = layout_.disks[n];
            disk.depth = depth;
            disk.ring_depth = ring_depth;
            disk.slot_bytes = 128;
            disk.submission =
                place(sizeof(udrv_ring_header) + ring_depth * sizeof(udrv_blk_submission));
            disk.completion =
                place(sizeof(udrv_ring_header) + ring_depth * sizeof(udrv_blk_completion));
            disk.slots = place(std::size_t{depth} * disk.slot_bytes);
            std::strcpy(disk.name, fmt::format("udb{}", n).c_str());
        }
        layout_.map_bytes = end;
        memory_.resize(end / sizeof(Line));
        for (const udrv_blk_disk& disk : std::span(layout_.disks, nr_disks)) {
            disks.push_back(
                {RingProducer<udrv_blk_submission>(
                     at<udrv_ring_header>(disk.submission),
                     at<udrv_blk_submission>(disk.submission + header_bytes), ring_depth),
                 RingConsumer<udrv_blk_completion>(
                     at<udrv_ring_header>(disk.completion),
                     at<udrv_blk_completion>(disk.completion + header_bytes), ring_depth),
                 at<std::byte>(disk.slots), disk.slot_bytes});
        }
        need_wakeup = at<udrv_need_wakeup>(layout_.need_wakeup);
        need_wakeup->kernel = 1;
    }

    [[nodiscard]] BlkPort port() { return BlkPort(bytes(), layout_.map_bytes, layout_); }
    [[nodiscard]] udrv_blk_attach& layout() { return layout_; }
    [[nodiscard]] std::byte* bytes() {
        void* start = memory_.data();
        return static_cast<std::byte*>(start);
    }

    /// A request of `sector`, in the slot of its tag; false when the ring is full.
    [[nodiscard]] bool submit(std::uint32_t disk, std::uint32_t tag, std::uint32_t generation,
                              std::uint64_t sector = 0) {
        void* slot = disks[disk].slots + std::size_t{tag} * disks[disk].slot_bytes;
        auto* request = static_cast<udrv_blk_request*>(slot);
        *request = {};
        request->sector = sector;
        request->generation = generation;
        return disks[disk].submission.push({tag, generation});
    }

    std::vector<Disk> disks;
    udrv_need_wakeup* need_wakeup = nullptr;

  private:
    static constexpr std::uint32_t header_bytes = sizeof(udrv_ring_header);
    struct alignas(128) Line {
        std::array<std::byte, 128> bytes{};
    };
    template <typename T>
    [[nodiscard]] T* at(std::uint32_t offset) {
        void* place = bytes() + offset;
        return static_cast<T*>(place);
    }

    udrv_blk_attach layout_{};
    std::vector<Line> memory_;
};

/// Does what it is given in order, each request with the status in its sector.
class FakeBlkChip {
  public:
    static constexpr bool completes_in_memory = true;
    explicit FakeBlkChip(std::uint32_t nr_disks = 1) : disks_(nr_disks) {}

    [[nodiscard]] std::span<const udrv_blk_disk> disks() const { return disks_; }
    void start(BlkCompletions& completions) { completions_ = &completions; }
    [[nodiscard]] bool interrupt() {
        ++interrupts;
        return true;
    }
    void submit(std::uint32_t disk, std::span<const BlkSubmission> submissions) {
        batches.push_back(submissions.size());
        for (const BlkSubmission& one : submissions) {
            done_.push_back(
                {disk, one.tag, one.generation, static_cast<std::uint32_t>(one.request->sector)});
        }
    }
    void reap() {
        for (; !hold && !done_.empty(); done_.pop_front()) {
            const Done& one = done_.front();
            completions_->add(one.disk, one.tag, one.generation, one.status);
        }
    }
    [[nodiscard]] BlkClock::time_point tick(BlkClock::time_point now) {
        ++ticks;
        if (release_at_tick == ticks) {
            hold = false;
        }
        if (completes_in_tick) {
            reap();
        }
        return next_tick == BlkClock::duration::max() ? BlkClock::time_point::max()
                                                      : now + next_tick;
    }
    void stop() { ++stops; }
    [[nodiscard]] const char* failure() const { return broken; }

    const char* broken = nullptr;
    bool hold = false;
    int release_at_tick = -1; ///< then hold ends
    bool completes_in_tick = false;
    BlkClock::duration next_tick = BlkClock::duration::max();
    int interrupts = 0;
    int ticks = 0;
    int stops = 0;
    std::vector<std::size_t> batches; ///< sizes

  private:
    struct Done {
        std::uint32_t disk = 0;
        std::uint32_t tag = 0;
        std::uint32_t generation = 0;
        std::uint32_t status = 0;
    };
    std::vector<udrv_blk_disk> disks_;
    std::deque<Done> done_;
    BlkCompletions* completions_ = nullptr;
};

} // namespace udrv::test
