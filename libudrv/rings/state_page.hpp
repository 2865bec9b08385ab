// SPDX-License-Identifier: MIT
//
// A shared page with one writer, whose first word is a generation: odd while the
// writer is at work, even and different after each change. The pages are copied
// word by word with atomic accesses, so that a copy that must be thrown away is
// still not a data race.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace udrv {

namespace detail {

template <typename Page>
struct PageWords {
    static_assert(std::is_trivially_copyable_v<Page> && std::is_standard_layout_v<Page>);
    static_assert(sizeof(Page) % sizeof(std::uint32_t) == 0);
    static constexpr std::size_t count = sizeof(Page) / sizeof(std::uint32_t);
    using Array = std::array<std::uint32_t, count>;

    [[nodiscard]] static std::atomic_ref<std::uint32_t> word(Page* page, std::size_t n) {
        void* start = page;
        return std::atomic_ref<std::uint32_t>(static_cast<std::uint32_t*>(start)[n]);
    }
};

} // namespace detail

/// The reader's side. Keeps the generation it read last.
template <typename Page>
class StatePageReader {
    using Words = detail::PageWords<Page>;

  public:
    StatePageReader() = default;
    /// `page` is shared, not owned.
    explicit StatePageReader(Page* page) : page_(page) {}

    /// True if the page changed (or is changing) since the last successful read().
    /// One load; for the hot loop.
    [[nodiscard]] bool changed() const noexcept {
        return Words::word(page_, 0).load(std::memory_order_relaxed) != seen_;
    }

    /// Copies a consistent page. False if the writer kept at it for all of the
    /// bounded number of attempts: `out` is then unchanged, try again later.
    [[nodiscard]] bool read(Page& out) noexcept {
        for (int attempt = 0; attempt < max_attempts; ++attempt) {
            const std::uint32_t before = Words::word(page_, 0).load(std::memory_order_acquire);
            if ((before & 1) != 0) {
                continue;
            }
            typename Words::Array copy;
            copy[0] = before;
            // Acquire: whoever reads a word of a later change also sees, below, the
            // odd generation that was written before it.
            for (std::size_t n = 1; n < Words::count; ++n) {
                copy[n] = Words::word(page_, n).load(std::memory_order_acquire);
            }
            if (Words::word(page_, 0).load(std::memory_order_relaxed) == before) {
                std::memcpy(&out, copy.data(), sizeof(Page));
                seen_ = before;
                return true;
            }
        }
        return false;
    }

  private:
    static constexpr int max_attempts = 1000;
    Page* page_ = nullptr;
    std::uint32_t seen_ = 1; ///< odd: never equal to a finished page
};

/// The writer's side.
template <typename Page>
class StatePageWriter {
    using Words = detail::PageWords<Page>;

  public:
    StatePageWriter() = default;
    /// `page` is shared, not owned.
    explicit StatePageWriter(Page* page) : page_(page) {}

    /// Replaces the page; `content.generation` is ignored.
    void write(const Page& content) noexcept {
        typename Words::Array words;
        std::memcpy(words.data(), &content, sizeof(Page));
        // A predecessor may have died in the middle: start from an even number.
        const std::uint32_t old =
            (Words::word(page_, 0).load(std::memory_order_relaxed) + 1) & ~std::uint32_t{1};
        Words::word(page_, 0).store(old + 1, std::memory_order_relaxed);
        for (std::size_t n = 1; n < Words::count; ++n) {
            Words::word(page_, n).store(words[n], std::memory_order_release);
        }
        Words::word(page_, 0).store(old + 2, std::memory_order_release);
    }

  private:
    Page* page_ = nullptr;
};

} // namespace udrv
