// SPDX-License-Identifier: MIT
#include "drivers/ide/ide_command.hpp"

#include <algorithm>

#include "drivers/ata/ata_commands.hpp"

namespace udrv::ide {

namespace {

/// Sectors 0 to 0FFFFFFEh. A drive that has more reports 0FFFFFFFh as its 28-bit
/// capacity (ACS-3, IDENTIFY DEVICE, words 60-61), so that sector 0FFFFFFFh itself,
/// although 28 bits can express it, is reached by 48-bit commands only.
constexpr std::uint64_t capacity_28 = ata::end_of_lba28 - 1;

/// 1 MiB. A command can carry far more, but 128 descriptors of single pages are
/// 512 KiB, and one long command keeps the other drive waiting.
constexpr std::uint32_t max_sectors_48 = 2048;

std::uint32_t encode_transfer(const udrv_blk_request& request, const Drive& drive,
                              std::uint64_t lba, std::uint64_t blocks, Command& command) {
    const bool write = request.op == UDRV_BLK_WRITE;
    const bool fua = write && (request.flags & UDRV_BLK_REQ_FUA) != 0;
    if (fua && !drive.fua) {
        return UDRV_BLK_NOTSUPP;
    }
    Taskfile& task = command.task;
    task.lba = lba;
    if (!fua && lba + blocks <= capacity_28 && blocks <= ata::max_blocks_28) {
        // Half as many port writes as the 48-bit form.
        task.fields = Taskfile::Fields::address28;
        task.command = write ? ata::cmd::write_dma : ata::cmd::read_dma;
        task.device = static_cast<std::uint8_t>(task.device | (lba >> 24 & 0x0f));
        task.count = static_cast<std::uint16_t>(blocks & 0xff);
    } else if (drive.lba48 && blocks <= ata::max_blocks_48) {
        task.fields = Taskfile::Fields::address48;
        task.command = fua     ? ata::cmd::write_dma_fua_ext
                       : write ? ata::cmd::write_dma_ext
                               : ata::cmd::read_dma_ext;
        task.count = static_cast<std::uint16_t>(blocks & 0xffff);
    } else {
        return UDRV_BLK_IOERR;
    }
    command.data = write ? Command::Data::out : Command::Data::in;
    return UDRV_BLK_OK;
}

/// The ranges are not looked at: ata::encode_trim() does.
std::uint32_t encode_discard(const Drive& drive, Command& command) {
    if (!drive.trim) {
        return UDRV_BLK_NOTSUPP;
    }
    // The ranges are in the payload; LBA is reserved, COUNT is in blocks of 512 bytes.
    Taskfile& task = command.task;
    task.fields = Taskfile::Fields::address48;
    task.command = ata::cmd::data_set_management;
    task.has_features = true;
    task.features = ata::dsm_trim;
    task.count = 1;
    command.data = Command::Data::payload;
    command.slow = true;
    return UDRV_BLK_OK;
}

} // namespace

Drive drive_of(const ata::Identity& identity, unsigned number) {
    Drive drive;
    drive.device = device::obsolete_ones | ata::device_lba;
    if (number != 0) {
        drive.device |= ata::device_slave;
    }
    drive.lba48 = identity.lba48;
    drive.flush_ext = identity.flush_ext;
    drive.fua = identity.fua;
    drive.trim = identity.trim;
    drive.block_sectors = identity.logical_block_bytes / ata::sector_bytes;
    drive.nr_sectors = identity.nr_blocks * drive.block_sectors;
    return drive;
}

udrv_blk_disk disk_of(const ata::Identity& identity, std::uint32_t unit, std::uint32_t depth) {
    udrv_blk_disk disk = ata::describe(identity);
    const std::uint32_t block_sectors = identity.logical_block_bytes / ata::sector_bytes;
    disk.unit = unit;
    disk.depth = depth;
    disk.max_sectors = identity.lba48 ? max_sectors_48 : ata::max_blocks_28 * block_sectors;
    disk.max_segments = max_prds;
    disk.max_segment_bytes = prd_max_bytes;
    disk.segment_boundary = prd_boundary;
    disk.dma_alignment = 1; // words: bit 0 of a descriptor's address and count is 0
    return disk;
}

std::uint32_t encode(const udrv_blk_request& request, const Drive& drive, Command& command) {
    command = {};
    command.task.device = drive.device;
    if (request.op == UDRV_BLK_FLUSH) {
        command.task.command = drive.flush_ext ? ata::cmd::flush_cache_ext : ata::cmd::flush_cache;
        command.slow = true;
        return UDRV_BLK_OK;
    }
    if (request.op == UDRV_BLK_DISCARD) {
        return encode_discard(drive, command);
    }
    if (request.nr_sectors == 0 || request.sector >= drive.nr_sectors ||
        request.nr_sectors > drive.nr_sectors - request.sector ||
        request.sector % drive.block_sectors != 0 ||
        request.nr_sectors % drive.block_sectors != 0) {
        return UDRV_BLK_IOERR;
    }
    const std::uint64_t lba = request.sector / drive.block_sectors;
    const std::uint64_t blocks = request.nr_sectors / drive.block_sectors;
    switch (request.op) {
    case UDRV_BLK_READ:
    case UDRV_BLK_WRITE:
        return encode_transfer(request, drive, lba, blocks, command);
    default:
        return UDRV_BLK_NOTSUPP;
    }
}

void encode_ata(const udrv_blk_ata& ata, const Drive& drive, Command& command) {
    command = {};
    Taskfile& task = command.task;
    task.command = ata.command;
    task.device = drive.device;
    task.fields = Taskfile::Fields::address28;
    task.has_features = true;
    task.features = ata.features;
    task.count = ata.count;
    task.lba = ata.lba_low | std::uint64_t{ata.lba_mid} << 8 | std::uint64_t{ata.lba_high} << 16;
    command.data = ata.nr_blocks != 0 ? Command::Data::block : Command::Data::none;
}

Taskfile encode_transfer_mode(const Drive& drive) {
    Taskfile task;
    task.command = set_features::opcode;
    task.device = drive.device;
    task.has_features = true;
    task.features = set_features::transfer_mode;
    task.count = drive.transfer_mode;
    return task;
}

bool encode_prds(std::span<const udrv_blk_segment> segments, std::uint64_t len_bytes,
                 std::span<Prd, max_prds> table) {
    if (segments.empty() || segments.size() > table.size()) {
        return false;
    }
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < segments.size(); i++) {
        const std::uint64_t first = segments[i].dma_addr;
        const std::uint64_t length = segments[i].len_bytes;
        if (length == 0 || length > prd_max_bytes || ((first | length) & 1) != 0) {
            return false;
        }
        // First and last byte in the same 64 KiB, and that below 4 GiB.
        const std::uint64_t last = first + length - 1;
        if (first >> 16 != last >> 16 || last >> 32 != 0) {
            return false;
        }
        // A length of 64 KiB becomes the 0 that stands for it.
        table[i] = {static_cast<std::uint32_t>(first), static_cast<std::uint16_t>(length), 0};
        sum += length;
    }
    table[segments.size() - 1].flags = prd_eot;
    return sum == len_bytes;
}

Result judge(std::uint8_t bm_status, std::uint8_t status, std::uint8_t error) {
    if ((status & ata::status::err) != 0) {
        // ICRC comes with ABRT (ATA, READ DMA, error outputs), so it goes first: what
        // the cable damaged may arrive the next time.
        if ((error & ata::error::icrc) != 0) {
            return {Verdict::retry, UDRV_BLK_IOERR};
        }
        if ((error & ata::error::unc) != 0) {
            return {Verdict::failed, UDRV_BLK_MEDIUM};
        }
        return {Verdict::failed, UDRV_BLK_IOERR};
    }
    if ((status & ata::status::df) != 0 || (bm_status & bmidesta::error) != 0) {
        return {Verdict::failed, UDRV_BLK_IOERR};
    }
    // The drive is content, but descriptors are left over (BMIDE: interrupt 1, active
    // 1). As they are exactly the command's length, bytes were lost on the way.
    if ((bm_status & bmidesta::active) != 0) {
        return {Verdict::retry, UDRV_BLK_IOERR};
    }
    return {};
}

} // namespace udrv::ide
