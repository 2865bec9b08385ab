// SPDX-License-Identifier: MIT
//
// The data path: packets to the transmit queue, buffers to the receive queue, and back. The
// device may be done with chains in any order (2.7.9); the stack gets its packets and
// buffers back in the order in which it gave them.
#include <algorithm>
#include <cassert>
#include <cstring>

#include "drivers/virtio_net/virtio_net.hpp"

namespace udrv::virtio_net {

namespace {

/// The entries of the packet that `tx` begins with; 0 if its end is missing.
std::size_t packet_length(std::span<const udrv_net_tx> tx) {
    const auto last = std::find_if(tx.begin(), tx.end(), [](const udrv_net_tx& entry) {
        return (entry.flags & UDRV_NET_TX_EOP) != 0;
    });
    return last == tx.end() ? 0 : static_cast<std::size_t>(last - tx.begin()) + 1;
}

} // namespace

// ---- Receive ----------------------------------------------------------------------------

std::size_t VirtioNet::rx_provide(std::span<const udrv_net_fill> fill) {
    std::size_t taken = 0;
    while (taken < fill.size() && rx_producer_ - rx_consumer_ <= rx_mask_) {
        assert(fill[taken].len_bytes >= rx_buffer_bytes);
        rx_buffers_[rx_producer_++ & rx_mask_] = fill[taken++];
    }
    post_receive();
    return taken;
}

/// Makes chains of the buffers that wait, and tells the device once.
void VirtioNet::post_receive() {
    if (!running_) {
        return;
    }
    std::array<virtio::Segment, 1 + max_rx_buffers> pieces;
    const std::size_t count = 1 + chain_buffers_;
    while (rx_producer_ - rx_posted_ >= chain_buffers_ && rx_->room() >= count) {
        const std::uint32_t place = chain_producer_ & rx_mask_;
        pieces[0] = {rx_headers_dma_addr_ + place * sizeof(Header), sizeof(Header)};
        for (std::size_t i = 1; i < count; i++) {
            pieces[i] = {rx_buffers_[rx_posted_++ & rx_mask_].dma_addr, rx_buffer_bytes};
        }
        rx_chains_[place] = {};
        rx_->post({}, std::span(pieces).first(count), static_cast<std::uint16_t>(place));
        chain_producer_++;
    }
    if (rx_->publish()) {
        stats_[rx_notified]++;
        transport_.notify(queue::receiveq1);
    }
}

std::size_t VirtioNet::rx_return(std::span<udrv_net_rx> rx) {
    if (!running_) {
        return 0;
    }
    while (const auto used = rx_->take()) {
        rx_chains_[used->token] = {.len_bytes = used->len_bytes, .done = true};
    }
    std::size_t written = 0;
    while (written < rx.size() && chain_consumer_ != chain_producer_) {
        const std::uint32_t place = chain_consumer_ & rx_mask_;
        if (!rx_chains_[place].done) {
            break;
        }
        Header header{};
        std::memcpy(&header, &rx_headers_[place], sizeof(header)); // once: it may change
        rx[written++] = received(rx_chains_[place], header);
        rx_consumer_++;
        if (++rx_part_ == chain_buffers_) {
            rx_part_ = 0;
            chain_consumer_++;
        }
    }
    if (written != 0) {
        post_receive();
    }
    return written;
}

/// The next buffer of a chain. Those that the packet did not need go back empty. Whatever
/// the device says, the length is within the buffer.
udrv_net_rx VirtioNet::received(const RxChain& chain, const Header& header) {
    const std::uint32_t before = rx_part_ * rx_buffer_bytes;
    const bool last = rx_part_ + 1 == chain_buffers_;
    udrv_net_rx entry{};
    entry.id = rx_buffers_[rx_consumer_ & rx_mask_].id;
    entry.flags = last ? UDRV_NET_RX_EOP : 0;
    if (chain.len_bytes <= sizeof(Header) ||
        chain.len_bytes > sizeof(Header) + chain_buffers_ * rx_buffer_bytes) {
        rx_dropping_ = true;
    }
    if (rx_dropping_) {
        entry.flags |= UDRV_NET_RX_DROP;
        if (last) {
            stats_[rx_dropped]++;
            rx_dropping_ = false;
        }
        return entry;
    }
    const auto bytes = static_cast<std::uint32_t>(chain.len_bytes - sizeof(Header));
    if (bytes > before) {
        entry.len_bytes = std::min(bytes - before, rx_buffer_bytes);
    }
    if (last) {
        rx_checksum(entry, header, bytes);
    }
    return entry;
}

/// 5.1.6.4: with VIRTIO_NET_F_GUEST_CSUM, packets of the device's own machine come with
/// the sum not made yet.
void VirtioNet::rx_checksum(udrv_net_rx& entry, const Header& header, std::uint32_t bytes) {
    if (!has(feature::guest_csum)) {
        return;
    }
    if ((header.flags & header::f_needs_csum) != 0) {
        if (std::uint32_t{header.csum_start} + header.csum_offset + 2 <= bytes) {
            entry.flags |= UDRV_NET_RX_CSUM_PARTIAL;
            entry.csum_start = header.csum_start;
            entry.csum_offset = header.csum_offset;
            stats_[rx_csum_partial]++;
        }
    } else if ((header.flags & header::f_data_valid) != 0) {
        entry.flags |= UDRV_NET_RX_CSUM_OK;
        stats_[rx_csum_valid]++;
    }
}

// ---- Transmit ---------------------------------------------------------------------------

std::size_t VirtioNet::tx_provide(std::span<const udrv_net_tx> tx) {
    std::size_t taken = 0;
    while (taken < tx.size() && tx_producer_ - tx_consumer_ <= tx_mask_) {
        const std::size_t length = packet_length(tx.subspan(taken));
        if (length == 0 || !tx_packet(tx.subspan(taken, length))) {
            break;
        }
        taken += length;
    }
    if (running_ && tx_->publish()) {
        stats_[tx_notified]++;
        transport_.notify(queue::transmitq1);
    }
    return taken;
}

/// One packet to the queue; false if there is no room for it now. A packet that the device
/// cannot send completes as dropped, after those before it.
bool VirtioNet::tx_packet(std::span<const udrv_net_tx> packet) {
    const std::uint32_t place = tx_producer_ & tx_mask_;
    TxPacket& entry = tx_packets_[place];
    entry = {.id = packet.front().id, .state = TxPacket::State::dropped};
    const std::optional<Header> header = running_ ? plan(packet) : std::nullopt;
    if (header) {
        const std::size_t count = 1 + packet.size();
        if (count > tx_->room()) {
            return false;
        }
        tx_headers_[place] = *header;
        std::array<virtio::Segment, 1 + max_tx_segments> pieces;
        pieces[0] = {tx_headers_dma_addr_ + place * sizeof(Header), sizeof(Header)};
        for (std::size_t i = 1; i < count; i++) {
            pieces[i] = {packet[i - 1].dma_addr, packet[i - 1].len_bytes};
        }
        tx_->post(std::span(pieces).first(count), {}, static_cast<std::uint16_t>(place));
        entry.state = TxPacket::State::posted;
    } else {
        stats_[tx_dropped]++;
    }
    tx_producer_++;
    return true;
}

/// 5.1.6.2: the header that says what the device has to do; none if it cannot.
std::optional<Header> VirtioNet::plan(std::span<const udrv_net_tx> packet) const {
    const udrv_net_tx& first = packet.front();
    std::uint64_t bytes = 0;
    for (const udrv_net_tx& segment : packet) {
        if (segment.len_bytes == 0) {
            return std::nullopt;
        }
        bytes += segment.len_bytes;
    }
    const bool csum = (first.flags & UDRV_NET_TX_CSUM) != 0;
    const bool tso4 = (first.flags & UDRV_NET_TX_TSO4) != 0;
    const bool tso6 = (first.flags & UDRV_NET_TX_TSO6) != 0;
    if (packet.size() > capabilities_.tx_max_segments || (first.flags & UDRV_NET_TX_VLAN) != 0 ||
        (csum && !has(feature::csum)) || (tso4 && !has(feature::host_tso4)) ||
        (tso6 && !has(feature::host_tso6))) {
        return std::nullopt;
    }
    Header header{};
    if (csum) {
        if (std::uint64_t{first.csum_start} + first.csum_offset + 2 > bytes) {
            return std::nullopt;
        }
        header.flags = header::f_needs_csum;
        header.csum_start = first.csum_start;
        header.csum_offset = first.csum_offset;
    }
    if (tso4 || tso6) {
        if (!csum || (tso4 && tso6) || first.gso_size == 0 || first.hdr_bytes >= bytes) {
            return std::nullopt;
        }
        header.gso_type = tso4 ? header::gso_tcpv4 : header::gso_tcpv6;
        header.gso_size = first.gso_size;
        header.hdr_len = first.hdr_bytes;
    }
    return header;
}

void VirtioNet::collect_tx() {
    while (const auto used = tx_->take()) {
        tx_packets_[used->token].state = TxPacket::State::sent;
    }
}

std::size_t VirtioNet::tx_return(std::span<udrv_net_completion> completion) {
    if (running_) {
        collect_tx();
    }
    std::size_t written = 0;
    while (written < completion.size() && tx_consumer_ != tx_producer_) {
        const TxPacket& packet = tx_packets_[tx_consumer_ & tx_mask_];
        if (packet.state == TxPacket::State::posted) {
            break;
        }
        const bool dropped = packet.state == TxPacket::State::dropped;
        completion[written++] = {.id = packet.id, .flags = dropped ? UDRV_NET_TX_DROPPED : 0};
        tx_consumer_++;
    }
    return written;
}

// ---- Both -------------------------------------------------------------------------------

/// Transmit completions come three quarters of what is out at a time: more would let the
/// device run dry, fewer interrupt for nothing.
bool VirtioNet::arm() {
    if (!running_) {
        return true;
    }
    const bool rx_idle = rx_->arm();
    const auto after = static_cast<std::uint16_t>(tx_->outstanding() * 3 / 4);
    const bool tx_idle = tx_->outstanding() == 0 || tx_->arm(after);
    return rx_idle && tx_idle;
}

/// After a reset nothing moves any more: what was sent is sent, the rest is dropped, and
/// tx_return() tells. Receive buffers wait for their next chains.
void VirtioNet::cut() {
    collect_tx();
    for (std::uint32_t i = tx_consumer_; i != tx_producer_; i++) {
        TxPacket& packet = tx_packets_[i & tx_mask_];
        if (packet.state == TxPacket::State::posted) {
            packet.state = TxPacket::State::dropped;
            stats_[tx_dropped]++;
        }
    }
    rx_posted_ = rx_consumer_;
    chain_consumer_ = chain_producer_;
    // The stack has the start of a packet whose end will never come: the next one to end
    // closes it, and is dropped with it.
    rx_dropping_ = rx_dropping_ || rx_part_ != 0;
    rx_part_ = 0;
}

} // namespace udrv::virtio_net
