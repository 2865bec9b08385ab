// SPDX-License-Identifier: MIT
//
// A model of MyChip, for its tests, written from the specification with numbers of its own. It
// answers late, and what the specification forbids fails the test.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>

#include <gtest/gtest.h>

#include "drivers/mychip/mychip.hpp"
#include "libudrv/testing/blk_rings.hpp"
#include "libudrv/testing/fake_memory.hpp"

namespace udrv::test {

class FakeMyChip final : public RegisterIo {
  public:
    enum Reg : std::uint32_t { CONTROL = 0x00, STATUS = 0x04, CAUSE = 0x08, MASK = 0x0c };

    // What a test may set.
    unsigned late = 3; ///< reads until a reset is over
    bool stuck = false;
    bool medium = true;
    std::uint64_t sectors = 4096;

    // What a test may look at.
    bool running = false;
    std::uint32_t mask = 0xff;
    unsigned resets = 0;

    [[nodiscard]] std::uint32_t read32(std::uint32_t offset) override {
        switch (offset) {
        case CONTROL:
            resetting_ -= resetting_ != 0 && !stuck ? 1 : 0;
            return resetting_ != 0 ? 1 : 0;
        case STATUS:
            EXPECT_EQ(resetting_, 0u) << "no other register during a reset";
            return medium ? 1 : 0;
        case CAUSE:
            return std::exchange(cause_, 0);
        case MASK:
            return mask;
        case 0x10:
            return static_cast<std::uint32_t>(sectors);
        case 0x14:
            return static_cast<std::uint32_t>(sectors >> 32);
        default:
            ADD_FAILURE() << "no such register: " << offset;
            return 0xffffffff;
        }
    }
    void write32(std::uint32_t offset, std::uint32_t value) override {
        if (offset == CONTROL) {
            if ((value & 1) != 0) {
                resets++;
                resetting_ = late;
            }
            running = (value & 3) == 2;
        } else if (offset == MASK) {
            EXPECT_EQ(resetting_, 0u) << "no other register during a reset";
            mask = value;
        } else {
            ADD_FAILURE() << "no such register to write: " << offset;
        }
    }
    // The chip has registers of 32 bits only (section ...).
    [[nodiscard]] std::uint8_t read8(std::uint32_t offset) override { return wrong(offset); }
    [[nodiscard]] std::uint16_t read16(std::uint32_t offset) override { return wrong(offset); }
    void write8(std::uint32_t offset, std::uint8_t) override { (void)wrong(offset); }
    void write16(std::uint32_t offset, std::uint16_t) override { (void)wrong(offset); }

    void raise(std::uint32_t causes) { cause_ |= causes; }

  private:
    static std::uint8_t wrong(std::uint32_t offset) {
        ADD_FAILURE() << "an access that is not 32 bits wide: " << offset;
        return 0xff;
    }
    unsigned resetting_ = 0;
    std::uint32_t cause_ = 0;
};

struct MyChipRig {
    mychip::MyChip& start() {
        mychip::reset(chip);
        driver = std::make_unique<mychip::MyChip>(chip, memory);
        driver->start(rings.connect(driver->disks().size()));
        return *driver;
    }
    /// A request without data.
    BlkSubmission make(std::uint32_t tag, std::uint8_t op) {
        udrv_blk_request& request = requests[tag];
        request = {};
        request.op = op;
        request.generation = ++generation;
        return {tag, generation, &request};
    }

    FakeMemory memory{FakeMemory::high};
    FakeMyChip chip;
    BlkRings rings;
    std::unique_ptr<mychip::MyChip> driver;
    std::map<std::uint32_t, udrv_blk_request> requests;
    std::uint32_t generation = 0;
};

} // namespace udrv::test
