// SPDX-License-Identifier: MIT
//
// A disk driver without a disk: it says OK to every request, and can do so wrongly.
#pragma once

#include <memory>

#include "hostile.hpp"
#include <udrv/blk.h>

namespace hostile {

/// Not a port that a real disk would be at.
constexpr std::uint32_t first_unit = 20;

inline udrv_blk_disk blk_shape(std::uint32_t unit) {
    udrv_blk_disk disk{};
    disk.nr_sectors = 1 << 17;
    disk.unit = unit;
    disk.flags = UDRV_BLK_WRITE_CACHE | UDRV_BLK_FUA;
    disk.logical_block_bytes = 512;
    disk.physical_block_bytes = 4096;
    std::strcpy(disk.model, "HOSTILE");
    std::strcpy(disk.serial, fmt::format("h{}", unit).c_str());
    disk.depth = unit == first_unit + 2 ? 5 : 32;
    disk.max_sectors = 1024;
    disk.max_segments = 64;
    disk.max_segment_bytes = 1 << 22;
    disk.segment_boundary = ~0U;
    disk.dma_alignment = 1;
    disk.max_discard_sectors = 65535;
    disk.max_discard_segments = 8;
    disk.max_write_zeroes_sectors = 65535;
    return disk;
}
inline udrv_blk_attach blk_attach(std::uint32_t nr_disks) {
    udrv_blk_attach attach{};
    attach.nr_disks = nr_disks;
    for (std::uint32_t n = 0; n < nr_disks; n++) {
        attach.disks[n] = blk_shape(first_unit + n);
    }
    return attach;
}

class BlkSession {
  public:
    struct Disk {
        Ring<udrv_blk_submission> submission;
        Ring<udrv_blk_completion> completion;
        std::byte* slots = nullptr;
        std::uint32_t slot_bytes = 0;
        std::uint32_t depth = 0;
        std::string name;

        [[nodiscard]] udrv_blk_request* slot(std::uint32_t tag) const {
            void* place = slots + std::size_t{tag} * slot_bytes;
            return static_cast<udrv_blk_request*>(place);
        }
        bool take(udrv_blk_submission& request) {
            if (!submission.waiting()) {
                return false;
            }
            request = submission.get(submission.index);
            ++submission.index;
            return true;
        }
        void complete(const udrv_blk_submission& request, std::uint32_t status = UDRV_BLK_OK) {
            completion.push({request.tag, request.generation, status, 0});
        }
    };

    BlkSession(const udrv::PciAddress& address, const udrv_blk_attach& shape)
        : device(address), irq(device.open_irq(0)),
          layout(std::make_unique<udrv_blk_attach>(shape)), disks(shape.nr_disks) {
        device.attach(UDRV_PORT_BLK, layout.get(), sizeof(*layout));
        map = device.map_port(layout->map_bytes);
        void* place = map.data() + layout->need_wakeup;
        wakeup = static_cast<udrv_need_wakeup*>(place);
        for (std::uint32_t n = 0; n < shape.nr_disks; n++) {
            const udrv_blk_disk& info = layout->disks[n];
            disks[n].submission.at(map.data(), info.submission, info.ring_depth);
            disks[n].completion.at(map.data(), info.completion, info.ring_depth);
            disks[n].slots = map.data() + info.slots;
            disks[n].slot_bytes = info.slot_bytes;
            disks[n].depth = info.depth;
            disks[n].name = info.name;
        }
    }
    [[nodiscard]] bool publish() const { return irq.publish(); }

    bool complete_all() {
        bool any = false;
        udrv_blk_submission request{};
        for (Disk& disk : disks) {
            while (disk.take(request)) {
                disk.complete(request);
                any = true;
            }
        }
        return any;
    }
    /// Answers for a while.
    void serve(int ms) {
        (void)wait_until(ms, [&] { return complete_all(), !publish(); });
    }
    bool take_within(int timeout_ms, udrv_blk_submission& request, std::uint32_t disk = 0) {
        return wait_until(timeout_ms, [&] { return disks[disk].take(request) || !publish(); });
    }

    udrv::Device device;
    udrv::IrqFile irq;
    std::unique_ptr<udrv_blk_attach> layout;
    std::vector<Disk> disks;
    udrv::MemoryMap map;
    udrv_need_wakeup* wakeup = nullptr;
};

} // namespace hostile
