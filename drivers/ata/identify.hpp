// SPDX-License-Identifier: MIT
//
// What a disk says of itself: the 256 words of IDENTIFY DEVICE (ACS-3, section of
// that name), checked and put into plain terms. Set-up only.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include <udrv/blk.h>

namespace udrv::ata {

inline constexpr std::uint32_t identify_words = 256;

struct Identity {
    std::string model; ///< printable ASCII, without the padding
    std::string serial;
    std::string firmware; ///< its revision

    std::uint64_t nr_blocks = 0; ///< capacity in logical blocks, at most 2^48
    std::uint32_t logical_block_bytes = 512;
    std::uint32_t physical_block_bytes = 512;

    bool dma = false;   ///< DMA commands are known
    bool lba48 = false; ///< the EXT commands are known
    bool ncq = false;
    std::uint32_t ncq_depth = 0; ///< 1 to 32 with ncq

    bool write_cache = false; ///< volatile, and switched on now
    bool flush = false;       ///< FLUSH CACHE
    bool flush_ext = false;   ///< FLUSH CACHE EXT
    /// FLUSH CACHE is not announced, but there is a cache: ATA-4 and ATA-5 have the command, and
    /// no bit for it.
    bool flush_assumed = false;
    bool fua = false; ///< WRITE DMA FUA EXT, and the FUA bit of queued writes

    bool trim = false;
    bool rotational = true; ///< unless the disk says that it is not

    std::uint8_t mwdma_modes = 0;    ///< bit n: multiword DMA mode n is supported
    std::uint8_t udma_modes = 0;     ///< bit n: Ultra DMA mode n is supported
    std::uint8_t mwdma_selected = 0; ///< likewise, one bit: the mode in use
    std::uint8_t udma_selected = 0;
};

/// A disk with the power-up in standby feature set (PUIS) does not spin up by itself,
/// and may not know all about itself until then (ACS-3, IDENTIFY DEVICE: word 2,
/// specific configuration, and word 0 bit 2, response incomplete).
enum class Standby : std::uint8_t {
    no,     ///< spins, or will by itself, and says all
    wake,   ///< wants SET FEATURES with feature_spin_up; then IDENTIFY once more
    partial ///< spins up by itself; IDENTIFY once more a little later
};
[[nodiscard]] Standby standby(std::span<const std::uint16_t, identify_words> words);

/// The same disk in two IDENTIFY blocks: model, serial number, capacity, block sizes.
[[nodiscard]] bool same_disk(std::span<const std::uint16_t, identify_words> one,
                             std::span<const std::uint16_t, identify_words> other);

/// Either an identity, or one sentence on why the disk cannot be used.
struct IdentifyResult {
    Identity identity;
    std::string error; ///< empty: all is well
};

/// `words` as read from the data register, or from memory, on a little endian
/// machine. Nothing in them is trusted.
[[nodiscard]] IdentifyResult parse_identify(std::span<const std::uint16_t, identify_words> words);

/// The fields of `udrv_blk_disk` that follow from the disk alone: capacity, block
/// sizes, model, serial, rotation, write cache, FUA, discard of one payload of 512
/// bytes. Zero are unit, depth and what the chip limits. A chip that cannot do FUA
/// or TRIM takes them out again.
[[nodiscard]] udrv_blk_disk describe(const Identity& identity);

} // namespace udrv::ata
