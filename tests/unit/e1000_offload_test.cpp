// SPDX-License-Identifier: MIT
//
// e1000: checksum, segmentation and VLAN offloads: context descriptors byte by
// byte, and the packets that the model makes of them.
#include <gtest/gtest.h>

#include "tests/unit/e1000_rig.hpp"

namespace udrv::test {
namespace {

using Fake = FakeE1000;
using Descriptor = std::array<std::uint8_t, 16>;

/// Ethernet, IPv4 of 20 bytes and TCP of 20 bytes, as the stack hands over a
/// packet whose checksum is to be inserted: the field holds the sum of the pseudo
/// header (without the length if `segmented`).
Bytes tcp_packet(std::uint32_t payload_bytes, std::uint32_t seed, bool segmented) {
    Bytes packet = frame_of(54 + payload_bytes, seed);
    store_be16(packet, 12, 0x0800);
    packet[14] = 0x45;
    store_be16(packet, 16, segmented ? 0 : 40 + payload_bytes);
    store_be16(packet, 20, 0x4000);
    packet[23] = 6;
    store_be16(packet, 24, 0);
    packet[46] = 0x50;
    packet[47] = 0x19; // ACK, PSH, FIN
    std::uint32_t sum = ones_sum(packet, 26, 34) + 6u + (segmented ? 0 : 20 + payload_bytes);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    store_be16(packet, 50, sum);
    return packet;
}

/// Sums to all ones over pseudo header and segment: the checksum is right.
void expect_good_tcp(const Bytes& frame) {
    std::uint32_t sum = ones_sum(frame, 26, 34) + 6u +
                        static_cast<std::uint32_t>(frame.size() - 34) +
                        ones_sum(frame, 34, frame.size());
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    EXPECT_EQ(sum, 0xffffu);
}

udrv_net_tx with_csum(udrv_net_tx tx, std::uint16_t start, std::uint16_t offset) {
    tx.flags |= UDRV_NET_TX_CSUM;
    tx.csum_start = start;
    tx.csum_offset = offset;
    return tx;
}

udrv_net_tx with_tso(udrv_net_tx tx, std::uint16_t gso_size) {
    tx = with_csum(tx, 34, 16);
    tx.flags |= UDRV_NET_TX_TSO4;
    tx.gso_size = gso_size;
    tx.ip_start = 14;
    tx.hdr_bytes = 54;
    return tx;
}

TEST(E1000Checksum, ContextAndDataDescriptorBytes) {
    Rig rig;
    rig.driver.apply(up_state());
    rig.runs = false;
    udrv_net_tx tx{};
    tx.dma_addr = 0x1000;
    tx.len_bytes = 100;
    tx.flags = UDRV_NET_TX_EOP;
    EXPECT_EQ(rig.send(with_csum(tx, 34, 16)), 1u);
    // SDM 3.3.6: TUCSS 34 in byte 4, TUCSO 50 in byte 5, TUCSE 0 (to the end);
    // DTYP 0000b; TUCMD has IDE 80, DEXT 20, TCP 01.
    EXPECT_EQ(rig.descriptor(Fake::TDBAL, 0),
              (Descriptor{0, 0, 0, 0, 0x22, 0x32, 0, 0, 0, 0, 0, 0xa1, 0, 0, 0, 0}));
    // SDM 3.3.7.3: POPTS has TXSM 02.
    EXPECT_EQ(rig.descriptor(Fake::TDBAL, 1),
              (Descriptor{0, 0x10, 0, 0, 0, 0, 0, 0, 100, 0, 0x10, 0xab, 0, 0x02, 0, 0}));
    EXPECT_EQ(rig.send(with_csum(tx, 34, 6)), 1u); // UDP
    EXPECT_EQ(rig.descriptor(Fake::TDBAL, 2),
              (Descriptor{0, 0, 0, 0, 0x22, 0x28, 0, 0, 0, 0, 0, 0xa0, 0, 0, 0, 0}));
}

TEST(E1000Checksum, IsRightOnTheWireAndTheContextIsSentOnce) {
    Rig rig;
    rig.driver.apply(up_state());
    for (std::uint32_t i = 0; i < 5; i++) {
        EXPECT_EQ(rig.send(with_csum(rig.segment(tcp_packet(10 * i, i, false), i), 34, 16)), 1u);
    }
    EXPECT_EQ(rig.chip.contexts_sent, 1u);
    EXPECT_EQ(rig.send(with_csum(rig.segment(tcp_packet(99, 7, false), 7), 34, 6)), 1u);
    EXPECT_EQ(rig.chip.contexts_sent, 2u);
    EXPECT_EQ(rig.send(with_csum(rig.segment(tcp_packet(99, 8, false), 8), 34, 16)), 1u);
    EXPECT_EQ(rig.chip.contexts_sent, 3u);
    ASSERT_EQ(rig.chip.wire.size(), 7u);
    for (std::size_t i = 0; i < 7; i++) {
        if (i != 5) {
            expect_good_tcp(rig.chip.wire[i].bytes);
        }
    }
    EXPECT_EQ(rig.take_completions().size(), 7u);
}

TEST(E1000Checksum, ContextIsLostInARestart) {
    Rig rig;
    rig.driver.apply(up_state());
    EXPECT_EQ(rig.send(with_csum(rig.segment(tcp_packet(1, 1, false), 1), 34, 16)), 1u);
    rig.driver.stop();
    rig.driver.apply(up_state());
    EXPECT_EQ(rig.send(with_csum(rig.segment(tcp_packet(1, 1, false), 1), 34, 16)), 1u);
    EXPECT_EQ(rig.chip.contexts_sent, 2u);
}

TEST(E1000Checksum, PositionsOutOfReachAreDropped) {
    Rig rig;
    rig.driver.apply(up_state());
    const auto drops = [&](std::uint16_t start, std::uint16_t offset) {
        EXPECT_EQ(rig.send(with_csum(rig.segment(frame_of(400, 1), 1), start, offset)), 1u);
        return rig.take_completions().at(0).flags == UDRV_NET_TX_DROPPED;
    };
    EXPECT_FALSE(drops(239, 16)); // TUCSO is a byte: 255
    EXPECT_TRUE(drops(240, 16));
    EXPECT_TRUE(drops(0xffff, 0xffff));
    EXPECT_EQ(rig.send(with_csum(rig.segment(frame_of(51, 1), 1), 34, 16)), 1u);
    EXPECT_EQ(rig.take_completions().at(0).flags,
              UDRV_NET_TX_DROPPED); // the field is not all there
}

TEST(E1000Tso, ContextAndDataDescriptorBytes) {
    Rig rig;
    rig.driver.apply(up_state());
    rig.runs = false;
    udrv_net_tx tx[2]{};
    tx[0].dma_addr = 0x1000;
    tx[0].len_bytes = 54;
    tx[1].dma_addr = 0x2000;
    tx[1].len_bytes = 2000;
    tx[1].flags = UDRV_NET_TX_EOP;
    tx[0] = with_tso(tx[0], 1448);
    EXPECT_EQ(rig.driver.tx_provide(tx), 2u);
    // SDM 3.3.6: IPCSS 14, IPCSO 24, IPCSE 33, TUCSS 34, TUCSO 50, TUCSE 0; PAYLEN
    // 2000; TUCMD IDE 80, DEXT 20, TSE 04, IP 02, TCP 01; HDRLEN 54; MSS 1448.
    EXPECT_EQ(rig.descriptor(Fake::TDBAL, 0),
              (Descriptor{14, 24, 33, 0, 34, 50, 0, 0, 0xd0, 0x07, 0, 0xa7, 0, 54, 0xa8, 0x05}));
    // Data: TSE, and POPTS with TXSM and IXSM; the last four bytes on their own.
    EXPECT_EQ(rig.descriptor(Fake::TDBAL, 1),
              (Descriptor{0, 0x10, 0, 0, 0, 0, 0, 0, 54, 0, 0x10, 0xa6, 0, 0x03, 0, 0}));
    EXPECT_EQ(rig.descriptor(Fake::TDBAL, 2),
              (Descriptor{0, 0x20, 0, 0, 0, 0, 0, 0, 0xcc, 0x07, 0x10, 0xa6, 0, 0x03, 0, 0}));
    EXPECT_EQ(rig.descriptor(Fake::TDBAL, 3),
              (Descriptor{0xcc, 0x27, 0, 0, 0, 0, 0, 0, 4, 0, 0x10, 0xaf, 0, 0x03, 0, 0}));
}

TEST(E1000Tso, SegmentsAreRightOnTheWire) {
    Rig rig;
    rig.driver.apply(up_state());
    constexpr std::uint32_t payload = 60000;
    const Bytes packet = tcp_packet(payload, 11, true);
    const std::uint32_t sequence = load_be32(packet, 38);
    std::vector<udrv_net_tx> tx{
        with_tso(rig.segment(Bytes(packet.begin(), packet.begin() + 1000), 1, false), 1448),
        rig.segment(Bytes(packet.begin() + 1000, packet.begin() + 33000), 1, false),
        rig.segment(Bytes(packet.begin() + 33000, packet.end()), 1)};
    EXPECT_EQ(rig.send(tx), 3u);
    EXPECT_EQ(rig.take_completions().size(), 1u);
    ASSERT_EQ(rig.chip.wire.size(), (payload + 1447) / 1448);
    Bytes joined;
    for (std::size_t i = 0; i < rig.chip.wire.size(); i++) {
        const Bytes& frame = rig.chip.wire[i].bytes;
        expect_good_tcp(frame);
        EXPECT_EQ(ones_sum(frame, 14, 34), 0xffffu); // the IP header
        EXPECT_EQ(load_be16(frame, 16), frame.size() - 14);
        EXPECT_EQ(load_be32(frame, 38), sequence + 1448 * i);
        EXPECT_EQ(frame[47], i + 1 == rig.chip.wire.size() ? 0x19 : 0x10);
        joined.insert(joined.end(), frame.begin() + 54, frame.end());
    }
    EXPECT_EQ(joined, Bytes(packet.begin() + 54, packet.end()));
}

TEST(E1000Tso, TakesTheChecksumContextsPlace) {
    Rig rig;
    rig.driver.apply(up_state());
    EXPECT_EQ(rig.send(with_csum(rig.segment(tcp_packet(8, 1, false), 1), 34, 16)), 1u);
    EXPECT_EQ(rig.send(with_tso(rig.segment(tcp_packet(3000, 2, true), 2), 1000)), 1u);
    EXPECT_EQ(rig.send(with_csum(rig.segment(tcp_packet(8, 3, false), 3), 34, 16)), 1u);
    EXPECT_EQ(rig.chip.contexts_sent, 3u);
    ASSERT_EQ(rig.chip.wire.size(), 5u);
    for (const auto& frame : rig.chip.wire) {
        expect_good_tcp(frame.bytes);
    }
}

TEST(E1000Tso, WhatTheChipCanNotSegmentIsDropped) {
    Rig rig;
    rig.driver.apply(up_state());
    const auto drops = [&](auto change) {
        auto tx = with_tso(rig.segment(tcp_packet(3000, 1, true), 1), 1000);
        change(tx);
        EXPECT_EQ(rig.send(tx), 1u);
        return rig.take_completions().at(0).flags == UDRV_NET_TX_DROPPED;
    };
    EXPECT_FALSE(drops([](udrv_net_tx&) {}));
    EXPECT_TRUE(drops([](udrv_net_tx& tx) { tx.gso_size = 0; }));
    EXPECT_TRUE(drops([](udrv_net_tx& tx) { tx.gso_size = 0xffff; }));
    EXPECT_TRUE(drops([](udrv_net_tx& tx) { tx.hdr_bytes = 241; })); // SDM 3.5.9: 240 fit
    EXPECT_TRUE(drops([](udrv_net_tx& tx) { tx.hdr_bytes = 40; }));
    EXPECT_TRUE(drops([](udrv_net_tx& tx) { tx.hdr_bytes = 60000; }));
    EXPECT_TRUE(drops([](udrv_net_tx& tx) { tx.csum_start = 0; }));
    EXPECT_TRUE(drops([](udrv_net_tx& tx) { tx.csum_start = 14; }));
    EXPECT_TRUE(drops([](udrv_net_tx& tx) { tx.flags |= UDRV_NET_TX_TSO6; }));
    EXPECT_EQ(rig.chip.wire.size(), 3u);
}

// The model fails the test when a descriptor is longer than min(4 x MSS, 4096), and when
// a last descriptor that the chip writes back too early holds more than its tail.
TEST(E1000Tso, DescriptorsFollowTheSegmentSize) {
    for (const std::uint16_t mss : std::array<std::uint16_t, 6>{48, 88, 536, 1023, 1448, 8948}) {
        for (const std::uint32_t payload : {100u, 4096u, 8192u, 20000u, 60000u}) {
            Rig rig;
            auto desired = up_state();
            desired.mtu = 9000;
            rig.driver.apply(desired);
            const Bytes packet = tcp_packet(payload, payload, true);
            EXPECT_EQ(rig.send(with_tso(rig.segment(packet, 1), mss)), 1u);
            ASSERT_EQ(rig.take_completions().at(0).flags, 0u) << mss << " " << payload;
            EXPECT_EQ(rig.chip.wire.size(), (payload + mss - 1) / mss);
            const std::uint32_t limit = std::min(4u * mss, 4096u);
            EXPECT_LE(rig.chip.descriptors_sent, (packet.size() + limit - 1) / limit + 1);
        }
    }
}

TEST(E1000Tso, RoomForAPacketIsThatOfItsShortDescriptors) {
    Rig rig(tiny()); // 31 descriptors
    rig.driver.apply(up_state());
    rig.runs = false;
    const auto big = with_tso(rig.segment(tcp_packet(4000, 1, true), 1), 48); // 22 and more
    EXPECT_EQ(rig.send(big), 1u);
    EXPECT_EQ(rig.send(big), 0u) << "another would overrun the ring";
    rig.chip.run_transmit();
    EXPECT_EQ(rig.take_completions().size(), 1u);
    EXPECT_EQ(rig.send(big), 1u);
    rig.chip.run_transmit();
    EXPECT_EQ(rig.chip.wire.size(), 2u * ((4000 + 47) / 48));
}

TEST(E1000Tso, ThePacketAfterASegmentedOneHasATailToo) {
    Rig rig;
    rig.driver.apply(up_state());
    const auto sent_for = [&](const std::vector<udrv_net_tx>& tx) {
        const std::uint32_t before = rig.chip.descriptors_sent;
        EXPECT_EQ(rig.send(tx), tx.size());
        EXPECT_EQ(rig.take_completions().size(), 1u);
        return rig.chip.descriptors_sent - before;
    };
    const auto tso = with_tso(rig.segment(tcp_packet(3000, 1, true), 1), 1000);
    const auto plain = rig.segment(frame_of(300, 2), 2);
    const auto sum = with_csum(rig.segment(tcp_packet(300, 3, false), 3), 34, 16);
    EXPECT_EQ(sent_for({plain}), 1u);
    EXPECT_EQ(sent_for({tso}), 2u);
    EXPECT_EQ(sent_for({plain}), 2u); // with its tail
    EXPECT_EQ(sent_for({plain}), 1u);
    EXPECT_EQ(sent_for({tso}), 2u);
    EXPECT_EQ(sent_for({tso}), 2u);
    EXPECT_EQ(sent_for({sum}), 2u);
    EXPECT_EQ(sent_for({sum}), 1u);
    // One of two segments in between does not end it (as in Linux's e1000 driver).
    EXPECT_EQ(sent_for({tso}), 2u);
    EXPECT_EQ(sent_for({rig.segment(frame_of(60, 4), 4, false), rig.segment(frame_of(60, 5), 4)}),
              3u);
    EXPECT_EQ(sent_for({plain}), 2u);
    EXPECT_EQ(sent_for({plain}), 1u);
    // A reset ends it.
    EXPECT_EQ(sent_for({tso}), 2u);
    rig.driver.stop();
    rig.driver.apply(up_state());
    EXPECT_EQ(sent_for({plain}), 1u);
    for (const auto& frame : rig.chip.wire) {
        EXPECT_GE(frame.bytes.size(), 60u);
    }
}

TEST(E1000Pcix, FirstDescriptorIsShort) {
    Rig rig(on_pcix(), true);
    auto desired = up_state();
    desired.mtu = 9000;
    rig.driver.apply(desired);
    for (const std::uint32_t bytes : {60u, 2015u, 2016u, 2020u, 4096u, 9000u}) {
        const Bytes frame = frame_of(bytes, bytes);
        EXPECT_EQ(rig.send(rig.segment(frame, 1)), 1u);
        EXPECT_EQ(rig.take_completions().at(0).flags, 0u);
        EXPECT_EQ(rig.chip.wire.back().bytes, frame);
    }
    const Bytes packet = tcp_packet(40000, 1, true);
    EXPECT_EQ(rig.send(with_tso(rig.segment(packet, 1), 1448)), 1u);
    EXPECT_EQ(rig.take_completions().at(0).flags, 0u);
    expect_good_tcp(rig.chip.wire.back().bytes);
}

TEST(E1000Vlan, TagIsInAllDataDescriptors) {
    Rig rig;
    auto desired = up_state();
    desired.features = UDRV_NET_F_VLAN_TX;
    rig.driver.apply(desired);
    rig.runs = false;
    udrv_net_tx tx[2]{};
    tx[0].dma_addr = 0x1000;
    tx[0].len_bytes = 64;
    tx[0].flags = UDRV_NET_TX_VLAN;
    tx[0].vlan_tci = 0x6fed;
    tx[1] = tx[0];
    tx[1].flags = UDRV_NET_TX_EOP;
    tx[1].vlan_tci = 0;
    EXPECT_EQ(rig.driver.tx_provide(tx), 2u);
    // SDM 3.3.7.1: VLE 40, looked at in the last descriptor, or in the first with TSE.
    EXPECT_EQ(rig.descriptor(Fake::TDBAL, 0),
              (Descriptor{0, 0x10, 0, 0, 0, 0, 0, 0, 64, 0, 0x10, 0xe2, 0, 0, 0xed, 0x6f}));
    EXPECT_EQ(rig.descriptor(Fake::TDBAL, 1),
              (Descriptor{0, 0x10, 0, 0, 0, 0, 0, 0, 64, 0, 0x10, 0xeb, 0, 0, 0xed, 0x6f}));
}

TEST(E1000Vlan, TagGoesOutOnlyWhileTheChipInsertsTags) {
    Rig rig;
    auto desired = up_state();
    desired.features = UDRV_NET_F_VLAN_TX;
    rig.driver.apply(desired);
    auto tx = rig.segment(frame_of(64, 1), 1);
    tx.flags |= UDRV_NET_TX_VLAN;
    tx.vlan_tci = 5;
    EXPECT_EQ(rig.send(tx), 1u);
    EXPECT_EQ(rig.take_completions().at(0).flags, 0u);
    ASSERT_EQ(rig.chip.wire.size(), 1u);
    EXPECT_TRUE(rig.chip.wire[0].tagged);
    EXPECT_EQ(rig.chip.wire[0].tag, 5u);
    // Switched off while the packet was on its way: better lost than untagged.
    desired.features = 0;
    rig.driver.apply(desired);
    EXPECT_EQ(rig.send(tx), 1u);
    EXPECT_EQ(rig.take_completions().at(0).flags, UDRV_NET_TX_DROPPED);
    EXPECT_EQ(rig.chip.wire.size(), 1u);
}

} // namespace
} // namespace udrv::test
