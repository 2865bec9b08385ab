// SPDX-License-Identifier: MIT
//
// One port at set-up and at the end: AHCI 10.1.2, "System Software Specific
// Initialization", and 10.3, the rules for starting and stopping a port.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

#include <fmt/format.h>

#include "drivers/ahci/port.hpp"
#include "libudrv/error.hpp"

namespace udrv::ahci {

namespace {

using namespace std::chrono_literals;

constexpr auto engine_timeout = 500ms; // for PxCMD.CR and FR to follow ST and FRE (AHCI 10.1.2)
constexpr auto link_timeout = 1000ms;  // from a device's first sign to a link
/// Longest that one disk's spin-up holds up the next one's.
constexpr auto stagger_limit = 2000ms;

// One page holds all that the port needs besides the command tables.
struct PortPage {
    CommandHeader list[max_slots]; // 1 KiB aligned
    ReceivedFis fis;               // 256 bytes aligned
    alignas(128) CommandTable service;
    alignas(2) std::byte data[ata::sector_bytes];
};
static_assert(offsetof(PortPage, fis) % 256 == 0 && offsetof(PortPage, service) % 128 == 0);

} // namespace

Port::Port(RegisterIo& regs, std::uint32_t number, const Hba& hba, const Config& config)
    : regs_(regs), number_(number), hba_(hba), config_(config) {
    waiting_.allocate(max_slots);
}

/// On one of the port's own registers.
void Port::wait_until(const R32& place, const char* name, std::uint32_t mask, std::uint32_t value,
                      std::chrono::milliseconds timeout) {
    udrv::wait_until(regs_, place.at(number_, port::stride), fmt::format("ahci: port {}", number_),
                     name, mask, value, {timeout, 100us});
}

void Port::quiet() {
    write(port::ie, 0);
    // ST before FRE: FISes of commands in flight still have a place (AHCI 10.3.2).
    write(port::cmd, read(port::cmd) & ~px_cmd::st);
    wait_until(port::cmd, "PxCMD", px_cmd::cr, 0, engine_timeout);
    write(port::cmd, read(port::cmd) & ~px_cmd::fre);
    wait_until(port::cmd, "PxCMD", px_cmd::fr, 0, engine_timeout);
}

/// Without staggered spin-up or cold presence detection these bits are read-only ones.
/// The link may not doze: waking it costs more than it saves here.
void Port::power_on(BlkClock::time_point now) {
    write(port::sctl, px_sctl::ipm_none);
    write(port::cmd, read(port::cmd) | px_cmd::sud | px_cmd::pod | px_cmd::icc_active);
    powered_on_ = now;
    set_up_ = SetUp::linking;
}

std::uint32_t Port::detection() {
    return read(port::ssts) & px_ssts::det_mask;
}

std::uint64_t Port::checked(const DmaBlock& block) const {
    if (!hba_.addresses64 && (block.dma_addr + block.len_bytes - 1) >> 32 != 0) {
        throw_error(EFBIG,
                    fmt::format("ahci: port {}: use memory at {:#x}", number_, block.dma_addr),
                    "this HBA has 32-bit addresses (CAP.S64A is 0)",
                    "set the device's DMA mask with dma_bits() first");
    }
    return block.dma_addr;
}

void Port::allocate(DmaAllocator& dma) {
    const DmaBlock block = dma.allocate(sizeof(PortPage));
    const std::uint64_t at = checked(block);
    auto* page = reinterpret_cast<PortPage*>(block.vaddr);
    list_ = page->list;
    list_dma_addr_ = at + offsetof(PortPage, list);
    fis_ = &page->fis;
    fis_dma_addr_ = at + offsetof(PortPage, fis);
    service_table_ = &page->service;
    service_table_dma_addr_ = at + offsetof(PortPage, service);
    page_ = page->data;
    const std::uint64_t data = at + offsetof(PortPage, data);
    service_table_->prds[0] = {low_half(data), high_half(data), 0, ata::sector_bytes - 1};
    // In parts: a free run of pages this size is easier to find than one for all.
    for (DmaBlock& tables : tables_) {
        tables = dma.allocate(tables_a_block * sizeof(CommandTable));
        (void)checked(tables);
    }
}

/// Only with ST, CR, FRE and FR at 0 (AHCI 3.3.1, 3.3.3, 3.3.7).
void Port::write_addresses() {
    write(port::clb, low_half(list_dma_addr_));
    write(port::clbu, high_half(list_dma_addr_));
    write(port::fb, low_half(fis_dma_addr_));
    write(port::fbu, high_half(fis_dma_addr_));
}

// ---- Steps of the set-up ------------------------------------------------------------

bool Port::set_up(BlkClock::time_point now, bool awaited, DmaAllocator& dma) {
    switch (set_up_) {
    case SetUp::linking:
        return link_came(now, awaited, dma);
    case SetUp::spinning:
        return disk_ready(now);
    case SetUp::identifying:
        return identified(now, dma);
    case SetUp::off:
    case SetUp::disk:
    case SetUp::no_disk:
        break;
    }
    return true;
}

void Port::fail(const std::string& problem) {
    problem_ = problem;
    set_up_ = SetUp::no_disk;
}

bool Port::let_next(BlkClock::time_point now) const {
    const auto waited = now - powered_on_;
    return set_up_ >= SetUp::identifying || waited >= stagger_limit ||
           (set_up_ == SetUp::linking && waited >= config_.detect);
}

bool Port::link_came(BlkClock::time_point now, bool awaited, DmaAllocator& dma) {
    const std::uint32_t det = detection();
    if (det == px_ssts::det_ready) {
        allocate(dma);
        write_addresses();
        write(port::serr, read(port::serr));
        // The disk's first FIS waits in the HBA for FRE; PxTFD and PxSIG follow it.
        write(port::cmd, read(port::cmd) | px_cmd::fre);
        powered_on_ = now;
        set_up_ = SetUp::spinning;
        return false;
    }
    const auto waited = now - powered_on_;
    const auto silence = awaited ? config_.spin_up_timeout : config_.detect;
    if (det == px_ssts::det_none && waited >= silence) {
        set_up_ = SetUp::no_disk;
        return true;
    }
    if (det != px_ssts::det_none && waited >= std::max<BlkClock::duration>(link_timeout, silence)) {
        fail(fmt::format("a device whose link does not come up (PxSSTS.DET is {})", det));
        return true;
    }
    return false;
}

bool Port::disk_ready(BlkClock::time_point now) {
    // See came_up(): PxSERR.DIAG.X may keep the first FIS out.
    write(port::serr, read(port::serr));
    const bool late = now - powered_on_ >= config_.spin_up_timeout;
    if (busy()) {
        if (late) {
            fail(fmt::format("a disk that does not get ready: PxTFD is still {:#010x} after {} ms",
                             read(port::tfd), config_.spin_up_timeout.count()));
        }
        return late;
    }
    const std::uint32_t signature = read(port::sig);
    if (signature == px_sig::atapi) {
        fail("an ATAPI device (CD or DVD), which this driver does not serve");
        return true;
    }
    if (signature == px_sig::multiplier) {
        fail("a port multiplier, which this driver does not serve");
        return true;
    }
    if (signature == px_sig::enclosure) {
        fail("an enclosure, not a disk");
        return true;
    }
    // Any other is taken for a disk: IDENTIFY will tell.
    start_engine();
    begin_identify(now);
    set_up_ = SetUp::identifying;
    return false;
}

bool Port::identified(BlkClock::time_point now, DmaAllocator& dma) {
    const Answer answer = identify_step(now);
    if (answer == Answer::pending) {
        return false;
    }
    const char* command = waking_ ? "SET FEATURES (spin-up)" : "IDENTIFY DEVICE";
    if (answer == Answer::failed) {
        const bool ended = (service_causes_ & px_is::failed) != 0 || (read(port::ci) & 1) == 0;
        fail(ended ? fmt::format("{} failed (PxTFD is {:#x}, PxIS is {:#010x})", command,
                                 read(port::tfd), service_causes_)
                   : fmt::format("{} does not end: PxCI is still {:#x} after {} ms, PxTFD is {:#x}",
                                 command, read(port::ci), config_.identify_timeout.count(),
                                 read(port::tfd)));
        return true;
    }
    std::memcpy(identity_.data(), page_, ata::sector_bytes);
    const ata::IdentifyResult result = ata::parse_identify(identity_);
    if (!result.error.empty()) {
        fail("a disk that cannot be used: " + result.error);
        return true;
    }
    fill_disk(result.identity, dma);
    set_up_ = SetUp::disk;
    state_ = State::running;
    return true;
}

void Port::fill_disk(const ata::Identity& identity, DmaAllocator& dma) {
    ncq_ = config_.ncq && hba_.ncq && identity.ncq;
    lba48_ = identity.lba48;
    flush_ext_ = identity.flush_ext;
    block_sectors_ = identity.logical_block_bytes / ata::sector_bytes;

    disk_ = ata::describe(identity);
    disk_.unit = number_;
    if (!ncq_) { // as Linux: only as a bit of queued writes
        disk_.flags &= ~UDRV_BLK_FUA;
    }
    // Without NCQ the depth is only how many may wait here.
    disk_.depth = ncq_ ? std::min(hba_.slots, identity.ncq_depth) : hba_.slots;
    const std::uint32_t blocks = lba48_ ? 65535 : ata::max_blocks_28;
    disk_.max_sectors = std::min(blocks * block_sectors_, 65535 / block_sectors_ * block_sectors_);
    disk_.max_segments = max_prds;
    disk_.max_segment_bytes = prd_max_bytes;
    disk_.segment_boundary = 0xffffffff;
    disk_.dma_alignment = 1;
    payloads_ = dma.allocate(std::size_t{max_slots} * ata::sector_bytes);
    (void)checked(payloads_);
}

void Port::enable() {
    if (fis_ != nullptr) {
        forget_fises();
    }
    write(port::serr, read(port::serr));
    write(port::is, read(port::is));
    write(port::ie, usable() ? px_is::wanted : px_is::plugged);
}

bool Port::stop() {
    write(port::ie, 0);
    state_ = State::lost; // takes no more; what it has is the kernel's to give away
    lost_ = true;
    try {
        quiet();
    } catch (const Error&) {
        return false;
    }
    return true;
}

} // namespace udrv::ahci
