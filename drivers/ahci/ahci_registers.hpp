// SPDX-License-Identifier: MIT
//
// Registers and memory structures of an AHCI host bus adapter (HBA), as far as this
// driver uses them. Names and sections are those of "AHCI", Serial ATA Advanced Host
// Controller Interface 1.3.1.
//
// reg::<mnemonic> is the place of a register of the HBA, port::<mnemonic> that of a
// register of port 0; port n has it port::stride * n bytes further on. The bits of
// both are in the namespace of the register's name. All registers are 32 bits wide.
#pragma once

#include <cstddef>
#include <cstdint>

#include "libudrv/device/registers.hpp"

namespace udrv::ahci {

using R32 = Register<std::uint32_t>;

namespace reg { // AHCI 3.1, generic host control
inline constexpr R32 cap{0x00};
inline constexpr R32 ghc{0x04};
inline constexpr R32 is{0x08}; // write one to clear; bit n: port n
inline constexpr R32 pi{0x0c}; // bit n: port n is implemented
inline constexpr R32 cap2{0x24};
inline constexpr R32 bohc{0x28};
} // namespace reg

namespace port { // AHCI 3.3
inline constexpr std::uint32_t stride = 0x80;
inline constexpr R32 clb{0x100}; // command list, 1 KiB aligned
inline constexpr R32 clbu{0x104};
inline constexpr R32 fb{0x108}; // received FISes, 256 bytes aligned
inline constexpr R32 fbu{0x10c};
inline constexpr R32 is{0x110}; // write one to clear
inline constexpr R32 ie{0x114};
inline constexpr R32 cmd{0x118};
inline constexpr R32 tfd{0x120};  // the disk's STATUS and ERROR
inline constexpr R32 sig{0x124};  // what kind of device answered the last reset
inline constexpr R32 ssts{0x128}; // SStatus
inline constexpr R32 sctl{0x12c}; // SControl
inline constexpr R32 serr{0x130}; // SError, write one to clear
inline constexpr R32 sact{0x134}; // SActive: queued commands the disk has
inline constexpr R32 ci{0x138};   // command issue: slots the HBA has
} // namespace port

inline constexpr std::uint32_t max_ports = 32;
inline constexpr std::uint32_t max_slots = 32;

namespace cap {                          // AHCI 3.1.1
inline constexpr unsigned ncs_shift = 8; // number of command slots, 0's based
inline constexpr std::uint32_t ncs_mask = 0x1f;
inline constexpr std::uint32_t sss = 1u << 27;  // staggered spin-up: PxCMD.SUD is ours
inline constexpr std::uint32_t sncq = 1u << 30; // native command queuing
inline constexpr std::uint32_t s64a = 1u << 31; // 64-bit addresses
} // namespace cap

namespace ghc {                               // AHCI 3.1.2
inline constexpr std::uint32_t hr = 1u << 0;  // HBA reset, clears itself
inline constexpr std::uint32_t ie = 1u << 1;  // interrupts
inline constexpr std::uint32_t ae = 1u << 31; // AHCI mode
} // namespace ghc

namespace cap2 {                              // AHCI 3.1.10
inline constexpr std::uint32_t boh = 1u << 0; // BIOS/OS handoff
} // namespace cap2

namespace bohc {                              // AHCI 3.1.11
inline constexpr std::uint32_t bos = 1u << 0; // BIOS owns it
inline constexpr std::uint32_t oos = 1u << 1; // OS owns it
} // namespace bohc

/// PxIS and PxIE (AHCI 3.3.5, 3.3.6).
namespace px_is {
inline constexpr std::uint32_t dhrs = 1u << 0;  // a register FIS came with its I bit
inline constexpr std::uint32_t pss = 1u << 1;   // a PIO setup FIS likewise: its data are there
inline constexpr std::uint32_t sdbs = 1u << 3;  // a set device bits FIS likewise
inline constexpr std::uint32_t ufs = 1u << 4;   // unknown FIS; cleared through PxSERR
inline constexpr std::uint32_t pcs = 1u << 6;   // port connect change; likewise
inline constexpr std::uint32_t prcs = 1u << 22; // PhyRdy change; likewise
inline constexpr std::uint32_t ofs = 1u << 24;  // the disk sent more than the PRDs hold
inline constexpr std::uint32_t infs = 1u << 26; // interface error, survived
inline constexpr std::uint32_t ifs = 1u << 27;  // interface error, fatal
inline constexpr std::uint32_t hbds = 1u << 28; // host bus data error
inline constexpr std::uint32_t hbfs = 1u << 29; // host bus fatal error
inline constexpr std::uint32_t tfes = 1u << 30; // the disk set STATUS.ERR
/// The link came or went, or the transfer broke: only a port reset helps.
inline constexpr std::uint32_t broken = ufs | pcs | prcs | ofs | ifs | hbds | hbfs;
/// A device came or went (AHCI 7.3.1): what a port without a disk interrupts for.
inline constexpr std::uint32_t plugged = pcs | prcs;
/// Follow bits of PxSERR, and are cleared only with these (AHCI 3.3.5).
inline constexpr std::uint32_t by_serr = ufs | pcs | prcs;
/// A command of ours failed, by the disk's word or on the way.
inline constexpr std::uint32_t failed = ofs | ifs | hbds | hbfs | tfes;
inline constexpr std::uint32_t wanted = dhrs | pss | sdbs | tfes | broken;
} // namespace px_is

namespace px_cmd {                                    // AHCI 3.3.7
inline constexpr std::uint32_t st = 1u << 0;          // process the command list
inline constexpr std::uint32_t sud = 1u << 1;         // spin up
inline constexpr std::uint32_t pod = 1u << 2;         // power on
inline constexpr std::uint32_t fre = 1u << 4;         // receive FISes
inline constexpr std::uint32_t fr = 1u << 14;         // ... still does
inline constexpr std::uint32_t cr = 1u << 15;         // ... the command list is still processed
inline constexpr std::uint32_t icc_active = 1u << 28; // link out of power saving
} // namespace px_cmd

namespace px_tfd { // AHCI 3.3.8; bits of both halves: drivers/ata/ata_commands.hpp
inline constexpr unsigned err_shift = 8;
} // namespace px_tfd

namespace px_sig { // AHCI 3.3.9; values: SATA, the signature FIS
inline constexpr std::uint32_t disk = 0x00000101;
inline constexpr std::uint32_t atapi = 0xeb140101;
inline constexpr std::uint32_t enclosure = 0xc33c0101;
inline constexpr std::uint32_t multiplier = 0x96690101;
} // namespace px_sig

namespace px_ssts { // AHCI 3.3.10
inline constexpr std::uint32_t det_mask = 0xf;
inline constexpr std::uint32_t det_none = 0;
inline constexpr std::uint32_t det_ready = 3; // a device, and the link is up
} // namespace px_ssts

namespace px_sctl {                                // AHCI 3.3.11
inline constexpr std::uint32_t det_comreset = 1;   // for as long as it is written
inline constexpr std::uint32_t ipm_none = 3u << 8; // neither Partial nor Slumber
} // namespace px_sctl

// ---- In memory ------------------------------------------------------------------

/// One of the 32 entries of the command list (AHCI 4.2.2).
struct CommandHeader {
    std::uint16_t flags; ///< header::*
    std::uint16_t prdtl; ///< PRD entries
    std::uint32_t prdbc; ///< bytes moved, written by the HBA
    std::uint32_t ctba;  ///< command table, 128 bytes aligned
    std::uint32_t ctbau;
    std::uint32_t reserved[4];
};
static_assert(sizeof(CommandHeader) == 32);

namespace header {
inline constexpr std::uint16_t cfl_h2d = 5;     ///< length of the command FIS in dwords
inline constexpr std::uint16_t write = 1u << 6; ///< memory to disk
} // namespace header

/// Physical region descriptor (AHCI 4.2.3.3).
struct Prd {
    std::uint32_t dba; ///< even
    std::uint32_t dbau;
    std::uint32_t reserved;
    std::uint32_t dbc; ///< bits 21:0: bytes - 1, odd
};
static_assert(sizeof(Prd) == 16);
inline constexpr std::uint32_t prd_max_bytes = 1u << 22;

inline constexpr std::uint32_t max_prds = 128; ///< of one command; ours, not the chip's

/// Command table (AHCI 4.2.3): what a command header points to.
struct CommandTable {
    std::uint8_t cfis[64];
    std::uint8_t acmd[16];
    std::uint8_t reserved[48];
    Prd prds[max_prds];
};
static_assert(offsetof(CommandTable, prds) == 0x80);
static_assert(sizeof(CommandTable) % 128 == 0, "so that each of an array is aligned");

/// Where the HBA puts what the disk sends (AHCI 4.2.1).
struct ReceivedFis {
    std::uint8_t dsfis[28]; ///< DMA setup
    std::uint8_t reserved0[4];
    std::uint8_t psfis[20]; ///< PIO setup
    std::uint8_t reserved1[12];
    std::uint8_t rfis[20]; ///< register, disk to host
    std::uint8_t reserved2[4];
    std::uint8_t sdbfis[8]; ///< set device bits
    std::uint8_t ufis[64];  ///< unknown
    std::uint8_t reserved3[96];
};
static_assert(sizeof(ReceivedFis) == 256);
static_assert(offsetof(ReceivedFis, psfis) == 0x20 && offsetof(ReceivedFis, rfis) == 0x40 &&
              offsetof(ReceivedFis, sdbfis) == 0x58 && offsetof(ReceivedFis, ufis) == 0x60);

} // namespace udrv::ahci
