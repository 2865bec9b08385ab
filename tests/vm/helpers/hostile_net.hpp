// SPDX-License-Identifier: MIT
//
// A network driver without a chip: it answers the kernel's rings by itself, and can
// do so wrongly. Packets that the kernel sends vanish; those that it receives are
// whatever the buffer holds.
#pragma once

#include <sys/ioctl.h>

#include "hostile.hpp"
#include <udrv/net.h>

namespace hostile {

/// As the real driver of the chip has it, so that this one can take over from us.
inline udrv_net_attach net_shape() {
    udrv_net_attach shape{};
    shape.mac[0] = 0x52;
    shape.mac[1] = 0x54;
    shape.mac[5] = 0x66;
    shape.nr_queues = 1;
    shape.tx_depth = 256;
    shape.rx_depth = 256;
    shape.rx_buf_bytes = 2048;
    shape.tx_max_segments = 17;
    shape.max_mtu = 16110;
    shape.max_rx_usecs = 1000;
    shape.max_unicast = 15;
    shape.nr_stats = UDRV_NET_MAX_STATS;
    for (auto& name : shape.stat_names) {
        fmt::format_to_n(name, sizeof(name) - 1, "counter_{}", &name - shape.stat_names);
    }
    shape.features = UDRV_NET_F_TX_CSUM | UDRV_NET_F_TSO4 | UDRV_NET_F_RX_CSUM |
                     UDRV_NET_F_VLAN_TX | UDRV_NET_F_VLAN_RX;
    return shape;
}

class NetSession {
  public:
    explicit NetSession(const udrv::PciAddress& address, udrv_net_attach shape = net_shape())
        : device(address), irq(device.open_irq(0)), layout(shape) {
        device.attach(UDRV_PORT_NET, &layout, sizeof(layout));
        map = device.map_port(layout.map_bytes);
        const udrv_net_queue_layout& q = layout.queues[0];
        tx.at(map.data(), q.tx, layout.tx_depth);
        completion.at(map.data(), q.completion, layout.tx_depth);
        fill.at(map.data(), q.fill, layout.rx_depth);
        rx.at(map.data(), q.rx, layout.rx_depth);
        desired = at<udrv_net_desired>(layout.desired);
        published = at<udrv_net_published>(layout.published);
        wakeup = at<udrv_need_wakeup>(q.need_wakeup);
        link(true);
    }

    void link(bool up) {
        std::atomic_ref generation(published->generation);
        generation.store(generation.load() | 1);
        published->link = up ? UDRV_NET_LINK_UP | UDRV_NET_FULL_DUPLEX : 0;
        published->speed_mbps = 1000;
        generation.store(generation.load() + 1, std::memory_order_release);
    }
    /// Enters the kernel, which looks at the rings. False: the session is over.
    [[nodiscard]] bool publish() const { return irq.publish(); }

    /// The next packet to be sent, all its segments. False: none.
    bool take(std::uint32_t& id) {
        if (!tx.waiting()) {
            return false;
        }
        id = tx.get(tx.index).id;
        for (std::uint32_t i = 0; i < tx.depth && tx.waiting(); i++) {
            const udrv_net_tx entry = tx.get(tx.index);
            ++tx.index;
            if ((entry.flags & UDRV_NET_TX_EOP) != 0) {
                break;
            }
        }
        return true;
    }
    bool take_within(int timeout_ms, std::uint32_t& id) {
        return wait_until(timeout_ms, [&] { return take(id) || !publish(); });
    }
    void complete(std::uint32_t id, std::uint32_t flags = 0) { completion.push({id, flags}); }

    /// The next empty buffer comes back with `bytes` in it.
    bool receive(std::uint32_t bytes, std::uint16_t flags = UDRV_NET_RX_EOP) {
        if (!fill.waiting()) {
            return false;
        }
        rx.push({fill.get(fill.index).id, bytes, flags, 0, 0, 0, 0, 0});
        ++fill.index;
        return true;
    }
    void complete_all() {
        for (std::uint32_t id = 0; take(id);) {
            complete(id);
        }
    }

    udrv::Device device;
    udrv::IrqFile irq;
    udrv_net_attach layout;
    udrv::MemoryMap map;
    Ring<udrv_net_tx> tx;
    Ring<udrv_net_completion> completion;
    Ring<udrv_net_fill> fill;
    Ring<udrv_net_rx> rx;
    udrv_net_desired* desired = nullptr;
    udrv_net_published* published = nullptr;
    udrv_need_wakeup* wakeup = nullptr;

  private:
    template <typename T>
    T* at(std::uint32_t offset) {
        void* place = map.data() + offset;
        return static_cast<T*>(place);
    }
};

} // namespace hostile
