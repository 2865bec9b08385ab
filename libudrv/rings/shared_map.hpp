// SPDX-License-Identifier: MIT
//
// Finding the parts of a port's shared map: rings, flags, pages, at the offsets that
// the kernel gave at attach.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include <fmt/format.h>

#include "libudrv/error.hpp"
#include "libudrv/rings/ring.hpp"

namespace udrv {

/// A view of `len_bytes` of shared memory; not owned.
class SharedMap {
  public:
    SharedMap(std::byte* memory, std::size_t len_bytes) : memory_(memory), len_bytes_(len_bytes) {}

    /// A T at `offset`, with `extra_bytes` behind it. Throws Error unless all of it
    /// is in the map.
    template <typename T>
    [[nodiscard]] T* at(std::uint32_t offset, std::size_t extra_bytes = 0) const {
        if (offset % alignof(T) != 0 || extra_bytes > len_bytes_ ||
            sizeof(T) > len_bytes_ - extra_bytes || offset > len_bytes_ - extra_bytes - sizeof(T)) {
            throw_error(
                EPROTO, "map the shared rings",
                fmt::format("offset {:#x} is outside the {} bytes shared", offset, len_bytes_),
                "load the kernel modules of the same release as this program");
        }
        void* address = memory_ + offset;
        return static_cast<T*>(address);
    }

    template <typename T>
    [[nodiscard]] RingProducer<T> producer(std::uint32_t offset, std::uint32_t depth) const {
        return ring<RingProducer<T>, T>(offset, depth);
    }
    template <typename T>
    [[nodiscard]] RingConsumer<T> consumer(std::uint32_t offset, std::uint32_t depth) const {
        return ring<RingConsumer<T>, T>(offset, depth);
    }

  private:
    template <typename Ring, typename T>
    [[nodiscard]] Ring ring(std::uint32_t offset, std::uint32_t depth) const {
        auto* header = at<udrv_ring_header>(offset, std::size_t{depth} * sizeof(T));
        void* entries = header + 1;
        return Ring(header, static_cast<T*>(entries), depth);
    }

    std::byte* memory_;
    std::size_t len_bytes_;
};

} // namespace udrv
