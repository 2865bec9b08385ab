// SPDX-License-Identifier: MIT
//
// What all ATA disks share, whichever controller they hang on: command opcodes,
// status and error bits, the layout of a TRIM payload and of the log page that
// names a failed queued command. Names are those of "ACS-3", the ATA/ATAPI
// Command Set - 3 standard; each command has a section of its name there.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include <udrv/blk.h>

namespace udrv::ata {

inline constexpr std::uint32_t sector_bytes = 512; ///< unit of PIO and log transfers

namespace cmd {
inline constexpr std::uint8_t data_set_management = 0x06; // DMA, feature dsm_trim
inline constexpr std::uint8_t read_dma_ext = 0x25;        // 48-bit
inline constexpr std::uint8_t read_log_ext = 0x2f;        // PIO
inline constexpr std::uint8_t write_dma_ext = 0x35;
inline constexpr std::uint8_t write_dma_fua_ext = 0x3d; // on the medium when it ends
inline constexpr std::uint8_t read_fpdma_queued = 0x60;
inline constexpr std::uint8_t write_fpdma_queued = 0x61;
inline constexpr std::uint8_t read_dma = 0xc8; // 28-bit
inline constexpr std::uint8_t write_dma = 0xca;
inline constexpr std::uint8_t flush_cache = 0xe7;
inline constexpr std::uint8_t flush_cache_ext = 0xea;
inline constexpr std::uint8_t identify_device = 0xec; // PIO, one block of 512 bytes
inline constexpr std::uint8_t set_features = 0xef;    // no data, its subcommand in FEATURE
} // namespace cmd

/// FEATURE of set_features: spin up a disk that powered up in standby (ACS-3, PUIS
/// feature set device spin-up).
inline constexpr std::uint8_t feature_spin_up = 0x07;

inline constexpr std::uint16_t dsm_trim = 1;          ///< FEATURE of data_set_management
inline constexpr std::uint8_t log_ncq_error = 0x10;   ///< LOG ADDRESS: NCQ Command Error log
inline constexpr std::uint8_t device_lba = 1u << 6;   ///< DEVICE: the address is an LBA
inline constexpr std::uint8_t device_fua = 1u << 7;   ///< DEVICE of write_fpdma_queued
inline constexpr std::uint8_t device_slave = 1u << 4; ///< DEVICE: the second drive of a channel

/// Values of 28 and 48 bit commands; a COUNT of 0 would mean the number given here.
inline constexpr std::uint32_t max_blocks_28 = 256;
inline constexpr std::uint32_t max_blocks_48 = 65536;
inline constexpr std::uint64_t end_of_lba28 = std::uint64_t{1} << 28;
inline constexpr std::uint64_t end_of_lba48 = std::uint64_t{1} << 48;

namespace status { // ACS-3, STATUS field
inline constexpr std::uint8_t err = 1u << 0;
inline constexpr std::uint8_t drq = 1u << 3;
inline constexpr std::uint8_t df = 1u << 5; // device fault
inline constexpr std::uint8_t drdy = 1u << 6;
inline constexpr std::uint8_t bsy = 1u << 7;
/// The command did not do what it should. A device fault may come without ERR, and data may be
/// lost (ACS-3, DEVICE FAULT bit).
inline constexpr std::uint8_t bad = err | df;
} // namespace status

namespace error {                             // ACS-3, ERROR field; valid when status::err is set
inline constexpr std::uint8_t abrt = 1u << 2; // the command was refused or given up
inline constexpr std::uint8_t idnf = 1u << 4; // no such address
inline constexpr std::uint8_t unc = 1u << 6;  // data cannot be corrected
inline constexpr std::uint8_t icrc = 1u << 7; // damaged on the way
} // namespace error

// ---- TRIM ---------------------------------------------------------------------

/// Ranges in one block of 512 bytes: 64 entries, each with an LBA in bits 47:0 and
/// a count of logical blocks in bits 63:48; a count of 0 is no range (ACS-3, LBA
/// Range Entry).
inline constexpr std::uint32_t trim_ranges = sector_bytes / 8;
inline constexpr std::uint32_t trim_range_blocks = 65535;
/// What one payload is promised to carry: so many ranges of so many blocks in all. A
/// range takes an entry for each 65,535 blocks that it begins, so these always fit.
inline constexpr std::uint32_t max_trim_ranges = trim_ranges / 2;
inline constexpr std::uint32_t max_trim_blocks =
    (trim_ranges - max_trim_ranges) * trim_range_blocks;

/// What of a disk decides whether a range is on it.
struct TrimLimits {
    std::uint32_t block_sectors = 1; ///< logical block in units of 512 bytes
    std::uint64_t nr_sectors = 0;    ///< capacity in units of 512 bytes
};

/// Writes the payload of a TRIM. False, and the payload is not to be used, if there is no
/// range, one is not on the disk, or they do not fit into one payload.
[[nodiscard]] inline bool encode_trim(std::span<std::byte, sector_bytes> payload,
                                      std::span<const udrv_blk_range> ranges,
                                      const TrimLimits& limits) {
    std::size_t used = 0;
    for (const udrv_blk_range& range : ranges) {
        if (range.nr_sectors == 0 || range.nr_sectors > limits.nr_sectors ||
            range.sector > limits.nr_sectors - range.nr_sectors ||
            range.sector % limits.block_sectors != 0 ||
            range.nr_sectors % limits.block_sectors != 0) {
            return false;
        }
        std::uint64_t lba = range.sector / limits.block_sectors;
        std::uint32_t blocks = range.nr_sectors / limits.block_sectors;
        while (blocks != 0) {
            if (used == payload.size()) {
                return false;
            }
            const std::uint32_t part = std::min(blocks, trim_range_blocks);
            const std::uint64_t entry = lba | std::uint64_t{part} << 48;
            for (unsigned i = 0; i < 8; i++) { // little endian
                payload[used + i] = static_cast<std::byte>(entry >> (8 * i));
            }
            used += 8;
            lba += part;
            blocks -= part;
        }
    }
    std::fill(payload.begin() + static_cast<std::ptrdiff_t>(used), payload.end(), std::byte{0});
    return used != 0;
}

// ---- NCQ Command Error log -------------------------------------------------------

/// What the log says of the command that stopped the queue (ACS-3, NCQ Command
/// Error log). Not valid: the page is damaged, or the error was not a queued
/// command's.
struct NcqError {
    bool valid = false;
    std::uint8_t tag = 0;
    std::uint8_t status = 0; ///< status::*
    std::uint8_t error = 0;  ///< error::*
    std::uint64_t lba = 0;
};

[[nodiscard]] inline NcqError parse_ncq_error(std::span<const std::byte, sector_bytes> page) {
    const auto byte = [&](std::size_t i) { return std::to_integer<std::uint8_t>(page[i]); };
    unsigned sum = 0;
    for (std::size_t i = 0; i < page.size(); i++) {
        sum += byte(i);
    }
    NcqError found;
    // Byte 511 makes the sum of the page 0. A page of zeros has that sum too, but
    // no status; and NQ, bit 7 of byte 0, says that no queued command failed.
    found.valid = (sum & 0xff) == 0 && (byte(0) & 0x80) == 0 && byte(2) != 0;
    found.tag = byte(0) & 0x1f;
    found.status = byte(2);
    found.error = byte(3);
    constexpr std::size_t lba_at[] = {4, 5, 6, 8, 9, 10}; // byte 7 is DEVICE
    for (unsigned i = 0; i < 6; i++) {
        found.lba |= std::uint64_t{byte(lba_at[i])} << (8 * i);
    }
    return found;
}

} // namespace udrv::ata
