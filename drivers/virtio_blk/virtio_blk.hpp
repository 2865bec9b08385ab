// SPDX-License-Identifier: MIT
//
// VirtioBlk: driver of the virtio block device (1af4:1042, and 1af4:1001 if it is more than
// legacy), a BlkChip with one disk and one queue. Reading order: virtio_blk_registers.hpp, this,
// virtio_blk_setup.cpp, virtio_blk.cpp, virtio_blk_recovery.cpp; ../virtio/transport.hpp and
// ../virtio/virtqueue.hpp for what all virtio devices share.
//
// A request is a chain (5.2.6): a header, the data, a byte of status. Header, status and the
// ranges of a discard are memory of the driver, one piece a tag, taken at set-up; the data is the
// kernel's, of which the driver sees bus addresses only. A chain's token is the request's tag.
//
// Requests are carried out in any order: a flush is about what was completed before it (5.2.6.2).
// One waits only while the queue is full, or the device is being reset.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "drivers/virtio/transport.hpp"
#include "drivers/virtio/virtqueue.hpp"
#include "drivers/virtio_blk/virtio_blk_registers.hpp"
#include "libudrv/blk/blk_chip.hpp"
#include "libudrv/blk/waiting.hpp"
#include "libudrv/device/dma.hpp"

namespace udrv::virtio_blk {

struct Config {
    std::uint16_t queue_size = 256; ///< descriptors at most, if the device has as many
    bool iommu = false; ///< an IOMMU translates what the platform's devices read and write
    /// Of the disk that the kernel keeps for a successor, in sectors; 0: there is none.
    std::uint64_t kept_sectors = 0;
    /// For a request to complete. The device is software, whose own disk may be busy.
    std::chrono::milliseconds request_timeout{30'000};
    /// A device whose reset is not over by then is the kernel's to reset.
    std::chrono::milliseconds reset_timeout{20'000};
    std::chrono::milliseconds identify_timeout{10'000};
};

/// Between two looks at a device that has requests.
inline constexpr std::chrono::milliseconds look_interval{500};

/// What happened, for people and tests.
struct Counters {
    std::uint64_t errors = 0;   ///< requests that ended with an error status
    std::uint64_t timeouts = 0; ///< requests that did not complete in time
    std::uint64_t resets = 0;   ///< of the device, after set-up
    std::uint64_t asked = 0;    ///< of these, because the device needed it
    std::uint64_t lies = 0;     ///< of these, because of an impossible completion
    std::uint64_t reissued = 0; ///< requests given to the device again after a reset
    std::uint64_t changes = 0;  ///< of the capacity
};

class VirtioBlk {
  public:
    static constexpr bool completes_in_memory = true; // the used ring

    /// Resets the device, agrees on features, takes memory, and asks for the disk's identity.
    /// Neither is owned. Throws Error.
    VirtioBlk(virtio::Transport& transport, DmaAllocator& dma, const Config& config = {});
    VirtioBlk(const VirtioBlk&) = delete;
    VirtioBlk& operator=(const VirtioBlk&) = delete;
    ~VirtioBlk() = default;

    [[nodiscard]] std::span<const udrv_blk_disk> disks() const { return disks_; }
    void start(BlkCompletions& done);
    [[nodiscard]] bool interrupt();
    void submit(std::uint32_t disk, std::span<const BlkSubmission> submissions);
    void reap();
    [[nodiscard]] BlkClock::time_point tick(BlkClock::time_point now);
    void stop();
    [[nodiscard]] BlkTroubles troubles() const;
    /// Why it cannot be served any longer, and its driver should end; nullptr: it can.
    [[nodiscard]] const char* failure() const {
        return failure_.empty() ? nullptr : failure_.c_str();
    }

    /// What an administrator should know from the start on, a sentence each.
    [[nodiscard]] std::span<const std::string> notes() const { return notes_; }
    [[nodiscard]] const Counters& counters() const { return counters_; }

  private:
    enum class State : std::uint8_t { running, resetting, stopped };
    static constexpr std::size_t max_ranges = 14; ///< of a discard

    /// A tag's, which the device reads and writes.
    struct Memory {
        Header header;
        std::array<DiscardWriteZeroes, max_ranges> ranges; ///< or what GET_ID gives
        std::uint8_t status;
        std::array<std::uint8_t, 15> unused;
    };
    static_assert(sizeof(Memory) == 256);

    struct Request {
        const udrv_blk_request* request = nullptr;
        std::uint32_t generation = 0;
        std::uint32_t answer_bytes = 0; ///< that the device may write, the status among them
        bool out = false;               ///< the device has it
        bool overdue = false;
        std::uint8_t timeouts = 0;
        std::uint8_t resets = 0; ///< of the device, while it had the request in time
        std::uint16_t looks = 0;
    };
    /// What a request is made of, for Virtqueue::post(): views of pieces_.
    struct Chain {
        std::span<const virtio::Segment> readable;
        std::span<const virtio::Segment> writable;
    };

    // virtio_blk_setup.cpp
    [[nodiscard]] bool has(std::uint64_t feature) const { return (features_ & feature) != 0; }
    void check_config_length();
    [[nodiscard]] std::uint64_t read_capacity();
    void allocate(DmaAllocator& dma);
    void describe();
    void describe_blocks(udrv_blk_disk& disk);
    void describe_discard(udrv_blk_disk& disk);
    void go_live();
    void identify(udrv_blk_disk& disk);
    // virtio_blk.cpp
    [[nodiscard]] Memory& memory(std::uint32_t tag) const {
        return reinterpret_cast<Memory*>(memory_.vaddr)[tag];
    }
    [[nodiscard]] std::uint64_t dma_addr(std::uint32_t tag, std::size_t offset) const {
        return memory_.dma_addr + tag * sizeof(Memory) + offset;
    }
    [[nodiscard]] bool in_range(std::uint64_t sector, std::uint64_t nr_sectors) const;
    [[nodiscard]] std::optional<Chain> encode(std::uint32_t tag);
    [[nodiscard]] std::optional<Chain> encode_data(std::uint32_t tag);
    [[nodiscard]] std::optional<Chain>
    encode_ranges(std::uint32_t tag, std::span<const udrv_blk_range> ranges, std::uint32_t flags);
    [[nodiscard]] Chain chain(std::uint32_t tag, std::uint32_t type, std::uint64_t sector,
                              std::size_t nr_data, bool device_writes, std::uint32_t data_bytes);
    void issue();
    [[nodiscard]] bool finish(const virtio::Used& used);
    void complete(std::uint32_t tag, std::uint32_t status);
    // virtio_blk_recovery.cpp
    void check_device();
    void check_requests();
    void begin_reset();
    void recover(BlkClock::time_point now);
    void take_back();

    virtio::Transport& transport_;
    const Config config_;
    std::uint64_t features_ = 0;
    std::uint64_t capacity_ = 0; ///< as the device said last
    std::array<udrv_blk_disk, 1> disks_{};
    std::vector<std::string> notes_;

    std::optional<virtio::Virtqueue> queue_;
    DmaBlock memory_;
    std::vector<virtio::Segment> pieces_; ///< of the request that is being made
    std::vector<Request> requests_;       ///< by tag
    Waiting<std::uint16_t> waiting_;      ///< tags
    std::uint32_t outstanding_ = 0;       ///< requests that the device has
    BlkCompletions* done_ = nullptr;

    State state_ = State::running;
    bool changed_ = false; ///< there may have been a configuration interrupt
    bool timed_ = false;   ///< deadline_ of the reset is set
    BlkClock::time_point deadline_;
    BlkClock::time_point look_ = BlkClock::time_point::max();
    std::string failure_;
    Counters counters_;
};

static_assert(BlkChip<VirtioBlk>);

} // namespace udrv::virtio_blk
