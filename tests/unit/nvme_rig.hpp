// SPDX-License-Identifier: MIT
//
// What the NVMe tests share.
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "drivers/nvme/nvme.hpp"
#include "libudrv/testing/error_of.hpp"
#include "tests/unit/blk_rig.hpp"
#include "tests/unit/fake_nvme.hpp"

namespace udrv::test {

struct NvmeRig : BlkRig<FakeNvme, nvme::Nvme, 4096> {
    static constexpr std::uint64_t disk_blocks = 4096;
    using Fake = FakeNvme;

    NvmeRig() { chip.add(1, disk_blocks); }

    /// After a test has arranged what the driver is to find.
    nvme::Nvme& start() {
        nvme::disable(chip);
        driver = std::make_unique<nvme::Nvme>(chip, memory, config);
        serve();
        chip.settle();
        (void)take();
        chip.forget();
        return *driver;
    }
    /// The text of the error that start() throws.
    std::string start_error() {
        return error_of([this] { (void)start(); });
    }

    void fill(std::uint32_t seed, std::uint32_t nsid = 1) {
        std::mt19937 random(seed);
        for (auto& byte : chip.namespaces.at(nsid).data) {
            byte = static_cast<std::uint8_t>(random());
        }
    }
    /// Do the tag's buffer and the namespace hold the same at its request's place?
    bool same(std::uint32_t number, std::uint32_t disk = 0, std::uint32_t nsid = 1) {
        Tag& t = tag(disk, number);
        return std::memcmp(t.data(),
                           chip.namespaces.at(nsid).data.data() + t.request().sector * 512,
                           t.request().nr_sectors * 512) == 0;
    }
    /// Of the first `count` tags, 8 blocks each.
    void read(std::uint32_t count) {
        std::vector<BlkSubmission> many;
        for (std::uint32_t n = 0; n < count; n++) {
            many.push_back(make(0, n, UDRV_BLK_READ, n * 8, 8));
        }
        submit(many);
    }
    void expect_right(std::map<std::uint32_t, std::uint32_t> done) {
        for (const auto& [number, status] : done) {
            EXPECT_EQ(status, std::uint32_t{UDRV_BLK_OK}) << number;
            EXPECT_TRUE(same(number)) << number;
        }
    }
    static constexpr std::uint32_t sq_doorbell = 0x1008;
    static constexpr std::uint32_t cq_doorbell = 0x100c;

    nvme::Config config;
};

} // namespace udrv::test
