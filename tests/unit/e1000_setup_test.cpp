// SPDX-License-Identifier: MIT
//
// e1000: reset, initialisation, what the administrator may change, interrupt
// causes, link and statistics, against the model.
#include <array>
#include <gtest/gtest.h>

#include "libudrv/error.hpp"
#include "tests/unit/e1000_rig.hpp"

namespace udrv::test {
namespace {

using Fake = FakeE1000;

/// Position of the first write to `offset` (with `value`), or of none.
std::size_t first_write(const Fake& chip, std::uint32_t offset,
                        std::optional<std::uint32_t> value = {}) {
    const auto found = std::find_if(chip.writes.begin(), chip.writes.end(), [&](const auto& w) {
        return w.offset == offset && (!value || w.value == *value);
    });
    return static_cast<std::size_t>(found - chip.writes.begin());
}

void set_multicast(udrv_net_desired& desired, std::vector<std::array<std::uint8_t, 6>> groups) {
    desired.nr_multicast = static_cast<std::uint32_t>(groups.size());
    for (std::size_t i = 0; i < groups.size(); i++) {
        std::copy(groups[i].begin(), groups[i].end(), desired.multicast[i]);
    }
}

TEST(E1000Reset, MasksAndStopsBeforeItResets) {
    Rig rig;
    const auto& chip = rig.chip;
    // SDM 14.3: interrupts off first; then the reset; then off once more.
    EXPECT_EQ(chip.writes.front(), (Fake::Access{Fake::IMC, 0xffffffff}));
    const std::size_t reset = first_write(chip, Fake::CTRL);
    ASSERT_LT(reset, chip.writes.size());
    EXPECT_NE(chip.writes[reset].value & 1u << 26, 0u);
    EXPECT_LT(first_write(chip, Fake::RCTL, 0), reset);
    EXPECT_LT(first_write(chip, Fake::TCTL), reset);
    EXPECT_LT(first_write(chip, 0x1000, 40), reset); // PBA, effective with the reset
    EXPECT_EQ(rig.chip.at(Fake::IMS), 0u);
    EXPECT_EQ(rig.chip.at(Fake::RCTL) & 2, 0u);
    EXPECT_EQ(rig.chip.at(Fake::TCTL) & 2, 0u);
}

TEST(E1000Reset, TimeoutNamesTheRegisterAndItsLastValue) {
    FakeMemory memory;
    FakeE1000 chip(memory);
    chip.reset_hangs = true;
    try {
        e1000::E1000 driver(chip, memory, quick(), &chip.io());
        driver.quiet();
        driver.init();
        FAIL() << "no error";
    } catch (const Error& error) {
        EXPECT_EQ(error.code().value(), ETIMEDOUT);
        const std::string text = error.what();
        EXPECT_NE(text.find("CTRL is still 0x04000000 after 1000 ms"), std::string::npos) << text;
    }
}

TEST(E1000Reset, EepromTimeoutNamesEerd) {
    FakeMemory memory;
    FakeE1000 chip(memory);
    chip.eeprom_hangs = true;
    try {
        e1000::E1000 driver(chip, memory, quick(), &chip.io());
        driver.quiet();
        driver.init();
        FAIL() << "no error";
    } catch (const Error& error) {
        EXPECT_NE(std::string(error.what()).find("EERD is still 0x00000001"), std::string::npos)
            << error.what();
    }
}

TEST(E1000Reset, AddressIsTheEepromsEvenIfAPredecessorChangedRal) {
    FakeMemory memory;
    FakeE1000 chip(memory);
    chip.reset_clears = false;
    chip.at(Fake::RAL) = 0x04030202;
    chip.at(Fake::RAH) = 0x80000605;
    e1000::E1000 driver(chip, memory, quick(), &chip.io());
    driver.quiet();
    driver.init();
    EXPECT_EQ(driver.capabilities().mac, (MacAddress{0x52, 0x54, 0x00, 0x12, 0x34, 0x56}));
}

TEST(E1000Reset, AddressFromRalAndRahWhenTheEepromHasNone) {
    FakeMemory memory;
    FakeE1000 chip(memory);
    chip.mac = Bytes(6, 0);
    chip.reset_clears = false;
    chip.at(Fake::RAL) = 0x12005452;
    chip.at(Fake::RAH) = 0x80005634;
    e1000::E1000 driver(chip, memory, quick(), &chip.io());
    driver.quiet();
    driver.init();
    EXPECT_EQ(driver.capabilities().mac, (MacAddress{0x52, 0x54, 0x00, 0x12, 0x34, 0x56}));
}

TEST(E1000Reset, NoAddressAnywhereIsAnError) {
    FakeMemory memory;
    FakeE1000 chip(memory);
    chip.mac = Bytes(6, 0xff);
    e1000::E1000 driver(chip, memory, quick(), &chip.io());
    EXPECT_THROW((driver.quiet(), driver.init()), Error);
}

TEST(E1000Reset, ConstructionTouchesNothing) {
    FakeMemory memory;
    FakeE1000 chip(memory);
    const e1000::E1000 driver(chip, memory, quick(), &chip.io());
    EXPECT_TRUE(chip.writes.empty());
    EXPECT_EQ(chip.reads, 0u);
}

TEST(E1000Reset, GoesThroughTheIoPortsWhereThereAreAny) {
    Rig rig; // the model fails the test if the reset comes through memory
    EXPECT_EQ(rig.chip.io_resets, 1u);
    rig.driver.apply(up_state());
    rig.driver.stop();
    EXPECT_EQ(rig.chip.io_resets, 2u);

    FakeMemory memory;
    FakeE1000 chip(memory);
    chip.has_io = false;
    e1000::E1000 driver(chip, memory, quick());
    driver.quiet();
    driver.init();
    EXPECT_EQ(chip.io_resets, 0u);
    EXPECT_NE(chip.writes_to(Fake::CTRL), 0u);
}

// ---- The bus -----------------------------------------------------------------------

TEST(E1000Bus, SixtyFourAddressBitsInPcixModeOnly) {
    FakeMemory memory;
    FakeE1000 plain(memory);
    FakeE1000 pcix(memory, true);
    EXPECT_EQ(e1000::dma_bits(plain, e1000::Model::i82545em), 32u);
    EXPECT_EQ(e1000::dma_bits(pcix, e1000::Model::i82545em), 64u);
    // On an 82540EM the bit is reserved, and the bus conventional.
    EXPECT_EQ(e1000::dma_bits(pcix, e1000::Model::i82540em), 32u);
    pcix.at(Fake::STATUS) = 0xffffffff; // gone
    EXPECT_EQ(e1000::dma_bits(pcix, e1000::Model::i82545em), 32u);
}

TEST(E1000Bus, DescriptorMemoryAbove4GiBIsRefusedOnConventionalPci) {
    FakeMemory memory(FakeMemory::high);
    FakeE1000 chip(memory);
    e1000::E1000 driver(chip, memory, on_pcix(), &chip.io());
    try {
        driver.quiet();
        driver.init();
        FAIL() << "no error";
    } catch (const Error& error) {
        EXPECT_NE(std::string(error.what()).find("above 4 GiB"), std::string::npos) << error.what();
    }
}

TEST(E1000Bus, PcixReachesAllOfMemory) {
    Rig rig(on_pcix(), true);
    rig.driver.apply(up_state());
    EXPECT_NE(rig.chip.at(Fake::RDBAH), 0u);
    EXPECT_NE(rig.chip.at(Fake::TDBAH), 0u);
    rig.give(4);
    EXPECT_TRUE(rig.chip.receive(frame_of(64, 1)));
    EXPECT_EQ(rig.take_rx().size(), 1u);
    EXPECT_EQ(rig.send(rig.segment(frame_of(64, 1), 1)), 1u);
    EXPECT_EQ(rig.take_completions().size(), 1u);
}

// ---- The PHY -----------------------------------------------------------------------

TEST(E1000Phy, IsSetUpOnceAndThenLeftAlone) {
    FakeMemory memory;
    FakeE1000 chip(memory);
    {
        e1000::E1000 driver(chip, memory, quick(), &chip.io());
        driver.quiet();
        driver.init();
    }
    // 10 and 100 Mb/s both ways, no pause; 1000 Mb/s full duplex only.
    EXPECT_EQ(chip.phy[4], 0x01e1);
    EXPECT_EQ(chip.phy[9] & 0x0300, 0x0200);
    // CRS on transmit, crossover found, polarity corrected; 25 MHz, one try at 1000 Mb/s.
    EXPECT_EQ(chip.phy_in_force[16] & 0x0862, 0x0860);
    EXPECT_EQ(chip.phy_in_force[20] & 0x0f70, 0x0170);
    EXPECT_EQ(chip.phy[0] & 0x9000, 0x1000); // negotiates, its reset is over
    EXPECT_EQ(chip.negotiations, 1u);
    // A successor keeps the link.
    e1000::E1000 successor(chip, memory, quick(), &chip.io());
    successor.quiet();
    successor.init();
    successor.apply(up_state());
    successor.stop();
    EXPECT_EQ(chip.negotiations, 1u);
}

TEST(E1000Phy, IsWokenAndToldToNegotiate) {
    for (const std::uint16_t control :
         std::array<std::uint16_t, 4>{0x1940, 0x0140, 0x1540, 0x5140}) {
        FakeMemory memory;
        FakeE1000 chip(memory);
        {
            e1000::E1000 driver(chip, memory, quick(), &chip.io());
            driver.quiet();
            driver.init();
        }
        chip.phy[0] = control; // powered down, forced, isolated, in loopback
        e1000::E1000 driver(chip, memory, quick(), &chip.io());
        driver.quiet();
        driver.init();
        EXPECT_EQ(chip.phy[0] & 0x5c00, 0x1000) << std::hex << control;
        EXPECT_EQ(chip.negotiations, 2u);
    }
}

TEST(E1000Phy, OfAnotherMakerIsOnlyToldWhatToAdvertise) {
    FakeMemory memory;
    FakeE1000 chip(memory);
    chip.phy[2] = 0x02a8;
    const auto before = chip.phy;
    e1000::E1000 driver(chip, memory, quick(), &chip.io());
    driver.quiet();
    driver.init();
    EXPECT_EQ(chip.phy[4], 0x01e1);
    EXPECT_EQ(chip.phy[16], before[16]);
    EXPECT_EQ(chip.phy[20], before[20]);
    EXPECT_EQ(chip.negotiations, 1u);
}

// ---- Management ---------------------------------------------------------------------

TEST(E1000Management, ArpIsAnsweredByTheChipOnlyWhileWeDoNotDrive) {
    FakeMemory memory;
    FakeE1000 chip(memory);
    chip.at(Fake::MANC) = 1u << 13 | 1u << 0; // and SMBus, which stays
    e1000::E1000 driver(chip, memory, quick(), &chip.io());
    driver.quiet();
    driver.init();
    EXPECT_EQ(driver.found_manc(), 0x2001u);
    driver.apply(up_state());
    EXPECT_EQ(chip.at(Fake::MANC), 1u);
    driver.stop();
    EXPECT_EQ(chip.at(Fake::MANC), 0x2001u);
    driver.apply(up_state());
    EXPECT_EQ(chip.at(Fake::MANC), 1u);
    Rig plain;
    plain.driver.apply(up_state());
    plain.driver.stop();
    EXPECT_EQ(plain.chip.at(Fake::MANC), 0u);
}

TEST(E1000Management, TheKernelsStopWritesResetThroughIoAndRestoreIt) {
    const auto plain = e1000::end_of_transfers(e1000::no_io_bar, 0x0001);
    ASSERT_EQ(plain.size(), 3u);
    EXPECT_EQ(plain[2].offset, 0u); // CTRL
    EXPECT_EQ(plain[2].value, 1u << 26);
    const auto writes = e1000::end_of_transfers(2, 0x2001);
    ASSERT_EQ(writes.size(), 5u);
    EXPECT_LE(writes.size(), std::size_t{UDRV_MAX_STOP_WRITES});
    EXPECT_EQ(writes[2].bar, 2u); // IOADDR: CTRL
    EXPECT_EQ(writes[2].offset, 0u);
    EXPECT_EQ(writes[2].value, 0u);
    EXPECT_EQ(writes[3].bar, 2u); // IODATA
    EXPECT_EQ(writes[3].offset, 4u);
    EXPECT_EQ(writes[3].value, 1u << 26);
    EXPECT_EQ(writes[3].mask, 1u << 26);
    EXPECT_EQ(writes[4].offset, 0x5820u);
    EXPECT_EQ(writes[4].value, 0x2001u);
}

TEST(E1000Capabilities, AreTheChipsAndCanBeMasked) {
    Rig rig;
    const NetCapabilities& can = rig.driver.capabilities();
    EXPECT_EQ(can.tx_depth, 256u);
    EXPECT_EQ(can.rx_depth, 256u);
    EXPECT_EQ(can.rx_buf_bytes, 2048u);
    EXPECT_EQ(can.max_mtu, 16110u);
    EXPECT_EQ(can.features, UDRV_NET_F_ALL & ~(UDRV_NET_F_TSO6 | UDRV_NET_F_RX_HASH));
    e1000::Config plain = quick();
    plain.features = UDRV_NET_F_RX_CSUM | UDRV_NET_F_TSO6;
    Rig masked(plain);
    EXPECT_EQ(masked.driver.capabilities().features, UDRV_NET_F_RX_CSUM);
}

TEST(E1000Start, SetsUpLinkThenReceiveThenTransmitThenInterrupts) {
    Rig rig;
    const auto fill = rig.buffers(256);
    EXPECT_EQ(rig.driver.rx_provide(fill), 256u); // before the start: kept
    rig.chip.forget();
    rig.driver.apply(up_state());
    auto& chip = rig.chip;
    const std::uint32_t ctrl = chip.at(Fake::CTRL);
    EXPECT_EQ(ctrl & (1u << 6 | 1u << 5), 1u << 6);                  // SLU, not ASDE
    EXPECT_EQ(ctrl & (1u << 3 | 1u << 7 | 1u << 31 | 1u << 26), 0u); // LRST, ILOS, PHY_RST, RST
    EXPECT_EQ(chip.at(Fake::RAL), 0x12005452u);
    EXPECT_EQ(chip.at(Fake::RAH), 0x80005634u);
    for (std::uint32_t i = 1; i < 16; i++) {
        EXPECT_EQ(chip.at(Fake::RAH + 8 * i), 0u) << i;
    }
    for (std::uint32_t i = 0; i < 128; i++) {
        EXPECT_EQ(chip.at(Fake::MTA + 4 * i), 0u) << i;
    }
    // EN, RDMTS 1/8, BAM, SECRC; BSIZE 2048, no LPE, no promiscuity (SDM 13.4.22).
    EXPECT_EQ(chip.at(Fake::RCTL), 0x04008202u);
    EXPECT_EQ(chip.at(Fake::TCTL), 0x000400fau); // EN, PSP, CT 0Fh, COLD 40h (SDM 13.4.33)
    EXPECT_EQ(chip.at(0x0410), 0x0060200au);     // TIPG: 10, 8, 6
    EXPECT_EQ(chip.at(0x0038), 0x8100u);         // VET
    EXPECT_EQ(chip.at(Fake::RDLEN), 512u * 16);
    EXPECT_EQ(chip.at(Fake::TDLEN), 1024u * 16);
    EXPECT_NE(chip.at(Fake::RDBAL), 0u);
    EXPECT_NE(chip.at(Fake::TDBAL), 0u);
    EXPECT_EQ(chip.rx_free(), 256u);
    EXPECT_EQ(chip.at(Fake::ITR), 195u);  // 50 us in 256 ns
    EXPECT_EQ(chip.at(Fake::IMS), 0xd4u); // LSC, RXDMT0, RXO, RXT0

    const std::size_t rx_on = first_write(chip, Fake::RCTL);
    const std::size_t tx_on = first_write(chip, Fake::TCTL);
    EXPECT_LT(first_write(chip, Fake::CTRL), rx_on);
    EXPECT_LT(first_write(chip, Fake::RDT), rx_on);
    EXPECT_LT(first_write(chip, Fake::MTA), rx_on);
    EXPECT_LT(rx_on, tx_on);
    EXPECT_LT(first_write(chip, Fake::TDT), tx_on);
    EXPECT_EQ(first_write(chip, Fake::IMS) + 1, chip.writes.size()); // the last of all
}

TEST(E1000Start, ClearsWhatAResetLeftBehind) {
    FakeMemory memory;
    FakeE1000 chip(memory);
    chip.reset_clears = false; // a model that keeps its registers, full of nonsense
    for (const std::uint32_t offset : {0x0028u, 0x002cu, 0x0030u, 0x0170u, 0x2820u, 0x282cu}) {
        chip.at(offset) = 0xbad;
    }
    e1000::E1000 driver(chip, memory, quick(), &chip.io());
    driver.quiet();
    driver.init();
    driver.apply(up_state());
    for (const std::uint32_t offset : {0x0028u, 0x002cu, 0x0030u, 0x0170u, 0x2820u, 0x282cu}) {
        EXPECT_EQ(chip.at(offset), 0u) << std::hex << offset;
    }
    EXPECT_NE(chip.at(0x3820), 0u) << "a TIDV of zero is not allowed, SDM 13.4.41";
}

TEST(E1000Apply, IsIdempotent) {
    Rig rig;
    rig.driver.apply(up_state());
    rig.chip.forget();
    rig.driver.apply(up_state());
    EXPECT_TRUE(rig.chip.writes.empty());
    EXPECT_EQ(rig.chip.reads, 0u);
    udrv_net_desired down{};
    rig.driver.apply(down);
    rig.chip.forget();
    rig.driver.apply(down);
    rig.driver.stop();
    EXPECT_TRUE(rig.chip.writes.empty());
}

TEST(E1000Apply, ChangesTheAddressWithoutAReset) {
    Rig rig;
    rig.driver.apply(up_state());
    auto desired = up_state();
    desired.mac[0] = 0x02;
    desired.mac[5] = 0xff;
    rig.chip.forget();
    rig.driver.apply(desired);
    EXPECT_EQ(rig.chip.at(Fake::RAL), 0x12005402u);
    EXPECT_EQ(rig.chip.at(Fake::RAH), 0x8000ff34u);
    // SDM 13.5.3: invalid first, and valid with the last write.
    ASSERT_EQ(rig.chip.writes.size(), 3u);
    EXPECT_EQ(rig.chip.writes[0], (Fake::Access{Fake::RAH, 0}));
    EXPECT_EQ(rig.chip.writes[2].offset, Fake::RAH);
}

TEST(E1000Apply, MtuOver1500NeedsLongPackets) {
    Rig rig;
    auto desired = up_state();
    rig.driver.apply(desired);
    EXPECT_EQ(rig.chip.at(Fake::RCTL) & 0x20, 0u);
    desired.mtu = 1501;
    rig.chip.forget();
    rig.driver.apply(desired);
    EXPECT_EQ(rig.chip.writes, (std::vector<Fake::Access>{{Fake::RCTL, 0x04008222}}));
    desired.mtu = 9000;
    rig.chip.forget();
    rig.driver.apply(desired);
    EXPECT_TRUE(rig.chip.writes.empty());
}

TEST(E1000Apply, PromiscuousAndAllMulticast) {
    Rig rig;
    rig.give(8);
    auto desired = up_state();
    rig.driver.apply(desired);
    Bytes other = frame_of(60, 1);
    other[5] = 0x57;
    Bytes group = frame_of(60, 1);
    group[0] = 0x01;
    EXPECT_TRUE(rig.chip.receive(frame_of(60, 1)));
    EXPECT_FALSE(rig.chip.receive(other));
    EXPECT_FALSE(rig.chip.receive(group));
    desired.rx_mode = UDRV_NET_ALLMULTI;
    rig.driver.apply(desired);
    EXPECT_EQ(rig.chip.at(Fake::RCTL) & 0x18, 0x10u);
    EXPECT_FALSE(rig.chip.receive(other));
    EXPECT_TRUE(rig.chip.receive(group));
    desired.rx_mode = UDRV_NET_PROMISC;
    rig.driver.apply(desired);
    EXPECT_EQ(rig.chip.at(Fake::RCTL) & 0x18, 0x18u);
    EXPECT_TRUE(rig.chip.receive(other));
    Bytes broadcast = frame_of(60, 1);
    std::fill(broadcast.begin(), broadcast.begin() + 6, std::uint8_t{0xff});
    desired.rx_mode = 0;
    rig.driver.apply(desired);
    EXPECT_TRUE(rig.chip.receive(broadcast));
}

TEST(E1000Multicast, HashIsTheOneOfTheManual) {
    // SDM 13.5.1: an address that ends in 9x:BC is bit 9 of row 94.
    constexpr std::array<std::uint8_t, 6> address{0x01, 0x00, 0x5e, 0x11, 0x9a, 0xbc};
    const std::uint32_t hash = e1000::multicast_hash(address);
    EXPECT_EQ(hash, 0xbc9u);
    EXPECT_EQ(hash >> 5, 94u);
    EXPECT_EQ(hash & 31, 9u);
    // 01:AA:00:12:34:56: bits 47:36 are 0x563.
    constexpr std::array<std::uint8_t, 6> other{0x01, 0xaa, 0x00, 0x12, 0x34, 0x56};
    EXPECT_EQ(e1000::multicast_hash(other), 0x563u);
}

TEST(E1000Multicast, TableFollowsTheListWithOnlyTheWritesItNeeds) {
    Rig rig;
    rig.give(8);
    auto desired = up_state();
    rig.driver.apply(desired);
    set_multicast(desired, {{0x01, 0x00, 0x5e, 0x00, 0x00, 0x01}, {0x33, 0x33, 0, 0, 0, 1}});
    rig.chip.forget();
    rig.driver.apply(desired); // both hash to 0x010: word 0, bit 16
    EXPECT_EQ(rig.chip.writes, (std::vector<Fake::Access>{{Fake::MTA, 1u << 16}}));
    Bytes frame = frame_of(60, 1);
    constexpr std::array<std::uint8_t, 6> all_nodes{0x33, 0x33, 0, 0, 0, 1};
    std::copy(all_nodes.begin(), all_nodes.end(), frame.begin());
    EXPECT_TRUE(rig.chip.receive(frame));
    frame[5] = 2;
    EXPECT_FALSE(rig.chip.receive(frame));
    set_multicast(desired, {{0x01, 0x00, 0x5e, 0x11, 0x9a, 0xbc}});
    rig.chip.forget();
    rig.driver.apply(desired);
    EXPECT_EQ(rig.chip.writes,
              (std::vector<Fake::Access>{{Fake::MTA, 0}, {Fake::MTA + 4 * 94, 1u << 9}}));
    // A restart writes the table again.
    udrv_net_desired down{};
    rig.driver.apply(down);
    rig.driver.apply(desired);
    EXPECT_EQ(rig.chip.at(Fake::MTA + 4 * 94), 1u << 9);
}

TEST(E1000Apply, FeaturesSwitchChecksumsAndTags) {
    Rig rig;
    auto desired = up_state();
    rig.driver.apply(desired);
    EXPECT_EQ(rig.chip.at(Fake::RXCSUM), 0u);
    EXPECT_EQ(rig.chip.at(Fake::CTRL) & 1u << 30, 0u);
    desired.features = UDRV_NET_F_RX_CSUM | UDRV_NET_F_VLAN_RX;
    rig.driver.apply(desired);
    EXPECT_EQ(rig.chip.at(Fake::RXCSUM), 0x300u);
    EXPECT_NE(rig.chip.at(Fake::CTRL) & 1u << 30, 0u);
    EXPECT_NE(rig.chip.at(Fake::CTRL) & 1u << 6, 0u); // the link stays up
    desired.features = UDRV_NET_F_VLAN_TX;
    rig.driver.apply(desired);
    EXPECT_EQ(rig.chip.at(Fake::RXCSUM), 0u);
    EXPECT_NE(rig.chip.at(Fake::CTRL) & 1u << 30, 0u);
}

TEST(E1000Apply, HoldOffInUnitsOf256Nanoseconds) {
    Rig rig;
    auto desired = up_state();
    desired.rx_usecs = 128;
    rig.driver.apply(desired);
    EXPECT_EQ(rig.chip.at(Fake::ITR), 500u); // the example of SDM 13.4.18
    desired.rx_usecs = 1000000;
    rig.driver.apply(desired);
    EXPECT_EQ(rig.chip.at(Fake::ITR), 0xffffu);
    desired.rx_usecs = 0;
    rig.driver.apply(desired);
    EXPECT_EQ(rig.chip.at(Fake::ITR), 195u);
}

TEST(E1000Interrupt, ReadsTheCauseOnceAndTellsDataFromLink) {
    Rig rig;
    rig.driver.apply(up_state());
    const auto cause = [&](std::uint32_t bits) {
        rig.chip.raise(bits);
        rig.chip.forget();
        const NetCause found = rig.driver.interrupt();
        EXPECT_EQ(rig.chip.reads, 1u);
        EXPECT_TRUE(rig.chip.writes.empty());
        EXPECT_FALSE(rig.chip.interrupting());
        return std::pair(found.data, found.link);
    };
    EXPECT_EQ(cause(0x80), std::pair(true, false)); // RXT0
    EXPECT_EQ(cause(0x01), std::pair(true, false)); // TXDW
    EXPECT_EQ(cause(0x10), std::pair(true, false)); // RXDMT0
    EXPECT_EQ(cause(0x04), std::pair(false, true)); // LSC
    EXPECT_EQ(cause(0x84), std::pair(true, true));
    EXPECT_EQ(cause(0), std::pair(false, false)); // a neighbour's, on a shared line
    EXPECT_EQ(rig.stat("rx_overruns"), 0u);
    EXPECT_EQ(cause(0x40), std::pair(true, false)); // RXO
    EXPECT_EQ(rig.stat("rx_overruns"), 1u);
    // A device that has gone reads as ones; its link is down.
    EXPECT_EQ(cause(0xffffffff), std::pair(false, true));
    rig.chip.at(Fake::STATUS) = 0xffffffff;
    EXPECT_FALSE(rig.driver.link().up);
}

TEST(E1000Link, SpeedAndDuplex) {
    Rig rig;
    rig.driver.apply(up_state());
    const auto link = [&](std::uint32_t status) {
        rig.chip.at(Fake::STATUS) = status;
        return rig.driver.link();
    };
    EXPECT_EQ(link(0x83), (NetLink{true, true, 1000}));
    EXPECT_EQ(link(0xc3), (NetLink{true, true, 1000}));
    EXPECT_EQ(link(0x43), (NetLink{true, true, 100}));
    EXPECT_EQ(rig.chip.at(Fake::TCTL) & 0x3ff000, 0x40000u);
    EXPECT_EQ(link(0x02), (NetLink{true, false, 10}));
    EXPECT_EQ(rig.chip.at(Fake::TCTL) & 0x3ff000, 0x200000u); // COLD of half duplex
    EXPECT_EQ(link(0x81), (NetLink{}));
}

// Without a link the chip fetches nothing (SDM 8.6.5.2).
TEST(E1000Link, WhatIsInTheRingWhenTheLinkGoesIsGivenBackByAReset) {
    Rig rig;
    rig.driver.apply(up_state());
    rig.give(8, 0);
    rig.chip.at(Fake::STATUS) = 0x81;
    EXPECT_EQ(rig.send({rig.segment(frame_of(64, 1), 1), rig.segment(frame_of(64, 2), 2)}), 2u);
    EXPECT_TRUE(rig.take_completions().empty());
    EXPECT_FALSE(rig.driver.link().up);
    const auto done = rig.take_completions();
    ASSERT_EQ(done.size(), 2u);
    EXPECT_EQ(done[0].flags, UDRV_NET_TX_DROPPED);
    EXPECT_EQ(rig.chip.io_resets, 2u);
    // Running again, with its buffers; nothing is left to flush.
    EXPECT_FALSE(rig.driver.interrupt().data);
    rig.chip.at(Fake::STATUS) = 0x81;
    EXPECT_FALSE(rig.driver.link().up);
    EXPECT_EQ(rig.chip.io_resets, 2u);
    rig.chip.at(Fake::STATUS) = 0x83;
    EXPECT_TRUE(rig.driver.link().up);
    EXPECT_TRUE(rig.chip.receive(frame_of(64, 3)));
    EXPECT_EQ(rig.take_rx().at(0).id, 0u);
    EXPECT_EQ(rig.send(rig.segment(frame_of(64, 4), 4)), 1u);
    EXPECT_EQ(rig.take_completions().at(0).flags, 0u);
    EXPECT_EQ(rig.chip.wire.size(), 1u);
}

TEST(E1000Link, WhatWasSentBeforeTheLinkWentNeedsNoReset) {
    Rig rig;
    rig.driver.apply(up_state());
    EXPECT_EQ(rig.send(rig.segment(frame_of(64, 1), 1)), 1u); // done, and not yet returned
    rig.chip.at(Fake::STATUS) = 0x81;
    EXPECT_FALSE(rig.driver.link().up);
    EXPECT_EQ(rig.chip.io_resets, 1u);
    EXPECT_EQ(rig.take_completions().at(0).flags, 0u);
}

TEST(E1000Stats, AddUpAcrossReadsAndStops) {
    Rig rig;
    rig.chip.at(0x4074) = 5;
    rig.driver.apply(up_state());
    EXPECT_EQ(rig.stat("rx_packets"), 5u);
    rig.chip.at(0x4074) = 3;
    rig.chip.at(0x4010) = 7;
    EXPECT_EQ(rig.stat("rx_packets"), 8u);
    EXPECT_EQ(rig.stat("rx_missed"), 7u);
    rig.chip.at(0x4074) = 1;
    udrv_net_desired down{};
    rig.driver.apply(down); // the reset clears the register, not the count
    EXPECT_EQ(rig.stat("rx_packets"), 9u);
}

TEST(E1000Stats, CountersThatDoNotClearAreNotCountedTwice) {
    FakeMemory memory;
    FakeE1000 chip(memory);
    chip.reset_clears = false;
    chip.stats_clear = false;
    chip.at(0x4010) = 50; // a predecessor's
    e1000::E1000 driver(chip, memory, quick(), &chip.io());
    driver.quiet();
    driver.init();
    driver.apply(up_state());
    std::array<std::uint64_t, 14> values{};
    driver.read_stats(values);
    EXPECT_EQ(values[4], 0u);
    chip.at(0x4010) = 52;
    driver.read_stats(values);
    driver.read_stats(values);
    EXPECT_EQ(values[4], 2u);
    EXPECT_EQ(e1000::E1000::stat_names()[4], "rx_missed");
}

// As the kernel's own driver of the chip tells it in `ip -s -s link`.
TEST(E1000Stats, CountersOfTheStandardKindsAreThoseOfTheChip) {
    Rig rig;
    rig.driver.apply(up_state());
    const std::array<std::pair<std::uint32_t, std::uint32_t>, 12> counted{{
        {0x4000, 1},      // CRCERRS
        {0x4004, 2},      // ALGNERRC
        {0x400c, 4},      // RXERRC
        {0x403c, 8},      // CEXTERR
        {0x40a4, 16},     // RUC
        {0x40ac, 32},     // ROC
        {0x4010, 1000},   // MPC
        {0x4018, 64},     // ECOL
        {0x4020, 128},    // LATECOL
        {0x4034, 256},    // TNCRS
        {0x4028, 512},    // COLC
        {0x407c, 10'000}, // MPRC
    }};
    for (const auto& [offset, value] : counted) {
        rig.chip.at(offset) = value;
    }
    std::vector<std::uint64_t> values(e1000::E1000::stat_names().size());
    rig.driver.read_stats(values);
    udrv_net_counters counters{};
    rig.driver.read_counters(counters);
    EXPECT_EQ(counters.rx_errors, 63U);
    EXPECT_EQ(counters.rx_crc_errors, 1U);
    EXPECT_EQ(counters.rx_frame_errors, 2U);
    EXPECT_EQ(counters.rx_length_errors, 48U);
    EXPECT_EQ(counters.rx_missed_errors, 1000U);
    EXPECT_EQ(counters.tx_errors, 192U);
    EXPECT_EQ(counters.tx_aborted_errors, 64U);
    EXPECT_EQ(counters.tx_window_errors, 128U);
    EXPECT_EQ(counters.tx_carrier_errors, 256U);
    EXPECT_EQ(counters.collisions, 512U);
    EXPECT_EQ(counters.multicast, 10'000U);
}

// SDM 13.5.2, 13.5.3: the chip compares with all sixteen that are valid.
TEST(E1000Filter, OtherUnicastAddressesTakeTheOtherReceiveAddresses) {
    Rig rig;
    udrv_net_desired desired = up_state();
    desired.nr_unicast = 15;
    for (std::uint8_t i = 0; i < 15; i++) {
        desired.unicast[i][0] = 2;
        desired.unicast[i][5] = i;
    }
    rig.driver.apply(desired); // while it starts
    const auto high = [&](std::uint32_t i) { return rig.chip.at(0x5404 + 8 * i); };
    for (std::uint32_t i = 1; i < 16; i++) {
        EXPECT_EQ(rig.chip.at(0x5400 + 8 * i), 2U) << i;
        EXPECT_EQ(high(i), 1U << 31 | (i - 1) << 8) << i;
    }
    EXPECT_EQ(rig.chip.at(0x100) & (1U << 3), 0U) << "not promiscuous";
    desired.nr_unicast = 1;
    desired.unicast[0][5] = 77;
    rig.driver.apply(desired); // while it runs
    EXPECT_EQ(high(1), 1U << 31 | 77U << 8);
    for (std::uint32_t i = 2; i < 16; i++) {
        EXPECT_EQ(high(i), 0U) << i;
    }
    EXPECT_EQ(rig.chip.at(0x5400), 0x12005452U) << "its own stays";
    EXPECT_EQ(rig.driver.capabilities().max_unicast, 15U);
}

TEST(E1000Link, IsNegotiatedAgainOnlyWhenAskedFor) {
    Rig rig;
    udrv_net_desired desired = up_state();
    desired.restart_autoneg = 7; // asked of a predecessor
    const unsigned before = rig.chip.negotiations;
    rig.driver.apply(desired);
    EXPECT_EQ(rig.chip.negotiations, before);
    desired.restart_autoneg = 8;
    rig.driver.apply(desired);
    EXPECT_EQ(rig.chip.negotiations, before + 1) << "RESTART_AN, IEEE 802.3 22.2.4.1";
    EXPECT_NE(rig.chip.phy[0] & (1U << 12), 0U) << "AN_ENABLE";
}

TEST(E1000Registers, AreShownByOffsetAndFitTheStatePage) {
    Rig rig;
    rig.driver.apply(up_state());
    std::array<udrv_net_register, UDRV_NET_MAX_REGISTERS> shown{};
    rig.driver.read_registers(shown);
    const auto value = [&](std::uint32_t offset) {
        const auto place = std::find_if(shown.begin(), shown.end(),
                                        [&](const auto& one) { return one.offset == offset; });
        EXPECT_NE(place, shown.end()) << offset;
        return place->value;
    };
    EXPECT_EQ(value(0x2808), rig.chip.at(0x2808)); // RDLEN
    EXPECT_NE(value(0x2808), 0U);
    EXPECT_EQ(value(0x5400), rig.chip.at(0x5400)); // RAL 0
    for (const auto& one : shown) {
        EXPECT_NE(one.offset, 0xc0U); // ICR, which clears when read
    }
    EXPECT_EQ(shown.back().offset, 0U); // all of them were shown
    std::array<udrv_net_register, 2> two{};
    rig.driver.read_registers(two);
    EXPECT_EQ(two[1].offset, 0x8U); // STATUS
}

TEST(E1000Stats, NamesFitTheStatePage) {
    const auto names = e1000::E1000::stat_names();
    EXPECT_LE(names.size(), std::size_t{UDRV_NET_MAX_STATS});
    std::set<std::string_view> distinct(names.begin(), names.end());
    EXPECT_EQ(distinct.size(), names.size());
    for (const auto name : names) {
        EXPECT_LT(name.size(), std::size_t{UDRV_NET_STAT_LEN});
    }
}

TEST(E1000IntxMask, MasksAllAndUnmasksWhatIsUsed) {
    Rig rig;
    rig.driver.apply(up_state());
    rig.give(8);
    const udrv_intx_mask mask = e1000::intx_mask();
    const std::uint32_t used = rig.chip.at(Fake::IMS);
    EXPECT_NE(used, 0u);
    rig.chip.write32(mask.mask_offset, mask.mask_value);
    EXPECT_EQ(rig.chip.at(Fake::IMS), 0u);
    rig.chip.write32(mask.unmask_offset, mask.unmask_value);
    EXPECT_EQ(rig.chip.at(Fake::IMS) & used, used);
    EXPECT_NE(rig.chip.at(Fake::IMS) & 1u, 0u) << "TXDW: arm() relies on it";
}

// ---- Configuration space -----------------------------------------------------------

/// 256 bytes with a list of capabilities; counts what is written.
struct FakeConfigSpace final : RegisterIo {
    std::array<std::uint8_t, 256> bytes{};
    unsigned writes = 0;

    FakeConfigSpace() {
        bytes[0x06] = 0x10; // there is a list
        bytes[0x34] = 0xdc; // power management, PCI-X, MSI
        bytes[0xdc] = 0x01, bytes[0xdd] = 0xe4;
        bytes[0xe4] = 0x07, bytes[0xe5] = 0xf0;
        bytes[0xf0] = 0x05, bytes[0xf1] = 0;
    }
    std::uint8_t& command() { return bytes[0xe6]; }
    [[nodiscard]] std::uint8_t read8(std::uint32_t offset) override { return bytes.at(offset); }
    [[nodiscard]] std::uint16_t read16(std::uint32_t offset) override {
        return static_cast<std::uint16_t>(bytes.at(offset) | bytes.at(offset + 1) << 8);
    }
    [[nodiscard]] std::uint32_t read32(std::uint32_t offset) override {
        return read16(offset) | std::uint32_t{read16(offset + 2)} << 16;
    }
    void write8(std::uint32_t offset, std::uint8_t value) override {
        EXPECT_EQ(offset, 0xe6u) << "the kernel refuses it";
        bytes.at(offset) = value;
        writes++;
    }
    void write16(std::uint32_t /*offset*/, std::uint16_t /*value*/) override { ADD_FAILURE(); }
    void write32(std::uint32_t /*offset*/, std::uint32_t /*value*/) override { ADD_FAILURE(); }
};

TEST(E1000ConfigSpace, PcixReadsAreOf2048BytesAtMost) {
    FakeConfigSpace space;
    space.command() = 0x3f; // 4,096
    e1000::limit_memory_reads(space);
    EXPECT_EQ(space.command(), 0x3b); // and nothing else
    for (const auto smaller : std::to_array<std::uint8_t>({0x33, 0x37, 0x3b})) {
        space.command() = smaller;
        space.writes = 0;
        e1000::limit_memory_reads(space);
        EXPECT_EQ(space.writes, 0u);
    }
}

TEST(E1000ConfigSpace, WithoutPcixNothingIsWritten) {
    FakeConfigSpace space;
    space.command() = 0x3f;
    space.bytes[0xe4] = 0x09; // something else
    e1000::limit_memory_reads(space);
    space.bytes[0xf1] = 0xdc; // a circle
    e1000::limit_memory_reads(space);
    space.bytes[0x06] = 0; // no list
    space.bytes[0xe4] = 0x07;
    e1000::limit_memory_reads(space);
    EXPECT_EQ(space.writes, 0u);
}

} // namespace
} // namespace udrv::test
