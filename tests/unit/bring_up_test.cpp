// SPDX-License-Identifier: MIT
#include "libudrv/process/bring_up.hpp"

#include <cerrno>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "libudrv/device/pci_address.hpp"

namespace udrv {
namespace {

using Steps = std::vector<std::string>;

/// A session that notes what is asked of it.
struct FakeSession {
    explicit FakeSession(Steps& all) : steps(all) {}

    [[nodiscard]] const udrv_info& info() const { return about; }
    [[nodiscard]] PciAddress address() const { return PciAddress::parse("0000:00:04.0"); }
    void dma_bits(unsigned bits) { steps.push_back(fmt::format("{} bits", bits)); }
    void stop_by(std::span<const udrv_stop_write> writes) {
        steps.push_back(fmt::format("{} stop writes", writes.size()));
    }
    void mask_intx_by(const udrv_intx_mask& /*mask*/) { steps.emplace_back("INTx mask"); }
    std::vector<std::uint32_t> irq_setup(std::uint32_t mode, std::uint32_t wanted) {
        steps.push_back(fmt::format("irq {} x{}", mode, wanted));
        if (refused.find(static_cast<char>('0' + mode)) != std::string::npos) {
            throw_error(ENOSPC, "set up", "no vectors left");
        }
        return std::vector<std::uint32_t>(std::min(wanted, granted), 7);
    }
    void bus_master(bool on) { steps.emplace_back(on ? "bus master" : "bus master off"); }

    Steps& steps;
    udrv_info about{};
    std::string refused; ///< modes
    std::uint32_t granted = 8;
};

struct FakeChip {
    [[nodiscard]] std::span<const std::string> notes() const { return notes_; }
    std::vector<std::string> notes_{"no disk on port 3"};
};

struct FakeBoard {
    void quiet() {
        steps.emplace_back("quiet");
        if (stuck) {
            throw_error(ETIMEDOUT, "reset", "it does not end");
        }
    }
    [[nodiscard]] ChipNeeds needs() const { return wanted; }
    FakeChip& make(const ChipInterrupts& interrupts) {
        steps.push_back(fmt::format("make, irq {} x{}", interrupts.mode, interrupts.nr_vectors));
        return chip;
    }

    Steps& steps;
    ChipNeeds wanted{};
    bool stuck = false;
    FakeChip chip{};
};
static_assert(Board<FakeBoard>);

constexpr std::uint32_t intx = UDRV_IRQ_INTX;
constexpr std::uint32_t msi = UDRV_IRQ_MSI;
constexpr std::uint32_t msix = UDRV_IRQ_MSIX;

struct BringUp : testing::Test {
    BringUp() {
        board.wanted.dma_bits = 64;
        board.wanted.stop_writes.resize(2);
        board.wanted.interrupts = {msix, msi, intx};
        board.wanted.nr_vectors = 4;
        session.about.nr_msix = session.about.nr_msi = 4;
    }
    [[nodiscard]] bool did(const std::string& step) const {
        return std::find(steps.begin(), steps.end(), step) != steps.end();
    }
    Steps steps;
    FakeSession session{steps};
    FakeBoard board{steps};
};

TEST_F(BringUp, IsInTheSafeOrder) {
    board.wanted.intx_mask.emplace();
    ChipInterrupts interrupts;
    EXPECT_EQ(&bring_up(session, board, &interrupts), &board.chip);
    EXPECT_EQ(steps, (Steps{"quiet", "64 bits", "2 stop writes", "INTx mask",
                            fmt::format("irq {} x4", msix), "bus master",
                            fmt::format("make, irq {} x4", msix)}));
    EXPECT_EQ(interrupts.mode, msix);
    EXPECT_EQ(interrupts.lines.size(), 4U);
}

TEST_F(BringUp, AChipThatDoesNotGetQuietGetsNoMemory) {
    board.stuck = true;
    EXPECT_THROW(bring_up(session, board), Error);
    EXPECT_EQ(steps, Steps{"quiet"});
}

TEST_F(BringUp, TakesTheNextKindOfInterrupt) {
    session.refused = fmt::format("{}", msix);
    session.granted = 1;
    (void)bring_up(session, board);
    EXPECT_EQ(steps.back(), fmt::format("make, irq {} x1", msi));
}

TEST_F(BringUp, DoesNotAskForWhatTheDeviceHasNot) {
    session.about.nr_msix = session.about.nr_msi = 0;
    (void)bring_up(session, board);
    EXPECT_FALSE(did(fmt::format("irq {} x4", msix)));
    EXPECT_FALSE(did(fmt::format("irq {} x4", msi)));
    EXPECT_TRUE(did(fmt::format("irq {} x4", intx)));
}

TEST_F(BringUp, WithoutAnInterruptThereIsNoBusMastering) {
    session.refused = fmt::format("{}{}{}", intx, msi, msix);
    EXPECT_THROW(bring_up(session, board), Error);
    EXPECT_FALSE(did("bus master"));

    session.refused.clear();
    session.about.nr_msix = 0;
    board.wanted.interrupts = {msix};
    EXPECT_THROW(bring_up(session, board), Error);
    EXPECT_FALSE(did("bus master"));
}

TEST_F(BringUp, FewerVectorsThanTheChipCanDoWithAreAnError) {
    board.wanted.least_vectors = 2;
    session.granted = 1;
    EXPECT_THROW(bring_up(session, board), Error);
    EXPECT_FALSE(did("bus master"));
    EXPECT_FALSE(did(fmt::format("irq {} x4", msi))) << "it is chosen once a session";
}

} // namespace
} // namespace udrv
