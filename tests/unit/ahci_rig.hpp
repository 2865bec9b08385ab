// SPDX-License-Identifier: MIT
//
// What the AHCI tests share: the model, the driver on it, and a stand-in for the
// kernel that has a slot and a buffer a tag. Time is the test's own.
#pragma once

#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "drivers/ahci/ahci.hpp"
#include "libudrv/error.hpp"
#include "tests/unit/fake_ahci.hpp"

namespace udrv::test {

using namespace std::chrono_literals;

inline ahci::Config quick_ahci() {
    ahci::Config config;
    config.detect = 0ms;
    config.spin_up_timeout = 100ms; // of real time
    return config;
}

struct AhciRig {
    static constexpr std::uint64_t disk_blocks = 4096;
    static constexpr std::uint32_t buffer_bytes = 256 * 1024;
    using Fake = FakeAhci;

    explicit AhciRig(const ahci::Config& with = quick_ahci()) : config(with) {
        chip.plug(0, disk_blocks);
    }

    /// After a test has arranged what the driver is to find.
    ahci::Ahci& start() {
        chip.clock = std::chrono::steady_clock::now;
        config.occupied = ahci::reset_hba(chip);
        driver = std::make_unique<ahci::Ahci>(chip, memory, config);
        chip.settle();
        chip.forget();
        chip.clock = [this] { return now; };
        return *driver;
    }
    /// The text of the error that start() throws.
    std::string start_error() {
        try {
            (void)start();
        } catch (const Error& error) {
            return error.what();
        }
        return "no error";
    }

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
            const std::uint32_t part = bytes / pieces / 2 * 2;
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

    BlkSubmission make_ata(std::uint32_t disk, std::uint32_t number, const udrv_blk_ata& command) {
        const BlkSubmission made = make(disk, number, UDRV_BLK_ATA);
        std::memcpy(tag(disk, number).segments(), &command, sizeof(command));
        return made;
    }
    udrv_blk_ata& answer(std::uint32_t disk, std::uint32_t number) {
        return ata_command(tag(disk, number).request());
    }

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
        std::vector<BlkCompletion> done(64);
        done.resize(driver->reap(done));
        return done;
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
            now = std::clamp(next, now + 1ms, now + 1s);
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

    void fill(std::uint32_t disk, std::uint32_t seed) {
        std::mt19937 random(seed);
        for (auto& byte : chip.disks.at(disk).data) {
            byte = static_cast<std::uint8_t>(random());
        }
    }

    /// Do the tag's buffer and the disk hold the same at its request's place?
    bool same(std::uint32_t disk, std::uint32_t number) {
        Tag& t = tag(disk, number);
        return std::memcmp(t.data(), chip.disks.at(disk).data.data() + t.request().sector * 512,
                           t.request().nr_sectors * 512) == 0;
    }

    std::size_t writes_to(std::uint32_t offset) const {
        return static_cast<std::size_t>(
            std::count_if(chip.writes.begin(), chip.writes.end(),
                          [&](const auto& w) { return w.offset == offset; }));
    }

    ahci::Config config;
    FakeMemory memory{FakeMemory::high};
    FakeAhci chip{memory};
    std::unique_ptr<ahci::Ahci> driver;
    std::map<std::pair<std::uint32_t, std::uint32_t>, std::unique_ptr<Tag>> tags;
    std::uint32_t generation = 0;
    BlkClock::time_point now{1h};
};

} // namespace udrv::test
