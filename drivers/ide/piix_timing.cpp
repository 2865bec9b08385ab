// SPDX-License-Identifier: MIT
#include "drivers/ide/piix_timing.hpp"

#include <array>

namespace udrv::ide {

namespace {

/// Clocks of 30 ns, coded as in the registers: ISP 0 to 3 are 5 to 2, RTC 0 to 3 are 4 to
/// 1. A cycle is their sum. Mode 0 needs 480 ns and has the compatible timing of 600 ns,
/// which is that of a drive whose TIME bit is 0; 1 needs 150 ns and gets 180, 2 gets 120.
struct Clocks {
    std::uint8_t isp;
    std::uint8_t rtc;
};
constexpr std::array<Clocks, 3> mwdma_clocks{{{0, 0}, {2, 1}, {2, 3}}};

constexpr std::uint8_t max_udma = 2; // of the PIIX4
constexpr std::uint8_t max_mwdma = 2;

bool is_udma(std::uint8_t mode) {
    return (mode & set_features::udma) != 0;
}

/// Replaces the bits of `mask`; false if they do not stay.
bool change(RegisterIo& timing, R8 place, std::uint8_t mask, std::uint8_t value) {
    const std::uint8_t found = place.read(timing);
    const auto wanted = static_cast<std::uint8_t>((found & ~mask) | value);
    if (wanted != found) {
        place.write(timing, wanted);
    }
    return place.read(timing) == wanted;
}

} // namespace

std::uint8_t choose_mode(const ata::Identity& identity, Controller controller, std::uint8_t below) {
    const auto slower = [&](std::uint8_t mode) { return below == no_mode || mode < below; };
    for (unsigned n = max_udma + 1; controller == Controller::piix4 && n-- != 0;) {
        const auto mode = static_cast<std::uint8_t>(set_features::udma | n);
        if ((identity.udma_modes >> n & 1) != 0 && slower(mode)) {
            return mode;
        }
    }
    for (unsigned n = max_mwdma + 1; n-- != 0;) {
        const auto mode = static_cast<std::uint8_t>(set_features::mwdma | n);
        if ((n == 0 || (identity.mwdma_modes >> n & 1) != 0) && slower(mode)) {
            return mode;
        }
    }
    return no_mode;
}

bool set_timing(RegisterIo& timing, Controller controller, unsigned channel, unsigned drive,
                std::uint8_t mode) {
    const auto udma_bit = static_cast<std::uint8_t>(1u << (2 * channel + drive));
    const auto number = static_cast<std::uint8_t>(mode & 7);
    bool kept = true;
    // Ultra DMA off first: in between, the drive has a timing of either kind, never a mix.
    if (controller == Controller::piix4) {
        kept = change(timing, config::udmactl, udma_bit, 0);
    }
    // Fast timing for DMA alone (DTE): the data port, which only IDENTIFY DEVICE uses,
    // stays at the compatible one, which suits any drive in any PIO mode.
    const bool fast = !is_udma(mode) && number != 0;
    const unsigned shift = 4 * drive;
    const auto bits = static_cast<std::uint8_t>(fast ? idetim::time | idetim::ie | idetim::dte : 0);
    kept = change(timing, config::idetim.at(channel, config::idetim_stride),
                  static_cast<std::uint8_t>(idetim::drive_mask << shift),
                  static_cast<std::uint8_t>(bits << shift)) &&
           kept;
    // SITRE: each drive has its own clocks, those of the second are in SIDETIM.
    const Clocks clocks = fast ? mwdma_clocks[number] : Clocks{0, 0};
    const R8 high = config::idetim_high.at(channel, config::idetim_stride);
    kept = change(timing, high, idetim::sitre, idetim::sitre) && kept;
    if (drive == 0) {
        kept = change(timing, high, idetim::clocks_mask,
                      static_cast<std::uint8_t>(clocks.isp << 4 | clocks.rtc)) &&
               kept;
    } else {
        const unsigned place = 4 * channel;
        kept = change(timing, config::sidetim, static_cast<std::uint8_t>(0xf << place),
                      static_cast<std::uint8_t>((clocks.isp << 2 | clocks.rtc) << place)) &&
               kept;
    }
    if (is_udma(mode)) {
        // Cycle time: 0, 1 and 2 are 4, 3 and 2 clocks, which are those of modes 0, 1, 2.
        kept =
            change(timing, config::udmatim.at(channel, 1), static_cast<std::uint8_t>(3u << shift),
                   static_cast<std::uint8_t>(number << shift)) &&
            change(timing, config::udmactl, udma_bit, udma_bit) && kept;
    }
    return kept;
}

} // namespace udrv::ide
