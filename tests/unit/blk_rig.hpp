// SPDX-License-Identifier: MIT
//
// What the tests of disk controllers share: the model, the driver on it, and a stand-in for
// the kernel that has a slot and a buffer a tag. Time is the test's own.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "libudrv/blk/blk_chip.hpp"
#include "libudrv/testing/blk_rings.hpp"
#include "libudrv/testing/fake_memory.hpp"

namespace udrv::test {

using namespace std::chrono_literals;

/// `Fake` is the model, `Chip` its driver. `unit`: what segments are multiples of.
template <typename Fake, typename Chip, std::uint32_t unit>
struct BlkRig {
    static constexpr std::uint32_t buffer_bytes = 256 * 1024;

    struct Tag {
        alignas(8)
            std::array<std::byte, sizeof(udrv_blk_request) + 256 * sizeof(udrv_blk_segment)> slot{};
        DmaBlock buffer;
        [[nodiscard]] udrv_blk_request& request() {
            return *reinterpret_cast<udrv_blk_request*>(slot.data());
        }
        [[nodiscard]] udrv_blk_segment* segments() {
            return reinterpret_cast<udrv_blk_segment*>(slot.data() + sizeof(udrv_blk_request));
        }
        [[nodiscard]] std::uint8_t* data() { return reinterpret_cast<std::uint8_t*>(buffer.vaddr); }
    };

    Tag& tag(std::uint32_t disk, std::uint32_t number) {
        auto& place = tags[{disk, number}];
        if (!place) {
            place = std::make_unique<Tag>();
            place->buffer = memory.allocate(buffer_bytes);
        }
        return *place;
    }

    /// A request of `sectors` from `sector` on in `pieces` segments, or of one range.
    BlkSubmission make(std::uint32_t disk, std::uint32_t number, std::uint8_t op,
                       std::uint64_t sector = 0, std::uint32_t sectors = 0,
                       std::uint32_t pieces = 1, std::uint8_t flags = 0) {
        Tag& t = tag(disk, number);
        const bool data = op == UDRV_BLK_READ || op == UDRV_BLK_WRITE;
        t.request() = {};
        t.request().sector = sector;
        t.request().nr_sectors = sectors;
        t.request().generation = ++generation;
        t.request().nr_segments = static_cast<std::uint16_t>(data ? pieces : 0);
        t.request().op = op;
        t.request().flags = flags;
        if (data) {
            const std::uint32_t bytes = sectors * 512;
            const std::uint32_t part = bytes / pieces / unit * unit;
            for (std::uint32_t i = 0; i < pieces; i++) {
                const std::uint32_t len = i + 1 == pieces ? bytes - part * i : part;
                t.segments()[i] = {t.buffer.dma_addr + part * i, len, 0};
            }
        }
        if (op == UDRV_BLK_DISCARD) {
            return make_discard(disk, number, {{sector, sectors, 0}});
        }
        return {number, generation, &t.request()};
    }
    BlkSubmission make_discard(std::uint32_t disk, std::uint32_t number,
                               const std::vector<udrv_blk_range>& ranges) {
        Tag& t = tag(disk, number);
        t.request() = {};
        t.request().sector = ranges.front().sector;
        for (const udrv_blk_range& range : ranges) {
            t.request().nr_sectors += range.nr_sectors;
        }
        t.request().generation = ++generation;
        t.request().nr_segments = static_cast<std::uint16_t>(ranges.size());
        t.request().op = UDRV_BLK_DISCARD;
        std::memcpy(t.segments(), ranges.data(), ranges.size() * sizeof(udrv_blk_range));
        return {number, generation, &t.request()};
    }

    /// The driver is there: its disks get their rings.
    void serve() { driver->start(rings.connect(driver->disks().size())); }

    void submit(const std::vector<BlkSubmission>& many, std::uint32_t disk = 0) {
        driver->submit(disk, many);
    }
    void submit(const BlkSubmission& one, std::uint32_t disk = 0) {
        driver->submit(disk, {&one, 1});
    }

    /// Interrupt if there is one, and what is done.
    std::vector<BlkCompletion> take() {
        if (chip.interrupting()) {
            EXPECT_TRUE(driver->interrupt());
        }
        return reap();
    }
    /// What is done without an interrupt.
    std::vector<BlkCompletion> reap() {
        driver->reap();
        return rings.take();
    }

    /// Lets the chip work and time pass until `count` requests are done, or a virtual
    /// ten minutes are over. Status by tag; each tag once.
    std::map<std::uint32_t, std::uint32_t> finish(std::size_t count) {
        std::map<std::uint32_t, std::uint32_t> result;
        const auto limit = now + 10min;
        while (result.size() < count && now < limit) {
            chip.run();
            for (const BlkCompletion& completion : take()) {
                EXPECT_TRUE(result.emplace(completion.tag, completion.status).second)
                    << "tag " << completion.tag << " completed twice";
                EXPECT_EQ(completion.generation,
                          tag(completion.disk, completion.tag).request().generation);
            }
            const auto next = driver->tick(now);
            now = std::clamp(next, now + 1ms, now + (rings.pending() ? 1ms : 1s));
        }
        EXPECT_EQ(result.size(), count) << "requests are lost";
        return result;
    }

    /// The driver's timers, for that long.
    void pass(std::chrono::milliseconds time) {
        for (const auto end = now + time; now < end; now += 1ms) {
            (void)driver->tick(now);
        }
    }

    /// Until something has happened.
    template <typename Happened>
    void pass_until(Happened happened) {
        for (int n = 0; n < 1000 && !happened(); n++) {
            (void)driver->tick(now += 1ms);
        }
    }

    std::size_t writes_to(std::uint32_t offset) const {
        return static_cast<std::size_t>(
            std::count_if(chip.writes.begin(), chip.writes.end(),
                          [&](const auto& w) { return w.offset == offset; }));
    }

    FakeMemory memory{FakeMemory::high};
    Fake chip{memory};
    BlkRings rings;
    std::unique_ptr<Chip> driver;
    std::map<std::pair<std::uint32_t, std::uint32_t>, std::unique_ptr<Tag>> tags;
    std::uint32_t generation = 0;
    BlkClock::time_point now{1h};
};

} // namespace udrv::test
