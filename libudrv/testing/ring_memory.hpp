// SPDX-License-Identifier: MIT
//
// A ring in plain memory, for tests.
#pragma once

#include <cstdint>
#include <vector>

#include "libudrv/rings/ring.hpp"

namespace udrv::test {

template <typename T>
class RingMemory {
  public:
    /// Both indices start at `index`, to reach the wrap of 32 bits quickly.
    explicit RingMemory(std::uint32_t depth, std::uint32_t index = 0) : entries(depth) {
        header.producer.value = index;
        header.consumer.value = index;
    }

    [[nodiscard]] RingProducer<T> producer() {
        return {&header, entries.data(), static_cast<std::uint32_t>(entries.size())};
    }
    [[nodiscard]] RingConsumer<T> consumer() {
        return {&header, entries.data(), static_cast<std::uint32_t>(entries.size())};
    }

    alignas(128) udrv_ring_header header{};
    std::vector<T> entries;
};

} // namespace udrv::test
