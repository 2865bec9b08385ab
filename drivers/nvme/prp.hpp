// SPDX-License-Identifier: MIT
//
// Physical Region Pages: how a command says where its data are (NVMe 4.3).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "drivers/nvme/nvme_registers.hpp"
#include <udrv/blk.h>

namespace udrv::nvme {

inline constexpr std::size_t prps_a_list = page_bytes / sizeof(std::uint64_t);
/// As many pages as a list has entries: with the first in PRP1 there is one to spare, for
/// data that begin inside a page. So one list is always enough, and no list has a next.
inline constexpr std::uint32_t max_transfer_bytes = prps_a_list * page_bytes;

/// A page for the list of one command.
struct PrpList {
    std::span<std::uint64_t, prps_a_list> entries;
    std::uint64_t dma_addr;
};

/// Writes PRP1, PRP2 and, for more than two pages, the list. False: `segments` are not
/// `bytes` in all, or not what PRPs can say: all but the first begin at a page, all but the
/// last end at one, all are of dwords.
[[nodiscard]] bool encode_prps(SubmissionEntry& entry, const PrpList& list,
                               std::span<const udrv_blk_segment> segments, std::uint64_t bytes);

} // namespace udrv::nvme
