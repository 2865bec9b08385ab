// SPDX-License-Identifier: MIT
//
// The block device of the virtio specification (virtio_registers.hpp names it), 5.2.
#pragma once

#include <cstdint>

#include "libudrv/device/registers.hpp"

namespace udrv::virtio_blk {

// 5.2.2, without VIRTIO_BLK_F_MQ
namespace queue {
inline constexpr std::uint16_t requestq1 = 0;
} // namespace queue

/// Feature bits, 5.2.3: VIRTIO_BLK_F_*.
namespace feature {
inline constexpr std::uint64_t size_max = 1ull << 1;
inline constexpr std::uint64_t seg_max = 1ull << 2;
inline constexpr std::uint64_t ro = 1ull << 5;
inline constexpr std::uint64_t blk_size = 1ull << 6;
inline constexpr std::uint64_t flush = 1ull << 9;
inline constexpr std::uint64_t topology = 1ull << 10;
inline constexpr std::uint64_t config_wce = 1ull << 11;
inline constexpr std::uint64_t discard = 1ull << 13;
inline constexpr std::uint64_t write_zeroes = 1ull << 14;
} // namespace feature

/// struct virtio_blk_config, 5.2.4. Sectors are of 512 bytes, whatever blk_size is.
namespace config {
inline constexpr Register<std::uint32_t> capacity{0x00}; ///< two halves, in sectors
inline constexpr Register<std::uint32_t> size_max{0x08}; ///< of a piece of data, in bytes
inline constexpr Register<std::uint32_t> seg_max{0x0c};  ///< pieces of data in a request
inline constexpr Register<std::uint32_t> blk_size{0x14};
inline constexpr Register<std::uint8_t> physical_block_exp{0x18};   ///< log2, in logical blocks
inline constexpr Register<std::uint8_t> writeback{0x20};            ///< 0: writes are on the medium
inline constexpr Register<std::uint32_t> max_discard_sectors{0x24}; ///< of one range
inline constexpr Register<std::uint32_t> max_discard_seg{0x28};     ///< ranges
inline constexpr Register<std::uint32_t> max_write_zeroes_sectors{0x30};
} // namespace config

// ---- struct virtio_blk_req, 5.2.6: a header, the data, a byte of status ----------------

struct Header {
    std::uint32_t type;
    std::uint32_t reserved;
    std::uint64_t sector;
};
static_assert(sizeof(Header) == 16);

/// VIRTIO_BLK_T_*
namespace type {
inline constexpr std::uint32_t in = 0;
inline constexpr std::uint32_t out = 1;
inline constexpr std::uint32_t flush = 4;
inline constexpr std::uint32_t get_id = 8;
inline constexpr std::uint32_t discard = 11;
inline constexpr std::uint32_t write_zeroes = 13;
} // namespace type

inline constexpr std::uint32_t id_bytes = 20; ///< that GET_ID gives

/// The data of a discard or of write zeroes.
struct DiscardWriteZeroes {
    std::uint64_t sector;
    std::uint32_t num_sectors;
    std::uint32_t flags;
};
static_assert(sizeof(DiscardWriteZeroes) == 16);

namespace range_flags {
inline constexpr std::uint32_t unmap = 1; ///< write zeroes: the sectors may be deallocated
} // namespace range_flags

/// VIRTIO_BLK_S_*
namespace status {
inline constexpr std::uint8_t ok = 0;
inline constexpr std::uint8_t ioerr = 1;
inline constexpr std::uint8_t unsupp = 2;
inline constexpr std::uint8_t none = 0xff; ///< ours: the device has not written it yet
} // namespace status

} // namespace udrv::virtio_blk
