// SPDX-License-Identifier: MIT
//
// 82540EM and 82545EM: the data path. Nothing here allocates, throws or waits,
// and no register is read: the chip says what it has done by writing DD back to
// the descriptor in memory.
//
// Ordering. To the chip: descriptors are plain stores; RegisterIo orders the
// tail write after them. From the chip: it writes DD last, so DD is loaded with
// acquire before anything else of the descriptor or of the buffer is looked at.
#include "drivers/e1000/e1000.hpp"

#include <algorithm>
#include <atomic>
#include <cassert>

namespace udrv::e1000 {

namespace {

constexpr std::uint32_t ethernet_header_bytes = 14;
constexpr std::uint32_t ipv4_checksum_offset = 10; // in the IP header
constexpr std::uint32_t tcp_checksum_offset = 16;  // in the TCP header
// Of a frame as it is handed over: with a VLAN tag perhaps, without the FCS.
constexpr std::uint32_t tx_max_bytes = max_frame_bytes;
constexpr std::uint32_t tail_bytes = 4; // see write_tx_descriptors()

std::uint8_t load_status(std::uint8_t& status) {
    return std::atomic_ref<std::uint8_t>(status).load(std::memory_order_acquire);
}

constexpr std::uint32_t pieces(std::uint32_t len_bytes, std::uint32_t limit) {
    return (len_bytes + limit - 1) / limit;
}

/// Segments of the first packet, with its last; 0 if that is missing.
std::size_t packet_length(std::span<const udrv_net_tx> tx) {
    const auto last = std::find_if(tx.begin(), tx.end(), [](const udrv_net_tx& segment) {
        return (segment.flags & UDRV_NET_TX_EOP) != 0;
    });
    return last == tx.end() ? 0 : static_cast<std::size_t>(last - tx.begin()) + 1;
}

/// SDM 3.3.6: eight fields of checksum positions in the first eight bytes.
constexpr std::uint64_t context_positions(std::uint32_t ipcss, std::uint32_t ipcso,
                                          std::uint32_t ipcse, std::uint32_t tucss,
                                          std::uint32_t tucso) {
    // TUCSE, bits 63:48, is zero: up to the end of the packet.
    return std::uint64_t{ipcss} | std::uint64_t{ipcso} << 8 | std::uint64_t{ipcse} << 16 |
           std::uint64_t{tucss} << 32 | std::uint64_t{tucso} << 40;
}

} // namespace

// ---- Receive -------------------------------------------------------------------

void E1000::write_rx_descriptor(std::uint32_t index) {
    // The chip takes no notice of the rest; status is cleared for us to see DD.
    rx_ring_[index & rx_mask_] = RxDescriptor{.address = rx_buffers_[index & rx_mask_].dma_addr,
                                              .length = 0,
                                              .checksum = 0,
                                              .status = 0,
                                              .errors = 0,
                                              .special = 0};
}

std::size_t E1000::rx_provide(std::span<const udrv_net_fill> fill) {
    std::size_t taken = 0;
    // Never the last descriptor: RDT == RDH would be an empty ring (SDM 3.2.6).
    while (taken < fill.size() && rx_producer_ - rx_consumer_ < rx_mask_) {
        assert(fill[taken].len_bytes >= rx_buffer_bytes);
        rx_buffers_[rx_producer_ & rx_mask_] = fill[taken];
        if (running_) {
            write_rx_descriptor(rx_producer_);
        }
        rx_producer_++;
        taken++;
    }
    write_rx_tail();
    return taken;
}

/// One tail write a batch, unless the chip is running out.
void E1000::write_rx_tail() {
    if (running_ && rx_producer_ != rx_tail_ &&
        (rx_producer_ - rx_tail_ >= rx_tail_batch ||
         rx_tail_ - rx_consumer_ < config_.rx_depth / 2)) {
        rx_tail_ = rx_producer_;
        reg::rdt.write(regs_, rx_tail_ & rx_mask_);
    }
}

std::size_t E1000::rx_return(std::span<udrv_net_rx> rx) {
    std::size_t written = 0;
    while (running_ && written < rx.size() && rx_consumer_ != rx_producer_) {
        RxDescriptor& descriptor = rx_ring_[rx_consumer_ & rx_mask_];
        const std::uint8_t status = load_status(descriptor.status);
        if ((status & rx_status::dd) == 0) {
            break;
        }
        rx[written++] = received(descriptor, status, rx_buffers_[rx_consumer_ & rx_mask_].id);
        rx_consumer_++;
    }
    write_rx_tail();
    return written;
}

/// Errors, checksum results and the VLAN tag are in the packet's last
/// descriptor (SDM 3.2.3). Whatever the chip says, the length handed up is
/// within the buffer.
udrv_net_rx E1000::received(const RxDescriptor& descriptor, std::uint8_t status, std::uint32_t id) {
    const bool last = (status & rx_status::eop) != 0;
    udrv_net_rx entry{};
    entry.id = id;
    entry.len_bytes = descriptor.length;
    // A packet that fills its buffers may end with a descriptor for its FCS, which is not there.
    const bool nothing = descriptor.length == 0 && !(last && rx_partial_);
    if (nothing || descriptor.length > rx_buffer_bytes ||
        (last && (descriptor.errors & rx_errors::frame) != 0)) {
        rx_dropping_ = true;
    }
    if (last) {
        entry.flags |= UDRV_NET_RX_EOP;
    }
    if (rx_dropping_) {
        entry.flags |= UDRV_NET_RX_DROP;
        entry.len_bytes = 0;
    } else if (last) {
        // TCPCS says that a TCP or UDP checksum was looked at, IXSM that neither
        // bit means anything (fragments, other protocols).
        if ((status & (rx_status::ixsm | rx_status::tcpcs)) == rx_status::tcpcs &&
            (descriptor.errors & rx_errors::tcpe) == 0) {
            entry.flags |= UDRV_NET_RX_CSUM_OK;
        }
        if ((status & rx_status::vp) != 0 && (ctrl_ & ctrl::vme) != 0) {
            entry.flags |= UDRV_NET_RX_VLAN;
            entry.vlan_tci = descriptor.special;
        }
    }
    if (last && rx_dropping_) {
        stats_[nr_chip_stats + 1]++;
        rx_dropping_ = false;
    }
    rx_partial_ = !last;
    return entry;
}

// ---- Transmit ------------------------------------------------------------------

std::size_t E1000::tx_provide(std::span<const udrv_net_tx> tx) {
    const std::uint32_t before = tx_producer_;
    std::size_t taken = 0;
    while (taken < tx.size() && tx_packet_producer_ - tx_packet_consumer_ < config_.tx_depth) {
        const std::size_t length = packet_length(tx.subspan(taken));
        if (length == 0 || !tx_packet(tx.subspan(taken, length))) {
            break;
        }
        taken += length;
    }
    if (tx_producer_ != before) {
        reg::tdt.write(regs_, tx_producer_ & tx_mask_);
    }
    return taken;
}

/// One packet to the ring; false if there is no room for it now. A packet that
/// the chip cannot send completes as dropped, after those before it.
bool E1000::tx_packet(std::span<const udrv_net_tx> packet) {
    TxPacket& entry = tx_packets_[tx_packet_producer_ & (config_.tx_depth - 1)];
    entry = TxPacket{.id = packet.front().id, .end = 0, .state = TxPacket::State::dropped};
    if (running_) {
        const TxPlan what = plan(packet);
        // TDT == TDH is an empty ring (SDM 3.4), so one descriptor stays free.
        if (what.valid && what.descriptors <= tx_mask_) {
            if (what.descriptors > tx_mask_ - (tx_producer_ - tx_consumer_)) {
                return false;
            }
            write_tx_descriptors(packet, what);
            entry.end = tx_producer_;
            entry.state = TxPacket::State::posted;
        }
    }
    if (entry.state == TxPacket::State::dropped) {
        stats_[nr_chip_stats + 2]++;
    }
    tx_packet_producer_++;
    return true;
}

E1000::TxPlan E1000::plan(std::span<const udrv_net_tx> packet) const {
    const udrv_net_tx& first = packet.front();
    TxPlan plan{};
    // IFCS is looked at in the last data descriptor, or with TSE in the first
    // (SDM 3.3.7.1), so all have it; VLE and the tag likewise. IDE: the
    // completion interrupt may wait for TIDV.
    plan.command = tx_command::dext | tx_command::dtyp_data | tx_command::ifcs | tx_command::ide;
    const bool tso = (first.flags & UDRV_NET_TX_TSO4) != 0;
    if (tso && first.gso_size != 0) {
        plan.limit = std::min(4 * std::uint32_t{first.gso_size}, tx_descriptor_bytes);
    }
    plan.needs_tail = tso || after_tso_;
    plan.descriptors += plan.needs_tail ? 1 : 0;
    plan.descriptors += pcix_ ? 1 : 0; // the first may be a short one
    for (const udrv_net_tx& segment : packet) {
        if (segment.len_bytes == 0 || segment.len_bytes > tx_command::length_mask - plan.bytes) {
            return plan;
        }
        plan.bytes += segment.len_bytes;
        plan.descriptors += pieces(segment.len_bytes, plan.limit);
    }
    if ((first.flags & UDRV_NET_TX_VLAN) != 0) {
        if ((ctrl_ & ctrl::vme) == 0) {
            return plan; // would leave without its tag, on the wrong network
        }
        plan.command |= tx_command::vle;
    }
    plan.valid = plan_offload(first, plan);
    return plan;
}

/// Checksum and segmentation, SDM 3.3.6 (context) and 3.5 (segmentation). False
/// if the chip cannot do what the packet asks.
bool E1000::plan_offload(const udrv_net_tx& first, TxPlan& plan) const {
    const bool tso = (first.flags & UDRV_NET_TX_TSO4) != 0;
    const std::uint32_t start = first.csum_start;
    const std::uint32_t field = start + (tso ? tcp_checksum_offset : first.csum_offset);
    if ((!tso && plan.bytes > tx_max_bytes) || (first.flags & UDRV_NET_TX_TSO6) != 0) {
        return false;
    }
    if (!tso && (first.flags & UDRV_NET_TX_CSUM) == 0) {
        return true;
    }
    if (field > max_csum_field || field + 2 > plan.bytes) {
        return false;
    }
    plan.options = tx_options::txsm;
    plan.context.command = tx_command::dext | tx_command::dtyp_context | tx_command::ide;
    if (!tso) {
        // The chip keeps a context until the next one (SDM 3.6), so that a stream
        // of packets of one shape needs it once.
        plan.needs_context = !context_loaded_ || context_start_ != first.csum_start ||
                             context_offset_ != first.csum_offset;
        plan.context.address = context_positions(0, 0, 0, start, field);
        if (first.csum_offset == tcp_checksum_offset) {
            plan.context.command |= tx_command::tcp;
        }
    } else {
        const std::uint32_t header = first.hdr_bytes;
        if (first.gso_size == 0 || header > max_tso_hdr_bytes || header >= plan.bytes ||
            header < field + 4 || first.ip_start < ethernet_header_bytes ||
            start <= first.ip_start || header + first.gso_size > tx_max_bytes) {
            return false;
        }
        plan.needs_context = true;
        // IPCSE: the IPv4 header ends where TCP's starts.
        plan.context.address = context_positions(
            first.ip_start, first.ip_start + ipv4_checksum_offset, start - 1, start, field);
        plan.context.command |= tx_command::tse | tx_command::tcp | tx_command::ip;
        plan.context.command |= plan.bytes - header;              // PAYLEN
        plan.context.options = static_cast<std::uint8_t>(header); // HDRLEN
        plan.context.special = first.gso_size;                    // MSS
        plan.options |= tx_options::ixsm;
        plan.command |= tx_command::tse;
    }
    plan.descriptors += plan.needs_context ? 1 : 0;
    return true;
}

/// Chips of the family write the last descriptor of a TSO packet back before its data is
/// fetched, and that of the packet of one segment that comes next (so Linux's e1000
/// driver). The memory would be given back, and could be written over, too early. With a
/// tail of four bytes as a descriptor of its own, the rest has been fetched by then.
void E1000::write_tx_descriptors(std::span<const udrv_net_tx> packet, const TxPlan& plan) {
    const bool tso = (plan.command & tx_command::tse) != 0;
    if (plan.needs_context) {
        tx_ring_[tx_producer_++ & tx_mask_] = plan.context;
        // A segmentation context may take the place of the checksum one.
        context_loaded_ = !tso;
        context_start_ = packet.front().csum_start;
        context_offset_ = packet.front().csum_offset;
    }
    bool first = true;
    for (const udrv_net_tx& segment : packet) {
        std::uint64_t address = segment.dma_addr;
        std::uint32_t left = segment.len_bytes;
        while (left != 0) {
            std::uint32_t bytes = std::min(left, plan.limit);
            const bool last_segment = &segment == &packet.back();
            if (plan.needs_tail && last_segment && bytes == left && bytes > 2 * tail_bytes) {
                bytes -= tail_bytes;
            }
            if (pcix_ && first) {
                bytes = std::min(bytes, tx_first_bytes_pcix);
            }
            first = false;
            left -= bytes;
            std::uint32_t command = plan.command | bytes;
            if (last_segment && left == 0) {
                // DD is asked for once a packet: descriptors are done in order.
                command |= tx_command::eop | tx_command::rs;
            }
            tx_ring_[tx_producer_++ & tx_mask_] = TxDescriptor{.address = address,
                                                               .command = command,
                                                               .status = 0,
                                                               .options = plan.options,
                                                               .special = packet.front().vlan_tci};
            address += bytes;
        }
    }
    after_tso_ = tso || (after_tso_ && packet.size() > 1);
}

std::size_t E1000::tx_return(std::span<udrv_net_completion> completion) {
    std::size_t written = 0;
    while (written < completion.size() && tx_packet_consumer_ != tx_packet_producer_) {
        const TxPacket& packet = tx_packets_[tx_packet_consumer_ & (config_.tx_depth - 1)];
        if (packet.state == TxPacket::State::posted) {
            TxDescriptor& last = tx_ring_[(packet.end - 1) & tx_mask_];
            if ((load_status(last.status) & tx_status::dd) == 0) {
                break;
            }
            tx_consumer_ = packet.end;
        }
        const bool dropped = packet.state == TxPacket::State::dropped;
        completion[written++] = {.id = packet.id, .flags = dropped ? UDRV_NET_TX_DROPPED : 0};
        tx_packet_consumer_++;
    }
    return written;
}

/// Each packet's last descriptor is reported, so the newest one tells of all.
bool E1000::transmit_pending() const {
    if (tx_consumer_ == tx_producer_) {
        return false;
    }
    TxDescriptor& newest = tx_ring_[(tx_producer_ - 1) & tx_mask_];
    return (load_status(newest.status) & tx_status::dd) == 0;
}

/// After a reset nothing is fetched any more: what was sent is sent, the rest is
/// dropped. tx_return() tells.
void E1000::cut_transmit() {
    for (std::uint32_t i = tx_packet_consumer_; i != tx_packet_producer_; i++) {
        TxPacket& packet = tx_packets_[i & (config_.tx_depth - 1)];
        if (packet.state == TxPacket::State::posted) {
            TxDescriptor& last = tx_ring_[(packet.end - 1) & tx_mask_];
            const bool sent = (load_status(last.status) & tx_status::dd) != 0;
            packet.state = sent ? TxPacket::State::sent : TxPacket::State::dropped;
            stats_[nr_chip_stats + 2] += sent ? 0 : 1;
        }
    }
    tx_producer_ = 0;
    tx_consumer_ = 0;
}

} // namespace udrv::e1000
