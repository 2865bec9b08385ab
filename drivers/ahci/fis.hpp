// SPDX-License-Identifier: MIT
//
// The register FIS from host to disk: how a command looks on the link. The layout is
// that of the Serial ATA specification, section "Register - Host to Device"; the
// meaning of its fields for each command is that of ACS-3.
#pragma once

#include <array>
#include <cstdint>

#include "drivers/ata/ata_commands.hpp"

namespace udrv::ahci {

inline constexpr std::uint8_t fis_register_h2d = 0x27;
inline constexpr std::uint8_t fis_register_d2h = 0x34;
inline constexpr std::uint8_t fis_set_device_bits = 0xa1;

using H2dFis = std::array<std::uint8_t, 20>;

/// A command in ATA's terms. Widths are those of 48-bit commands.
struct Taskfile {
    std::uint8_t command = 0;
    std::uint8_t device = 0;
    std::uint16_t features = 0;
    std::uint16_t count = 0;
    std::uint64_t lba = 0;
};

[[nodiscard]] constexpr H2dFis encode(const Taskfile& task) {
    constexpr std::uint8_t c = 1u << 7; // COMMAND is new, rather than CONTROL
    const auto lba = [&](unsigned n) { return static_cast<std::uint8_t>(task.lba >> (8 * n)); };
    return {fis_register_h2d,
            c,
            task.command,
            static_cast<std::uint8_t>(task.features),
            lba(0),
            lba(1),
            lba(2),
            task.device,
            lba(3),
            lba(4),
            lba(5),
            static_cast<std::uint8_t>(task.features >> 8),
            static_cast<std::uint8_t>(task.count),
            static_cast<std::uint8_t>(task.count >> 8),
            0, // isochronous command completion
            0, // control
            0,
            0,
            0,
            0};
}

/// READ or WRITE FPDMA QUEUED: the number of blocks is in FEATURES (0 is 65536), the
/// tag in bits 7:3 of COUNT (ACS-3, sections of these names).
[[nodiscard]] constexpr Taskfile
queued_transfer(bool write, std::uint64_t lba, std::uint32_t blocks, std::uint32_t tag, bool fua) {
    Taskfile task;
    task.command = write ? ata::cmd::write_fpdma_queued : ata::cmd::read_fpdma_queued;
    task.device = ata::device_lba;
    if (fua) {
        task.device |= ata::device_fua;
    }
    task.features = static_cast<std::uint16_t>(blocks);
    task.count = static_cast<std::uint16_t>(tag << 3);
    task.lba = lba;
    return task;
}

/// READ or WRITE DMA, with 48-bit addresses where the disk has them. A COUNT of 0 is
/// 65536 or 256 blocks.
[[nodiscard]] constexpr Taskfile transfer(bool write, std::uint64_t lba, std::uint32_t blocks,
                                          bool lba48, bool fua) {
    Taskfile task;
    task.device = ata::device_lba;
    task.lba = lba;
    task.count = static_cast<std::uint16_t>(blocks);
    if (lba48) {
        task.command = write ? ata::cmd::write_dma_ext : ata::cmd::read_dma_ext;
        if (write && fua) {
            task.command = ata::cmd::write_dma_fua_ext;
        }
        return task;
    }
    task.command = write ? ata::cmd::write_dma : ata::cmd::read_dma;
    task.count &= 0xff;
    task.device = static_cast<std::uint8_t>(task.device | (lba >> 24 & 0x0f)); // LBA 27:24
    task.lba = lba & 0xffffff;
    return task;
}

[[nodiscard]] constexpr Taskfile flush(bool ext) {
    Taskfile task;
    task.command = ext ? ata::cmd::flush_cache_ext : ata::cmd::flush_cache;
    task.device = ata::device_lba;
    return task;
}

/// TRIM with one payload block; its ranges are in the data.
[[nodiscard]] constexpr Taskfile trim() {
    Taskfile task;
    task.command = ata::cmd::data_set_management;
    task.device = ata::device_lba;
    task.features = ata::dsm_trim;
    task.count = 1;
    return task;
}

[[nodiscard]] constexpr Taskfile identify() {
    Taskfile task;
    task.command = ata::cmd::identify_device;
    return task;
}

/// A command that the kernel let through, with 28-bit registers.
[[nodiscard]] constexpr Taskfile plain(const udrv_blk_ata& command) {
    Taskfile task;
    task.command = command.command;
    task.device = ata::device_lba;
    task.features = command.features;
    task.count = command.count;
    task.lba = command.lba_low | std::uint64_t{command.lba_mid} << 8 |
               std::uint64_t{command.lba_high} << 16;
    return task;
}

/// ACS-3, SET FEATURES.
[[nodiscard]] constexpr Taskfile spin_up() {
    Taskfile task;
    task.command = ata::cmd::set_features;
    task.features = ata::feature_spin_up;
    return task;
}

/// One page of a log: address in LBA 7:0, page number 0 in LBA 15:8 (ACS-3, READ LOG
/// EXT).
[[nodiscard]] constexpr Taskfile read_log(std::uint8_t log) {
    Taskfile task;
    task.command = ata::cmd::read_log_ext;
    task.device = ata::device_lba;
    task.count = 1;
    task.lba = log;
    return task;
}

} // namespace udrv::ahci
