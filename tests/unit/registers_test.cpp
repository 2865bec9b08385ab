// SPDX-License-Identifier: MIT
#include "libudrv/device/registers.hpp"

#include <cerrno>
#include <string>

#include <gtest/gtest.h>

#include "libudrv/error.hpp"

namespace udrv {
namespace {

using namespace std::chrono_literals;

constexpr Register<std::uint32_t> status{0x8};

/// A window whose every register reads `before` so many times, then `after`.
class ChangingIo final : public RegisterIo {
  public:
    ChangingIo(std::uint32_t before, unsigned times, std::uint32_t after)
        : before_(before), times_(times), after_(after) {}
    std::uint8_t read8(std::uint32_t /*offset*/) override { return 0; }
    std::uint16_t read16(std::uint32_t /*offset*/) override { return 0; }
    std::uint32_t read32(std::uint32_t offset) override {
        EXPECT_EQ(offset, status.offset);
        return reads++ < times_ ? before_ : after_;
    }
    void write8(std::uint32_t /*offset*/, std::uint8_t /*value*/) override {}
    void write16(std::uint32_t /*offset*/, std::uint16_t /*value*/) override {}
    void write32(std::uint32_t /*offset*/, std::uint32_t /*value*/) override {}

    unsigned reads = 0;

  private:
    std::uint32_t before_;
    unsigned times_;
    std::uint32_t after_;
};

std::string error_of(ChangingIo& io, std::uint32_t mask, std::uint32_t value,
                     std::chrono::milliseconds timeout = 2ms) {
    try {
        wait_until(io, status, "chip", "STATUS", mask, value, {timeout, 100us});
    } catch (const Error& error) {
        EXPECT_EQ(error.code().value(), ETIMEDOUT);
        return error.what();
    }
    return {};
}

TEST(WaitUntil, LooksAtTheMaskedBits) {
    ChangingIo io(0xf1, 3, 0xf0);
    EXPECT_EQ(error_of(io, 1, 0, 60s), "");
    EXPECT_EQ(io.reads, 4U);
}

TEST(WaitUntil, NamesTheRegisterAndItsLastValue) {
    ChangingIo io(0xf1, 0, 0xf1);
    const std::string error = error_of(io, 1, 0);
    EXPECT_NE(error.find("chip: wait for STATUS & 0x00000001 == 0x00000000"), std::string::npos)
        << error;
    EXPECT_NE(error.find("STATUS is still 0x000000f1"), std::string::npos) << error;
}

// "Done" bits are ones too, but a device that is gone is not done.
TEST(WaitUntil, AllOnesIsADeviceThatIsGone) {
    ChangingIo io(0xffffffff, 0, 0xffffffff);
    EXPECT_NE(error_of(io, 0x10, 0x10).find("is it still there?"), std::string::npos);
}

TEST(Halves, OfAnAddress) {
    static_assert(low_half(0x1234'5678'9abc'def0) == 0x9abc'def0);
    static_assert(high_half(0x1234'5678'9abc'def0) == 0x1234'5678);
}

} // namespace
} // namespace udrv
