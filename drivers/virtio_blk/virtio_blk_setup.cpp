// SPDX-License-Identifier: MIT
//
// Reset, initialization (virtio 1.2, 3.1.1 and 5.2.5), what the disk is, and the way out.
#include <algorithm>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <string_view>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "drivers/virtio_blk/virtio_blk.hpp"
#include "libudrv/error.hpp"

namespace udrv::virtio_blk {

namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t wanted_features =
    virtio::feature::version_1 | virtio::feature::event_idx | virtio::feature::access_platform |
    virtio::feature::order_platform | feature::size_max | feature::seg_max | feature::ro |
    feature::blk_size | feature::flush | feature::topology | feature::config_wce |
    feature::discard | feature::write_zeroes;

/// Where the configuration has to reach for a feature.
constexpr std::pair<std::uint64_t, std::uint32_t> config_ends[] = {
    {virtio::feature::version_1, config::capacity.offset + 8},
    {feature::size_max, config::size_max.offset + 4},
    {feature::seg_max, config::seg_max.offset + 4},
    {feature::blk_size, config::blk_size.offset + 4},
    {feature::topology, config::physical_block_exp.offset + 1},
    {feature::config_wce, config::writeback.offset + 1},
    {feature::discard, config::max_discard_seg.offset + 4},
    {feature::write_zeroes, config::max_write_zeroes_sectors.offset + 4},
};

constexpr std::uint32_t sector_bytes = 512;
constexpr std::uint32_t page_bytes = 4096;
constexpr std::uint32_t max_block_bytes = 1u << 20; // physical: of the kernel
constexpr std::uint32_t max_sectors = 65536;        // of a request: 32 MiB
constexpr std::uint16_t least_queue_size = 4;       // header, data, status

void copy_text(std::string_view text, std::span<char> to) {
    text.copy(to.data(), to.size() - 1);
}

/// Of a configuration that has 0 for "no limit", as Linux reads it.
std::uint32_t limit(std::uint32_t value) {
    return value != 0 ? value : 0xffffffff;
}

} // namespace

// ---- Construction ----------------------------------------------------------------------

VirtioBlk::VirtioBlk(virtio::Transport& transport, DmaAllocator& dma, const Config& config)
    : transport_(transport), config_(config) {
    transport_.reset();
    transport_.greet();
    features_ = virtio::choose_features(transport_.offered(), wanted_features, config_.iommu);
    check_config_length();
    transport_.accept(features_);
    allocate(dma);
    describe();
    transport_.reset();
    go_live();
    identify(disks_[0]);
}

void VirtioBlk::check_config_length() {
    const std::uint32_t there = transport_.config().len_bytes();
    for (const auto& [feature, end] : config_ends) {
        if (has(feature) && there < end) {
            throw_error(EIO, "virtio_blk: read the device's configuration",
                        fmt::format("it has {} bytes, not {}", there, end));
        }
    }
}

std::uint64_t VirtioBlk::read_capacity() {
    return transport_.read_config([](RegisterIo& config) {
        const std::uint64_t low = config::capacity.read(config);
        const std::uint64_t high = config::capacity.at(1, sizeof(std::uint32_t)).read(config);
        return low | high << 32;
    });
}

void VirtioBlk::allocate(DmaAllocator& dma) {
    const std::uint16_t size =
        transport_.queue_size(queue::requestq1, config_.queue_size, least_queue_size, "queue-size");
    queue_.emplace(dma, size);
    // A request takes three descriptors or more. Twice as many requests as fit would only wait
    // here, where the kernel cannot merge them any more.
    disks_[0].depth = std::clamp<std::uint32_t>(size / 3u, 1, UDRV_BLK_MAX_DEPTH);
    memory_ = dma.allocate(disks_[0].depth * sizeof(Memory));
    requests_.resize(disks_[0].depth);
    waiting_.allocate(disks_[0].depth);
}

// ---- What the disk is (5.2.4, 5.2.5) ------------------------------------------------------

void VirtioBlk::describe() {
    udrv_blk_disk& disk = disks_[0];
    RegisterIo& config = transport_.config();
    copy_text("virtio", disk.vendor);
    copy_text("virtio-blk", disk.model);
    describe_blocks(disk);
    if (has(feature::ro)) {
        disk.flags |= UDRV_BLK_READ_ONLY;
    }
    // 5.2.5.1: without CONFIG_WCE a device that has flushes is taken to need them. There is no
    // FUA: the kernel sends a flush behind such a write.
    const bool writeback = !has(feature::config_wce) || config::writeback.read(config) != 0;
    if (has(feature::flush) && writeback) {
        disk.flags |= UDRV_BLK_WRITE_CACHE;
    }
    // No indirect descriptors: a quarter of the queue each, so that some large ones fit.
    disk.max_sectors = max_sectors;
    disk.max_segments = std::clamp<std::uint32_t>(queue_->size() / 4u, 1, UDRV_BLK_MAX_SEGMENTS);
    const std::uint32_t segments = has(feature::seg_max) ? config::seg_max.read(config) : 1;
    disk.max_segments = std::clamp(segments, 1u, disk.max_segments);
    disk.max_segment_bytes = has(feature::size_max) ? config::size_max.read(config) : 0xffffffff;
    if (disk.max_segment_bytes < page_bytes) {
        throw_error(ENODEV, "virtio_blk: use the device",
                    fmt::format("a piece of data may have {} bytes only (size_max); the kernel "
                                "has pieces of {}",
                                disk.max_segment_bytes, page_bytes));
    }
    disk.segment_boundary = 0xffffffff;
    // virtio asks for none; 0 would be the kernel's default of 511. But a block across the end of
    // a page is two segments: where there is one only, the kernel wants blocks to be aligned.
    disk.dma_alignment = disk.max_segments == 1 ? disk.logical_block_bytes - 1 : 3;
    describe_discard(disk);
    pieces_.resize(disk.max_segments + 2);
}

void VirtioBlk::describe_blocks(udrv_blk_disk& disk) {
    RegisterIo& config = transport_.config();
    const std::uint32_t block =
        has(feature::blk_size) ? config::blk_size.read(config) : sector_bytes;
    if (!std::has_single_bit(block) || block < sector_bytes || block > page_bytes) {
        throw_error(ENODEV, "virtio_blk: use the device",
                    fmt::format("its blocks have {} bytes (blk_size); 512 to {}, a power of two, "
                                "are supported",
                                block, page_bytes));
    }
    std::uint32_t physical = block;
    if (has(feature::topology)) {
        // What makes no sense is taken for "not known".
        const std::uint32_t exponent = config::physical_block_exp.read(config);
        physical =
            exponent < 16 && block << exponent <= max_block_bytes ? block << exponent : block;
    }
    disk.logical_block_bytes = block;
    disk.physical_block_bytes = physical;
    capacity_ = read_capacity();
    disk.nr_sectors = capacity_ / (block / sector_bytes) * (block / sector_bytes);
    if (config_.kept_sectors != 0 && config_.kept_sectors < disk.nr_sectors) {
        // A successor has to describe the disk as its predecessor did.
        notes_.push_back(fmt::format("the device has grown from {} to {} MiB: unbind and bind it "
                                     "to use all of it",
                                     config_.kept_sectors / 2048, disk.nr_sectors / 2048));
        disk.nr_sectors = config_.kept_sectors;
    }
    if (disk.nr_sectors == 0) {
        throw_error(ENODEV, "virtio_blk: find a disk", "the device's capacity is 0 sectors");
    }
}

void VirtioBlk::describe_discard(udrv_blk_disk& disk) {
    RegisterIo& config = transport_.config();
    const std::uint32_t physical_sectors = disk.physical_block_bytes / sector_bytes;
    if (has(feature::discard)) {
        const std::uint32_t sectors = limit(config::max_discard_sectors.read(config));
        if (sectors >= physical_sectors) { // the block layer cuts at physical blocks
            disk.max_discard_sectors = sectors;
            disk.max_discard_segments = static_cast<std::uint32_t>(
                std::min<std::size_t>(limit(config::max_discard_seg.read(config)), max_ranges));
        }
    }
    if (has(feature::write_zeroes)) {
        disk.max_write_zeroes_sectors = limit(config::max_write_zeroes_sectors.read(config));
    }
}

/// From the reset to DRIVER_OK (3.1.1), at start and after each reset. Throws Error.
void VirtioBlk::go_live() {
    transport_.greet();
    transport_.accept(features_);
    queue_->start(has(virtio::feature::event_idx));
    transport_.enable(queue::requestq1, *queue_, true);
    transport_.run();
}

/// GET_ID: the serial number. A device need not have one.
void VirtioBlk::identify(udrv_blk_disk& disk) {
    Memory& answer = memory(0);
    const std::uint64_t text_addr = dma_addr(0, offsetof(Memory, ranges));
    pieces_[1] = {text_addr, id_bytes};
    const Chain request = chain(0, type::get_id, 0, 1, true, id_bytes);
    queue_->post(request.readable, request.writable, 0);
    if (queue_->publish()) {
        transport_.notify(queue::requestq1);
    }
    const auto deadline = BlkClock::now() + config_.identify_timeout;
    while (!queue_->take()) {
        const std::uint8_t last = transport_.status();
        if (queue_->broken() || BlkClock::now() >= deadline ||
            (last & virtio::device_status::device_needs_reset) != 0) {
            throw_error(ETIMEDOUT, "virtio_blk: ask the device for its serial number",
                        fmt::format("it does not answer (device_status is {:#04x})", last),
                        "start the driver again: that resets it");
        }
        std::this_thread::sleep_for(10us);
    }
    if (answer.status != status::ok) {
        return;
    }
    // NUL at the end if it is shorter. It goes to terminals and sysfs.
    const char* text = reinterpret_cast<const char*>(answer.ranges.data());
    for (std::size_t n = 0; n < id_bytes && text[n] != 0; n++) {
        disk.serial[n] = text[n] > 0x20 && text[n] < 0x7f ? text[n] : '?';
    }
}

// ---- Start and stop ------------------------------------------------------------------------

void VirtioBlk::start(BlkCompletions& done) {
    done_ = &done;
    (void)queue_->arm(); // nothing is under way
}

void VirtioBlk::stop() {
    state_ = State::stopped;
    try {
        transport_.reset();
    } catch (const Error&) {
        // It does not answer. The kernel takes bus mastering away in any case.
    }
}

} // namespace udrv::virtio_blk
