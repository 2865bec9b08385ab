// SPDX-License-Identifier: MIT
//
// Transfer modes: which one a drive and the controller both know, and the controller's
// timing registers for it. Plain functions. A mode is written as SET FEATURES has it
// (set_features::mwdma or udma, with its number).
//
// PIIX4, 4.1 (PCI configuration registers of the IDE function); the PIIX3 has IDETIM and
// SIDETIM alike, and no Ultra DMA.
#pragma once

#include <cstdint>

#include "drivers/ata/identify.hpp"
#include "drivers/ide/ide_registers.hpp"

namespace udrv::ide {

enum class Controller : std::uint8_t { piix3, piix4 };

inline constexpr std::uint8_t no_mode = 0;

/// The fastest mode that both know and that is slower than `below` (no_mode: any), or
/// no_mode. Multiword DMA 0 is tried even if the drive does not list it.
[[nodiscard]] std::uint8_t choose_mode(const ata::Identity& identity, Controller controller,
                                       std::uint8_t below = no_mode);

/// Makes the controller's end of that drive agree with `mode`; nothing may be under way on
/// the channel. `timing` is configuration space, accessed by bytes. False: the registers
/// do not read back as written.
[[nodiscard]] bool set_timing(RegisterIo& timing, Controller controller, unsigned channel,
                              unsigned drive, std::uint8_t mode);

} // namespace udrv::ide
