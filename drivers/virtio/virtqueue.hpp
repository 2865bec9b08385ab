// SPDX-License-Identifier: MIT
//
// Virtqueue: the driver's end of a split virtqueue (virtio 1.2, 2.7) in memory that it owns.
//
// The device may write anything to that memory. So nothing is read back but the used
// ring, and what is read there is checked against what the driver itself wrote down.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "drivers/virtio/virtio_registers.hpp"
#include "libudrv/device/dma.hpp"

namespace udrv::virtio {

/// One piece of a chain.
struct Segment {
    std::uint64_t dma_addr = 0;
    std::uint32_t len_bytes = 0;
};

/// A chain that the device is done with.
struct Used {
    std::uint16_t token;     ///< as given to post()
    std::uint32_t len_bytes; ///< that it wrote, or so it says
};

class Virtqueue {
  public:
    /// Takes memory for `size` descriptors, a power of two of at most 32,768.
    Virtqueue(DmaAllocator& dma, std::uint16_t size);

    /// Empties the queue. The device is in reset, and looks at nothing.
    void start(bool event_idx);

    // Where the three parts are, for the device (4.1.5.1.3).
    [[nodiscard]] std::uint16_t size() const { return size_; }
    [[nodiscard]] std::uint64_t desc() const { return block_.dma_addr; }
    [[nodiscard]] std::uint64_t driver() const { return block_.dma_addr + driver_offset_; }
    [[nodiscard]] std::uint64_t device() const { return block_.dma_addr + device_offset_; }

    /// Descriptors that are free.
    [[nodiscard]] std::size_t room() const { return free_.size(); }
    /// Chains that the device has.
    [[nodiscard]] std::uint16_t outstanding() const { return outstanding_; }

    /// Makes a chain of pieces for the device to read and pieces for it to write; there is
    /// room for all of them. The device sees it with publish().
    void post(std::span<const Segment> readable, std::span<const Segment> writable,
              std::uint16_t token);
    /// True: the device wants to be notified (2.7.10).
    [[nodiscard]] bool publish();

    /// The next chain that the device is done with, in its order.
    [[nodiscard]] std::optional<Used> take();
    /// Whether there is one.
    [[nodiscard]] bool pending() const;
    /// The device wrote nonsense to the used ring. Nothing more comes out of it, until start().
    [[nodiscard]] bool broken() const { return broken_; }

    /// From now on the device interrupts when it is done with one more than `after` chains;
    /// without VIRTIO_F_EVENT_IDX, with each. False: there is one to take already, for which
    /// it may not interrupt.
    [[nodiscard]] bool arm(std::uint16_t after = 0);
    /// No interrupts until arm(), as far as that can be said (2.7.7).
    void disarm();

  private:
    [[nodiscard]] std::uint16_t& avail_word(std::uint32_t n) const;
    [[nodiscard]] std::uint16_t& used_word(std::uint32_t n) const;
    [[nodiscard]] std::uint16_t used_idx() const;

    std::uint16_t size_;
    std::uint32_t driver_offset_;
    std::uint32_t device_offset_;
    DmaBlock block_;
    bool event_idx_ = false;
    bool broken_ = false;

    // Ours alone: the device cannot change these.
    std::vector<std::uint16_t> free_;  ///< descriptors, a stack
    std::vector<std::uint16_t> next_;  ///< of a descriptor in a chain
    std::vector<std::uint16_t> count_; ///< descriptors of the chain that begins here, or 0
    std::vector<std::uint16_t> token_;
    std::uint16_t avail_idx_ = 0; ///< free-running, as both rings' indices are
    std::uint16_t published_ = 0;
    std::uint16_t used_idx_ = 0;
    std::uint16_t outstanding_ = 0;
};

} // namespace udrv::virtio
