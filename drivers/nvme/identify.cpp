// SPDX-License-Identifier: MIT
#include "drivers/nvme/identify.hpp"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "drivers/nvme/prp.hpp"

namespace udrv::nvme {

namespace {

constexpr std::uint32_t sector_bytes = 512;
constexpr std::uint64_t max_sectors = std::uint64_t{1} << 48; // of a disk

template <typename Word>
Word load(IdentifyPage page, std::size_t offset) {
    Word value;
    std::memcpy(&value, page.data() + offset, sizeof value);
    return value;
}

std::string text(IdentifyPage page, std::size_t offset, std::size_t length) {
    std::string text(reinterpret_cast<const char*>(page.data()) + offset, length);
    text.resize(std::min(text.size(), text.find('\0')));
    text.resize(text.find_last_not_of(' ') + 1);
    return text;
}

template <std::size_t size>
void copy_text(const std::string& from, char (&to)[size]) {
    std::copy_n(from.begin(), std::min(from.size(), size - 1), to); // the rest stays NUL
}

// Identify Controller (NVMe 5.15.2.2, figure 247).
namespace controller {
constexpr std::size_t sn = 4, sn_bytes = 20;
constexpr std::size_t mn = 24, mn_bytes = 40;
constexpr std::size_t fr = 64, fr_bytes = 8;
constexpr std::size_t mdts = 77;
constexpr std::size_t rtd3e = 88;
constexpr std::size_t oaes = 92;
constexpr std::size_t cntrltype = 111;
constexpr std::size_t crdt1 = 128;
constexpr std::size_t acl = 258;
constexpr std::size_t aerl = 259;
constexpr std::size_t sqes = 512;
constexpr std::size_t cqes = 513;
constexpr std::size_t nn = 516;
constexpr std::size_t oncs = 520;
constexpr std::size_t vwc = 525;
constexpr std::size_t awupf = 528;

constexpr std::uint16_t oncs_dsm = 1u << 2;
constexpr std::uint16_t oncs_write_zeroes = 1u << 3;
constexpr std::uint8_t type_io = 1; // 0: not reported
} // namespace controller

// Identify Namespace (NVMe 5.15.2.1, figure 245).
namespace nvm {
constexpr std::size_t nsze = 0;
constexpr std::size_t ncap = 8;
constexpr std::size_t nsfeat = 24;
constexpr std::size_t nlbaf = 25;
constexpr std::size_t flbas = 26;
constexpr std::size_t dlfeat = 33;
constexpr std::size_t nawupf = 36;
constexpr std::size_t npwg = 64;
constexpr std::size_t nsattr = 99;
constexpr std::size_t nguid = 104; // and EUI64 behind it
constexpr std::size_t lbaf0 = 128;

constexpr std::uint8_t nsfeat_atomic = 1u << 1;    // NAWUPF counts, not AWUPF
constexpr std::uint8_t nsfeat_preferred = 1u << 4; // NPWG counts
constexpr std::uint8_t nsattr_write_protected = 1u << 0;
constexpr std::uint8_t dlfeat_reads_zeroes = 1; // of bits 2:0
constexpr std::uint8_t dlfeat_deac = 1u << 3;   // Write Zeroes may deallocate
} // namespace nvm

// Identify Controller for the NVM command set (technical proposal 4040). 0: no limit.
namespace limits {
constexpr std::size_t wzsl = 1;
constexpr std::size_t dmrl = 3;
constexpr std::size_t dmrsl = 4;
constexpr std::size_t dmsl = 8;
} // namespace limits

/// Entry size `log2` is one that CC may ask for (SQES, CQES: maximum << 4 | minimum).
bool takes_entries(std::uint8_t sizes, unsigned log2) {
    return (sizes & 15) <= log2 && log2 <= (sizes >> 4);
}

} // namespace

ControllerIdentity parse_controller(IdentifyPage page) {
    ControllerIdentity id;
    id.model = text(page, controller::mn, controller::mn_bytes);
    id.serial = text(page, controller::sn, controller::sn_bytes);
    id.firmware = text(page, controller::fr, controller::fr_bytes);
    // In units of CAP.MPSMIN, which is 4 KiB for us; 0: no limit.
    const auto mdts = load<std::uint8_t>(page, controller::mdts);
    id.max_transfer_bytes = mdts == 0 || mdts > 9 ? max_transfer_bytes : page_bytes << mdts;
    id.shutdown_us = load<std::uint32_t>(page, controller::rtd3e);
    id.events = load<std::uint32_t>(page, controller::oaes);
    id.nr_namespaces = load<std::uint32_t>(page, controller::nn);
    for (std::size_t n = 0; n < id.retry_delay.size(); n++) {
        id.retry_delay[n] = load<std::uint16_t>(page, controller::crdt1 + 2 * n);
    }
    id.awupf = load<std::uint16_t>(page, controller::awupf);
    id.aborts = load<std::uint8_t>(page, controller::acl);
    id.event_requests = load<std::uint8_t>(page, controller::aerl);
    id.write_cache = (load<std::uint8_t>(page, controller::vwc) & 1) != 0;
    const auto oncs = load<std::uint16_t>(page, controller::oncs);
    id.dataset_management = (oncs & controller::oncs_dsm) != 0;
    id.write_zeroes = (oncs & controller::oncs_write_zeroes) != 0;

    const auto type = load<std::uint8_t>(page, controller::cntrltype);
    if (type > controller::type_io) {
        id.error = fmt::format("it is no I/O controller (CNTRLTYPE is {})", type);
    } else if (!takes_entries(load<std::uint8_t>(page, controller::sqes), 6) ||
               !takes_entries(load<std::uint8_t>(page, controller::cqes), 4)) {
        id.error = "it does not take queue entries of 64 and 16 bytes";
    }
    return id;
}

void parse_limits(IdentifyPage page, ControllerIdentity& controller) {
    if (const auto ranges = load<std::uint8_t>(page, limits::dmrl)) {
        controller.max_discard_ranges = ranges;
    }
    // A range that is longer is not refused: it may be passed over.
    if (const auto blocks = load<std::uint32_t>(page, limits::dmrsl)) {
        controller.max_discard_blocks = blocks;
    }
    if (const auto blocks = load<std::uint64_t>(page, limits::dmsl)) {
        controller.max_discard_blocks = std::min(controller.max_discard_blocks, blocks);
    }
    const auto wzsl = load<std::uint8_t>(page, limits::wzsl);
    controller.max_zeroes_bytes = wzsl == 0 || wzsl > 9 ? 0 : page_bytes << wzsl;
}

NamespaceIdentity parse_namespace(IdentifyPage page, const ControllerIdentity& controller) {
    NamespaceIdentity id;
    id.nr_blocks = load<std::uint64_t>(page, nvm::nsze);
    if (id.nr_blocks == 0 || load<std::uint64_t>(page, nvm::ncap) == 0) {
        return {}; // not there, or not allocated
    }
    std::memcpy(id.id.data(), page.data() + nvm::nguid, id.id.size());
    // With more than 16 formats (NVM Command Set 1.0) bits 6:5 are the upper ones of the index.
    const unsigned flbas = load<std::uint8_t>(page, nvm::flbas);
    const unsigned last = load<std::uint8_t>(page, nvm::nlbaf);
    const unsigned format = (flbas & 0x0fu) | (last > 15 ? (flbas & 0x60u) >> 1 : 0u);
    const auto lbaf = load<std::uint32_t>(page, nvm::lbaf0 + 4 * std::size_t{format});
    const std::uint32_t metadata = lbaf & 0xffff;
    const std::uint32_t lbads = lbaf >> 16 & 0xff;
    if (format > last) {
        id.problem = Problem::format;
        id.value = format;
    } else if (metadata != 0) {
        id.problem = Problem::metadata;
        id.value = metadata;
    } else if (lbads < 9 || lbads > 12) {
        id.problem = Problem::block_size;
        id.value = lbads;
    } else if (id.nr_blocks > max_sectors >> (lbads - 9)) {
        id.problem = Problem::capacity;
    }
    if (id.problem != Problem::none) {
        return id;
    }
    id.block_bytes = 1u << lbads;
    // What a power failure does not tear, or if smaller what is written at once.
    const auto nsfeat = load<std::uint8_t>(page, nvm::nsfeat);
    const bool own = (nsfeat & nvm::nsfeat_atomic) != 0;
    const std::uint32_t atomic = own ? load<std::uint16_t>(page, nvm::nawupf) : controller.awupf;
    const std::uint32_t preferred =
        (nsfeat & nvm::nsfeat_preferred) != 0 ? load<std::uint16_t>(page, nvm::npwg) : 0;
    const std::uint32_t blocks = std::min(atomic, preferred) + 1;
    const bool power_of_2 = (blocks & (blocks - 1)) == 0;
    id.physical_block_bytes =
        power_of_2 && blocks <= 256 ? id.block_bytes * blocks : id.block_bytes;
    id.read_only = (load<std::uint8_t>(page, nvm::nsattr) & nvm::nsattr_write_protected) != 0;
    const auto dlfeat = load<std::uint8_t>(page, nvm::dlfeat);
    id.zeroes_deallocate =
        (dlfeat & 7) == nvm::dlfeat_reads_zeroes && (dlfeat & nvm::dlfeat_deac) != 0;
    return id;
}

std::string problem_text(const NamespaceIdentity& id) {
    switch (id.problem) {
    case Problem::format:
        return fmt::format("its format {} is not in its list of formats (NLBAF)", id.value);
    case Problem::metadata:
        return fmt::format("its format has {} bytes of metadata a block, which this driver does "
                           "not carry; format it without (nvme format --lbaf)",
                           id.value);
    case Problem::block_size:
        return fmt::format("its blocks are of 2^{} bytes; 512 to 4,096 can be used", id.value);
    case Problem::capacity:
        return "it is larger than 2^48 sectors";
    case Problem::none:
        break;
    }
    return {};
}

udrv_blk_disk describe(const ControllerIdentity& controller, const NamespaceIdentity& ns,
                       std::uint32_t nsid, std::uint32_t depth) {
    udrv_blk_disk disk{};
    disk.nr_sectors = ns.nr_blocks * (ns.block_bytes / sector_bytes);
    disk.unit = nsid;
    disk.logical_block_bytes = ns.block_bytes;
    disk.physical_block_bytes = ns.physical_block_bytes;
    copy_text(controller.model, disk.model);
    copy_text(controller.serial, disk.serial);
    copy_text(controller.firmware, disk.revision);
    copy_text("NVMe", disk.vendor);
    // FUA is always known (NVMe 6.9, 6.15); without a volatile cache it has nothing to do.
    if (controller.write_cache) {
        disk.flags |= UDRV_BLK_WRITE_CACHE | UDRV_BLK_FUA;
    }
    if (ns.read_only) {
        disk.flags |= UDRV_BLK_READ_ONLY;
    }
    disk.depth = depth;
    disk.max_sectors = controller.max_transfer_bytes / sector_bytes;
    disk.max_segments = std::min<std::uint32_t>(controller.max_transfer_bytes / page_bytes + 1,
                                                UDRV_BLK_MAX_SEGMENTS);
    // PRPs name whole pages, whatever the number of pages in a segment.
    disk.max_segment_bytes = 0xffffffff;
    disk.segment_boundary = 0xffffffff;
    disk.dma_alignment = 3; // dwords (NVMe 4.3)
    disk.virt_boundary = page_bytes - 1;
    if (controller.dataset_management) {
        const std::uint64_t sectors_a_block = ns.block_bytes / sector_bytes;
        const std::uint64_t blocks =
            std::min<std::uint64_t>(controller.max_discard_blocks, 0xffffffff / sectors_a_block);
        disk.max_discard_sectors = static_cast<std::uint32_t>(blocks * sectors_a_block);
        disk.max_discard_segments = controller.max_discard_ranges;
    }
    // The block layer cuts at physical blocks.
    if (disk.max_discard_sectors < disk.physical_block_bytes / sector_bytes) {
        disk.max_discard_sectors = 0;
        disk.max_discard_segments = 0;
    }
    if (controller.write_zeroes) {
        // MDTS is not about it, but not all controllers know that: as Linux does.
        disk.max_write_zeroes_sectors = controller.max_zeroes_bytes != 0
                                            ? controller.max_zeroes_bytes / sector_bytes
                                            : disk.max_sectors;
    }
    return disk;
}

} // namespace udrv::nvme
