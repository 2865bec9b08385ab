// SPDX-License-Identifier: MIT
//
// The way of a request: wait, encode, issue, interrupt, complete; and stop.
#include "drivers/ide/channel.hpp"

#include <algorithm>
#include <cassert>

namespace udrv::ide {

namespace {

using namespace std::chrono_literals;

namespace cb = command_block;

/// Times that a command is tried again after damage on the cable.
constexpr std::uint8_t max_retries = 3;

/// A drive that is not busy says so at once; some looks for slow signals.
constexpr unsigned select_looks = 16;

constexpr std::uint8_t occupied = ata::status::bsy | ata::status::drq;
constexpr std::uint8_t all_ones = 0xff; // what reads return when nobody answers

std::uint8_t low(std::uint64_t value) {
    return static_cast<std::uint8_t>(value);
}

} // namespace

void settle_400ns() {
    const auto end = BlkClock::now() + 400ns;
    while (BlkClock::now() < end) {
    }
}

// ---- Registers -------------------------------------------------------------------

std::uint8_t Channel::alternate_status() {
    return control_block::alternate_status.read(ports_.control_block);
}

void Channel::control(std::uint8_t value) {
    control_block::device_control.write(ports_.control_block, value);
}

/// Ones clear; the notes of the firmware stay as they are.
void Channel::clear_interrupt(std::uint8_t bm_status) {
    bus_master::bmidesta.write(ports_.bus_master,
                               static_cast<std::uint8_t>((bm_status & bmidesta::capable_mask) |
                                                         bmidesta::interrupt | bmidesta::error));
}

void Channel::write_address(const Taskfile& task) {
    RegisterIo& io = ports_.command_block;
    if (task.fields == Taskfile::Fields::address48) {
        // ATA, 48-bit Address feature set: the high halves go first.
        cb::count.write(io, low(task.count >> 8));
        cb::lba_low.write(io, low(task.lba >> 24));
        cb::lba_mid.write(io, low(task.lba >> 32));
        cb::lba_high.write(io, low(task.lba >> 40));
    }
    // LBA 27:24 of a 28-bit command are in DEVICE.
    cb::count.write(io, low(task.count));
    cb::lba_low.write(io, low(task.lba));
    cb::lba_mid.write(io, low(task.lba >> 8));
    cb::lba_high.write(io, low(task.lba >> 16));
}

/// DEVICE has been written by select(). The drive starts with the write of COMMAND.
void Channel::write_taskfile(const Taskfile& task) {
    RegisterIo& io = ports_.command_block;
    if (task.has_features) {
        if (task.fields == Taskfile::Fields::address48) {
            cb::features.write(io, low(task.features >> 8));
        }
        cb::features.write(io, low(task.features));
    }
    if (task.fields != Taskfile::Fields::none) {
        write_address(task);
    } else if (task.has_features) {
        cb::count.write(io, low(task.count));
    }
    cb::command.write(io, task.command);
}

/// ATA, Device selection protocol: BSY and DRQ have to be 0 before a command. The last
/// command of the same drive ended with that; another drive is asked. False: occupied.
bool Channel::select(std::uint8_t device) {
    cb::device.write(ports_.command_block, device);
    const unsigned number = (device & ata::device_slave) != 0 ? 1 : 0;
    if (number == selected_) {
        return true;
    }
    selected_ = nobody;
    settle_400ns();
    for (unsigned look = 0; look < select_looks; look++) {
        if ((alternate_status() & occupied) == 0) {
            selected_ = number;
            return true;
        }
    }
    return false;
}

// ---- Issue -----------------------------------------------------------------------

void Channel::submit(unsigned drive, std::span<const BlkSubmission> submissions) {
    Unit& unit = units_[drive];
    for (const BlkSubmission& submission : submissions) {
        assert(unit.queue.size() < unit.disk.depth);
        unit.queue.push({submission});
    }
    start_next();
}

/// Command and descriptor table of a request; the status of its failure otherwise.
std::uint32_t Channel::prepare(const Unit& unit, const udrv_blk_request& request) {
    if (request.op == UDRV_BLK_ATA) {
        encode_ata(ata_command(request), unit.drive, command_);
        return UDRV_BLK_OK;
    }
    const std::uint32_t status = encode(request, unit.drive, command_);
    if (status != UDRV_BLK_OK) {
        return status;
    }
    const std::span<Prd, max_prds> table(prds_, max_prds);
    if (command_.data == Command::Data::payload) {
        const std::span<std::byte, ata::sector_bytes> payload(payload_, ata::sector_bytes);
        const udrv_blk_segment segment{payload_dma_addr_, ata::sector_bytes, 0};
        const ata::TrimLimits limits{unit.drive.block_sectors, unit.drive.nr_sectors};
        const bool fits = ata::encode_trim(payload, ranges(request), limits) &&
                          encode_prds({&segment, 1}, ata::sector_bytes, table);
        return fits ? UDRV_BLK_OK : UDRV_BLK_IOERR;
    }
    if (command_.data != Command::Data::none) {
        const std::uint64_t len_bytes = std::uint64_t{request.nr_sectors} * ata::sector_bytes;
        return encode_prds(segments(request), len_bytes, table) ? UDRV_BLK_OK : UDRV_BLK_IOERR;
    }
    return UDRV_BLK_OK;
}

/// Gives the channel its next command, if it is free.
void Channel::start_next() {
    while (state_ == State::running && active_ == nobody && !hold_) {
        const unsigned number = units_[turn_].queue.empty() ? turn_ ^ 1 : turn_;
        Unit& unit = units_[number];
        if (unit.queue.empty()) {
            return;
        }
        const std::uint32_t status =
            unit.lost ? UDRV_BLK_IOERR : prepare(unit, *unit.queue.front().submission.request);
        if (status != UDRV_BLK_OK) {
            complete(number, status);
            continue;
        }
        active_ = number;
        issue();
    }
}

/// PIIX4, Bus master IDE, "Operation": table and direction, then the command, then the
/// start. The status bits are clear: interrupt() and resume() left them so.
void Channel::issue() {
    timed_ = false;
    if (!select(command_.task.device)) {
        give_up();
        return;
    }
    if (!command_.by_bus_master()) {
        write_taskfile(command_.task);
        return;
    }
    RegisterIo& io = ports_.bus_master;
    direction_ = command_.data == Command::Data::in ? bmicom::rwcon : 0;
    bus_master::bmidtp.write(io, prds_dma_addr_);
    bus_master::bmicom.write(io, direction_);
    write_taskfile(command_.task);
    // The store is ordered behind those to the table (RegisterIo).
    bus_master::bmicom.write(io, direction_ | bmicom::ssbm);
}

// ---- Interrupt -------------------------------------------------------------------

/// BMIDESTA tells an interrupt of this channel from others, for commands without data
/// too: it latches the rise of INTRQ (PIIX4 5.2.2). For a read it also waits until the
/// controller has written out what it holds.
bool Channel::interrupt() {
    const std::uint8_t bm_status = bus_master::bmidesta.read(ports_.bus_master);
    if (bm_status == all_ones || (bm_status & bmidesta::interrupt) == 0) {
        return false;
    }
    // The bit is cleared before STATUS is read, which lowers INTRQ: cleared after, it
    // could be that of a command which ended in between.
    clear_interrupt(bm_status);
    const std::uint8_t status = cb::status.read(ports_.command_block);
    if (state_ != State::running || active_ == nobody) {
        return true; // a drive that comes back from a reset, or noise
    }
    if (command_.data == Command::Data::block && (status & occupied) == ata::status::drq) {
        finish(bm_status, read_block());
        start_next();
        return true;
    }
    if ((status & occupied) != 0) {
        return true; // noise: the command goes on, and will interrupt when it ends
    }
    finish(bm_status, status);
    start_next();
    return true;
}

/// ATA, PIO data-in protocol: the drive interrupts when it has the block, and is done when
/// it has been read. Returns STATUS then.
std::uint8_t Channel::read_block() {
    udrv_blk_ata& ata = ata_command(*units_[active_].queue.front().submission.request);
    for (std::size_t n = 0; n < sizeof(ata.data); n += 2) {
        const std::uint16_t word = cb::data.read(ports_.command_block);
        ata.data[n] = low(word);
        ata.data[n + 1] = low(word >> 8);
    }
    settle_400ns(); // until STATUS is that after the transfer
    return cb::status.read(ports_.command_block);
}

/// The registers as the drive left them.
void Channel::answer_ata(udrv_blk_ata& ata, std::uint8_t status, std::uint8_t error) {
    RegisterIo& io = ports_.command_block;
    ata.out_status = status;
    ata.out_error = error;
    ata.out_count = cb::count.read(io);
    ata.out_lba_low = cb::lba_low.read(io);
    ata.out_lba_mid = cb::lba_mid.read(io);
    ata.out_lba_high = cb::lba_high.read(io);
}

/// The command under way ended. The bus master is stopped by software in any case: it
/// does not clear SSBM itself (PIIX4 5.2.1). RWCON may change only while it stands still.
void Channel::finish(std::uint8_t bm_status, std::uint8_t status) {
    const bool data = command_.by_bus_master();
    timed_ = false;
    if (data) {
        bus_master::bmicom.write(ports_.bus_master, direction_);
    }
    const bool failed = (status & ata::status::err) != 0;
    const std::uint8_t error = failed ? cb::error.read(ports_.command_block) : std::uint8_t{0};
    const Result result = judge(data ? bm_status : std::uint8_t{0}, status, error);
    Pending& pending = units_[active_].queue.front();
    if (pending.submission.request->op == UDRV_BLK_ATA) {
        answer_ata(ata_command(*pending.submission.request), status, error);
    }
    if (result.verdict == Verdict::retry && pending.retries < max_retries) {
        pending.retries++;
        counters_.retries++;
        issue(); // command and table are still there
        return;
    }
    if (result.status != UDRV_BLK_OK) {
        counters_.device_errors++;
    }
    complete(active_, result.status);
}

/// The first request of a drive is done, whether it ran or not.
void Channel::complete(unsigned number, std::uint32_t status) {
    Unit& unit = units_[number];
    const BlkSubmission& submission = unit.queue.front().submission;
    done_->add(unit.disk_index, submission.tag, submission.generation, status);
    unit.queue.pop();
    if (active_ == number) {
        active_ = nobody;
    }
    turn_ = number ^ 1;
}

// ---- Stop ------------------------------------------------------------------------

/// Not on the data path: may block for the time of a reset. That is also what ends a
/// command which is under way; there is no other way to take it back.
void Channel::stop() {
    if (state_ == State::stopped || !has_disk()) {
        return;
    }
    const bool under_way = active_ != nobody || state_ != State::running;
    state_ = State::stopped;
    active_ = nobody;
    bus_master::bmicom.write(ports_.bus_master, direction_); // no transfer from here on
    control(device_control::nien);
    if (under_way) {
        reset();
        (void)wait_not_busy(std::min(config_.reset_timeout, std::chrono::milliseconds{500}));
    }
    (void)cb::status.read(ports_.command_block);
    clear_interrupt(bus_master::bmidesta.read(ports_.bus_master));
}

} // namespace udrv::ide
