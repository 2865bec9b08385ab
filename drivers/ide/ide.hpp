// SPDX-License-Identifier: MIT
//
// Ide: driver of the PIIX3 (8086:7010) and PIIX4 (8086:7111) IDE function in
// compatibility mode, a BlkChip with up to four disks. Reading order:
// ide_registers.hpp, ide_command.hpp, this, channel.hpp, channel.cpp,
// channel_recovery.cpp. Source documents: see ide_registers.hpp.
//
// Interrupt vector 0 is IRQ 14, the primary channel's, and 1 is IRQ 15, the
// secondary's. interrupt() is called for either and finds out by itself.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "drivers/ide/channel.hpp"
#include "libudrv/blk/blk_chip.hpp"
#include "libudrv/device/dma.hpp"

namespace udrv::ide {

inline constexpr unsigned nr_channels = 2;

/// Places of the windows in compatibility mode (PIIX4, IDE controller). The bus
/// master's are at BAR 4, bus_master::stride apart.
struct LegacyPorts {
    std::uint16_t command_block; ///< 8 ports
    std::uint16_t control_block; ///< 1 port
    std::uint32_t irq;
};
inline constexpr std::array<LegacyPorts, nr_channels> legacy_ports{
    {{0x1f0, 0x3f6, 14}, {0x170, 0x376, 15}}};

class Ide {
  public:
    static constexpr bool completes_in_memory = false;
    /// Resets both channels, finds and identifies the drives. `dma` has to give memory
    /// below 4 GiB. After quiet_channel() of both. Throws Error, also if there is no disk at
    /// all.
    Ide(const std::array<ChannelPorts, nr_channels>& ports, DmaAllocator& dma,
        const Config& config = {});

    [[nodiscard]] std::span<const udrv_blk_disk> disks() const { return disks_; }
    void start(BlkCompletions& done);
    [[nodiscard]] bool interrupt();
    void submit(std::uint32_t disk, std::span<const BlkSubmission> submissions);
    /// Nothing: only an interrupt or the clock tells that a request is done.
    void reap() {}
    [[nodiscard]] BlkClock::time_point tick(BlkClock::time_point now);
    void stop();
    [[nodiscard]] BlkTroubles troubles() const {
        BlkTroubles sum;
        for (const Channel& channel : channels_) {
            sum.timeouts += channel.counters().timeouts;
            sum.resets += channel.counters().resets;
        }
        return sum;
    }

    /// What set-up found that is not a usable disk, a sentence each.
    [[nodiscard]] std::span<const std::string> notes() const { return notes_; }
    [[nodiscard]] const ChannelCounters& counters(unsigned channel) const {
        return channels_[channel].counters();
    }

  private:
    struct Place {
        unsigned channel = 0;
        unsigned drive = 0;
    };

    std::array<Channel, nr_channels> channels_;
    std::vector<udrv_blk_disk> disks_;
    std::vector<Place> places_; ///< of each disk
    std::vector<std::string> notes_;
};

static_assert(BlkChip<Ide>);

} // namespace udrv::ide
