// SPDX-License-Identifier: MIT
//
// A model of the virtio network device (virtio 1.2, 5.1), and what its tests share. See
// fake_virtio.hpp.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "drivers/virtio_net/virtio_net.hpp"
#include "tests/unit/fake_virtio.hpp"

namespace udrv::test {

class FakeVirtioNet final : public FakeVirtio {
  public:
    static constexpr std::uint64_t f_csum = 1, f_guest_csum = 2, f_mtu = 1 << 3, f_mac = 1 << 5,
                                   f_host_tso4 = 1 << 11, f_host_tso6 = 1 << 12,
                                   f_mrg_rxbuf = 1 << 15, f_status = 1 << 16, f_ctrl_vq = 1 << 17,
                                   f_ctrl_rx = 1 << 18, f_ctrl_vlan = 1 << 19,
                                   f_ctrl_mac_addr = 1 << 23, f_speed_duplex = 1ull << 63;
    /// As QEMU offers them on a tap.
    static constexpr std::uint64_t usual = f_version_1 | f_event_idx | f_csum | f_guest_csum |
                                           f_mac | f_host_tso4 | f_host_tso6 | f_mrg_rxbuf |
                                           f_status | f_ctrl_vq | f_ctrl_rx | f_ctrl_vlan |
                                           f_ctrl_mac_addr | 1ull << 28 /* INDIRECT_DESC */;

    struct Header {
        std::uint8_t flags = 0, gso_type = 0;
        std::uint16_t hdr_len = 0, gso_size = 0, csum_start = 0, csum_offset = 0, num_buffers = 0;
    };
    struct Frame {
        Header header;
        Bytes bytes;
    };

    explicit FakeVirtioNet(FakeMemory& memory, std::uint64_t features = usual,
                           std::vector<std::uint16_t> sizes = {256, 256, 64},
                           std::uint32_t config_bytes = 24)
        : FakeVirtio(memory, features, std::move(sizes), config_bytes) {
        constexpr std::array<std::uint8_t, 6> mac{0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
        std::copy(mac.begin(), mac.end(), config.begin());
        set_link(true);
    }

    // What a test may set.
    bool refuses_commands = false;
    bool loopback = false;          ///< what is sent is received
    bool reversed = false;          ///< done with chains in the opposite order (2.7.9 allows any)
    bool mute_without_link = false; ///< no command is answered while the link is down
    unsigned ctrl_late = 2;         ///< reads of device_status, until a command is answered

    // What a test may look at.
    std::vector<Frame> wire;
    std::uint32_t rx_missed = 0;
    std::vector<std::array<std::uint8_t, 2>> commands;
    bool promisc = false, allmulti = false;
    Bytes mac_set;
    std::vector<Bytes> unicast, multicast;

    void set_link(bool up) {
        config[6] = up ? 1 : 0;
        change_config();
    }
    void set_config16(std::size_t at, std::uint16_t value) { std::memcpy(&config[at], &value, 2); }
    void set_config32(std::size_t at, std::uint32_t value) { std::memcpy(&config[at], &value, 4); }

    /// Works on up to `limit` packets to send.
    void run_transmit(std::uint32_t limit = 0xffffffff) {
        std::vector<Chain> done;
        for (; limit-- != 0;) {
            const auto chain = pop(1);
            if (!chain) {
                break;
            }
            done.push_back(*chain);
            send(*chain);
        }
        if (reversed) {
            std::reverse(done.begin(), done.end());
        }
        for (const Chain& chain : done) {
            push(1, chain, 0);
        }
    }

    /// A frame from the wire. False: nowhere to put it.
    bool receive(const Bytes& frame, std::uint8_t flags = 0, std::uint16_t csum_start = 0,
                 std::uint16_t csum_offset = 0) {
        const auto chain = pop(0);
        if (!chain) {
            rx_missed++;
            return false;
        }
        EXPECT_EQ(chain->bytes(false), 0u);
        const std::uint32_t room = chain->bytes(true);
        std::uint32_t least = 1526; // 5.1.6.3.1
        if (has(f_mtu)) {
            least =
                std::max<std::uint32_t>(least, 12 + 14 + load_le(std::span(config).subspan(10, 2)));
        }
        EXPECT_GE(room, least);
        Bytes all{flags, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0}; // num_buffers 1: 5.1.6.4.2
        std::memcpy(&all[6], &csum_start, 2);
        std::memcpy(&all[8], &csum_offset, 2);
        all.insert(all.end(), frame.begin(), frame.end());
        if (all.size() > room) {
            rx_missed++; // dropped: the chain is used for nothing
            push(0, *chain, 0);
            return false;
        }
        scatter(*chain, all);
        received_.push_back({*chain, static_cast<std::uint32_t>(all.size())});
        flush_received(reversed ? 2 : 1);
        return true;
    }
    /// Hands over those received, oldest last if `reversed`, once there are `least`.
    void flush_received(std::size_t least = 1) {
        if (received_.size() < least) {
            return;
        }
        if (reversed) {
            std::reverse(received_.begin(), received_.end());
        }
        for (const auto& [chain, bytes] : received_) {
            push(0, chain, bytes);
        }
        received_.clear();
    }

  private:
    void send(const Chain& chain) {
        EXPECT_EQ(chain.bytes(true), 0u);
        const Bytes all = gather(chain);
        ASSERT_GT(all.size(), 12u);
        Frame frame;
        std::memcpy(&frame.header, all.data(), 12);
        frame.bytes.assign(all.begin() + 12, all.end());
        check_header(frame);
        if (loopback) {
            receive(frame.bytes);
        }
        wire.push_back(std::move(frame));
    }

    /// 5.1.6.2.1
    void check_header(const Frame& frame) const {
        const Header& h = frame.header;
        EXPECT_EQ(h.flags & ~1, 0) << "only NEEDS_CSUM";
        EXPECT_EQ(h.num_buffers, 0);
        EXPECT_TRUE(h.flags == 0 || has(f_csum)) << "a checksum without VIRTIO_NET_F_CSUM";
        if (h.flags != 0) {
            EXPECT_LE(std::size_t{h.csum_start} + h.csum_offset + 2, frame.bytes.size());
        }
        switch (h.gso_type) {
        case 0:
            break;
        case 1:
            EXPECT_TRUE(has(f_host_tso4));
            break;
        case 4:
            EXPECT_TRUE(has(f_host_tso6));
            break;
        default:
            ADD_FAILURE() << "gso_type " << int{h.gso_type};
        }
        if (h.gso_type != 0) {
            EXPECT_EQ(h.flags, 1) << "segmentation needs NEEDS_CSUM";
            EXPECT_NE(h.gso_size, 0);
            EXPECT_GE(h.hdr_len, 54);
        }
    }

    /// 5.1.3.1
    void check_features() override {
        FakeVirtio::check_features();
        EXPECT_TRUE(has(f_csum) || !(has(f_host_tso4) || has(f_host_tso6)));
        EXPECT_TRUE(has(f_ctrl_vq) || !(has(f_ctrl_rx) || has(f_ctrl_mac_addr)));
        EXPECT_FALSE(has(f_mrg_rxbuf)) << "the header of a merged buffer is the packet's";
        EXPECT_FALSE(has(f_ctrl_vlan)) << "would drop every tag, as none is told of";
    }

    void forget() override {
        received_.clear();
        pending_.reset();
    }

    /// The control queue, late.
    void work() override {
        if (!live() || !has(f_ctrl_vq) || (mute_without_link && config[6] == 0)) {
            return;
        }
        if (!pending_ && waiting(2) != 0) {
            pending_ = ctrl_late + 1;
        }
        if (pending_ && --*pending_ == 0) {
            pending_.reset();
            while (const auto chain = pop(2)) {
                const std::uint8_t answer = obey(gather(*chain)) && !refuses_commands ? 0 : 1;
                EXPECT_EQ(chain->bytes(true), 1u) << "the answer is a byte (5.1.6.5)";
                scatter(*chain, {&answer, 1});
                push(2, *chain, 1);
            }
        }
    }

    bool obey(const Bytes& request) {
        commands.push_back({request.at(0), request.at(1)});
        if (refuses_commands) {
            return false;
        }
        const Bytes data(request.begin() + 2, request.end());
        if (request[0] == 0) { // VIRTIO_NET_CTRL_RX
            EXPECT_TRUE(has(f_ctrl_rx));
            EXPECT_EQ(data.size(), 1u);
            (request[1] == 0 ? promisc : allmulti) = data.at(0) != 0;
            return request[1] < 2;
        }
        if (request[0] == 1 && request[1] == 1) {
            EXPECT_TRUE(has(f_ctrl_mac_addr));
            EXPECT_EQ(data.size(), 6u);
            mac_set = data;
            return true;
        }
        if (request[0] == 1 && request[1] == 0) {
            EXPECT_TRUE(has(f_ctrl_rx));
            std::size_t at = 0;
            unicast = list(data, at);
            multicast = list(data, at);
            EXPECT_EQ(at, data.size());
            return true;
        }
        ADD_FAILURE() << "unknown command";
        return false;
    }
    static std::vector<Bytes> list(const Bytes& data, std::size_t& at) {
        std::vector<Bytes> addresses;
        for (std::uint32_t left = load_le(std::span(data).subspan(at, 4)); left != 0; left--) {
            const auto first = data.begin() + static_cast<std::ptrdiff_t>(at + 4);
            addresses.emplace_back(first, first + 6);
            at += 6;
        }
        at += 4;
        return addresses;
    }

    struct Received {
        Chain chain;
        std::uint32_t bytes;
    };
    std::vector<Received> received_;
    std::optional<unsigned> pending_;
};

/// The model, the driver on it, and a stand-in for the kernel.
struct VirtioNetRig {
    explicit VirtioNetRig(std::uint64_t offered = FakeVirtioNet::usual,
                          const virtio_net::Config& config = {}, bool msix = true,
                          std::vector<std::uint16_t> sizes = {256, 256, 64},
                          std::uint32_t config_bytes = 24)
        : chip(memory, offered, std::move(sizes), config_bytes),
          transport([this](unsigned) -> RegisterIo& { return chip; }, chip.layout(), msix),
          driver(transport, memory, config) {}

    FakeMemory memory{FakeMemory::high};
    FakeVirtioNet chip;
    virtio::Transport transport;
    virtio_net::VirtioNet driver;

    static udrv_net_desired up_state(std::uint32_t mtu = 1500) {
        udrv_net_desired desired{};
        desired.up = 1;
        desired.mtu = mtu;
        constexpr std::array<std::uint8_t, 6> mac{0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
        std::copy(mac.begin(), mac.end(), desired.mac);
        return desired;
    }
    void up(std::uint32_t mtu = 1500) {
        driver.init();
        driver.apply(up_state(mtu));
    }
    static Bytes frame(std::size_t bytes, std::uint32_t seed) {
        Bytes frame(bytes);
        std::uint32_t state = seed * 2654435761u + 1;
        for (auto& byte : frame) {
            state = state * 1664525u + 1013904223u;
            byte = static_cast<std::uint8_t>(state >> 24);
        }
        return frame;
    }
    void give(std::uint32_t count, std::uint32_t first_id = 0) {
        std::vector<udrv_net_fill> fill;
        for (std::uint32_t i = 0; i < count; i++) {
            const DmaBlock block = memory.allocate(2048);
            fill.push_back({block.dma_addr, 2048, first_id + i});
            buffers[first_id + i] = block;
        }
        EXPECT_EQ(driver.rx_provide(fill), count);
    }
    udrv_net_tx segment(const Bytes& bytes, std::uint32_t id, bool last = true) {
        const DmaBlock block = memory.allocate(bytes.size());
        std::memcpy(block.vaddr, bytes.data(), bytes.size());
        udrv_net_tx tx{};
        tx.dma_addr = block.dma_addr;
        tx.len_bytes = static_cast<std::uint32_t>(bytes.size());
        tx.id = id;
        tx.flags = last ? UDRV_NET_TX_EOP : 0;
        return tx;
    }
    std::size_t send(const std::vector<udrv_net_tx>& many) { return driver.tx_provide(many); }
    std::vector<udrv_net_rx> take_rx(std::size_t room = 64) {
        std::vector<udrv_net_rx> rx(room);
        rx.resize(driver.rx_return(rx));
        return rx;
    }
    std::vector<udrv_net_completion> take_completions() {
        std::vector<udrv_net_completion> done(64);
        done.resize(driver.tx_return(done));
        return done;
    }
    Bytes bytes_of(std::span<const udrv_net_rx> packet) {
        Bytes bytes;
        for (const udrv_net_rx& entry : packet) {
            const auto* first = reinterpret_cast<const std::uint8_t*>(buffers.at(entry.id).vaddr);
            bytes.insert(bytes.end(), first, first + entry.len_bytes);
        }
        return bytes;
    }
    std::uint64_t stat(std::string_view name) {
        const auto names = virtio_net::VirtioNet::stat_names();
        std::vector<std::uint64_t> values(names.size());
        driver.read_stats(values);
        const auto place = std::find(names.begin(), names.end(), name);
        EXPECT_NE(place, names.end()) << name;
        return values.at(static_cast<std::size_t>(place - names.begin()));
    }

    std::map<std::uint32_t, DmaBlock> buffers;
};

} // namespace udrv::test
