// SPDX-License-Identifier: MIT
//
// Set-up: reset a channel, find and identify its drives. Everything here polls, with
// INTRQ switched off.
#include "drivers/ide/channel.hpp"

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

bool is_busy(std::uint8_t status) {
    return (status & ata::status::bsy) != 0;
}

} // namespace

Channel::Channel(const ChannelPorts& ports, unsigned number, const Config& config)
    : ports_(ports), number_(number), config_(config) {
    assert(config.depth >= 1 && config.depth <= max_depth);
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

void Channel::attach(DmaAllocator& dma, std::vector<std::string>& notes) {
    bus_master::bmicom.write(ports_.bus_master, 0);
    control(device_control::nien);
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

/// Returns why the drive is not used; empty if it is.
std::string Channel::identify(unsigned number) {
    RegisterIo& io = ports_.command_block;
    Taskfile task;
    task.command = ata::cmd::identify_device;
    cb::device.write(io, device_of(number));
    settle_400ns();
    write_taskfile(task);
    settle_400ns();
    const std::uint8_t status = wait_not_busy(config_.command_timeout);
    if (is_busy(status)) {
        return fmt::format("no answer to IDENTIFY DEVICE within {} ms (STATUS is still {:#04x}); "
                           "not used",
                           config_.command_timeout.count(), status);
    }
    if (status == 0) {
        return {};
    }
    if ((status & (ata::status::err | ata::status::df)) != 0 || (status & ata::status::drq) == 0) {
        return fmt::format("refuses IDENTIFY DEVICE (STATUS is {:#04x}, ERROR {:#04x}); not used",
                           status, cb::error.read(io));
    }
    std::array<std::uint16_t, ata::identify_words> words{};
    for (auto& word : words) {
        word = cb::data.read(io);
    }
    (void)cb::status.read(io); // lowers INTRQ

    const ata::IdentifyResult result = ata::parse_identify(words);
    if (!result.error.empty()) {
        return fmt::format("not used, {}", result.error);
    }
    const ata::Identity& identity = result.identity;
    if (!identity.dma) {
        return "not used, it does not support DMA (IDENTIFY word 49 bit 8 is 0)";
    }
    Unit& unit = units_[number];
    unit.drive = drive_of(identity, number);
    if (identity.udma_selected == 0 && identity.mwdma_selected == 0) {
        write_taskfile(encode_transfer_mode(unit.drive));
        settle_400ns();
        const std::uint8_t answer = wait_not_busy(config_.command_timeout);
        (void)cb::status.read(io);
        if (is_busy(answer) || (answer & ata::status::err) != 0) {
            return fmt::format(
                "not used, it does not take multiword DMA mode 0 (STATUS is {:#04x})", answer);
        }
    }
    unit.disk = disk_of(identity, number_ * drives_a_channel + number, config_.depth);
    unit.present = true;
    return {};
}

/// One page for what the controller reads: so neither table nor payload crosses 64 KiB
/// (BMIDE, Physical Region Descriptor Table).
void Channel::allocate(DmaAllocator& dma) {
    const DmaBlock block = dma.allocate(page_bytes);
    if ((block.dma_addr + block.len_bytes - 1) >> 32 != 0 || block.dma_addr % page_bytes != 0) {
        throw_error(
            EIO, "ide: allocate memory for descriptors",
            fmt::format("it is at {:#x}, where the controller can not reach it", block.dma_addr),
            "set the device's DMA mask to 32 bits first");
    }
    prds_ = reinterpret_cast<Prd*>(block.vaddr);
    prds_dma_addr_ = static_cast<std::uint32_t>(block.dma_addr);
    payload_ = block.vaddr + payload_offset;
    payload_dma_addr_ = prds_dma_addr_ + static_cast<std::uint32_t>(payload_offset);
}

} // namespace udrv::ide
