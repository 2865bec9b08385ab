// SPDX-License-Identifier: MIT
//
// The two ends of a ring (udrv/udrv.h, "Rings"): single producer, single consumer,
// a power of two of entries, free-running 32-bit indices.
//
// Each end keeps its own index in private memory and a copy of the other side's,
// which it reads again only when the copy says that the ring is full (producer) or
// empty (consumer): while both sides are busy, an index's cache line moves once a
// batch. The other side may lie: a fill level above the depth counts as a violation
// and as nothing to do, and every access is masked, so that nothing outside the
// ring is ever touched.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cassert>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include "libudrv/error.hpp"
#include <udrv/udrv.h>

namespace udrv {

namespace detail {

/// What both ends have in common: where the ring is and how deep.
template <typename T>
class RingView {
    static_assert(std::is_trivially_copyable_v<T>);

  public:
    RingView() = default;

    /// `entries` are `depth` (a power of two) of T. Neither is owned; both outlive
    /// the view. Throws Error on a depth that is not a power of two.
    RingView(udrv_ring_header* header, T* entries, std::uint32_t depth)
        : header_(header), entries_(entries), mask_(depth - 1) {
        if (!std::has_single_bit(depth)) {
            throw_error(EINVAL, "set up a ring", "its depth is not a power of two");
        }
    }

    [[nodiscard]] std::uint32_t depth() const { return mask_ + 1; }
    /// How often the other side's index made no sense.
    [[nodiscard]] std::uint64_t violations() const { return violations_; }

  protected:
    [[nodiscard]] static std::uint32_t load(std::uint32_t& index, std::memory_order order) {
        return std::atomic_ref<std::uint32_t>(index).load(order);
    }
    static void store_release(std::uint32_t& index, std::uint32_t value) {
        std::atomic_ref<std::uint32_t>(index).store(value, std::memory_order_release);
    }
    /// Entries from `index` on that stand in one piece, at most `count`.
    [[nodiscard]] std::uint32_t in_one_piece(std::uint32_t index, std::uint32_t count) const {
        return std::min(count, depth() - (index & mask_));
    }
    [[nodiscard]] T* at(std::uint32_t index) const { return entries_ + (index & mask_); }
    /// A count of entries, at most the depth.
    [[nodiscard]] std::uint32_t clamp(std::size_t count) const {
        return count > mask_ ? depth() : static_cast<std::uint32_t>(count);
    }
    /// Copies between the ring from `index` on and memory, round the ring's end.
    void copy_in(std::uint32_t index, const T* from, std::uint32_t count) {
        const std::uint32_t whole = depth() - (index & mask_);
        if (count > whole) [[unlikely]] {
            copy(from + whole, entries_, count - whole);
            count = whole;
        }
        copy(from, at(index), count);
    }
    void copy_out(std::uint32_t index, T* to, std::uint32_t count) const {
        const std::uint32_t whole = depth() - (index & mask_);
        if (count > whole) [[unlikely]] {
            copy(entries_, to + whole, count - whole);
            count = whole;
        }
        copy(at(index), to, count);
    }

  private:
    static void copy(const T* from, T* to, std::size_t count) {
        // Hides what the compiler knows of the count: GCC would copy a few entries
        // with `rep movs`, which takes longer to start than memmove() to finish.
        asm("" : "+r"(count));
        std::copy_n(from, count, to);
    }

  protected:
    udrv_ring_header* header_ = nullptr;
    T* entries_ = nullptr;
    std::uint32_t mask_ = 0;
    std::uint64_t violations_ = 0;
};

} // namespace detail

/// The writing end. One thread at a time; no call blocks, allocates or throws.
template <typename T>
class RingProducer : public detail::RingView<T> {
    using View = detail::RingView<T>;

  public:
    RingProducer() = default;
    RingProducer(udrv_ring_header* header, T* entries, std::uint32_t depth)
        : View(header, entries, depth),
          producer_(View::load(header->producer.value, std::memory_order_relaxed)),
          consumer_(producer_ - depth) {}

    /// Entries there is room for, at least `wanted` of them if the ring has so many.
    [[nodiscard]] std::uint32_t room(std::uint32_t wanted = 1) {
        const std::uint32_t free = this->depth() - (producer_ - consumer_);
        return free >= wanted ? free : refresh(producer_);
    }

    /// Up to `count` free entries in one piece (fewer at the ring's end: ask again
    /// after commit). The caller writes them, then calls commit().
    [[nodiscard]] std::span<T> reserve(std::uint32_t count) {
        const std::uint32_t free = std::min(room(count), count);
        return {this->at(producer_), this->in_one_piece(producer_, free)};
    }

    /// The entry `n` places behind the last one committed, round the ring's end. The caller
    /// made sure with room() that it is free; commit() hands it over.
    [[nodiscard]] T& ahead(std::uint32_t n) { return *this->at(producer_ + n); }

    /// Hands the first `count` reserved entries to the consumer.
    void commit(std::uint32_t count) {
        assert(count <= this->depth() - (producer_ - consumer_));
        producer_ += count;
        // A, pairs with the consumer's acquire: entries before the index.
        View::store_release(this->header_->producer.value, producer_);
    }

    /// Adds one entry; false when the ring is full.
    [[nodiscard]] bool push(const T& entry) {
        const std::uint32_t index = producer_;
        if (index - consumer_ > this->mask_ && refresh(index) == 0) [[unlikely]] {
            return false;
        }
        this->entries_[index & this->mask_] = entry;
        producer_ = index + 1;
        View::store_release(this->header_->producer.value, index + 1); // A
        return true;
    }

    /// Adds as many entries as there is room for; returns how many.
    std::uint32_t push(std::span<const T> entries) {
        // Branches rather than minima: the usual case, all of it and in one piece, is
        // then predicted, and the copy need not wait for the other side's index.
        std::uint32_t count = this->clamp(entries.size());
        if (const std::uint32_t free = room(count); free < count) [[unlikely]] {
            count = free;
        }
        if (count == 0) {
            return 0;
        }
        this->copy_in(producer_, entries.data(), count);
        commit(count);
        return count;
    }

  private:
    /// Reads the consumer's index again; returns the room. `index` is producer_.
    std::uint32_t refresh(const std::uint32_t index) {
        // Pairs with B: the consumer is done with the entries before we overwrite.
        const std::uint32_t seen =
            View::load(this->header_->consumer.value, std::memory_order_acquire);
        const std::uint32_t used = index - seen;
        if (used > this->depth()) [[unlikely]] {
            ++this->violations_;
            return this->depth() - (index - consumer_);
        }
        consumer_ = seen;
        return this->depth() - used;
    }

    std::uint32_t producer_ = 0; ///< ours, the truth
    std::uint32_t consumer_ = 0; ///< last seen of the other side
};

/// The reading end. One thread at a time; no call blocks, allocates or throws.
template <typename T>
class RingConsumer : public detail::RingView<T> {
    using View = detail::RingView<T>;

  public:
    RingConsumer() = default;
    RingConsumer(udrv_ring_header* header, T* entries, std::uint32_t depth)
        : View(header, entries, depth),
          consumer_(View::load(header->consumer.value, std::memory_order_relaxed)),
          producer_(consumer_) {}

    /// Entries that can be read, at least `wanted` of them if the ring has so many.
    [[nodiscard]] std::uint32_t available(std::uint32_t wanted = 1) {
        const std::uint32_t filled = producer_ - consumer_;
        return filled >= wanted ? filled : refresh(consumer_);
    }

    /// Up to `count` entries in one piece (fewer at the ring's end), read where they
    /// stand. The producer can still write them: copy what must not change.
    [[nodiscard]] std::span<const T> peek(std::uint32_t count) {
        const std::uint32_t filled = std::min(available(count), count);
        return {this->at(consumer_), this->in_one_piece(consumer_, filled)};
    }

    /// Copies up to out.size() entries and does not consume them; returns how many.
    [[nodiscard]] std::uint32_t copy(std::span<T> out) {
        std::uint32_t count = this->clamp(out.size());
        if (const std::uint32_t filled = available(count); filled < count) [[unlikely]] {
            count = filled;
        }
        if (count != 0) {
            this->copy_out(consumer_, out.data(), count);
        }
        return count;
    }

    /// Gives the first `count` entries back to the producer.
    void release(std::uint32_t count) {
        assert(count <= producer_ - consumer_);
        consumer_ += count;
        // B, pairs with the producer's acquire: our reads before the index.
        View::store_release(this->header_->consumer.value, consumer_);
    }

    /// Takes one entry; false when the ring is empty.
    [[nodiscard]] bool pop(T& entry) {
        const std::uint32_t index = consumer_;
        if (producer_ == index && refresh(index) == 0) {
            return false;
        }
        entry = this->entries_[index & this->mask_];
        consumer_ = index + 1;
        View::store_release(this->header_->consumer.value, index + 1); // B
        return true;
    }

    /// Takes up to out.size() entries; returns how many.
    [[nodiscard]] std::uint32_t pop(std::span<T> out) {
        const std::uint32_t count = copy(out);
        if (count != 0) {
            release(count);
        }
        return count;
    }

  private:
    /// Reads the producer's index again; returns the fill level. `index` is consumer_.
    std::uint32_t refresh(const std::uint32_t index) {
        // Pairs with A: the entries up to the index are there.
        const std::uint32_t seen =
            View::load(this->header_->producer.value, std::memory_order_acquire);
        const std::uint32_t filled = seen - index;
        if (filled > this->depth()) [[unlikely]] {
            ++this->violations_;
            return producer_ - index;
        }
        producer_ = seen;
        return filled;
    }

    std::uint32_t consumer_ = 0; ///< ours, the truth
    std::uint32_t producer_ = 0; ///< last seen of the other side
};

} // namespace udrv
