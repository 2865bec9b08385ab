// SPDX-License-Identifier: MIT
//
// Waiting: the requests that a driver has and the chip has not, oldest first.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace udrv {

/// A queue whose entries are there from set-up on. Free-running indices; the caller sees to it
/// that there is room for all that can wait.
template <typename T>
struct Waiting {
    std::vector<T> entries{};
    std::uint32_t producer = 0;
    std::uint32_t consumer = 0;

    /// At set-up, before anything waits.
    void allocate(std::size_t least) {
        entries.resize(std::bit_ceil(std::max<std::size_t>(least, 1)));
    }
    [[nodiscard]] std::uint32_t size() const { return producer - consumer; }
    [[nodiscard]] bool empty() const { return producer == consumer; }
    [[nodiscard]] T& at(std::uint32_t index) { return entries[index & (entries.size() - 1)]; }
    [[nodiscard]] T& front() { return at(consumer); }
    void push(const T& entry) { at(producer++) = entry; }
    void push_front(const T& entry) { at(--consumer) = entry; }
    void pop() { consumer++; }
};

} // namespace udrv
