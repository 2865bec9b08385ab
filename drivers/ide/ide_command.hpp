// SPDX-License-Identifier: MIT
//
// From a request to the bytes of a command and its descriptor table, and from status
// bytes to a result. Plain functions: no registers, no state.
#pragma once

#include <cstdint>
#include <span>

#include "drivers/ata/identify.hpp"
#include "drivers/ide/ide_registers.hpp"
#include <udrv/blk.h>

namespace udrv::ide {

/// What the command block gets. Only the fields that the command uses are written:
/// each port costs the bus 120 ns or more, and a virtual machine an exit.
struct Taskfile {
    enum class Fields : std::uint8_t { none, address28, address48 };

    std::uint8_t command = 0;
    std::uint8_t device = 0;
    Fields fields = Fields::none;
    bool has_features = false; ///< FEATURES, and COUNT even without an address
    std::uint16_t features = 0;
    std::uint16_t count = 0; ///< 28-bit: 0 is 256; 48-bit: 0 is 65,536
    std::uint64_t lba = 0;
};

struct Command {
    enum class Data : std::uint8_t {
        none,
        in,      ///< drive to segments
        out,     ///< segments to drive
        payload, ///< a TRIM payload to the drive
        block    ///< one block from the drive, by the data register (PIO)
    };
    Taskfile task;
    Data data = Data::none;
    bool slow = false; ///< may take a drive long: flush, TRIM
    [[nodiscard]] bool by_bus_master() const { return data != Data::none && data != Data::block; }
};

/// What of a drive decides about its commands.
struct Drive {
    std::uint8_t device = 0;        ///< DEVICE register: which one of the channel
    std::uint8_t transfer_mode = 0; ///< in use, as SET FEATURES has it
    bool lba48 = false;
    bool flush_ext = false;
    bool fua = false;
    bool trim = false;
    std::uint32_t block_sectors = 1; ///< logical block in units of 512 bytes
    std::uint64_t nr_sectors = 0;    ///< in units of 512 bytes
};

/// Its transfer_mode is still to be chosen.
[[nodiscard]] Drive drive_of(const ata::Identity& identity, unsigned number);

/// What the channel says of such a drive; `unit` is channel * 2 + drive.
[[nodiscard]] udrv_blk_disk disk_of(const ata::Identity& identity, std::uint32_t unit,
                                    std::uint32_t depth);

/// Returns UDRV_BLK_OK and the command; or another status, if the drive does not know
/// the operation or the request is not for it.
[[nodiscard]] std::uint32_t encode(const udrv_blk_request& request, const Drive& drive,
                                   Command& command);

/// A command that the kernel let through (struct udrv_blk_ata).
void encode_ata(const udrv_blk_ata& ata, const Drive& drive, Command& command);

/// SET FEATURES, set transfer mode.
[[nodiscard]] Taskfile encode_transfer_mode(const Drive& drive);

/// Fills the table. False if the segments are not exactly `len_bytes` in all, or one
/// is not as the controller needs it (struct Prd, and below 4 GiB): a drive that waits
/// for bytes that no descriptor stands for never ends its command.
[[nodiscard]] bool encode_prds(std::span<const udrv_blk_segment> segments, std::uint64_t len_bytes,
                               std::span<Prd, max_prds> table);

enum class Verdict : std::uint8_t { ok, retry, failed };

struct Result {
    Verdict verdict = Verdict::ok;
    std::uint32_t status = UDRV_BLK_OK; ///< with failed; and with retry, after the last one
};

/// `bm_status`: BMIDESTA as it was when the drive interrupted, 0 for a command without
/// data. `error` counts only if STATUS.ERR is set.
[[nodiscard]] Result judge(std::uint8_t bm_status, std::uint8_t status, std::uint8_t error);

} // namespace udrv::ide
