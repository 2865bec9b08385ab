// SPDX-License-Identifier: MIT
//
// The way of a request: encode, wait, issue, complete.
#include "drivers/nvme/nvme.hpp"

#include <algorithm>
#include <cassert>

namespace udrv::nvme {

namespace {

constexpr std::uint32_t sector_bytes = 512;
constexpr std::uint32_t max_blocks = 65536; // NLB of a command, 0's based, 16 bits

} // namespace

// ---- Encode ---------------------------------------------------------------------

PrpList Nvme::list(std::uint32_t slot) const {
    const DmaBlock& block = lists_[slot / lists_a_block];
    const std::size_t offset = std::size_t{slot % lists_a_block} * page_bytes;
    auto* entries = reinterpret_cast<std::uint64_t*>(block.vaddr + offset);
    return {std::span<std::uint64_t, prps_a_list>(entries, prps_a_list), block.dma_addr + offset};
}

/// SLBA and NLB. False: not whole blocks of the namespace.
bool Nvme::encode_range(const Namespace& ns, std::uint64_t sector, std::uint64_t nr_sectors,
                        SubmissionEntry& entry) const {
    const std::uint64_t end = ns.identity.nr_blocks * ns.block_sectors;
    const std::uint64_t blocks = nr_sectors / ns.block_sectors;
    if (sector % ns.block_sectors != 0 || nr_sectors % ns.block_sectors != 0 || blocks == 0 ||
        blocks > max_blocks || nr_sectors > end || sector > end - nr_sectors) {
        return false;
    }
    const std::uint64_t slba = sector / ns.block_sectors;
    entry.cdw10 = low_half(slba);
    entry.cdw11 = high_half(slba);
    entry.cdw12 = static_cast<std::uint32_t>(blocks - 1);
    return true;
}

/// Dataset Management (NVMe 6.7): the ranges stand in the slot's page.
bool Nvme::encode_discard(const Namespace& ns, const udrv_blk_request& request, std::uint32_t slot,
                          SubmissionEntry& entry) {
    const PrpList page = list(slot);
    auto* to = reinterpret_cast<DsmRange*>(page.entries.data());
    const auto from = ranges(request);
    const std::uint64_t end = ns.identity.nr_blocks * ns.block_sectors;
    if (!identity_.dataset_management || from.empty() || from.size() > max_dsm_ranges) {
        return false;
    }
    for (const udrv_blk_range& range : from) {
        const std::uint64_t nr_sectors = range.nr_sectors;
        if (range.sector % ns.block_sectors != 0 || nr_sectors % ns.block_sectors != 0 ||
            nr_sectors == 0 || nr_sectors > end || range.sector > end - nr_sectors) {
            return false;
        }
        *to++ = {0, range.nr_sectors / ns.block_sectors, range.sector / ns.block_sectors};
    }
    entry.opc = io::dataset_management;
    entry.prp1 = page.dma_addr;
    entry.cdw10 = static_cast<std::uint32_t>(from.size() - 1);
    entry.cdw11 = io::dsm_deallocate;
    return true;
}

/// The command of a request. False: the request is none that this namespace takes.
bool Nvme::encode(Ref ref, std::uint32_t slot, SubmissionEntry& entry) {
    const udrv_blk_request& request = *this->request(ref).request;
    const Namespace& ns = namespaces_[ref.disk];
    const bool fua = (request.flags & UDRV_BLK_REQ_FUA) != 0;
    entry = {};
    entry.nsid = ns.nsid;
    entry.cid = static_cast<std::uint16_t>(identifier(slot));
    switch (request.op) {
    case UDRV_BLK_READ:
    case UDRV_BLK_WRITE:
        entry.opc = request.op == UDRV_BLK_READ ? io::read : io::write;
        if (request.nr_sectors > disks_[ref.disk].max_sectors ||
            !encode_range(ns, request.sector, request.nr_sectors, entry)) {
            return false;
        }
        if (request.op == UDRV_BLK_WRITE && fua) {
            entry.cdw12 |= io::fua;
        }
        return encode_prps(entry, list(slot), segments(request),
                           std::uint64_t{request.nr_sectors} * sector_bytes);
    case UDRV_BLK_FLUSH:
        entry.opc = io::flush;
        return true;
    case UDRV_BLK_DISCARD:
        return encode_discard(ns, request, slot, entry);
    case UDRV_BLK_WRITE_ZEROES:
        entry.opc = io::write_zeroes;
        if (!identity_.write_zeroes ||
            !encode_range(ns, request.sector, request.nr_sectors, entry)) {
            return false;
        }
        if (ns.identity.zeroes_deallocate && (request.flags & UDRV_BLK_REQ_NOUNMAP) == 0) {
            entry.cdw12 |= io::deallocate;
        }
        return true;
    default:
        return false;
    }
}

// ---- Issue ----------------------------------------------------------------------

void Nvme::submit(std::uint32_t disk, std::span<const BlkSubmission> submissions) {
    for (const BlkSubmission& submission : submissions) {
        assert(submission.tag < disks_[disk].depth);
        const Ref ref{static_cast<std::uint16_t>(disk), static_cast<std::uint16_t>(submission.tag)};
        Request& place = request(ref);
        place = {};
        place.request = submission.request;
        place.generation = submission.generation;
        waiting_.push(ref);
    }
    issue();
}

/// Gives the controller all that it has room for, with one write of the doorbell.
void Nvme::issue() {
    if (state_ != State::running) {
        return;
    }
    while (!waiting_.empty() && !free_.empty()) { // slots are fewer than entries of the queue
        const Ref ref = waiting_.front();
        waiting_.pop();
        const std::uint8_t op = request(ref).request->op;
        if (namespaces_[ref.disk].lost) {
            complete(ref, UDRV_BLK_IOERR);
            continue;
        }
        const std::uint32_t number = free_.back();
        SubmissionEntry entry;
        if (!encode(ref, number, entry)) {
            complete(ref, op <= UDRV_BLK_FLUSH ? UDRV_BLK_IOERR : UDRV_BLK_NOTSUPP);
            continue;
        }
        free_.pop_back();
        Slot& slot = slots_[number];
        const bool data = op == UDRV_BLK_READ || op == UDRV_BLK_WRITE;
        const auto timeout = data ? config_.command_timeout : config_.flush_timeout;
        slot.ref = ref;
        slot.busy = true;
        slot.overdue = slot.aborted = false;
        slot.looks = 0;
        slot.limit = looks_in(timeout);
        outstanding_++;
        io_.push(entry);
    }
    io_.ring(regs_);
}

// ---- Complete -------------------------------------------------------------------

void Nvme::complete(Ref ref, std::uint32_t status) {
    Request& place = request(ref);
    done_->add(ref.disk, ref.tag, place.generation, status);
    place.request = nullptr;
}

void Nvme::free_slot(std::uint32_t number) {
    Slot& slot = slots_[number];
    slot.busy = false;
    slot.use++;
    free_.push_back(static_cast<std::uint16_t>(number));
    outstanding_--;
}

/// There is no register that says whose it was, or that has to be cleared: a message says
/// "look", and a line falls when the doorbell has given back what was taken.
bool Nvme::interrupt() {
    return true;
}

/// Linux's mapping, but for commands that a namespace need not know.
std::uint32_t Nvme::status_of(std::uint16_t code, std::uint8_t op) {
    switch (code) {
    case status::invalid_opcode:
    case status::invalid_field:
        return op > UDRV_BLK_FLUSH ? UDRV_BLK_NOTSUPP : UDRV_BLK_IOERR;
    case status::write_fault:
    case status::unrecovered_read:
    case status::unwritten_block:
        return UDRV_BLK_MEDIUM;
    default:
        return UDRV_BLK_IOERR;
    }
}

/// One completion. False: it cannot be, and the controller is not to be trusted.
bool Nvme::finish(const CompletionEntry& entry) {
    const std::uint32_t number = entry.cid & 0xff;
    if (entry.sqid != 1 || number >= slots_.size() || entry.sqhd >= io_.depth()) {
        return false;
    }
    const Slot& slot = slots_[number];
    if (!slot.busy || slot.use != entry.cid >> 8) {
        return false;
    }
    const Ref ref = slot.ref;
    const bool overdue = slot.overdue;
    free_slot(number);
    if (status::code(entry.status) == 0) {
        complete(ref, UDRV_BLK_OK);
    } else {
        ended_with_error(ref, entry.status, overdue);
    }
    return true;
}

void Nvme::harvest() {
    bool lie = false;
    CompletionEntry entry;
    while (!lie && io_.take(entry)) {
        lie = !finish(entry);
    }
    if (lie) {
        counters_.lies++;
        begin_reset();
        return;
    }
    io_.release(regs_);
    issue();
}

/// Either may find that a reset is needed: from then on there are no queues (NVMe 7.3.2).
void Nvme::reap() {
    if (state_ == State::running && io_.completed()) {
        harvest();
    }
    if (state_ == State::running) {
        harvest_admin();
    }
}

} // namespace udrv::nvme
