// SPDX-License-Identifier: MIT
//
// e1000: the receive and transmit rings, against the model. Descriptor bytes are
// worked out by hand from the SDM sections named.
#include <gtest/gtest.h>

#include "tests/unit/e1000_rig.hpp"

namespace udrv::test {
namespace {

using Fake = FakeE1000;
using Descriptor = std::array<std::uint8_t, 16>;

constexpr std::uint16_t eop = UDRV_NET_RX_EOP;
constexpr std::uint16_t dropped_end = UDRV_NET_RX_EOP | UDRV_NET_RX_DROP;

// ---- Receive -------------------------------------------------------------------

TEST(E1000Rx, DescriptorIsAnAddressAndZeros) {
    Rig rig;
    rig.driver.apply(up_state());
    const udrv_net_fill fill{0x0000'0012'3456'7800, 2048, 7};
    rig.chip.forget();
    EXPECT_EQ(rig.driver.rx_provide({&fill, 1}), 1u);
    // SDM 3.2.3: buffer address in bytes 0 to 7, the rest is the chip's.
    EXPECT_EQ(rig.descriptor(Fake::RDBAL, 0),
              (Descriptor{0x00, 0x78, 0x56, 0x34, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
    EXPECT_EQ(rig.chip.writes, (std::vector<Fake::Access>{{Fake::RDT, 1}}));
}

TEST(E1000Rx, OneTailWriteABatchAndNoRegisterRead) {
    Rig rig;
    rig.driver.apply(up_state());
    const auto fill = rig.buffers(100);
    rig.chip.forget();
    EXPECT_EQ(rig.driver.rx_provide(fill), 100u);
    EXPECT_EQ(rig.chip.writes, (std::vector<Fake::Access>{{Fake::RDT, 100}}));
    EXPECT_EQ(rig.driver.rx_provide({}), 0u);
    EXPECT_EQ(rig.chip.writes.size(), 1u);
    for (std::uint32_t i = 0; i < 50; i++) {
        EXPECT_TRUE(rig.chip.receive(frame_of(100, i)));
    }
    EXPECT_EQ(rig.take_rx(64).size(), 50u);
    EXPECT_EQ(rig.chip.reads, 0u);
    EXPECT_EQ(rig.chip.writes.size(), 1u);
}

TEST(E1000Rx, AFewBuffersWaitForMoreWhileTheChipHasEnough) {
    Rig rig;
    rig.driver.apply(up_state());
    EXPECT_EQ(rig.driver.rx_provide(rig.buffers(200)), 200u);
    rig.chip.forget();
    EXPECT_EQ(rig.driver.rx_provide(rig.buffers(15)), 15u);
    EXPECT_TRUE(rig.chip.writes.empty());
    EXPECT_EQ(rig.driver.rx_provide(rig.buffers(1)), 1u);
    EXPECT_EQ(rig.chip.writes, (std::vector<Fake::Access>{{Fake::RDT, 216}}));
    EXPECT_EQ(rig.driver.rx_provide(rig.buffers(1)), 1u);
    EXPECT_EQ(rig.chip.writes.size(), 1u);
    // No more come, and the chip is left with fewer than 128: it is told of the one.
    for (std::uint32_t i = 0; i < 88; i++) {
        EXPECT_TRUE(rig.chip.receive(frame_of(60, i)));
    }
    EXPECT_EQ(rig.take_rx(88).size(), 88u);
    EXPECT_EQ(rig.chip.writes.size(), 1u);
    EXPECT_TRUE(rig.chip.receive(frame_of(60, 88)));
    EXPECT_EQ(rig.take_rx(1).size(), 1u);
    EXPECT_EQ(rig.chip.writes.size(), 2u);
    EXPECT_EQ(rig.chip.writes.back(), (Fake::Access{Fake::RDT, 217}));
}

TEST(E1000Rx, ReturnsBuffersInOrderWithTheirLengths) {
    Rig rig;
    rig.driver.apply(up_state());
    rig.give(4, 40);
    EXPECT_TRUE(rig.take_rx().empty());
    EXPECT_TRUE(rig.chip.receive(frame_of(60, 1)));
    EXPECT_TRUE(rig.chip.receive(frame_of(1514, 2)));
    const auto rx = rig.take_rx();
    ASSERT_EQ(rx.size(), 2u);
    EXPECT_EQ(rx[0].id, 40u);
    EXPECT_EQ(rx[0].len_bytes, 60u); // without the FCS
    EXPECT_EQ(rx[0].flags, eop);
    EXPECT_EQ(rx[1].id, 41u);
    EXPECT_EQ(rx[1].len_bytes, 1514u);
    EXPECT_TRUE(rig.take_rx().empty());
}

TEST(E1000Rx, TakesNoMoreThanThereIsRoomFor) {
    Rig rig(tiny());
    rig.driver.apply(up_state());
    rig.give(8);
    for (std::uint32_t i = 0; i < 5; i++) {
        EXPECT_TRUE(rig.chip.receive(frame_of(64, i)));
    }
    EXPECT_EQ(rig.take_rx(2).size(), 2u);
    EXPECT_EQ(rig.take_rx(2).size(), 2u);
    EXPECT_EQ(rig.take_rx(2).size(), 1u);
    // The hardware ring keeps one descriptor free: 3 out, 16 - 1 - 3 fit.
    EXPECT_EQ(rig.driver.rx_provide(rig.buffers(30)), 12u);
    EXPECT_EQ(rig.chip.rx_free(), 15u);
}

TEST(E1000Rx, WrapsManyTimes) {
    Rig rig(tiny());
    rig.driver.apply(up_state());
    auto fill = rig.buffers(8, 0);
    EXPECT_EQ(rig.driver.rx_provide(fill), 8u);
    std::uint32_t expected = 0;
    for (std::uint32_t i = 0; i < 500; i++) {
        const Bytes frame = frame_of(60 + i, i);
        ASSERT_TRUE(rig.chip.receive(frame));
        const auto rx = rig.take_rx();
        ASSERT_EQ(rx.size(), 1u);
        EXPECT_EQ(rx[0].id, expected++ % 8);
        EXPECT_EQ(rx[0].len_bytes, frame.size());
        const auto& buffer = fill[rx[0].id];
        EXPECT_EQ(std::memcmp(rig.memory.translate(buffer.dma_addr, frame.size()), frame.data(),
                              frame.size()),
                  0);
        EXPECT_EQ(rig.driver.rx_provide({&buffer, 1}), 1u);
    }
}

TEST(E1000Rx, JumboFrameOverSeveralBuffers) {
    Rig rig;
    auto desired = up_state();
    desired.mtu = e1000::max_mtu;
    rig.driver.apply(desired);
    const auto fill = rig.buffers(16, 0);
    EXPECT_EQ(rig.driver.rx_provide(fill), 16u);
    const Bytes frame = frame_of(e1000::max_mtu + 14, 9); // 16,124 = 7 * 2,048 + 1,788
    ASSERT_TRUE(rig.chip.receive(frame));
    const auto rx = rig.take_rx();
    ASSERT_EQ(rx.size(), 8u);
    Bytes joined;
    for (std::size_t i = 0; i < rx.size(); i++) {
        EXPECT_EQ(rx[i].id, i);
        EXPECT_EQ(rx[i].flags, i == 7 ? eop : 0);
        EXPECT_EQ(rx[i].len_bytes, i == 7 ? 1788u : 2048u);
        const auto* data = rig.memory.translate(fill[i].dma_addr, rx[i].len_bytes);
        const auto* bytes = reinterpret_cast<const std::uint8_t*>(data);
        joined.insert(joined.end(), bytes, bytes + rx[i].len_bytes);
    }
    EXPECT_EQ(joined, frame);
}

TEST(E1000Rx, LongFramesAreRefusedByTheChipAtMtu1500) {
    Rig rig;
    rig.driver.apply(up_state());
    rig.give(16);
    EXPECT_TRUE(rig.chip.receive(frame_of(1518, 1))); // 1,500, a header and a VLAN tag
    EXPECT_FALSE(rig.chip.receive(frame_of(1519, 1)));
    EXPECT_EQ(rig.stat("rx_oversize"), 1u);
}

TEST(E1000Rx, FrameErrorsDropThePacket) {
    Rig rig;
    rig.driver.apply(up_state());
    rig.give(16);
    // SDM 3.2.3.2: CE, SE, SEQ, CXE, RXE.
    for (const std::uint8_t error : std::array<std::uint8_t, 5>{0x01, 0x02, 0x04, 0x10, 0x80}) {
        EXPECT_TRUE(rig.chip.receive(frame_of(64, 1), {.errors = error}));
        const auto rx = rig.take_rx();
        ASSERT_EQ(rx.size(), 1u);
        EXPECT_EQ(rx[0].flags, dropped_end) << int{error};
        EXPECT_EQ(rx[0].len_bytes, 0u);
    }
    EXPECT_EQ(rig.stat("rx_dropped"), 5u);
    // The next one is good again.
    EXPECT_TRUE(rig.chip.receive(frame_of(64, 1)));
    EXPECT_EQ(rig.take_rx().at(0).flags, eop);
}

TEST(E1000Rx, NonsenseFromTheDeviceIsDroppedWithTheRestOfItsPacket) {
    Rig rig;
    rig.driver.apply(up_state());
    rig.give(16);
    const auto flags = [&](std::uint16_t length, std::uint8_t status) {
        rig.chip.put_raw(length, status, 0, 0);
        const auto rx = rig.take_rx();
        EXPECT_EQ(rx.size(), 1u);
        EXPECT_LE(rx.at(0).len_bytes, 2048u);
        return rx.at(0).flags;
    };
    EXPECT_EQ(flags(2049, 0x03), dropped_end); // longer than the buffer
    EXPECT_EQ(flags(0xffff, 0x01), UDRV_NET_RX_DROP);
    EXPECT_EQ(flags(100, 0x01), UDRV_NET_RX_DROP); // the same packet
    EXPECT_EQ(flags(100, 0x03), dropped_end);
    EXPECT_EQ(flags(0, 0x03), dropped_end);
    EXPECT_EQ(flags(100, 0x03), eop);
    EXPECT_EQ(rig.stat("rx_dropped"), 3u);
}

TEST(E1000Rx, ChecksumResults) {
    Rig rig;
    auto desired = up_state();
    desired.features = UDRV_NET_F_RX_CSUM;
    rig.driver.apply(desired);
    rig.give(16);
    const auto flags = [&](std::uint8_t status, std::uint8_t errors) {
        EXPECT_TRUE(rig.chip.receive(frame_of(64, 1), {.status = status, .errors = errors}));
        return rig.take_rx().at(0).flags;
    };
    // SDM 3.2.3.1: IXSM 04, TCPCS 20, IPCS 40; 3.2.3.2: TCPE 20, IPE 40.
    EXPECT_EQ(flags(0x60, 0x00), eop | UDRV_NET_RX_CSUM_OK);
    EXPECT_EQ(flags(0x20, 0x00), eop | UDRV_NET_RX_CSUM_OK); // IPv6
    EXPECT_EQ(flags(0x60, 0x20), eop);                       // the stack will see for itself
    EXPECT_EQ(flags(0x40, 0x00), eop);
    EXPECT_EQ(flags(0x64, 0x00), eop);
}

TEST(E1000Rx, StrippedTag) {
    Rig rig;
    auto desired = up_state();
    desired.features = UDRV_NET_F_VLAN_RX;
    rig.driver.apply(desired);
    rig.give(16);
    EXPECT_TRUE(rig.chip.receive(frame_of(64, 1), {.tagged = true, .tag = 0xa123}));
    const auto rx = rig.take_rx();
    EXPECT_EQ(rx.at(0).flags, eop | UDRV_NET_RX_VLAN);
    EXPECT_EQ(rx.at(0).vlan_tci, 0xa123);
}

TEST(E1000Rx, OverrunRaisesItsCauseAndCounts) {
    Rig rig;
    rig.driver.apply(up_state());
    rig.give(1);
    EXPECT_TRUE(rig.chip.receive(frame_of(64, 1)));
    EXPECT_FALSE(rig.chip.receive(frame_of(64, 2)));
    EXPECT_TRUE(rig.driver.interrupt().data);
    EXPECT_EQ(rig.stat("rx_overruns"), 1u);
    EXPECT_EQ(rig.stat("rx_missed"), 1u);
}

// ---- Transmit ------------------------------------------------------------------

TEST(E1000Tx, DataDescriptorBytes) {
    Rig rig;
    rig.driver.apply(up_state());
    rig.runs = false;
    udrv_net_tx tx[2]{};
    tx[0].dma_addr = 0x0000'0011'2233'4455;
    tx[0].len_bytes = 60;
    tx[1].dma_addr = 0x0000'0000'8000'0001;
    tx[1].len_bytes = 0x0234;
    tx[1].flags = UDRV_NET_TX_EOP;
    rig.chip.forget();
    EXPECT_EQ(rig.driver.tx_provide(tx), 2u);
    // SDM 3.3.7: DTALEN in bits 19:0, DTYP 0001b in 23:20; 3.3.7.1: DCMD has IDE
    // 80, DEXT 20, RS 08, IFCS 02, EOP 01.
    EXPECT_EQ(rig.descriptor(Fake::TDBAL, 0),
              (Descriptor{0x55, 0x44, 0x33, 0x22, 0x11, 0, 0, 0, 60, 0, 0x10, 0xa2, 0, 0, 0, 0}));
    EXPECT_EQ(rig.descriptor(Fake::TDBAL, 1),
              (Descriptor{0x01, 0, 0, 0x80, 0, 0, 0, 0, 0x34, 0x02, 0x10, 0xab, 0, 0, 0, 0}));
    EXPECT_EQ(rig.chip.writes, (std::vector<Fake::Access>{{Fake::TDT, 2}}));
}

TEST(E1000Tx, OneTailWriteABatchAndNoRegisterRead) {
    Rig rig;
    rig.driver.apply(up_state());
    std::vector<udrv_net_tx> batch;
    for (std::uint32_t i = 0; i < 64; i++) {
        batch.push_back(rig.segment(frame_of(100 + i, i), i));
    }
    rig.chip.forget();
    EXPECT_EQ(rig.send(batch), 64u);
    const auto done = rig.take_completions();
    EXPECT_EQ(rig.chip.writes, (std::vector<Fake::Access>{{Fake::TDT, 64}}));
    EXPECT_EQ(rig.chip.reads, 0u);
    ASSERT_EQ(done.size(), 64u);
    ASSERT_EQ(rig.chip.wire.size(), 64u);
    for (std::uint32_t i = 0; i < 64; i++) {
        EXPECT_EQ(done[i].id, i);
        EXPECT_EQ(done[i].flags, 0u);
        EXPECT_EQ(rig.chip.wire[i].bytes, frame_of(100 + i, i));
    }
}

TEST(E1000Tx, CompletesInOrderWhenDescriptorsAreDone) {
    Rig rig;
    rig.driver.apply(up_state());
    rig.runs = false;
    const Bytes frame = frame_of(300, 5);
    const std::vector<udrv_net_tx> two{
        rig.segment(Bytes(frame.begin(), frame.begin() + 100), 1, false),
        rig.segment(Bytes(frame.begin() + 100, frame.end()), 1), rig.segment(frame_of(64, 6), 2)};
    EXPECT_EQ(rig.send(two), 3u);
    EXPECT_TRUE(rig.take_completions().empty());
    rig.chip.run_transmit(1);
    EXPECT_TRUE(rig.take_completions().empty()); // its first segment only
    rig.chip.run_transmit(1);
    EXPECT_EQ(rig.take_completions().at(0).id, 1u);
    EXPECT_TRUE(rig.take_completions().empty());
    rig.chip.run_transmit();
    EXPECT_EQ(rig.take_completions().at(0).id, 2u);
    EXPECT_EQ(rig.chip.wire.at(0).bytes, frame);
}

// Whoever goes to sleep with packets under way is woken by TXDW, and only then.
TEST(E1000Tx, CompletionsInterruptOnlyWhoSleepsOnThem) {
    Rig rig;
    rig.driver.apply(up_state());
    constexpr std::uint32_t txdw = 1;
    EXPECT_EQ(rig.send(rig.segment(frame_of(60, 1), 1)), 1u);
    EXPECT_EQ(rig.take_completions().size(), 1u);
    EXPECT_TRUE(rig.driver.arm());
    EXPECT_EQ(rig.chip.at(Fake::IMS) & txdw, 0u) << "it was sent by then";
    (void)rig.driver.interrupt();

    rig.runs = false;
    EXPECT_EQ(rig.send(rig.segment(frame_of(60, 2), 2)), 1u);
    rig.chip.run_transmit(); // since the last look at the ring
    EXPECT_FALSE(rig.chip.interrupting());
    EXPECT_TRUE(rig.driver.arm());
    EXPECT_TRUE(rig.chip.interrupting());
    const std::size_t writes = rig.chip.writes.size();
    EXPECT_TRUE(rig.driver.arm());
    EXPECT_EQ(rig.chip.writes.size(), writes);

    rig.driver.stop();
    rig.driver.apply(up_state());
    EXPECT_EQ(rig.chip.at(Fake::IMS) & txdw, 0u);
    EXPECT_EQ(rig.take_completions().size(), 1u);
}

TEST(E1000Tx, LeavesAPacketWithoutItsLastSegment) {
    Rig rig;
    rig.driver.apply(up_state());
    std::vector<udrv_net_tx> tx{rig.segment(frame_of(64, 1), 1),
                                rig.segment(frame_of(64, 2), 2, false)};
    EXPECT_EQ(rig.send(tx), 1u);
    EXPECT_EQ(rig.chip.wire.size(), 1u);
    tx[1].flags = UDRV_NET_TX_EOP;
    EXPECT_EQ(rig.send(std::span(std::as_const(tx)).subspan(1)), 1u);
    EXPECT_EQ(rig.chip.wire.size(), 2u);
}

TEST(E1000Tx, TakesOnlyWhatFitsAndResumes) {
    Rig rig(tiny()); // 31 descriptors, 8 packets
    rig.driver.apply(up_state());
    rig.runs = false;
    std::vector<udrv_net_tx> packets;
    for (std::uint32_t i = 0; i < 10; i++) {
        packets.push_back(rig.segment(frame_of(60, i), i));
    }
    EXPECT_EQ(rig.send(packets), 8u);
    EXPECT_EQ(rig.driver.tx_provide(std::span(packets).subspan(8)), 0u);
    rig.chip.run_transmit();
    EXPECT_EQ(rig.take_completions(3).size(), 3u);
    EXPECT_EQ(rig.driver.tx_provide(std::span(packets).subspan(8)), 2u);
    // Of packets of many descriptors, whole ones only.
    Rig big(tiny());
    big.driver.apply(up_state());
    big.runs = false;
    std::vector<udrv_net_tx> many;
    for (std::uint32_t i = 0; i < 4; i++) {
        for (std::uint32_t s = 0; s < 10; s++) {
            many.push_back(big.segment(frame_of(100, s), i, s == 9));
        }
    }
    EXPECT_EQ(big.send(many), 30u);
    EXPECT_EQ(big.chip.at(Fake::TDT), 30u);
    // 32 descriptors would make the full ring look empty.
    Rig exact(tiny());
    exact.driver.apply(up_state());
    exact.runs = false;
    many.clear();
    for (std::uint32_t i = 0; i < 8; i++) {
        for (std::uint32_t s = 0; s < 4; s++) {
            many.push_back(exact.segment(frame_of(100, s), i, s == 3));
        }
    }
    EXPECT_EQ(exact.send(many), 28u);
}

TEST(E1000Tx, LongSegmentsAreCutIntoDescriptors) {
    Rig rig;
    auto desired = up_state();
    desired.mtu = e1000::max_mtu;
    rig.driver.apply(desired);
    const Bytes frame = frame_of(e1000::max_mtu + 14, 3);
    EXPECT_EQ(rig.send(rig.segment(frame, 1)), 1u);
    EXPECT_EQ(rig.chip.descriptors_sent, 4u); // of 4,096 bytes at most
    EXPECT_EQ(rig.chip.wire.at(0).bytes, frame);
    EXPECT_EQ(rig.take_completions().at(0).id, 1u);
}

TEST(E1000Tx, WhatTheChipCanNotSendIsDroppedInItsTurn) {
    Rig rig;
    rig.driver.apply(up_state());
    rig.runs = false;
    auto empty = rig.segment(frame_of(64, 1), 2);
    empty.len_bytes = 0;
    auto huge = rig.segment(frame_of(e1000::max_frame_bytes + 1, 1), 3);
    EXPECT_EQ(
        rig.send({rig.segment(frame_of(64, 1), 1), empty, huge, rig.segment(frame_of(64, 2), 4)}),
        4u);
    EXPECT_TRUE(rig.take_completions().empty()); // not before the packet ahead of them
    rig.chip.run_transmit();
    const auto done = rig.take_completions();
    ASSERT_EQ(done.size(), 4u);
    for (std::uint32_t i = 0; i < 4; i++) {
        EXPECT_EQ(done[i].id, i + 1);
        EXPECT_EQ(done[i].flags, i == 1 || i == 2 ? UDRV_NET_TX_DROPPED : 0u);
    }
    EXPECT_EQ(rig.chip.wire.size(), 2u);
    EXPECT_EQ(rig.stat("tx_dropped"), 2u);
}

// ---- Stop and start --------------------------------------------------------------

TEST(E1000Stop, ResetsTheChipAndGoesQuiet) {
    Rig rig;
    rig.driver.apply(up_state());
    rig.give(16);
    rig.chip.forget();
    rig.driver.stop();
    EXPECT_EQ(rig.chip.writes.front(), (Fake::Access{Fake::IMC, 0xffffffff}));
    EXPECT_EQ(rig.chip.writes_to(Fake::CTRL), 1u);
    EXPECT_EQ(rig.chip.at(Fake::RCTL) & 2, 0u);
    EXPECT_EQ(rig.chip.at(Fake::TCTL) & 2, 0u);
    EXPECT_FALSE(rig.chip.receive(frame_of(64, 1)));
    EXPECT_TRUE(rig.take_rx().empty());
}

TEST(E1000Stop, KeepsReceiveBuffersInOrder) {
    Rig rig(tiny());
    rig.driver.apply(up_state());
    rig.give(8, 0);
    for (std::uint32_t i = 0; i < 5; i++) {
        EXPECT_TRUE(rig.chip.receive(frame_of(64, i)));
    }
    EXPECT_EQ(rig.take_rx(3).size(), 3u); // 0 to 2; 3 and 4 are received but not taken
    udrv_net_desired down{};
    rig.driver.apply(down);
    rig.give(2, 20); // also while it is stopped
    rig.driver.apply(up_state());
    EXPECT_EQ(rig.chip.rx_free(), 7u);
    for (std::uint32_t i = 0; i < 7; i++) {
        EXPECT_TRUE(rig.chip.receive(frame_of(64, i)));
    }
    std::vector<std::uint32_t> ids;
    for (const auto& rx : rig.take_rx()) {
        ids.push_back(rx.id);
        EXPECT_EQ(rx.flags, eop);
    }
    EXPECT_EQ(ids, (std::vector<std::uint32_t>{3, 4, 5, 6, 7, 20, 21}));
}

TEST(E1000Stop, CompletesWhatWasSentAndDropsTheRest) {
    Rig rig;
    rig.driver.apply(up_state());
    rig.runs = false;
    std::vector<udrv_net_tx> packets;
    for (std::uint32_t i = 0; i < 4; i++) {
        packets.push_back(rig.segment(frame_of(64, i), i));
    }
    EXPECT_EQ(rig.send(packets), 4u);
    rig.chip.run_transmit(2);
    rig.driver.stop();
    EXPECT_EQ(rig.send(rig.segment(frame_of(64, 4), 4)), 1u); // too late
    const auto done = rig.take_completions();
    ASSERT_EQ(done.size(), 5u);
    for (std::uint32_t i = 0; i < 5; i++) {
        EXPECT_EQ(done[i].id, i);
        EXPECT_EQ(done[i].flags, i < 2 ? 0u : UDRV_NET_TX_DROPPED) << i;
    }
    EXPECT_EQ(rig.stat("tx_dropped"), 3u);
    rig.driver.apply(up_state());
    rig.runs = true;
    EXPECT_EQ(rig.send(rig.segment(frame_of(64, 9), 9)), 1u);
    EXPECT_EQ(rig.chip.wire.back().bytes, frame_of(64, 9));
    EXPECT_EQ(rig.take_completions().at(0).flags, 0u);
}

TEST(E1000Stop, APacketCutInHalfTakesTheNextOneWithIt) {
    Rig rig;
    auto desired = up_state();
    desired.mtu = 9000;
    rig.driver.apply(desired);
    rig.give(16, 0);
    EXPECT_TRUE(rig.chip.receive(frame_of(5000, 1))); // three buffers
    EXPECT_EQ(rig.take_rx(2).size(), 2u);             // the stack has two of them
    udrv_net_desired down{};
    rig.driver.apply(down);
    rig.driver.apply(desired);
    EXPECT_TRUE(rig.chip.receive(frame_of(3000, 2)));
    EXPECT_TRUE(rig.chip.receive(frame_of(64, 3)));
    const auto rx = rig.take_rx();
    ASSERT_EQ(rx.size(), 3u);
    EXPECT_EQ(rx[0].id, 2u);
    EXPECT_EQ(rx[0].flags, UDRV_NET_RX_DROP);
    EXPECT_EQ(rx[1].flags, dropped_end);
    EXPECT_EQ(rx[2].flags, eop);
}

} // namespace
} // namespace udrv::test
