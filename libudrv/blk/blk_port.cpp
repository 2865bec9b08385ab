// SPDX-License-Identifier: MIT
#include "libudrv/blk/blk_port.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include <fmt/format.h>

#include "libudrv/error.hpp"
#include "libudrv/rings/shared_map.hpp"

namespace udrv {

BlkPort::BlkPort(Device& device, std::span<const udrv_blk_disk> disks, std::uint32_t vector) {
    if (disks.empty() || disks.size() > UDRV_BLK_MAX_DISKS) {
        throw_error(
            EINVAL, "attach disks to " + device.address().str(),
            fmt::format("there are {}, and 1 to {} can be", disks.size(), UDRV_BLK_MAX_DISKS));
    }
    const auto layout = std::make_unique<udrv_blk_attach>(); // 6 KiB, all zero
    layout->vector = vector;
    layout->nr_disks = static_cast<std::uint32_t>(disks.size());
    std::copy(disks.begin(), disks.end(), layout->disks);
    device.attach(UDRV_PORT_BLK, layout.get(), sizeof(*layout));
    map_ = device.map_port(layout->map_bytes);
    lay_out(map_.data(), map_.len_bytes(), *layout);
}

BlkPort::BlkPort(std::byte* memory, std::size_t len_bytes, const udrv_blk_attach& layout) {
    lay_out(memory, len_bytes, layout);
}

void BlkPort::lay_out(std::byte* memory, std::size_t len_bytes, const udrv_blk_attach& layout) {
    const SharedMap map(memory, len_bytes);
    auto* wakeup = map.at<udrv_need_wakeup>(layout.need_wakeup);
    sleep = SleepFlag(&wakeup->driver);
    kernel = WakeFlag(&wakeup->kernel);
    for (const udrv_blk_disk& disk : std::span(layout.disks, layout.nr_disks)) {
        BlkQueue& queue = queues.emplace_back();
        queue.submission = map.consumer<udrv_blk_submission>(disk.submission, disk.ring_depth);
        queue.completion = map.producer<udrv_blk_completion>(disk.completion, disk.ring_depth);
        queue.depth = disk.depth;
        queue.slot_bytes = disk.slot_bytes;
        // The first slot as the kernel's structure, for its alignment, and all the rest.
        const std::size_t slots = std::size_t{disk.depth} * disk.slot_bytes;
        queue.slots = reinterpret_cast<const std::byte*>(map.at<udrv_blk_request>(
            disk.slots, std::max(slots, sizeof(udrv_blk_request)) - sizeof(udrv_blk_request)));
        queue.name.assign(disk.name, ::strnlen(disk.name, sizeof(disk.name)));
    }
}

std::string BlkPort::names() const {
    std::string names;
    for (const BlkQueue& queue : queues) {
        names += (names.empty() ? "" : " ") + queue.name;
    }
    return names;
}

} // namespace udrv
