// SPDX-License-Identifier: MIT
//
// What the ide tests share: two model channels, the driver on them, a clock that the
// test moves, and a stand-in for the kernel's slots.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "drivers/ide/ide.hpp"
#include "libudrv/testing/blk_rings.hpp"
#include "tests/unit/fake_ide.hpp"

namespace udrv::test {

inline ide::Config quick_ide() {
    ide::Config config;
    config.reset_timeout = std::chrono::milliseconds{30}; // real time, at set-up
    config.command_timeout = std::chrono::milliseconds{20};
    config.set_up_timeout = std::chrono::milliseconds{20};
    config.flush_timeout = std::chrono::milliseconds{60};
    config.controller = ide::Controller::piix4;
    return config;
}

inline constexpr std::uint64_t gib = 2 * 1024 * 1024; ///< in sectors

struct IdeRig {
    using Segments = std::vector<udrv_blk_segment>;

    ide::Config config = quick_ide();
    /// Each block is within 64 KiB of addresses, as the kernel gives them.
    FakeMemory memory{FakeMemory::low, 0x20000};
    FakePiix piix;
    std::array<FakeIdeChannel, 2> channels{FakeIdeChannel(memory, piix, 0),
                                           FakeIdeChannel(memory, piix, 1)};
    FakeIdeChannel& primary = channels[0];
    FakeIdeChannel& secondary = channels[1];
    FakeIdeDrive& master = channels[0].drives[0];
    FakeIdeDrive& slave = channels[0].drives[1];
    BlkRings rings;
    std::optional<ide::Ide> chip;
    BlkClock::time_point now{std::chrono::hours{1}};

    /// Makes the driver; the models then forget what they saw until here.
    void start() {
        for (const ide::ChannelPorts& one : ports()) {
            ide::quiet_channel(one);
        }
        construct();
        for (FakeIdeChannel& channel : channels) {
            channel.writes.clear();
            channel.resets = 0;
            for (FakeIdeDrive& drive : channel.drives) {
                drive.opcodes.clear();
                drive.modes.clear();
            }
        }
    }

    void construct() {
        chip.emplace(ports(), memory, config);
        chip->start(rings.connect(chip->disks().size()));
    }

    std::array<ide::ChannelPorts, 2> ports() {
        const auto of = [&](FakeIdeChannel& channel) {
            return ide::ChannelPorts{channel.command_block(), channel.control_block(),
                                     channel.bus_master(), piix};
        };
        return {of(primary), of(secondary)};
    }

    BlkSubmission request(std::uint32_t disk, std::uint32_t tag, std::uint8_t op,
                          std::uint64_t sector = 0, std::uint32_t nr_sectors = 0,
                          const Segments& segments = {}, std::uint8_t flags = 0) {
        auto& slot = slots_[{disk, tag}];
        slot = std::make_unique<Slot>();
        generation_++;
        slot->request = {
            sector, nr_sectors, generation_, static_cast<std::uint16_t>(segments.size()), op,
            flags,  0};
        std::copy(segments.begin(), segments.end(), slot->segments.begin());
        if (op == UDRV_BLK_DISCARD && segments.empty()) { // of one range
            const udrv_blk_range range{sector, nr_sectors, 0};
            slot->request.nr_segments = 1;
            std::memcpy(slot->segments.data(), &range, sizeof range);
        }
        return {tag, generation_, &slot->request};
    }

    void submit(std::uint32_t disk, const BlkSubmission& one) { chip->submit(disk, {&one, 1}); }

    /// Memory in pieces of at most a page, as the kernel gives it.
    Segments pages(std::uint32_t nr_sectors) {
        Segments result;
        for (std::uint64_t left = std::uint64_t{nr_sectors} * 512; left != 0;) {
            const std::uint64_t part = std::min<std::uint64_t>(left, 4096);
            result.push_back({memory.allocate(4096).dma_addr, static_cast<std::uint32_t>(part), 0});
            left -= part;
        }
        return result;
    }
    void fill(const Segments& segments, std::uint32_t seed) {
        for (const auto& segment : segments) {
            std::byte* at = memory.translate(segment.dma_addr, segment.len_bytes);
            for (std::uint32_t i = 0; i < segment.len_bytes; i++) {
                seed = seed * 1664525 + 1013904223;
                at[i] = static_cast<std::byte>(seed >> 24);
            }
        }
    }
    std::vector<std::byte> bytes(const Segments& segments) {
        std::vector<std::byte> result;
        for (const auto& segment : segments) {
            const std::byte* at = memory.translate(segment.dma_addr, segment.len_bytes);
            result.insert(result.end(), at, at + segment.len_bytes);
        }
        return result;
    }
    static std::vector<std::byte> on_medium(const FakeIdeDrive& drive, std::uint64_t sector,
                                            std::uint32_t nr_sectors) {
        std::vector<std::byte> result;
        for (std::uint64_t i = 0; i < nr_sectors; i++) {
            const IdeSector data = drive.read(sector + i);
            result.insert(result.end(), data.begin(), data.end());
        }
        return result;
    }

    /// The channels run and interrupt until nothing moves.
    void serve() {
        for (bool moved = true; moved;) {
            moved = false;
            for (FakeIdeChannel& channel : channels) {
                if (channel.run()) {
                    moved = true;
                    (void)chip->interrupt();
                }
            }
        }
    }

    /// Time passes in small steps; the driver is called when it wants to be.
    void pass(std::chrono::microseconds time) {
        const auto end = now + time;
        for (;;) {
            const auto next = chip->tick(now);
            serve();
            if (next > end) {
                break;
            }
            now = std::max(next, now + std::chrono::microseconds{1});
        }
        now = end;
        (void)chip->tick(now);
    }

    std::vector<BlkCompletion> take() {
        chip->reap();
        return rings.take();
    }
    /// The only completion there is.
    BlkCompletion take_one() {
        const auto done = take();
        EXPECT_EQ(done.size(), 1u);
        return done.size() == 1 ? done[0] : BlkCompletion{99, 99, 99, 99};
    }

  private:
    struct Slot {
        udrv_blk_request request{};
        std::array<udrv_blk_segment, 256> segments{};
    };
    std::map<std::pair<std::uint32_t, std::uint32_t>, std::unique_ptr<Slot>> slots_;
    std::uint32_t generation_ = 0;
};

} // namespace udrv::test
