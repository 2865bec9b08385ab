// SPDX-License-Identifier: MIT
//
// What models of chips share: memory as a device sees it, and bytes of packets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "libudrv/device/dma.hpp"

namespace udrv::test {

using Bytes = std::vector<std::uint8_t>;

/// Memory as the device sees it: addresses of its own, far from the CPU's, with
/// gaps in between. Mixing the two up, or running over an end, is a fault.
class FakeMemory final : public DmaAllocator {
  public:
    static constexpr std::uint64_t low = 0x1234'0000;
    static constexpr std::uint64_t high = 0x12'3400'0000; ///< needs 64 bits of address

    /// Addresses from `first` on, multiples of `alignment`.
    explicit FakeMemory(std::uint64_t first = low, std::uint64_t alignment = 4096)
        : alignment_(alignment), next_(first) {}

    /// The next block begins there.
    void continue_at(std::uint64_t dma_addr) { next_ = dma_addr; }

    [[nodiscard]] DmaBlock allocate(std::size_t len_bytes) override {
        const std::size_t whole = (len_bytes + 4095) / 4096 * 4096;
        blocks_.emplace_back(
            static_cast<std::byte*>(::operator new (whole, std::align_val_t{4096})));
        std::memset(blocks_.back().get(), 0, whole);
        return {blocks_.back().get(), map(blocks_.back().get(), whole), whole};
    }

    [[nodiscard]] std::uint64_t map(std::byte* vaddr, std::size_t len_bytes) {
        const std::uint64_t dma_addr = (next_ + alignment_ - 1) / alignment_ * alignment_;
        next_ = dma_addr + (len_bytes + 4095) / 4096 * 4096 + 0x10000;
        regions_[dma_addr] = {vaddr, len_bytes};
        return dma_addr;
    }

    /// nullptr and a failed test if the device may not touch it.
    [[nodiscard]] std::byte* translate(std::uint64_t dma_addr, std::size_t len_bytes) {
        const auto after = regions_.upper_bound(dma_addr);
        if (after != regions_.begin()) {
            const auto& [start, region] = *std::prev(after);
            if (dma_addr - start <= region.size() &&
                len_bytes <= region.size() - (dma_addr - start)) {
                return region.data() + (dma_addr - start);
            }
        }
        ADD_FAILURE() << "DMA fault: " << std::hex << dma_addr << ", " << std::dec << len_bytes
                      << " bytes";
        return nullptr;
    }

  private:
    struct Free {
        void operator()(std::byte* memory) const {
            ::operator delete (memory, std::align_val_t{4096});
        }
    };
    std::vector<std::unique_ptr<std::byte, Free>> blocks_;
    std::map<std::uint64_t, std::span<std::byte>> regions_;
    std::uint64_t alignment_;
    std::uint64_t next_;
};

/// Little endian, as descriptors and address registers are.
inline std::uint32_t load_le(std::span<const std::uint8_t> bytes) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < bytes.size(); i++) {
        value |= std::uint32_t{bytes[i]} << (8 * i);
    }
    return value;
}
inline std::uint16_t load_be16(const Bytes& bytes, std::size_t at) {
    return static_cast<std::uint16_t>(bytes.at(at) << 8 | bytes.at(at + 1));
}
inline void store_be16(Bytes& bytes, std::size_t at, std::uint32_t value) {
    bytes.at(at) = static_cast<std::uint8_t>(value >> 8);
    bytes.at(at + 1) = static_cast<std::uint8_t>(value);
}
inline std::uint32_t load_be32(const Bytes& bytes, std::size_t at) {
    return std::uint32_t{load_be16(bytes, at)} << 16 | load_be16(bytes, at + 2);
}
inline void store_be32(Bytes& bytes, std::size_t at, std::uint32_t value) {
    store_be16(bytes, at, value >> 16);
    store_be16(bytes, at + 2, value & 0xffff);
}
/// Ones' complement sum from `start` up to but not including `end`.
inline std::uint16_t ones_sum(const Bytes& bytes, std::size_t start, std::size_t end) {
    std::uint64_t sum = 0;
    for (std::size_t i = start; i < end; i++) {
        sum += std::uint64_t{bytes.at(i)} << ((i - start) % 2 == 0 ? 8 : 0);
    }
    while (sum >> 16 != 0) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return static_cast<std::uint16_t>(sum);
}

} // namespace udrv::test
