// SPDX-License-Identifier: MIT
//
// The way of a request: encode, wait, issue, complete.
#include "drivers/ahci/port.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cassert>
#include <cstring>

namespace udrv::ahci {

namespace {

/// The lowest tag of a set that is not empty.
std::uint32_t first(std::uint32_t set) {
    return static_cast<std::uint32_t>(std::countr_zero(set)) % max_slots;
}

/// One PRD; false if the HBA cannot take it: odd, too long, or (without CAP.S64A)
/// above 4 GiB.
bool encode_prd(Prd& prd, std::uint64_t dma_addr, std::uint32_t len_bytes, bool addresses64) {
    const bool fits = addresses64 || (dma_addr + len_bytes - 1) >> 32 == 0;
    if (len_bytes == 0 || len_bytes > prd_max_bytes || ((dma_addr | len_bytes) & 1) != 0 || !fits) {
        return false;
    }
    prd = {low_half(dma_addr), high_half(dma_addr), 0, len_bytes - 1};
    return true;
}

} // namespace

// ---- Encode ---------------------------------------------------------------------

CommandTable& Port::table(std::uint32_t tag) const {
    const DmaBlock& block = tables_[tag / tables_a_block];
    return reinterpret_cast<CommandTable*>(block.vaddr)[tag % tables_a_block];
}

void Port::write_header(std::uint32_t slot, std::uint16_t flags, std::uint16_t prdtl,
                        std::uint64_t table_dma_addr) {
    CommandHeader& header = list_[slot];
    header.flags = flags;
    header.prdtl = prdtl;
    header.prdbc = 0; // the HBA counts up from here
    header.ctba = low_half(table_dma_addr);
    header.ctbau = high_half(table_dma_addr);
}

namespace {
std::uint8_t load(std::uint8_t& byte) {
    return std::atomic_ref<std::uint8_t>(byte).load(std::memory_order_acquire);
}
} // namespace

/// The command table of a tag. False: the request is none that this disk takes.
bool Port::encode_request(std::uint32_t tag) {
    Slot& slot = slots_[tag];
    const udrv_blk_request& request = *slot.request;
    slot.flags = header::cfl_h2d;
    slot.prdtl = 0;
    slot.queued = false;
    Taskfile task;
    switch (request.op) {
    case UDRV_BLK_READ:
    case UDRV_BLK_WRITE:
        if (!encode_transfer(tag, request, task)) {
            return false;
        }
        break;
    case UDRV_BLK_FLUSH:
        task = flush(flush_ext_);
        break;
    case UDRV_BLK_DISCARD:
        if (!encode_discard(tag, request, task)) {
            return false;
        }
        break;
    case UDRV_BLK_ATA:
        if (!encode_ata(tag, ata_command(request), task)) {
            return false;
        }
        break;
    default: // write zeroes was not advertised
        return false;
    }
    const H2dFis fis = encode(task);
    std::copy(fis.begin(), fis.end(), table(tag).cfis);
    return true;
}

bool Port::encode_transfer(std::uint32_t tag, const udrv_blk_request& request, Taskfile& task) {
    Slot& slot = slots_[tag];
    const bool whole = request.sector % block_sectors_ == 0 && request.nr_sectors != 0 &&
                       request.nr_sectors % block_sectors_ == 0;
    const bool inside = request.nr_sectors <= disk_.max_sectors &&
                        request.nr_sectors <= disk_.nr_sectors &&
                        request.sector <= disk_.nr_sectors - request.nr_sectors;
    if (!whole || !inside || request.nr_segments > max_prds) {
        return false;
    }
    Prd* prd = table(tag).prds;
    std::uint64_t bytes = 0;
    for (const udrv_blk_segment& segment : segments(request)) {
        if (!encode_prd(*prd++, segment.dma_addr, segment.len_bytes, hba_.addresses64)) {
            return false;
        }
        bytes += segment.len_bytes;
    }
    // A list that is too short or too long would stop the port, not this command.
    if (bytes != std::uint64_t{request.nr_sectors} * ata::sector_bytes) {
        return false;
    }
    const bool write = request.op == UDRV_BLK_WRITE;
    const bool fua = write && (request.flags & UDRV_BLK_REQ_FUA) != 0;
    const std::uint64_t lba = request.sector / block_sectors_;
    const std::uint32_t blocks = request.nr_sectors / block_sectors_;
    task = ncq_ ? queued_transfer(write, lba, blocks, tag, fua)
                : transfer(write, lba, blocks, lba48_, fua);
    slot.queued = ncq_;
    slot.prdtl = request.nr_segments;
    if (write) {
        slot.flags |= header::write;
    }
    return true;
}

bool Port::encode_discard(std::uint32_t tag, const udrv_blk_request& request, Taskfile& task) {
    if (disk_.max_discard_sectors == 0) {
        return false;
    }
    const std::size_t offset = std::size_t{tag} * ata::sector_bytes;
    const std::span<std::byte, ata::sector_bytes> payload(payloads_.vaddr + offset,
                                                          ata::sector_bytes);
    if (!ata::encode_trim(payload, ranges(request), {block_sectors_, disk_.nr_sectors})) {
        return false;
    }
    Slot& slot = slots_[tag];
    slot.prdtl = 1;
    slot.flags |= header::write;
    task = trim();
    return encode_prd(table(tag).prds[0], payloads_.dma_addr + offset, ata::sector_bytes,
                      hba_.addresses64);
}

/// Its block comes to the memory of the tag's TRIM payload.
bool Port::encode_ata(std::uint32_t tag, const udrv_blk_ata& command, Taskfile& task) {
    task = plain(command);
    if (command.nr_blocks == 0) {
        return true;
    }
    const std::size_t offset = std::size_t{tag} * ata::sector_bytes;
    slots_[tag].prdtl = 1;
    return command.nr_blocks == 1 && encode_prd(table(tag).prds[0], payloads_.dma_addr + offset,
                                                ata::sector_bytes, hba_.addresses64);
}

/// What the disk answered. After a transfer of data by PIO the registers are in another
/// FIS, and say no more than that all is well.
void Port::answer_ata(std::uint32_t tag) {
    udrv_blk_ata& command = ata_command(*slots_[tag].request);
    if (command.nr_blocks != 0) {
        std::memcpy(command.data, payloads_.vaddr + std::size_t{tag} * ata::sector_bytes,
                    ata::sector_bytes);
        command.out_status = ata::status::drdy;
        return;
    }
    command.out_status = load(fis_->rfis[2]); // Serial ATA, Register - Device to Host
    command.out_error = load(fis_->rfis[3]);
    command.out_lba_low = load(fis_->rfis[4]);
    command.out_lba_mid = load(fis_->rfis[5]);
    command.out_lba_high = load(fis_->rfis[6]);
    command.out_count = load(fis_->rfis[12]);
}

// ---- Issue ----------------------------------------------------------------------

void Port::submit(std::span<const BlkSubmission> submissions) {
    for (const BlkSubmission& submission : submissions) {
        assert(submission.tag < disk_.depth);
        const std::uint32_t tag = submission.tag;
        Slot& slot = slots_[tag];
        slot.request = submission.request;
        slot.generation = submission.generation;
        slot.timeouts = 0;
        slot.failures = 0;
        slot.alone = false;
        slot.traced = false;
        fresh_ |= 1u << tag;
        if (lost_) {
            complete(tag, UDRV_BLK_IOERR);
        } else if (!encode_request(tag)) {
            const bool known =
                submission.request->op <= UDRV_BLK_FLUSH || submission.request->op == UDRV_BLK_ATA;
            complete(tag, known ? UDRV_BLK_IOERR : UDRV_BLK_NOTSUPP);
        } else {
            waiting_.push(static_cast<std::uint8_t>(tag));
        }
    }
    issue();
}

/// Gives the disk all that may go to it now, with one write of PxCI.
void Port::issue() {
    if (state_ != State::running) {
        return;
    }
    std::uint32_t batch = 0;
    bool queued = false;
    while (!waiting_.empty() && !exclusive_) {
        const std::uint32_t tag = waiting_.front();
        const Slot& slot = slots_[tag];
        const bool alone = slot.alone || !slot.queued;
        if (alone && (outstanding_ | batch) != 0) {
            break; // behind the queue; all later requests stay behind it
        }
        waiting_.pop();
        const DmaBlock& block = tables_[tag / tables_a_block];
        write_header(tag, slot.flags, slot.prdtl,
                     block.dma_addr + tag % tables_a_block * sizeof(CommandTable));
        batch |= 1u << tag;
        queued = slot.queued;
        exclusive_ = alone;
    }
    if (batch == 0) {
        return;
    }
    outstanding_ |= batch;
    unstamped_ |= batch;
    // The disk may clear bits of PxSACT as soon as it has the command: so they are
    // set before PxCI (AHCI 3.3.13).
    if (queued) {
        write(port::sact, batch);
    }
    write(port::ci, batch);
}

// ---- Complete -------------------------------------------------------------------

void Port::complete(std::uint32_t tag, std::uint32_t status) {
    done_->add(disk_index_, tag, slots_[tag].generation, status);
    slots_[tag].request = nullptr;
    fresh_ &= ~(1u << tag);
}

/// PxIS before IS: the HBA sets IS again for as long as PxIS has enabled bits (AHCI
/// 10.7.1.1), so that the other order would interrupt once more for nothing. The
/// caller clears IS. And PxSERR before PxIS, which else keeps what follows it (3.3.5).
void Port::interrupt() {
    const std::uint32_t causes = read(port::is);
    if ((causes & px_is::by_serr) != 0) {
        write(port::serr, read(port::serr));
    }
    write(port::is, causes);
    if (state_ == State::empty) {
        counters_.arrivals += detection() == px_ssts::det_ready ? 1U : 0U;
        return;
    }
    causes_ |= causes;
    attention_ = true;
}

/// Has the disk sent word of a completion? A look into memory, which costs no
/// register access; only a hint, since the next FIS overwrites the last.
bool Port::fis_arrived() {
    return load(fis_->sdbfis[0]) == fis_set_device_bits || load(fis_->rfis[0]) == fis_register_d2h;
}

/// The last FIS reported an error. Some emulated HBAs set the interrupt of the FIS
/// alone in that case, and not TFES.
bool Port::fis_says_error() const {
    std::uint8_t& status =
        exclusive_ && !slots_[first(outstanding_)].queued ? fis_->rfis[2] : fis_->sdbfis[2];
    return (load(status) & ata::status::err) != 0;
}

/// Only while the port is stopped: it clears what an old FIS said.
void Port::forget_fises() {
    std::memset(fis_->rfis, 0, sizeof fis_->rfis);
    std::memset(fis_->sdbfis, 0, sizeof fis_->sdbfis);
}

/// Finds out what is done, and whether something went wrong.
void Port::harvest() {
    attention_ = false;
    if (state_ != State::running) {
        return; // recovery looks for itself
    }
    std::uint32_t causes = causes_;
    causes_ = 0;
    std::atomic_ref<std::uint8_t>(fis_->sdbfis[0]).store(0, std::memory_order_relaxed);
    std::atomic_ref<std::uint8_t>(fis_->rfis[0]).store(0, std::memory_order_relaxed);

    bool failed = (causes & px_is::tfes) != 0;
    if (outstanding_ != 0) {
        const bool queued = slots_[first(outstanding_)].queued;
        // A queued command is done when the disk has cleared its bit in PxSACT, any
        // other when the HBA has cleared its bit in PxCI (AHCI 3.3.13, 3.3.14). A
        // failed queued command keeps its bit.
        std::uint32_t done = outstanding_ & ~read(queued ? port::sact : port::ci);
        failed |= fis_says_error();
        if (!queued && done != 0) {
            // Some HBAs clear the bit in PxCI of a failed command too, and all do for a device
            // fault, which need not set ERR.
            failed |= (read(port::tfd) & ata::status::bad) != 0;
            // A disk that was reset by itself (its power failed) introduces itself by a register
            // FIS, and that clears the bit of the command which it has forgotten (AHCI 5.3.8,
            // RegFIS:ClearCI). The change of the link came before: PxIS after PxCI.
            causes |= read(port::is) & px_is::broken;
            if (failed || (causes & px_is::broken) != 0) {
                done = 0;
            }
        }
        outstanding_ &= ~done;
        unstamped_ &= ~done;
        for (; done != 0; done &= done - 1) {
            if (slots_[first(done)].request->op == UDRV_BLK_ATA) {
                answer_ata(first(done));
            }
            complete(first(done), UDRV_BLK_OK);
        }
        exclusive_ = exclusive_ && outstanding_ != 0;
    }
    if ((causes & px_is::broken) != 0) {
        recover(Cause::link);
    } else if (failed) {
        recover(Cause::device);
    } else {
        issue();
    }
}

void Port::reap() {
    if (attention_ || (outstanding_ != 0 && fis_arrived())) {
        harvest();
    }
}

} // namespace udrv::ahci
