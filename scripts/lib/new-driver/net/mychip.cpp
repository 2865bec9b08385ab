// SPDX-License-Identifier: MIT
#include "drivers/mychip/mychip.hpp"

#include <algorithm>
#include <chrono>

namespace udrv::mychip {

namespace {

using namespace std::chrono_literals;

constexpr WaitTime reset_time{100ms, 100us}; // section ...
constexpr std::uint32_t all_ones = 0xffffffff; // what reads return when the device is gone

constexpr std::array<std::string_view, 1> names{"tx_dropped"}; // of `ethtool -S`

} // namespace

// ---- Reset, and what it can do ---------------------------------------------------------

void reset(RegisterIo& regs) {
    reg::control.write(regs, control::reset);
    wait_until(regs, reg::control, "mychip", "CONTROL", control::reset, 0, reset_time);
    reg::mask.write(regs, 0);
}

MyChip::MyChip(RegisterIo& regs, DmaAllocator& /*dma*/) : regs_(regs) {
    const std::uint32_t low = reg::mac_low.read(regs_);
    const std::uint32_t high = reg::mac_high.read(regs_);
    for (unsigned n = 0; n < 4; n++) {
        capabilities_.mac[n] = static_cast<std::uint8_t>(low >> 8 * n);
    }
    capabilities_.mac[4] = static_cast<std::uint8_t>(high);
    capabilities_.mac[5] = static_cast<std::uint8_t>(high >> 8);
    // What the chip can do, and no more: what is beyond it is done in software.
    capabilities_.tx_depth = depth;
    capabilities_.rx_depth = depth;
    capabilities_.rx_buf_bytes = 2048;
    capabilities_.tx_max_segments = 8;
    capabilities_.max_mtu = 1500;
}

// ---- What the administrator wants --------------------------------------------------------

/// Called with each change; what is as it was is left alone.
void MyChip::apply(const udrv_net_desired& desired) {
    const bool up = desired.up != 0;
    if (up == up_) {
        return;
    }
    up_ = up;
    if (up) {
        // To do: ring addresses; the buffers that are still ours are posted again.
        reg::mask.write(regs_, cause::data | cause::link);
        reg::control.write(regs_, control::run);
    } else {
        stop();
    }
}

NetLink MyChip::link() {
    const std::uint32_t value = reg::status.read(regs_);
    const bool up = value != all_ones && (value & status::link_up) != 0;
    return {.up = up, .full_duplex = true, .speed_mbps = unknown_speed};
}

NetCause MyChip::interrupt() {
    const std::uint32_t causes = reg::cause.read(regs_);
    if (causes == all_ones) {
        return {};
    }
    return {.data = (causes & cause::data) != 0, .link = (causes & cause::link) != 0};
}

// ---- The rings ---------------------------------------------------------------------------

std::size_t MyChip::rx_provide(std::span<const udrv_net_fill> fill) {
    std::size_t count = 0;
    while (count < fill.size() && !buffers_.full()) {
        buffers_.push(fill[count++]);
    }
    // To do: a descriptor each, then the tail, once.
    return count;
}

std::size_t MyChip::rx_return(std::span<udrv_net_rx> /*rx*/) {
    // To do: for each buffer that the chip is done with, in the order of rx_provide().
    return 0;
}

/// Whole packets: the caller offers nothing else, and none may be taken in part.
std::size_t MyChip::tx_provide(std::span<const udrv_net_tx> tx) {
    std::size_t count = 0;
    for (std::size_t n = 0; n < tx.size() && !completed_.full(); n++) {
        if ((tx[n].flags & UDRV_NET_TX_EOP) != 0) {
            // To do: descriptors of the packet's segments, then the tail, once. Until then it
            // is dropped, and said so.
            completed_.push({tx[n].id, UDRV_NET_TX_DROPPED});
            tx_dropped_++;
            count = n + 1;
        }
    }
    return count;
}

std::size_t MyChip::tx_return(std::span<udrv_net_completion> completion) {
    std::size_t count = 0;
    while (count < completion.size() && !completed_.empty()) {
        completion[count++] = completed_.pop();
    }
    return count;
}

/// The causes of this chip stand until they are read: nothing is lost before the sleep.
bool MyChip::arm() {
    return true;
}

// ---- Statistics, and stop ------------------------------------------------------------------

std::span<const std::string_view> MyChip::stat_names() {
    return names;
}

void MyChip::read_stats(std::span<std::uint64_t> stats) {
    if (!stats.empty()) {
        stats[0] = tx_dropped_;
    }
}

/// A packet completed as dropped is counted by the kernel.
void MyChip::read_counters(udrv_net_counters& counters) const {
    counters = {};
}

void MyChip::read_registers(std::span<udrv_net_register> registers) {
    // To do: all that reading does not change.
    if (!registers.empty()) {
        registers[0] = {reg::status.offset, reg::status.read(regs_)};
    }
}

void MyChip::stop() {
    reg::mask.write(regs_, 0);
    reg::control.write(regs_, 0);
}

} // namespace udrv::mychip
