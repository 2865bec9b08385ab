// SPDX-License-Identifier: MIT
//
// What a service loop counts of its own work.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace udrv {

/// Plain numbers of one thread, all since the start. A packet is counted when the
/// driver hands it on; a request of a disk likewise.
struct DriverCounters {
    std::uint64_t waits = 0;       ///< times the loop entered the kernel to wait or look
    std::uint64_t publishes = 0;   ///< times it entered the kernel only to publish
    std::uint64_t yields = 0;      ///< times it let others run before it slept
    std::uint64_t rests = 0;       ///< times it left what arrived on the chip for a while
    std::uint64_t interrupts = 0;  ///< of the device, as the kernel counted them
    std::uint64_t doorbells = 0;   ///< of the kernel
    std::uint64_t passes = 0;      ///< passes over the rings
    std::uint64_t idle_passes = 0; ///< of those, the ones that found nothing
    std::uint64_t rx_packets = 0;
    std::uint64_t rx_buffers = 0;
    std::uint64_t tx_packets = 0;
    std::uint64_t tx_segments = 0;
    std::uint64_t tx_completions = 0;
    std::uint64_t requests = 0;    ///< of disks, given to the chip
    std::uint64_t completions = 0; ///< of these, done
    std::uint64_t failures = 0;    ///< of these, with an error
    std::uint64_t applies = 0;     ///< changes of the desired state
    std::uint64_t link_changes = 0;

    /// Those of another thread.
    DriverCounters& operator+=(const DriverCounters& other) {
        using Words = std::array<std::uint64_t, sizeof(DriverCounters) / sizeof(std::uint64_t)>;
        auto sum = std::bit_cast<Words>(*this);
        const auto more = std::bit_cast<Words>(other);
        for (std::size_t n = 0; n < sum.size(); ++n) {
            sum[n] += more[n];
        }
        return *this = std::bit_cast<DriverCounters>(sum);
    }

    /// What the kernel had for the chip.
    [[nodiscard]] std::uint64_t taken() const { return tx_packets + requests; }
    /// System calls of the data thread's loop.
    [[nodiscard]] std::uint64_t system_calls() const { return waits + publishes + yields + rests; }
};

} // namespace udrv
