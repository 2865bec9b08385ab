// SPDX-License-Identifier: MIT
//
// The way of a request: encode, wait, issue, complete.
#include "drivers/virtio_blk/virtio_blk.hpp"

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cstddef>

namespace udrv::virtio_blk {

namespace {

constexpr std::uint32_t sector_bytes = 512;

bool has_data(const udrv_blk_request& request) {
    return request.op == UDRV_BLK_READ || request.op == UDRV_BLK_WRITE;
}

} // namespace

// ---- Encode ----------------------------------------------------------------------------

/// Whole blocks of the disk.
bool VirtioBlk::in_range(std::uint64_t sector, std::uint64_t nr_sectors) const {
    const std::uint64_t block_sectors = disks_[0].logical_block_bytes / sector_bytes;
    const std::uint64_t end = disks_[0].nr_sectors;
    return nr_sectors != 0 && sector % block_sectors == 0 && nr_sectors % block_sectors == 0 &&
           nr_sectors <= end && sector <= end - nr_sectors;
}

/// 5.2.6: the header, `nr_data` pieces that stand in pieces_[1] and after, the status. Each is a
/// piece of its own: not all devices take them joined, though 2.7.4 says that they should.
VirtioBlk::Chain VirtioBlk::chain(std::uint32_t tag, std::uint32_t type, std::uint64_t sector,
                                  std::size_t nr_data, bool device_writes,
                                  std::uint32_t data_bytes) {
    Memory& place = memory(tag);
    place.header = {.type = type, .reserved = 0, .sector = sector};
    place.status = status::none;
    requests_[tag].answer_bytes = (device_writes ? data_bytes : 0) + 1;
    pieces_[0] = {dma_addr(tag, offsetof(Memory, header)), sizeof(Header)};
    pieces_[nr_data + 1] = {dma_addr(tag, offsetof(Memory, status)), 1};
    const std::span<const virtio::Segment> all(pieces_.data(), nr_data + 2);
    const std::size_t nr_readable = device_writes ? 1 : 1 + nr_data;
    return {all.first(nr_readable), all.subspan(nr_readable)};
}

std::optional<VirtioBlk::Chain> VirtioBlk::encode_data(std::uint32_t tag) {
    const udrv_blk_request& request = *requests_[tag].request;
    const udrv_blk_disk& disk = disks_[0];
    const auto from = segments(request);
    const std::uint64_t bytes = std::uint64_t{request.nr_sectors} * sector_bytes;
    if (!in_range(request.sector, request.nr_sectors) || request.nr_sectors > disk.max_sectors ||
        from.size() > disk.max_segments) {
        return std::nullopt;
    }
    std::uint64_t sum = 0;
    for (std::size_t n = 0; n < from.size(); n++) {
        if (from[n].len_bytes == 0 || from[n].len_bytes > disk.max_segment_bytes) {
            return std::nullopt;
        }
        pieces_[n + 1] = {from[n].dma_addr, from[n].len_bytes};
        sum += from[n].len_bytes;
    }
    if (sum != bytes) {
        return std::nullopt;
    }
    const bool reads = request.op == UDRV_BLK_READ;
    return chain(tag, reads ? type::in : type::out, request.sector, from.size(), reads,
                 static_cast<std::uint32_t>(bytes));
}

/// A discard, or write zeroes: the ranges are the data.
std::optional<VirtioBlk::Chain> VirtioBlk::encode_ranges(std::uint32_t tag,
                                                         std::span<const udrv_blk_range> ranges,
                                                         std::uint32_t flags) {
    const bool discards = requests_[tag].request->op == UDRV_BLK_DISCARD;
    const std::uint32_t most =
        discards ? disks_[0].max_discard_sectors : disks_[0].max_write_zeroes_sectors;
    const std::size_t most_ranges = discards ? disks_[0].max_discard_segments : 1;
    if (ranges.empty() || ranges.size() > most_ranges) {
        return std::nullopt;
    }
    Memory& place = memory(tag);
    for (std::size_t n = 0; n < ranges.size(); n++) {
        if (!in_range(ranges[n].sector, ranges[n].nr_sectors) || ranges[n].nr_sectors > most) {
            return std::nullopt;
        }
        place.ranges[n] = {ranges[n].sector, ranges[n].nr_sectors, flags};
    }
    const auto bytes = static_cast<std::uint32_t>(ranges.size() * sizeof(DiscardWriteZeroes));
    pieces_[1] = {dma_addr(tag, offsetof(Memory, ranges)), bytes};
    return chain(tag, discards ? type::discard : type::write_zeroes, 0, 1, false, bytes);
}

/// None: the request is none that this disk takes.
std::optional<VirtioBlk::Chain> VirtioBlk::encode(std::uint32_t tag) {
    const udrv_blk_request& request = *requests_[tag].request;
    const bool read_only = has(feature::ro);
    switch (request.op) {
    case UDRV_BLK_READ:
        return encode_data(tag);
    case UDRV_BLK_WRITE:
        return read_only ? std::nullopt : encode_data(tag);
    case UDRV_BLK_FLUSH:
        if (!has(feature::flush)) {
            return std::nullopt;
        }
        return chain(tag, type::flush, 0, 0, false, 0);
    case UDRV_BLK_DISCARD:
        // 5.2.6.1: the unmap flag is 0.
        return read_only ? std::nullopt : encode_ranges(tag, ranges(request), 0);
    case UDRV_BLK_WRITE_ZEROES: {
        const udrv_blk_range all{request.sector, request.nr_sectors, 0};
        const bool keep = (request.flags & UDRV_BLK_REQ_NOUNMAP) != 0;
        return read_only ? std::nullopt
                         : encode_ranges(tag, {&all, 1}, keep ? 0 : range_flags::unmap);
    }
    default:
        return std::nullopt;
    }
}

// ---- Issue ------------------------------------------------------------------------------

void VirtioBlk::submit(std::uint32_t /*disk*/, std::span<const BlkSubmission> submissions) {
    for (const BlkSubmission& submission : submissions) {
        assert(submission.tag < requests_.size());
        Request& place = requests_[submission.tag];
        place = {};
        place.request = submission.request;
        place.generation = submission.generation;
        waiting_.push(static_cast<std::uint16_t>(submission.tag));
    }
    issue();
}

/// Gives the device all that it has room for, with one notification.
void VirtioBlk::issue() {
    if (state_ != State::running) {
        return;
    }
    while (!waiting_.empty()) {
        const std::uint16_t tag = waiting_.front();
        Request& place = requests_[tag];
        // One that is too long finds room as well: it is refused below.
        const std::uint32_t data = has_data(*place.request) ? place.request->nr_segments : 1;
        if (queue_->room() < std::min(data, disks_[0].max_segments) + 2) {
            break;
        }
        waiting_.pop();
        const auto made = encode(tag);
        if (!made) {
            complete(tag, place.request->op <= UDRV_BLK_FLUSH ? UDRV_BLK_IOERR : UDRV_BLK_NOTSUPP);
            continue;
        }
        place.out = true;
        place.overdue = false;
        place.looks = 0;
        outstanding_++;
        queue_->post(made->readable, made->writable, tag);
    }
    if (queue_->publish()) {
        transport_.notify(queue::requestq1);
    }
}

// ---- Complete ---------------------------------------------------------------------------

void VirtioBlk::complete(std::uint32_t tag, std::uint32_t status) {
    Request& place = requests_[tag];
    done_->add(0, tag, place.generation, status);
    place.request = nullptr;
}

/// With one vector for all, the message does not say what it is for. The ISR status is not
/// to be read for a queue's (4.1.4.5.2): one that finds the queue empty may have been for the
/// configuration. If both came together, the look after the request's end finds it.
bool VirtioBlk::interrupt() {
    if (transport_.msix()) {
        changed_ = changed_ || (state_ == State::running && !queue_->pending());
        return true;
    }
    const std::uint8_t causes = transport_.causes();
    changed_ = changed_ || (causes & virtio::isr::config) != 0;
    return causes != 0;
}

/// A chain that came back. False: what the device says cannot be.
bool VirtioBlk::finish(const virtio::Used& used) {
    const std::uint32_t tag = used.token;
    Request& place = requests_[tag];
    const std::uint8_t status =
        std::atomic_ref<std::uint8_t>(memory(tag).status).load(std::memory_order_relaxed);
    if (!place.out || status > status::unsupp || used.len_bytes > place.answer_bytes) {
        return false;
    }
    place.out = false;
    outstanding_--;
    const std::uint8_t op = place.request->op;
    std::uint32_t result = UDRV_BLK_IOERR;
    if (status == status::ok) {
        // 2.7.8.2: nothing is known of what lies behind the length.
        const bool short_read = op == UDRV_BLK_READ && used.len_bytes < place.answer_bytes;
        result = short_read ? UDRV_BLK_IOERR : UDRV_BLK_OK;
    } else if (status == status::unsupp && op > UDRV_BLK_FLUSH) {
        result = UDRV_BLK_NOTSUPP;
    }
    counters_.errors += result != UDRV_BLK_OK ? 1 : 0;
    complete(tag, result);
    return true;
}

void VirtioBlk::reap() {
    if (state_ != State::running || !queue_->pending()) {
        return;
    }
    // The device interrupts for what it does after it has read the wish of arm().
    do {
        while (const auto used = queue_->take()) {
            if (!finish(*used)) {
                counters_.lies++;
                begin_reset();
                return;
            }
        }
    } while (!queue_->broken() && !queue_->arm());
    if (queue_->broken()) {
        counters_.lies++;
        begin_reset();
        return;
    }
    issue();
}

} // namespace udrv::virtio_blk
