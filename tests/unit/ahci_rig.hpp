// SPDX-License-Identifier: MIT
//
// What the AHCI tests share.
#pragma once

#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "drivers/ahci/ahci.hpp"
#include "libudrv/testing/error_of.hpp"
#include "tests/unit/blk_rig.hpp"
#include "tests/unit/fake_ahci.hpp"

namespace udrv::test {

inline ahci::Config quick_ahci() {
    ahci::Config config;
    config.detect = 0ms;
    config.spin_up_timeout = 100ms; // of real time
    return config;
}

struct AhciRig : BlkRig<FakeAhci, ahci::Ahci, 2> {
    static constexpr std::uint64_t disk_blocks = 4096;
    using Fake = FakeAhci;

    explicit AhciRig(const ahci::Config& with = quick_ahci()) : config(with) {
        chip.plug(0, disk_blocks);
    }

    /// After a test has arranged what the driver is to find.
    ahci::Ahci& start() {
        chip.clock = std::chrono::steady_clock::now;
        config.occupied = ahci::reset_hba(chip);
        driver = std::make_unique<ahci::Ahci>(chip, memory, config);
        serve();
        chip.settle();
        chip.forget();
        chip.clock = [this] { return now; };
        return *driver;
    }
    /// The text of the error that start() throws.
    std::string start_error() {
        return error_of([this] { (void)start(); });
    }

    BlkSubmission make_ata(std::uint32_t disk, std::uint32_t number, const udrv_blk_ata& command) {
        const BlkSubmission made = make(disk, number, UDRV_BLK_ATA);
        std::memcpy(tag(disk, number).segments(), &command, sizeof(command));
        return made;
    }
    udrv_blk_ata& answer(std::uint32_t disk, std::uint32_t number) {
        return ata_command(tag(disk, number).request());
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

    ahci::Config config;
};

} // namespace udrv::test
