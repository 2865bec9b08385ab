// SPDX-License-Identifier: MIT
#include "drivers/nvme/prp.hpp"

namespace udrv::nvme {

bool encode_prps(SubmissionEntry& entry, const PrpList& list,
                 std::span<const udrv_blk_segment> segments, std::uint64_t bytes) {
    constexpr std::uint64_t in_page = page_bytes - 1;
    std::size_t pages = 0;
    std::uint64_t sum = 0;
    for (std::size_t n = 0; n < segments.size(); n++) {
        std::uint64_t address = segments[n].dma_addr;
        const std::uint64_t end = address + segments[n].len_bytes;
        const bool first = n == 0;
        const bool last = n + 1 == segments.size();
        if (end <= address || ((address | end) & 3) != 0 || (!first && (address & in_page) != 0) ||
            (!last && (end & in_page) != 0)) {
            return false;
        }
        sum += end - address;
        for (; address < end; address = (address | in_page) + 1) {
            if (pages == 0) {
                entry.prp1 = address;
            } else if (pages <= prps_a_list) {
                list.entries[pages - 1] = address;
            } else {
                return false;
            }
            pages++;
        }
    }
    if (pages == 0 || sum != bytes) {
        return false;
    }
    // A second page stands in PRP2 itself.
    entry.prp2 = 0;
    if (pages == 2) {
        entry.prp2 = list.entries[0];
    } else if (pages > 2) {
        entry.prp2 = list.dma_addr;
    }
    return true;
}

} // namespace udrv::nvme
