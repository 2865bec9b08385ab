// SPDX-License-Identifier: MIT
//
// The ceiling of the network benchmark: the user-level e1000 driver turns UDP datagrams
// round itself, in the buffer that they came in. No IP stack, no socket, no copy, no
// system call while it is busy: what is left is the chip (or its model) and the driver.
//
//   e1000_reflect BDF [--stats FILE]
#include <cassert>
#include <vector>

#include <CLI/CLI.hpp>

#include "bench/e1000_own.hpp"
#include "bench/frame.hpp"

namespace {

using namespace udrv::bench;

constexpr std::uint32_t nr_buffers = 255; // at most tx_depth, so that none ever waits

/// One look at both rings; true if anything moved.
bool pass(OwnE1000& nic, const Buffers& buffers) {
    std::array<udrv_net_rx, OwnE1000::batch> rx{};
    std::array<udrv_net_completion, OwnE1000::batch> done{};
    std::vector<udrv_net_fill> fill;
    std::vector<udrv_net_tx> tx;
    fill.reserve(2 * OwnE1000::batch);
    tx.reserve(OwnE1000::batch);

    const std::size_t sent = nic.chip.tx_return(done);
    for (std::size_t n = 0; n < sent; ++n) {
        fill.push_back(buffers.fill(done[n].id));
    }
    const std::size_t received = nic.chip.rx_return(rx);
    for (std::size_t n = 0; n < received; ++n) {
        const udrv_net_rx& entry = rx[n];
        const auto frame = buffers.bytes(entry.id).first(entry.len_bytes);
        const bool whole = (entry.flags & (UDRV_NET_RX_EOP | UDRV_NET_RX_DROP)) == UDRV_NET_RX_EOP;
        if (whole && reflect_udp(frame)) {
            tx.push_back(buffers.packet(entry.id, entry.len_bytes));
        } else {
            fill.push_back(buffers.fill(entry.id));
        }
    }
    [[maybe_unused]] const std::size_t taken = nic.chip.tx_provide(tx);
    assert(taken == tx.size());
    (void)nic.chip.rx_provide(fill);
    nic.packets += sent + received;
    return sent + received != 0;
}

} // namespace

int main(int argc, char** argv) try {
    CLI::App app{"e1000 driver that answers UDP datagrams itself"};
    std::string address;
    std::string stats;
    app.add_option("device", address, "PCI address")->required();
    app.add_option("--stats", stats, "counters at exit and on SIGUSR1");
    CLI11_PARSE(app, argc, argv);

    OwnE1000 nic(address, stats);
    const Buffers buffers(nic.device(), nr_buffers);
    std::vector<udrv_net_fill> fill;
    for (std::uint32_t id = 0; id < nr_buffers; ++id) {
        fill.push_back(buffers.fill(id));
    }
    (void)nic.chip.rx_provide(fill);
    nic.start();
    for (unsigned wait = 0; wait < 1000 && !nic.chip.link().up; ++wait) {
        ::usleep(10'000); // nobody asks by ARP before the load begins
    }
    nic.ready("e1000_reflect");
    for (unsigned passes = 0; !OwnE1000::stopping();) {
        if (!pass(nic, buffers)) {
            nic.wait(-1);
        } else if ((++passes & 1023U) == 0) {
            nic.look_at_signals();
        }
    }
    nic.chip.stop(); // before its buffers go
    return 0;
} catch (const std::exception& error) {
    fmt::print(stderr, "e1000_reflect: {}\n", error.what());
    return 1;
}
