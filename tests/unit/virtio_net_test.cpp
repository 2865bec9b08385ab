// SPDX-License-Identifier: MIT
//
// virtio_net: features, configuration, filters, packets both ways, stops, and devices that
// lie, against the model.
#include <algorithm>
#include <chrono>
#include <deque>
#include <random>

#include <gtest/gtest.h>

#include "libudrv/testing/error_of.hpp"
#include "tests/unit/fake_virtio_net.hpp"

namespace udrv::test {
namespace {

using namespace std::chrono_literals;
using Fake = FakeVirtioNet;
using Rig = VirtioNetRig;

std::string init_error(Rig& rig) {
    return error_of([&] { rig.driver.init(); });
}

// ---- Init ---------------------------------------------------------------------------

TEST(VirtioNetInit, TakesWhatItKnowsOfTheFeatures) {
    Rig rig;
    rig.driver.init();
    EXPECT_EQ(rig.chip.status, 0) << "quiet";
    const NetCapabilities& can = rig.driver.capabilities();
    EXPECT_EQ(can.mac, (MacAddress{0x52, 0x54, 0x00, 0x12, 0x34, 0x56}));
    EXPECT_EQ(can.features,
              UDRV_NET_F_TX_CSUM | UDRV_NET_F_TSO4 | UDRV_NET_F_TSO6 | UDRV_NET_F_RX_CSUM);
    EXPECT_TRUE(can.tso_as_is);
    EXPECT_EQ(can.tx_depth, 256u);
    EXPECT_EQ(can.rx_depth, 128u); // two descriptors a buffer
    EXPECT_EQ(can.max_unicast, 32u);
    rig.driver.apply(Rig::up_state());
    EXPECT_TRUE(rig.chip.live());
    EXPECT_FALSE(rig.chip.has(Fake::f_mrg_rxbuf) || rig.chip.has(Fake::f_ctrl_vlan));
}

TEST(VirtioNetInit, RefusesADeviceBeforeVersion1) {
    Rig rig(Fake::usual & ~Fake::f_version_1);
    EXPECT_NE(init_error(rig).find("VIRTIO_F_VERSION_1"), std::string::npos);
}

TEST(VirtioNetInit, RefusesADeviceThatPassesByTheIommu) {
    virtio_net::Config config;
    config.iommu = true;
    Rig rig(Fake::usual, config);
    EXPECT_NE(init_error(rig).find("VIRTIO_F_ACCESS_PLATFORM"), std::string::npos);
    Rig confined(Fake::usual | Fake::f_access_platform, config);
    EXPECT_EQ(init_error(confined), "no error");
}

TEST(VirtioNetInit, LeavesOutWhatDependsOnWhatIsNotThere) {
    Rig rig((Fake::usual & ~(Fake::f_csum | Fake::f_ctrl_vq)), {}, true, {256, 256});
    rig.up(); // the model checks 5.1.3.1
    EXPECT_EQ(rig.driver.capabilities().features, UDRV_NET_F_RX_CSUM);
    EXPECT_EQ(rig.driver.capabilities().max_unicast, 0u);
    EXPECT_TRUE(rig.chip.commands.empty());
}

TEST(VirtioNetInit, ChecksumsAreLeftToTheDeviceIfTheDriverIsNotTrusted) {
    virtio_net::Config config;
    config.rx_checksum = false;
    Rig rig(Fake::usual, config);
    rig.up();
    EXPECT_FALSE(rig.chip.has(Fake::f_guest_csum));
    EXPECT_EQ(rig.driver.capabilities().features & UDRV_NET_F_RX_CSUM, 0u);
}

TEST(VirtioNetInit, TheLargestMtuIsTheDevices) {
    Rig rig(Fake::usual | Fake::f_mtu);
    rig.chip.set_config16(10, 4000);
    rig.driver.init();
    EXPECT_EQ(rig.driver.capabilities().max_mtu, 4000u);
    for (const std::uint16_t mtu : {std::uint16_t{0}, std::uint16_t{67}, std::uint16_t{65535}}) {
        Rig other(Fake::usual | Fake::f_mtu); // nonsense, or more than there are buffers for
        other.chip.set_config16(10, mtu);
        other.up();
        EXPECT_FALSE(other.chip.has(Fake::f_mtu));
        EXPECT_EQ(other.driver.capabilities().max_mtu, virtio_net::max_mtu);
    }
}

// 5.1.5: a random one, so that two such devices do not share it.
TEST(VirtioNetInit, AnAddressOfItsOwnWhereTheDeviceHasNone) {
    Rig none(Fake::usual & ~Fake::f_mac);
    none.driver.init();
    EXPECT_EQ(none.driver.capabilities().mac[0] & 3, 2) << "local, not a group";
    Rig group;
    group.chip.config[0] = 1;
    group.driver.init();
    EXPECT_EQ(group.driver.capabilities().mac[0] & 3, 2);
    EXPECT_NE(group.driver.capabilities().mac, none.driver.capabilities().mac);
}

// 2.5.1: as large as the fields that are used need it; others are not read. The model looks.
TEST(VirtioNetInit, AConfigurationMayBeShort) {
    constexpr auto without = ~(Fake::f_mac | Fake::f_status | Fake::f_mtu);
    struct Fit {
        std::uint64_t features;
        std::uint32_t least_bytes;
    };
    for (const Fit& fit : {Fit{0, 4}, Fit{Fake::f_mac, 6}, Fit{Fake::f_mac | Fake::f_status, 8},
                           Fit{Fake::f_mtu, 12}, Fit{Fake::f_speed_duplex, 17}}) {
        const std::uint64_t offered = (Fake::usual & without) | fit.features;
        Rig rig(offered, {}, true, {256, 256, 64}, std::max(fit.least_bytes, 8u));
        rig.up();
        EXPECT_TRUE(rig.chip.live()) << fit.least_bytes;
        (void)rig.driver.link();
        if (fit.least_bytes > 8) {
            Rig less(offered, {}, true, {256, 256, 64}, fit.least_bytes - 1);
            EXPECT_NE(init_error(less).find("bytes, not"), std::string::npos);
        }
    }
}

TEST(VirtioNetInit, QueuesThatAreTooSmallAreAnError) {
    Rig rig(Fake::usual, {}, true, {64, 256, 64});
    EXPECT_NE(init_error(rig).find("64 entries"), std::string::npos) << init_error(rig);
    Rig none(Fake::usual, {}, true, {256, 0, 64});
    EXPECT_NE(init_error(none).find("0 entries"), std::string::npos);
    Rig odd(Fake::usual, {}, true, {300, 1000, 64}); // from a device that is no power of two
    odd.driver.init();
    EXPECT_EQ(odd.driver.capabilities().rx_depth, 128u);
    EXPECT_EQ(odd.driver.capabilities().tx_depth, 256u);
}

// ---- What the administrator wants ---------------------------------------------------

TEST(VirtioNetFilter, ModesAndListsReachTheDevice) {
    Rig rig;
    rig.up();
    EXPECT_FALSE(rig.chip.promisc);
    EXPECT_EQ(rig.chip.mac_set, (Bytes{0x52, 0x54, 0x00, 0x12, 0x34, 0x56}));
    udrv_net_desired desired = Rig::up_state();
    desired.rx_mode = UDRV_NET_PROMISC;
    rig.driver.apply(desired);
    EXPECT_TRUE(rig.chip.promisc);
    desired.rx_mode = UDRV_NET_ALLMULTI;
    desired.nr_unicast = 1;
    desired.unicast[0][5] = 7;
    desired.nr_multicast = 2;
    desired.multicast[1][0] = 0x33;
    rig.driver.apply(desired);
    EXPECT_FALSE(rig.chip.promisc);
    EXPECT_TRUE(rig.chip.allmulti);
    EXPECT_EQ(rig.chip.unicast, (std::vector<Bytes>{{0, 0, 0, 0, 0, 7}}));
    EXPECT_EQ(rig.chip.multicast, (std::vector<Bytes>{{0, 0, 0, 0, 0, 0}, {0x33, 0, 0, 0, 0, 0}}));
    const std::size_t before = rig.chip.commands.size();
    desired.features = 1;
    rig.driver.apply(desired);
    EXPECT_EQ(rig.chip.commands.size(), before) << "only what has changed is said";
}

TEST(VirtioNetFilter, FullLists) {
    Rig rig;
    rig.up();
    udrv_net_desired desired = Rig::up_state();
    desired.nr_unicast = UDRV_NET_MAX_UNICAST;
    desired.nr_multicast = UDRV_NET_MAX_MULTICAST;
    desired.multicast[UDRV_NET_MAX_MULTICAST - 1][5] = 9;
    rig.driver.apply(desired);
    EXPECT_EQ(rig.chip.unicast.size(), 32u);
    EXPECT_EQ(rig.chip.multicast.size(), 128u);
    EXPECT_EQ(rig.chip.multicast.back().back(), 9);
}

// An address that the device cannot be given is one of those that it lets through.
TEST(VirtioNetFilter, WithoutTheCommandTheAddressIsInTheList) {
    Rig rig(Fake::usual & ~Fake::f_ctrl_mac_addr);
    rig.up();
    EXPECT_EQ(rig.chip.unicast, (std::vector<Bytes>{{0x52, 0x54, 0x00, 0x12, 0x34, 0x56}}));
}

TEST(VirtioNetFilter, RefusedCommandsAreCountedAndAllIsLetThrough) {
    Rig rig;
    rig.chip.refuses_commands = true;
    rig.up();
    EXPECT_EQ(rig.stat("ctrl_refused"), rig.chip.commands.size());
    rig.chip.refuses_commands = false;
    udrv_net_desired desired = Rig::up_state();
    desired.nr_multicast = 1;
    rig.driver.apply(desired);
    EXPECT_FALSE(rig.chip.promisc);
}

// 5.1.6.5 knows no limit of time for an answer.
TEST(VirtioNetFilter, ADeviceThatAnswersLateIsServed) {
    virtio_net::Config config;
    config.answer_wait = 0ms;
    Rig rig(Fake::usual, config);
    rig.chip.ctrl_late = 200;
    rig.up();
    EXPECT_TRUE(rig.chip.commands.empty());
    EXPECT_EQ(rig.stat("ctrl_late"), 1u);
    rig.give(4);
    EXPECT_TRUE(rig.chip.receive(Rig::frame(100, 1))) << "packets do not wait for it";
    EXPECT_EQ(rig.take_rx().size(), 1u);
    udrv_net_desired desired = Rig::up_state(); // the last wish counts
    desired.rx_mode = UDRV_NET_PROMISC;
    rig.driver.apply(desired);
    desired.rx_mode = UDRV_NET_ALLMULTI;
    desired.nr_unicast = 1;
    desired.unicast[0][5] = 7;
    rig.driver.apply(desired);
    for (int n = 0; n < 3000; n++) { // the look once a second
        EXPECT_TRUE(rig.driver.link().up);
    }
    EXPECT_FALSE(rig.chip.promisc);
    EXPECT_TRUE(rig.chip.allmulti);
    EXPECT_EQ(rig.chip.unicast, (std::vector<Bytes>{{0, 0, 0, 0, 0, 7}}));
    EXPECT_EQ(rig.stat("ctrl_refused"), 0u);
    EXPECT_EQ(rig.stat("device_resets"), 0u);
}

// Some devices serve their control queue only while there is a link.
TEST(VirtioNetFilter, WithoutALinkAnAnswerMayTakeForEver) {
    virtio_net::Config config;
    config.answer_wait = config.answer_limit = 0ms;
    Rig rig(Fake::usual, config);
    rig.chip.mute_without_link = true;
    rig.chip.set_link(false);
    rig.up();
    for (int n = 0; n < 100; n++) {
        EXPECT_FALSE(rig.driver.link().up);
    }
    EXPECT_EQ(rig.stat("device_resets"), 0u);
    EXPECT_TRUE(rig.chip.commands.empty());
    rig.driver.apply({}); // down and up again meanwhile
    rig.driver.apply(Rig::up_state());
    rig.chip.set_link(true);
    rig.chip.ctrl_late = 0;
    for (int n = 0; n < 10 && rig.chip.commands.size() < 4; n++) {
        EXPECT_TRUE(rig.driver.link().up);
    }
    EXPECT_EQ(rig.chip.mac_set, (Bytes{0x52, 0x54, 0x00, 0x12, 0x34, 0x56}));
    EXPECT_EQ(rig.chip.commands.size(), 4u);
}

TEST(VirtioNetFilter, WithALinkItIsResetAfterALongTime) {
    virtio_net::Config config;
    config.answer_wait = config.answer_limit = 0ms;
    Rig rig(Fake::usual, config);
    rig.chip.ctrl_late = 0;
    rig.up();
    rig.chip.ctrl_late = 100'000'000;
    udrv_net_desired desired = Rig::up_state();
    desired.rx_mode = UDRV_NET_PROMISC;
    rig.driver.apply(desired);
    EXPECT_EQ(rig.stat("device_resets"), 0u);
    EXPECT_TRUE(rig.driver.link().up);
    EXPECT_EQ(rig.stat("device_resets"), 1u);
    rig.chip.ctrl_late = 0;
    for (int n = 0; n < 10; n++) {
        EXPECT_TRUE(rig.driver.link().up);
    }
    EXPECT_TRUE(rig.chip.promisc);
}

TEST(VirtioNetFilter, ABrokenControlQueueMeansAReset) {
    virtio_net::Config config;
    config.answer_wait = 0ms;
    Rig rig(Fake::usual, config);
    rig.chip.ctrl_late = 0;
    rig.up();
    rig.chip.ctrl_late = 100'000'000;
    udrv_net_desired desired = Rig::up_state();
    desired.rx_mode = UDRV_NET_PROMISC;
    rig.driver.apply(desired);
    rig.chip.ctrl_late = 0;
    rig.chip.put_used(2, 4711, 1);
    for (int n = 0; n < 10; n++) {
        EXPECT_TRUE(rig.driver.link().up);
    }
    EXPECT_EQ(rig.stat("device_resets"), 1u);
    EXPECT_TRUE(rig.chip.promisc);
}

// ---- Interrupts, link, reset ---------------------------------------------------------

TEST(VirtioNetLink, ChangesComeByTheConfigurationInterrupt) {
    for (const bool msix : {true, false}) {
        Rig rig(Fake::usual | Fake::f_speed_duplex, {}, msix);
        rig.chip.set_config32(12, 2500);
        rig.chip.config[16] = 0; // half
        rig.up();
        (void)rig.driver.interrupt();
        EXPECT_EQ(rig.driver.link(), (NetLink{true, false, 2500}));
        EXPECT_FALSE(rig.driver.interrupt().link);
        rig.chip.set_link(false);
        EXPECT_TRUE(rig.driver.interrupt().link);
        EXPECT_EQ(rig.driver.link(), NetLink{});
    }
}

TEST(VirtioNetLink, UnknownSpeedAndNoStatus) {
    Rig rig(Fake::usual & ~Fake::f_status);
    rig.chip.set_link(false);
    rig.up();
    EXPECT_EQ(rig.driver.link(), (NetLink{true, true, unknown_speed}));
    Rig odd(Fake::usual | Fake::f_speed_duplex);
    odd.chip.set_config32(12, 0xfffffff0);
    odd.chip.config[16] = 0xff;
    odd.up();
    EXPECT_EQ(odd.driver.link(), (NetLink{true, true, unknown_speed}));
}

// 4.1.4.5.2: with MSI-X it is not read for a queue's interrupt.
TEST(VirtioNetInterrupt, TheCauseIsNotReadWhileAQueueHasSomething) {
    Rig rig;
    rig.up();
    rig.give(4);
    rig.chip.set_link(false);
    EXPECT_TRUE(rig.chip.receive(Rig::frame(100, 1)));
    NetCause cause = rig.driver.interrupt();
    EXPECT_TRUE(cause.data);
    EXPECT_FALSE(cause.link);
    EXPECT_NE(rig.chip.isr, 0) << "left for the next, or for the look once a second";
    EXPECT_EQ(rig.take_rx().size(), 1u);
    cause = rig.driver.interrupt();
    EXPECT_TRUE(cause.link);
}

TEST(VirtioNetInterrupt, ArmSeesWhatCameMeanwhile) {
    Rig rig;
    rig.up();
    rig.give(4);
    EXPECT_TRUE(rig.driver.arm());
    EXPECT_TRUE(rig.chip.receive(Rig::frame(100, 1)));
    EXPECT_EQ(rig.chip.interrupts[0], 1u);
    EXPECT_FALSE(rig.driver.arm());
    (void)rig.take_rx();
    EXPECT_TRUE(rig.driver.arm());
    EXPECT_EQ(rig.send({rig.segment(Rig::frame(100, 2), 1)}), 1u);
    EXPECT_TRUE(rig.driver.arm());
    rig.chip.run_transmit();
    EXPECT_EQ(rig.chip.interrupts[1], 1u);
    EXPECT_FALSE(rig.driver.arm());
}

TEST(VirtioNetReset, DeviceNeedsResetIsObeyed) {
    Rig rig;
    rig.up();
    rig.give(8);
    EXPECT_EQ(rig.send({rig.segment(Rig::frame(100, 1), 5)}), 1u);
    rig.chip.need_reset();
    EXPECT_TRUE(rig.driver.interrupt().link);
    EXPECT_TRUE(rig.driver.link().up);
    EXPECT_EQ(rig.stat("device_resets"), 1u);
    EXPECT_TRUE(rig.chip.live());
    EXPECT_EQ(rig.chip.status & 64, 0);
    const auto done = rig.take_completions();
    ASSERT_EQ(done.size(), 1u);
    EXPECT_EQ(done[0].flags, UDRV_NET_TX_DROPPED);
    EXPECT_EQ(rig.chip.waiting(0), 8) << "the buffers are there again";
    EXPECT_TRUE(rig.chip.receive(Rig::frame(60, 3)));
    EXPECT_EQ(rig.take_rx().at(0).id, 0u);
}

TEST(VirtioNetReset, StopGivesPacketsBackAndKeepsBuffers) {
    Rig rig;
    rig.up();
    rig.give(3, 10);
    EXPECT_EQ(rig.send({rig.segment(Rig::frame(100, 1), 1), rig.segment(Rig::frame(100, 2), 2)}),
              2u);
    rig.chip.run_transmit(1);
    rig.driver.stop();
    EXPECT_EQ(rig.chip.status, 0);
    EXPECT_EQ(rig.send({rig.segment(Rig::frame(100, 3), 3)}), 1u);
    const auto done = rig.take_completions();
    ASSERT_EQ(done.size(), 3u);
    EXPECT_EQ(done[0].flags, 0u);
    EXPECT_EQ(done[1].flags, UDRV_NET_TX_DROPPED);
    EXPECT_EQ(done[2].flags, UDRV_NET_TX_DROPPED);
    EXPECT_TRUE(rig.take_rx().empty());
    EXPECT_TRUE(rig.driver.arm());
    rig.driver.apply(Rig::up_state());
    EXPECT_TRUE(rig.chip.receive(Rig::frame(64, 4)));
    const auto rx = rig.take_rx();
    ASSERT_EQ(rx.size(), 1u);
    EXPECT_EQ(rx[0].id, 10u);
    EXPECT_EQ(rig.bytes_of(rx), Rig::frame(64, 4));
}

TEST(VirtioNetReset, ADeviceThatAskedForItWhileItWasQuietIsResetAtTheStart) {
    Rig rig;
    rig.up();
    rig.driver.stop();
    EXPECT_EQ(rig.driver.link(), NetLink{});
    rig.chip.need_reset();
    rig.driver.apply(Rig::up_state());
    EXPECT_EQ(rig.chip.status & 64, 0);
    EXPECT_TRUE(rig.driver.link().up);
}

// ---- Receive --------------------------------------------------------------------------

TEST(VirtioNetReceive, JumboPacketsAreChainsOfBuffers) {
    Rig rig;
    rig.up(9000);
    rig.give(16);
    EXPECT_EQ(rig.chip.waiting(0), 3) << "five buffers each, one waits";
    EXPECT_TRUE(rig.chip.receive(Rig::frame(9014, 1)));
    EXPECT_TRUE(rig.chip.receive(Rig::frame(60, 2)));
    const auto rx = rig.take_rx();
    ASSERT_EQ(rx.size(), 10u);
    for (std::uint32_t i = 0; i < 10; i++) {
        EXPECT_EQ(rx[i].id, i) << "in the order of the fill ring";
        EXPECT_EQ(rx[i].flags, i % 5 == 4 ? UDRV_NET_RX_EOP : 0u);
    }
    EXPECT_EQ(rig.bytes_of(std::span(rx).first(5)), Rig::frame(9014, 1));
    EXPECT_EQ(rx[5].len_bytes, 60u);
    EXPECT_EQ(rx[6].len_bytes + rx[9].len_bytes, 0u) << "those not needed go back empty";
}

TEST(VirtioNetReceive, AChainIsHandedUpInPiecesIfThereIsLittleRoom) {
    Rig rig;
    rig.up(9000);
    rig.give(10);
    EXPECT_TRUE(rig.chip.receive(Rig::frame(9000, 1)));
    std::vector<udrv_net_rx> all;
    while (true) {
        const auto some = rig.take_rx(2);
        if (some.empty()) {
            break;
        }
        all.insert(all.end(), some.begin(), some.end());
    }
    ASSERT_EQ(all.size(), 5u);
    EXPECT_EQ(rig.bytes_of(all), Rig::frame(9000, 1));
}

// The stack has the start of a packet whose end will never come.
TEST(VirtioNetReceive, APacketCutByAStopIsDroppedWithTheNext) {
    Rig rig;
    rig.up(9000);
    rig.give(10);
    EXPECT_TRUE(rig.chip.receive(Rig::frame(9000, 1)));
    EXPECT_EQ(rig.take_rx(2).size(), 2u);
    rig.driver.stop();
    rig.driver.apply(Rig::up_state());
    EXPECT_TRUE(rig.chip.receive(Rig::frame(100, 2)));
    EXPECT_TRUE(rig.chip.receive(Rig::frame(100, 3)));
    const auto rx = rig.take_rx();
    ASSERT_EQ(rx.size(), 2u);
    EXPECT_EQ(rx[0].id, 2u);
    EXPECT_EQ(rx[0].flags, UDRV_NET_RX_EOP | UDRV_NET_RX_DROP);
    EXPECT_EQ(rx[1].flags, UDRV_NET_RX_EOP);
}

TEST(VirtioNetReceive, AnotherMtuMakesOtherChains) {
    Rig rig;
    rig.up();
    rig.give(12);
    EXPECT_EQ(rig.chip.waiting(0), 12);
    rig.driver.apply(Rig::up_state(4000));
    EXPECT_EQ(rig.chip.waiting(0), 6);
    rig.driver.apply(Rig::up_state(3990));
    EXPECT_EQ(rig.chip.resets, 3u) << "init has two, the first change one, this none";
}

TEST(VirtioNetReceive, OutOfOrderChainsAreHandedUpInOrder) {
    Rig rig;
    rig.up();
    rig.give(4);
    rig.chip.reversed = true;
    EXPECT_TRUE(rig.chip.receive(Rig::frame(70, 1)));
    EXPECT_TRUE(rig.chip.receive(Rig::frame(80, 2)));
    const auto rx = rig.take_rx();
    ASSERT_EQ(rx.size(), 2u);
    EXPECT_EQ(rx[0].len_bytes, 70u);
    EXPECT_EQ(rx[1].len_bytes, 80u);
}

TEST(VirtioNetReceive, ChecksumsAsTheDeviceSays) {
    Rig rig;
    rig.up();
    rig.give(8);
    EXPECT_TRUE(rig.chip.receive(Rig::frame(100, 1), 2));         // DATA_VALID
    EXPECT_TRUE(rig.chip.receive(Rig::frame(100, 1), 1, 34, 16)); // NEEDS_CSUM
    EXPECT_TRUE(rig.chip.receive(Rig::frame(100, 1), 1, 90, 9));  // behind its end
    EXPECT_TRUE(rig.chip.receive(Rig::frame(100, 1), 1, 0xffff, 0xffff));
    EXPECT_TRUE(rig.chip.receive(Rig::frame(100, 1), 0));
    const auto rx = rig.take_rx();
    ASSERT_EQ(rx.size(), 5u);
    EXPECT_EQ(rx[0].flags, UDRV_NET_RX_EOP | UDRV_NET_RX_CSUM_OK);
    EXPECT_EQ(rx[1].flags, UDRV_NET_RX_EOP | UDRV_NET_RX_CSUM_PARTIAL);
    EXPECT_EQ(rx[1].csum_start, 34);
    EXPECT_EQ(rx[1].csum_offset, 16);
    EXPECT_EQ(rx[2].flags, UDRV_NET_RX_EOP);
    EXPECT_EQ(rx[3].flags, UDRV_NET_RX_EOP);
    EXPECT_EQ(rx[4].flags, UDRV_NET_RX_EOP);
}

TEST(VirtioNetReceive, LengthsThatCannotBeAreDropped) {
    for (const std::uint32_t lie : {0u, 11u, 12u, 12u + 2049u, 0xffffffffu}) {
        Rig rig;
        rig.up();
        rig.give(2);
        const auto chain = rig.chip.pop(0);
        rig.chip.push(0, *chain, lie);
        EXPECT_TRUE(rig.chip.receive(Rig::frame(60, 1)));
        const auto rx = rig.take_rx();
        ASSERT_EQ(rx.size(), 2u);
        EXPECT_EQ(rx[0].flags, UDRV_NET_RX_EOP | UDRV_NET_RX_DROP) << lie;
        EXPECT_EQ(rx[0].len_bytes, 0u);
        EXPECT_EQ(rx[1].flags, UDRV_NET_RX_EOP);
        EXPECT_EQ(rig.stat("rx_dropped"), 1u);
    }
}

TEST(VirtioNetReceive, ALieOfTheRingMeansAReset) {
    Rig rig;
    rig.up();
    rig.give(8);
    rig.chip.put_used(0, 4711, 100);
    EXPECT_TRUE(rig.take_rx().empty());
    EXPECT_TRUE(rig.driver.arm()) << "no busy loop";
    EXPECT_TRUE(rig.driver.interrupt().link);
    EXPECT_TRUE(rig.driver.link().up);
    EXPECT_EQ(rig.stat("device_resets"), 1u);
    EXPECT_TRUE(rig.chip.receive(Rig::frame(60, 1)));
    EXPECT_EQ(rig.take_rx().size(), 1u);
}

// ---- Transmit -------------------------------------------------------------------------

udrv_net_tx with_csum(udrv_net_tx tx, std::uint16_t start, std::uint16_t offset) {
    tx.flags |= UDRV_NET_TX_CSUM;
    tx.csum_start = start;
    tx.csum_offset = offset;
    return tx;
}
udrv_net_tx with_tso(udrv_net_tx tx, std::uint16_t flag) {
    tx = with_csum(tx, flag == UDRV_NET_TX_TSO4 ? 34 : 54, 16);
    tx.flags |= flag;
    tx.gso_size = 1448;
    tx.hdr_bytes = 66;
    return tx;
}

TEST(VirtioNetTransmit, TheHeaderSaysWhatTheDeviceHasToDo) {
    Rig rig;
    rig.up();
    const Bytes packet = Rig::frame(5000, 1);
    EXPECT_EQ(rig.send({rig.segment(packet, 1), with_csum(rig.segment(packet, 2), 34, 6),
                        with_tso(rig.segment(packet, 3), UDRV_NET_TX_TSO4),
                        with_tso(rig.segment(packet, 4), UDRV_NET_TX_TSO6)}),
              4u);
    rig.chip.run_transmit();
    ASSERT_EQ(rig.chip.wire.size(), 4u);
    const auto header = [&](std::size_t n) { return rig.chip.wire[n].header; };
    EXPECT_EQ(header(0).flags, 0);
    EXPECT_EQ(header(1).flags, 1);
    EXPECT_EQ(header(1).csum_start, 34);
    EXPECT_EQ(header(1).csum_offset, 6);
    EXPECT_EQ(header(1).gso_type, 0);
    EXPECT_EQ(header(2).gso_type, 1);
    EXPECT_EQ(header(2).gso_size, 1448);
    EXPECT_EQ(header(2).hdr_len, 66);
    EXPECT_EQ(header(3).gso_type, 4);
    EXPECT_EQ(rig.chip.wire[2].bytes, packet);
    EXPECT_EQ(rig.take_completions().size(), 4u);
}

TEST(VirtioNetTransmit, WhatTheDeviceCannotDoIsDroppedInItsTurn) {
    const auto dropped = [](std::uint64_t offered, const udrv_net_tx& change) {
        Rig rig(offered);
        rig.up();
        udrv_net_tx tx = rig.segment(Rig::frame(2000, 1), 2);
        const std::uint64_t where = tx.dma_addr;
        tx = change;
        tx.dma_addr = where;
        tx.id = 2;
        EXPECT_EQ(rig.send({rig.segment(Rig::frame(60, 1), 1), tx}), 2u);
        EXPECT_TRUE(rig.take_completions().empty()) << "not before the one before it";
        rig.chip.run_transmit();
        const auto done = rig.take_completions();
        EXPECT_EQ(done.size(), 2u);
        EXPECT_EQ(rig.chip.wire.size(), 1u + (done.at(1).flags == 0 ? 1 : 0));
        return done.at(1).flags == UDRV_NET_TX_DROPPED;
    };
    udrv_net_tx plain{};
    plain.len_bytes = 2000;
    plain.flags = UDRV_NET_TX_EOP;
    EXPECT_FALSE(dropped(Fake::usual, plain));
    EXPECT_FALSE(dropped(Fake::usual, with_csum(plain, 34, 16)));
    EXPECT_TRUE(dropped(Fake::usual & ~Fake::f_csum, with_csum(plain, 34, 16)));
    EXPECT_FALSE(dropped(Fake::usual, with_csum(plain, 1982, 16)));
    EXPECT_TRUE(dropped(Fake::usual, with_csum(plain, 1983, 16)));
    EXPECT_TRUE(dropped(Fake::usual, with_csum(plain, 0xffff, 0xffff)));
    EXPECT_TRUE(dropped(Fake::usual & ~Fake::f_host_tso4, with_tso(plain, UDRV_NET_TX_TSO4)));
    EXPECT_TRUE(dropped(Fake::usual & ~Fake::f_host_tso6, with_tso(plain, UDRV_NET_TX_TSO6)));
    udrv_net_tx no_size = with_tso(plain, UDRV_NET_TX_TSO4);
    no_size.gso_size = 0;
    EXPECT_TRUE(dropped(Fake::usual, no_size));
    udrv_net_tx tagged = plain;
    tagged.flags |= UDRV_NET_TX_VLAN;
    EXPECT_TRUE(dropped(Fake::usual, tagged));
    udrv_net_tx empty = plain;
    empty.len_bytes = 0;
    EXPECT_TRUE(dropped(Fake::usual, empty));
}

TEST(VirtioNetTransmit, AFullQueueTakesTheRestLater) {
    Rig rig;
    rig.up();
    std::vector<udrv_net_tx> many;
    const udrv_net_tx one = rig.segment(Rig::frame(60, 1), 0);
    for (std::uint32_t i = 0; i < 200; i++) {
        many.push_back(one);
        many.back().id = i;
    }
    EXPECT_EQ(rig.send(many), 128u) << "two descriptors each";
    EXPECT_EQ(rig.chip.notifications[1], 1u);
    rig.chip.run_transmit(10);
    EXPECT_EQ(rig.take_completions().size(), 10u);
    many.erase(many.begin(), many.begin() + 128);
    EXPECT_EQ(rig.send(many), 10u);
}

TEST(VirtioNetTransmit, OutOfOrderCompletionsAreHandedUpInOrder) {
    Rig rig;
    rig.up();
    rig.chip.reversed = true;
    EXPECT_EQ(
        rig.send({rig.segment(Rig::frame(60, 1), 1), rig.segment(Rig::frame(60, 2), 2),
                  rig.segment(Rig::frame(60, 3), 3, false), rig.segment(Rig::frame(60, 4), 3)}),
        4u);
    rig.chip.run_transmit();
    const auto done = rig.take_completions();
    ASSERT_EQ(done.size(), 3u);
    for (std::uint32_t i = 0; i < 3; i++) {
        EXPECT_EQ(done[i].id, i + 1);
        EXPECT_EQ(done[i].flags, 0u);
    }
}

// Whatever the order of sends, receives, stops, starts and changes of the MTU: no buffer and
// no packet is lost or returned twice, order is kept, and every byte is the one sent.
TEST(VirtioNetProperty, NothingIsLostTwiceOrChanged) {
    for (std::uint32_t seed = 1; seed <= 12; seed++) {
        Rig rig(seed % 2 == 0 ? Fake::usual : Fake::usual & ~Fake::f_event_idx);
        std::mt19937 engine(seed);
        const auto random = [&engine] { return static_cast<std::uint32_t>(engine()); };
        rig.chip.loopback = true;
        rig.chip.reversed = seed % 3 == 0;
        rig.up();
        rig.give(100);
        std::deque<std::uint32_t> free;
        std::deque<std::uint32_t> with_driver;
        for (std::uint32_t i = 0; i < 100; i++) {
            with_driver.push_back(i);
        }
        std::deque<std::uint32_t> out;
        std::map<Bytes, std::uint32_t> sent;
        std::vector<udrv_net_rx> packet;
        std::uint32_t id = 0;
        std::uint32_t received = 0;
        bool is_up = true;
        for (int step = 0; step < 3000; step++) {
            switch (random() % 40) {
            case 0:
                is_up = !is_up;
                if (is_up) {
                    rig.driver.apply(Rig::up_state(random() % 2 == 0 ? 1500 : 9000));
                } else {
                    rig.driver.apply({});
                }
                break;
            case 1:
                rig.chip.need_reset();
                (void)rig.driver.link();
                break;
            default:
                break;
            }
            const Bytes frame = Rig::frame(20 + random() % 1480, ++id);
            if (rig.send({rig.segment(frame, id)}) == 1) {
                out.push_back(id);
                sent[frame] = id;
            }
            if (random() % 4 == 0) {
                rig.chip.run_transmit(random() % 20);
            }
            for (const udrv_net_completion& done : rig.take_completions()) {
                ASSERT_FALSE(out.empty());
                ASSERT_EQ(done.id, out.front());
                out.pop_front();
            }
            for (const udrv_net_rx& entry : rig.take_rx(1 + random() % 20)) {
                ASSERT_FALSE(with_driver.empty());
                ASSERT_EQ(entry.id, with_driver.front());
                with_driver.pop_front();
                free.push_back(entry.id);
                packet.push_back(entry);
                if ((entry.flags & UDRV_NET_RX_EOP) != 0) {
                    if ((entry.flags & UDRV_NET_RX_DROP) == 0) {
                        ASSERT_EQ(sent.count(rig.bytes_of(packet)), 1u);
                        received++;
                    }
                    packet.clear();
                }
            }
            while (!free.empty() && random() % 8 != 0) {
                const udrv_net_fill fill{rig.buffers.at(free.front()).dma_addr, 2048, free.front()};
                if (rig.driver.rx_provide({&fill, 1}) != 1) {
                    break;
                }
                with_driver.push_back(free.front());
                free.pop_front();
            }
        }
        EXPECT_GT(received, 300u);
        EXPECT_EQ(free.size() + with_driver.size(), 100u);
        rig.driver.stop();
        (void)rig.take_completions();
    }
}

} // namespace
} // namespace udrv::test
