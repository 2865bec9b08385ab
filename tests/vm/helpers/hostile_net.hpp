// SPDX-License-Identifier: MIT
//
// A network driver without a chip: it answers the kernel's rings by itself, and can
// do so wrongly. Packets that the kernel sends vanish; those that it receives are
// whatever the buffer holds.
#pragma once

#include <deque>

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

/// A buffer that comes back with `bytes` in it.
inline udrv_net_rx received(std::uint32_t id, std::uint32_t bytes,
                            std::uint16_t flags = UDRV_NET_RX_EOP) {
    udrv_net_rx entry{};
    entry.id = id;
    entry.len_bytes = bytes;
    entry.flags = flags;
    return entry;
}

/// The kernel's rings of one queue.
struct HostileQueue {
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
    void complete(std::uint32_t id, std::uint32_t flags = 0) { completion.push({id, flags}); }
    void complete_all() {
        for (std::uint32_t id = 0; take(id);) {
            complete(id);
        }
    }

    Ring<udrv_net_tx> tx;
    Ring<udrv_net_completion> completion;
    Ring<udrv_net_fill> fill;
    Ring<udrv_net_rx> rx;
    udrv_need_wakeup* wakeup = nullptr;
};

/// A session that is honest on all queues but one, which is in the test's hands: `target`.
class NetSession {
  public:
    explicit NetSession(const udrv::PciAddress& address, udrv_net_attach shape = net_shape(),
                        std::uint32_t target = 0)
        : device(address), irq(device.open_irq(0)), layout(shape),
          queues(std::min<std::size_t>(shape.nr_queues, UDRV_NET_MAX_QUEUES) + 1),
          tx(queues[target].tx), completion(queues[target].completion), fill(queues[target].fill),
          rx(queues[target].rx), target_(target) {
        device.attach(UDRV_PORT_NET, &layout, sizeof(layout));
        map = device.map_port(layout.map_bytes);
        for (std::uint32_t n = 0; n < layout.nr_queues; n++) {
            const udrv_net_queue_layout& q = layout.queues[n];
            queues[n].tx.at(map.data(), q.tx, layout.tx_depth);
            queues[n].completion.at(map.data(), q.completion, layout.tx_depth);
            queues[n].fill.at(map.data(), q.fill, layout.rx_depth);
            queues[n].rx.at(map.data(), q.rx, layout.rx_depth);
            queues[n].wakeup = at<udrv_need_wakeup>(q.need_wakeup);
        }
        desired = at<udrv_net_desired>(layout.desired);
        published = at<udrv_net_published>(layout.published);
        wakeup = queues[target].wakeup;
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
    [[nodiscard]] bool publish() {
        for (std::uint32_t n = 0; n < layout.nr_queues; n++) {
            if (n != target_) {
                queues[n].complete_all();
            }
        }
        return irq.publish();
    }

    /// Of the target, as in HostileQueue.
    bool take(std::uint32_t& id) { return queues[target_].take(id); }
    bool take_within(int timeout_ms, std::uint32_t& id) {
        return wait_until(timeout_ms, [&] { return take(id) || !publish(); });
    }
    void complete(std::uint32_t id, std::uint32_t flags = 0) {
        queues[target_].complete(id, flags);
    }

    /// The next empty buffer comes back with `bytes` in it.
    bool receive(std::uint32_t bytes, std::uint16_t flags = UDRV_NET_RX_EOP) {
        if (!fill.waiting()) {
            return false;
        }
        rx.push(received(fill.get(fill.index).id, bytes, flags));
        ++fill.index;
        return true;
    }
    void complete_all() { queues[target_].complete_all(); }

    udrv::Device device;
    udrv::IrqFile irq;
    udrv_net_attach layout;
    udrv::MemoryMap map;
    std::deque<HostileQueue> queues;
    Ring<udrv_net_tx>& tx;
    Ring<udrv_net_completion>& completion;
    Ring<udrv_net_fill>& fill;
    Ring<udrv_net_rx>& rx;
    udrv_net_desired* desired = nullptr;
    udrv_net_published* published = nullptr;
    udrv_need_wakeup* wakeup = nullptr;

  private:
    template <typename T>
    T* at(std::uint32_t offset) {
        void* place = map.data() + offset;
        return static_cast<T*>(place);
    }

    std::uint32_t target_;
};

} // namespace hostile
