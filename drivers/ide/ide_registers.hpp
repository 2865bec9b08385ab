// SPDX-License-Identifier: MIT
//
// Registers of a bus-master IDE channel in compatibility mode, and its descriptors.
// Names and sections are those of
//   "PIIX4": Intel 82371AB data sheet, 5.2 (I/O registers of the IDE function) and
//            the description of bus-master IDE; the 82371FB/SB (PIIX3) data sheet
//            describes the same under its own "Bus Master IDE";
//   "BMIDE": Programming Interface for Bus Master IDE Controller, revision 1.0;
//   "ATA":   ATA/ATAPI-6, register descriptions and protocols of the parallel bus.
//            ACS-3 has the same commands, without the bus.
//
// A channel has three windows of I/O ports. Opcodes and status bits that all ATA
// disks share are in drivers/ata.
#pragma once

#include <cstdint>

#include "libudrv/device/registers.hpp"

namespace udrv::ide {

using R8 = Register<std::uint8_t>;
using R16 = Register<std::uint16_t>;
using R32 = Register<std::uint32_t>;

namespace command_block { // 8 ports from 1F0h or 170h
inline constexpr R16 data{0};
inline constexpr R8 error{1};    // read; valid when STATUS.ERR is set
inline constexpr R8 features{1}; // write
// The next five are two bytes deep: a 48-bit command writes the high half ("previous")
// and then the low half ("most recently written") to the same port.
inline constexpr R8 count{2};
inline constexpr R8 lba_low{3};
inline constexpr R8 lba_mid{4};
inline constexpr R8 lba_high{5};
inline constexpr R8 device{6};
inline constexpr R8 status{7};  // read; reading it lowers INTRQ
inline constexpr R8 command{7}; // write
} // namespace command_block

namespace control_block {                // 1 port, 3F6h or 376h
inline constexpr R8 alternate_status{0}; // read; as STATUS, but leaves INTRQ alone
inline constexpr R8 device_control{0};   // write; both drives of the channel listen
} // namespace control_block

namespace bus_master {                     // 8 ports, BAR 4 + 0 or + 8
inline constexpr R8 bmicom{0};             // command, PIIX4 5.2.1
inline constexpr R8 bmidesta{2};           // status, PIIX4 5.2.2
inline constexpr R32 bmidtp{4};            // descriptor table pointer, PIIX4 5.2.3
inline constexpr std::uint32_t stride = 8; // bytes from one channel to the next
} // namespace bus_master

/// Configuration space: how the controller times the cycles to each drive. (PIIX4 4.1.)
namespace config {
inline constexpr R8 idetim{0x40};                 // a channel's two drives: idetim::*
inline constexpr R8 idetim_high{0x41};            // its upper byte
inline constexpr std::uint32_t idetim_stride = 2; // bytes from one channel to the next
inline constexpr R8 sidetim{0x44};                // clocks of the second drives
inline constexpr R8 udmactl{0x48};                // PIIX4: Ultra DMA on, a bit a drive
inline constexpr R8 udmatim{0x4a};                // PIIX4: cycle time, a byte a channel
} // namespace config

namespace idetim {                                        // lower byte, << 4 for drive 1
inline constexpr std::uint8_t time = 1u << 0;             // fast timing
inline constexpr std::uint8_t ie = 1u << 1;               // IORDY is looked at
inline constexpr std::uint8_t dte = 1u << 3;              // fast timing for DMA only
inline constexpr std::uint8_t drive_mask = 0xf;           // these, and prefetch
inline constexpr std::uint8_t clocks_mask = 3u << 4 | 3u; // upper byte: ISP, RTC
inline constexpr std::uint8_t sitre = 1u << 6;            // upper byte: SIDETIM is used
} // namespace idetim

namespace device_control {                    // ATA, Device Control register
inline constexpr std::uint8_t nien = 1u << 1; // INTRQ off
inline constexpr std::uint8_t srst = 1u << 2; // software reset, while it is 1
} // namespace device_control

namespace device {
/// Bits 7 and 5 are obsolete since ATA-6; older drives want ones.
inline constexpr std::uint8_t obsolete_ones = 0xa0;
} // namespace device

namespace bmicom {                             // PIIX4 5.2.1
inline constexpr std::uint8_t ssbm = 1u << 0;  // start; cleared: stop, and forget all state
inline constexpr std::uint8_t rwcon = 1u << 3; // the device is read, memory is written
} // namespace bmicom

namespace bmidesta {                               // PIIX4 5.2.2
inline constexpr std::uint8_t active = 1u << 0;    // descriptors are not used up
inline constexpr std::uint8_t error = 1u << 1;     // PCI abort; a one clears it
inline constexpr std::uint8_t interrupt = 1u << 2; // INTRQ rose; a one clears it
/// Drive 0 and 1 "DMA capable": notes that firmware leaves for software. A write
/// has to carry them.
inline constexpr std::uint8_t capable_mask = 3u << 5;
} // namespace bmidesta

namespace signature { // ATA, Signature and persistence: count, lba_low, mid, high
inline constexpr std::uint32_t ata = 0x00000101; // byte 0 is count
inline constexpr std::uint32_t atapi = 0xeb140101;
} // namespace signature

namespace set_features { // ATA, SET FEATURES: opcode, subcommand, and its COUNT
inline constexpr std::uint8_t opcode = 0xef;
inline constexpr std::uint8_t transfer_mode = 0x03;
inline constexpr std::uint8_t mwdma = 0x20; // | mode
inline constexpr std::uint8_t udma = 0x40;  // | mode
} // namespace set_features

/// Physical region descriptor (BMIDE, Physical Region Descriptor): one piece of memory, word
/// aligned, an even number of bytes, within one aligned 64 KiB. The controller adds to 16 bits of
/// the address only.
struct Prd {
    std::uint32_t dma_addr;
    std::uint16_t len_bytes; ///< 0: 64 KiB
    std::uint16_t flags;
};
static_assert(sizeof(Prd) == 8);

inline constexpr std::uint16_t prd_eot = 1u << 15; ///< last of the table
inline constexpr std::uint32_t prd_max_bytes = 65536;
inline constexpr std::uint32_t prd_boundary = 0xffff; ///< mask
inline constexpr std::uint32_t max_prds = 128;        ///< of one request

} // namespace udrv::ide
