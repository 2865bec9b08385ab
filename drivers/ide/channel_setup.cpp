// SPDX-License-Identifier: MIT
//
// Set-up: reset a channel, find and identify its drives. Everything here polls, with
// INTRQ switched off.
#include "drivers/ide/channel.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <thread>

#include <fmt/format.h>

#include "libudrv/error.hpp"

namespace udrv::ide {

namespace {

using namespace std::chrono_literals;

namespace cb = command_block;

constexpr std::size_t page_bytes = 4096;
constexpr std::size_t payload_offset = 2048; // in the page, behind the table
static_assert(max_prds * sizeof(Prd) <= payload_offset);

constexpr std::uint8_t floating = 0xff; // pulled up, and nobody drives it

const char* channel_name(unsigned number) {
    return number == 0 ? "primary" : "secondary";
}
const char* drive_name(unsigned number) {
    return number == 0 ? "master" : "slave";
}

std::uint8_t device_of(unsigned number) {
    return device::obsolete_ones | (number != 0 ? ata::device_slave : 0);
}

/// For platters to get going (ATA, Power-up in standby).
constexpr auto spin_up_timeout = 30s;

bool is_busy(std::uint8_t status) {
    return (status & ata::status::bsy) != 0;
}

} // namespace

Channel::Channel(const ChannelPorts& ports, unsigned number, const Config& config)
    : ports_(ports), number_(number), config_(config) {
    assert(config.depth >= 1 && config.depth <= max_depth);
    for (Unit& unit : units_) {
        unit.queue.allocate(max_depth);
    }
}

// ---- Reset -----------------------------------------------------------------------

/// ATA, Software reset protocol: SRST for 5 us at least, then no look at STATUS for
/// 2 ms. Both drives are reset; no command of theirs is under way afterwards.
void Channel::reset() {
    control(device_control::nien | device_control::srst);
    std::this_thread::sleep_for(10us);
    control(device_control::nien);
    std::this_thread::sleep_for(2ms);
    selected_ = nobody;
}

/// Returns the last STATUS, with BSY if the time is over. Nobody there: 0xff.
std::uint8_t Channel::wait_not_busy(std::chrono::milliseconds timeout) {
    const auto deadline = BlkClock::now() + timeout;
    for (;;) {
        const bool late = BlkClock::now() >= deadline;
        const std::uint8_t status = alternate_status();
        if (!is_busy(status) || status == floating || late) {
            return status;
        }
        std::this_thread::sleep_for(100us);
    }
}

// ---- Init ------------------------------------------------------------------------

void quiet_channel(const ChannelPorts& ports) {
    bus_master::bmicom.write(ports.bus_master, 0);
    control_block::device_control.write(ports.control_block, device_control::nien);
}

void Channel::attach(DmaAllocator& dma, std::vector<std::string>& notes) {
    quiet_channel(ports_);
    reset();
    // Both signatures before any command: a command's parameters are written to the
    // registers of both drives.
    std::array<Found, drives_a_channel> found{};
    std::array<std::string, drives_a_channel> note;
    for (unsigned number = 0; number < drives_a_channel; number++) {
        found[number] = probe(number, note[number]);
    }
    if (found[0] == Found::atapi && found[1] == Found::atapi) {
        // More often than a second one this is the first, which answers for a slave
        // that is not there. Only packet commands could tell.
        note[1].clear();
    }
    for (unsigned number = 0; number < drives_a_channel; number++) {
        if (found[number] == Found::ata) {
            note[number] = identify(number);
        }
        if (!note[number].empty()) {
            notes.push_back(
                fmt::format("{} {}: {}", channel_name(number_), drive_name(number), note[number]));
        }
    }
    if (!has_disk()) {
        return; // INTRQ stays off
    }
    allocate(dma);
    selected_ = nobody;
    (void)cb::status.read(ports_.command_block);
    clear_interrupt(bus_master::bmidesta.read(ports_.bus_master));
    control(0);
}

/// What is there after a reset, by its signature (ATA, Signature and persistence).
Channel::Found Channel::probe(unsigned number, std::string& note) {
    RegisterIo& io = ports_.command_block;
    cb::device.write(io, device_of(number));
    settle_400ns();
    const std::uint8_t status = wait_not_busy(config_.reset_timeout);
    if (status == floating) {
        return Found::nothing;
    }
    if (is_busy(status)) {
        note = fmt::format("not ready {} ms after a reset (STATUS is still {:#04x}); not used",
                           config_.reset_timeout.count(), status);
        return Found::nothing;
    }
    std::uint32_t found = cb::count.read(io);
    found |= std::uint32_t{cb::lba_low.read(io)} << 8;
    found |= std::uint32_t{cb::lba_mid.read(io)} << 16;
    found |= std::uint32_t{cb::lba_high.read(io)} << 24;
    if (found == signature::atapi) {
        note = "an ATAPI device (CD, DVD or tape), which is not a disk; left alone";
        return Found::atapi;
    }
    // For a slave that is not there the master answers, with 0 as STATUS (ATA, Device
    // 0 only configurations). A disk that is ready has at least DRDY.
    return found == signature::ata && status != 0 ? Found::ata : Found::nothing;
}

/// A command without data, or up to its first data. Returns the last STATUS, with BSY if
/// the time is over.
std::uint8_t Channel::run_polled(unsigned number, const Taskfile& task,
                                 std::chrono::milliseconds timeout) {
    cb::device.write(ports_.command_block, device_of(number));
    settle_400ns();
    write_taskfile(task);
    settle_400ns();
    return wait_not_busy(timeout);
}

/// Returns what is wrong; empty: unit.words hold it, or (all of them 0) nobody is there.
std::string Channel::read_identity(unsigned number, Unit& unit) {
    RegisterIo& io = ports_.command_block;
    Taskfile task;
    task.command = ata::cmd::identify_device;
    unit.words = {};
    const std::uint8_t status = run_polled(number, task, config_.set_up_timeout);
    if (is_busy(status)) {
        return fmt::format("no answer to IDENTIFY DEVICE within {} ms (STATUS is still {:#04x}); "
                           "not used",
                           config_.set_up_timeout.count(), status);
    }
    if (status == 0) {
        return {};
    }
    if ((status & (ata::status::err | ata::status::df)) != 0 || (status & ata::status::drq) == 0) {
        return fmt::format("refuses IDENTIFY DEVICE (STATUS is {:#04x}, ERROR {:#04x}); not used",
                           status, cb::error.read(io));
    }
    for (auto& word : unit.words) {
        word = cb::data.read(io);
    }
    (void)cb::status.read(io); // lowers INTRQ
    return {};
}

/// A drive that powered up in standby waits to be told, and knows its capacity after that.
/// One that spins up by itself may refuse: then its data are read again all the same.
std::string Channel::spin_up(unsigned number, Unit& unit) {
    Taskfile task;
    task.command = ata::cmd::set_features;
    task.has_features = true;
    task.features = ata::feature_spin_up;
    const std::uint8_t status = run_polled(number, task, spin_up_timeout);
    (void)cb::status.read(ports_.command_block); // lowers INTRQ
    if (is_busy(status)) {
        return fmt::format("not used, it is in standby and does not spin up within {} s (STATUS is "
                           "still {:#04x})",
                           spin_up_timeout.count(), status);
    }
    return read_identity(number, unit);
}

/// Returns why the drive is not used; empty if it is, or if there is none.
std::string Channel::identify(unsigned number) {
    Unit& unit = units_[number];
    std::string error = read_identity(number, unit);
    if (!error.empty()) {
        return error;
    }
    if (ata::standby(unit.words) != ata::Standby::no) {
        error = spin_up(number, unit);
        if (!error.empty()) {
            return error;
        }
    }
    const bool silent = std::all_of(unit.words.begin(), unit.words.end(),
                                    [](std::uint16_t word) { return word == 0; });
    if (silent && alternate_status() == 0) {
        return {};
    }
    const ata::IdentifyResult result = ata::parse_identify(unit.words);
    if (!result.error.empty()) {
        return fmt::format("not used, {}", result.error);
    }
    ata::Identity identity = result.identity;
    if (!identity.dma) {
        return "not used, it does not support DMA (IDENTIFY word 49 bit 8 is 0)";
    }
    unit.drive = drive_of(identity, number);
    error = set_mode(number, identity);
    if (!error.empty()) {
        return error;
    }
    if (identity.flush_assumed) {
        Taskfile flush;
        flush.command = ata::cmd::flush_cache;
        const std::uint8_t status = run_polled(number, flush, config_.flush_timeout);
        (void)cb::status.read(ports_.command_block); // lowers INTRQ
        if (is_busy(status)) {
            return fmt::format("no answer to FLUSH CACHE within {} ms (STATUS is still {:#04x}); "
                               "not used",
                               config_.flush_timeout.count(), status);
        }
        identity.flush_assumed = (status & ata::status::bad) == 0;
    }
    unit.disk = disk_of(identity, number_ * drives_a_channel + number, config_.depth);
    unit.present = true;
    return {};
}

/// Both ends: the drive by SET FEATURES, then the controller by its timing registers. No
/// transfer is under way in between. What firmware or a predecessor left is not relied
/// on, as the reset may have changed the drive's end. A refused mode is followed by the
/// next slower one. Returns what is wrong.
std::string Channel::set_mode(unsigned number, const ata::Identity& identity) {
    Drive& drive = units_[number].drive;
    std::uint8_t answer = 0;
    drive.transfer_mode = choose_mode(identity, config_.controller);
    while (drive.transfer_mode != no_mode) {
        answer = run_polled(number, encode_transfer_mode(drive), config_.set_up_timeout);
        (void)cb::status.read(ports_.command_block);
        if (is_busy(answer)) {
            break;
        }
        if ((answer & ata::status::bad) == 0) {
            if (!set_timing(ports_.timing, config_.controller, number_, number,
                            drive.transfer_mode)) {
                return "not used, the controller does not keep the timing of its transfer mode";
            }
            return {};
        }
        drive.transfer_mode = choose_mode(identity, config_.controller, drive.transfer_mode);
    }
    return fmt::format("not used, it takes no DMA transfer mode (STATUS is {:#04x})", answer);
}

/// One page for what the controller reads: so neither table nor payload crosses 64 KiB
/// (BMIDE, Physical Region Descriptor Table).
void Channel::allocate(DmaAllocator& dma) {
    const DmaBlock block = dma.allocate(page_bytes);
    if ((block.dma_addr + block.len_bytes - 1) >> 32 != 0 || block.dma_addr % page_bytes != 0) {
        throw_error(
            EIO, "ide: allocate memory for descriptors",
            fmt::format("it is at {:#x}, where the controller cannot reach it", block.dma_addr),
            "set the device's DMA mask to 32 bits first");
    }
    prds_ = reinterpret_cast<Prd*>(block.vaddr);
    prds_dma_addr_ = static_cast<std::uint32_t>(block.dma_addr);
    payload_ = block.vaddr + payload_offset;
    payload_dma_addr_ = prds_dma_addr_ + static_cast<std::uint32_t>(payload_offset);
}

} // namespace udrv::ide
