// SPDX-License-Identifier: MIT
#include "drivers/virtio/virtqueue.hpp"

#include <atomic>
#include <bit>
#include <cassert>
#include <cstring>

#include "libudrv/rings/barrier.hpp"

namespace udrv::virtio {

namespace {

constexpr std::uint32_t word_bytes = sizeof(std::uint16_t);

/// 2.7: the parts are aligned to 16, 2 and 4 bytes. Each ring ends with an event index.
constexpr std::uint32_t driver_bytes(std::uint32_t size) {
    return word_bytes * (avail::ring + size + 1);
}
constexpr std::uint32_t aligned4(std::uint32_t bytes) {
    return (bytes + 3) & ~3u;
}
constexpr std::uint32_t device_bytes(std::uint32_t size) {
    return used::ring_bytes + size * static_cast<std::uint32_t>(sizeof(UsedElement)) + word_bytes;
}

template <typename Word>
Word load(Word& word, std::memory_order order = std::memory_order_relaxed) {
    return std::atomic_ref<Word>(word).load(order);
}
template <typename Word>
void store(Word& word, Word value, std::memory_order order = std::memory_order_relaxed) {
    std::atomic_ref<Word>(word).store(value, order);
}

/// Whether an index that went from `before` to `now` has passed `event` (2.7.7, 2.7.10).
constexpr bool passed(std::uint16_t event, std::uint16_t now, std::uint16_t before) {
    return static_cast<std::uint16_t>(now - event - 1) < static_cast<std::uint16_t>(now - before);
}

} // namespace

Virtqueue::Virtqueue(DmaAllocator& dma, std::uint16_t size)
    : size_(size), driver_offset_(size * static_cast<std::uint32_t>(sizeof(Descriptor))),
      device_offset_(driver_offset_ + aligned4(driver_bytes(size))),
      block_(dma.allocate(device_offset_ + device_bytes(size))), next_(size), count_(size),
      token_(size) {
    assert(std::has_single_bit(size) && size <= 32768);
    free_.reserve(size);
    start(false);
}

void Virtqueue::start(bool event_idx) {
    std::memset(block_.vaddr, 0, device_offset_ + device_bytes(size_));
    event_idx_ = event_idx;
    broken_ = false;
    free_.clear();
    for (std::uint32_t n = size_; n-- > 0;) {
        free_.push_back(static_cast<std::uint16_t>(n));
    }
    count_.assign(size_, 0);
    avail_idx_ = 0;
    published_ = 0;
    used_idx_ = 0;
    outstanding_ = 0;
    disarm();
}

std::uint16_t& Virtqueue::avail_word(std::uint32_t n) const {
    return reinterpret_cast<std::uint16_t*>(block_.vaddr + driver_offset_)[n];
}

std::uint16_t& Virtqueue::used_word(std::uint32_t n) const {
    return reinterpret_cast<std::uint16_t*>(block_.vaddr + device_offset_)[n];
}

std::uint16_t Virtqueue::used_idx() const {
    return load(used_word(1), std::memory_order_acquire); // before the elements
}

/// 2.7.13.1: the pieces to read come first (2.7.4.2).
void Virtqueue::post(std::span<const Segment> readable, std::span<const Segment> writable,
                     std::uint16_t token) {
    const std::size_t pieces = readable.size() + writable.size();
    assert(pieces != 0 && pieces <= free_.size());
    auto* table = reinterpret_cast<Descriptor*>(block_.vaddr);
    const std::uint16_t head = free_.back();
    for (std::size_t n = 0; n < pieces; n++) {
        const bool reads = n < readable.size();
        const Segment& piece = reads ? readable[n] : writable[n - readable.size()];
        const bool last = n + 1 == pieces;
        const std::uint16_t place = free_.back();
        free_.pop_back();
        next_[place] = last ? std::uint16_t{0} : free_.back();
        unsigned flags = reads ? 0 : descriptor_flags::write;
        flags |= last ? 0u : descriptor_flags::next;
        table[place] = Descriptor{.addr = piece.dma_addr,
                                  .len = piece.len_bytes,
                                  .flags = static_cast<std::uint16_t>(flags),
                                  .next = next_[place]};
    }
    count_[head] = static_cast<std::uint16_t>(pieces);
    token_[head] = token;
    store(avail_word(avail::ring + (avail_idx_ & (size_ - 1u))), head); // 2.7.13.2
    avail_idx_++;
    outstanding_++;
}

bool Virtqueue::publish() {
    if (published_ == avail_idx_) {
        return false;
    }
    const std::uint16_t before = published_;
    published_ = avail_idx_;
    // 2.7.13.3.1: the descriptors before the index.
    store(avail_word(1), published_, std::memory_order_release);
    // 2.7.13.4.1: the index before the look at what the device wants.
    full_barrier();
    if (event_idx_) {
        const std::uint32_t avail_event =
            (used::ring_bytes + size_ * static_cast<std::uint32_t>(sizeof(UsedElement))) /
            word_bytes;
        return passed(load(used_word(avail_event)), published_, before);
    }
    return (load(used_word(0)) & used::no_notify) == 0;
}

bool Virtqueue::pending() const {
    return !broken_ && used_idx() != used_idx_;
}

std::optional<Used> Virtqueue::take() {
    const std::uint16_t now = used_idx();
    if (broken_ || now == used_idx_) {
        return std::nullopt;
    }
    auto* ring = reinterpret_cast<UsedElement*>(block_.vaddr + device_offset_ + used::ring_bytes);
    UsedElement& element = ring[used_idx_ & (size_ - 1u)];
    const std::uint32_t head = load(element.id); // once: it may change
    const std::uint32_t len = load(element.len);
    if (static_cast<std::uint16_t>(now - used_idx_) > outstanding_ || head >= size_ ||
        count_[head] == 0) {
        broken_ = true;
        return std::nullopt;
    }
    used_idx_++;
    outstanding_--;
    std::uint16_t place = static_cast<std::uint16_t>(head);
    for (std::uint16_t left = count_[head]; left != 0; left--) {
        free_.push_back(place);
        place = next_[place];
    }
    count_[head] = 0;
    return Used{.token = token_[head], .len_bytes = len};
}

bool Virtqueue::arm(std::uint16_t after) {
    if (event_idx_) {
        const auto event = static_cast<std::uint16_t>(used_idx_ + after);
        store(avail_word(avail::ring + size_), event); // used_event
    } else {
        store(avail_word(0), std::uint16_t{0});
    }
    full_barrier(); // the wish before the look, else both may miss the other's
    return !pending();
}

/// With an event index there is nothing to do: the device interrupts once, when it passes it.
void Virtqueue::disarm() {
    if (!event_idx_) {
        store(avail_word(0), avail::no_interrupt);
    } else {
        // As far away as can be, until the first arm().
        store(avail_word(avail::ring + size_), static_cast<std::uint16_t>(used_idx_ - 1));
    }
}

} // namespace udrv::virtio
