// SPDX-License-Identifier: MIT
//
// The e1000 driver over TAP: what one can write without udrv_net.ko, and what the
// authors of the paper tried first. The chip and its driver are those of `udrv run
// e1000`, but the buffers are the process's own, and every packet crosses between
// them and the kernel by a system call and a copy.
//
//   e1000_tap BDF NAME [--stats FILE]
//
// makes the interface NAME, with the chip's address.
#include <cstring>
#include <vector>

#include <CLI/CLI.hpp>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>

#include "bench/e1000_own.hpp"
#include "libudrv/file.hpp"

namespace {

using namespace udrv::bench;

constexpr std::uint32_t nr_rx = 255;
constexpr std::uint32_t nr_tx = 255; // at most tx_depth, so that the chip takes all

udrv::FileDescriptor open_tap(const std::string& name, const udrv::MacAddress& mac) {
    udrv::FileDescriptor tap(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
    ifreq request{};
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    name.copy(request.ifr_name, IFNAMSIZ - 1);
    if (!tap || ::ioctl(tap.value(), TUNSETIFF, &request) < 0) {
        udrv::throw_errno(errno, "make the TAP interface " + name, "is the module tun loaded?");
    }
    request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
    std::memcpy(request.ifr_hwaddr.sa_data, mac.data(), mac.size());
    if (::ioctl(tap.value(), SIOCSIFHWADDR, &request) < 0) {
        udrv::throw_errno(errno, "give " + name + " its address");
    }
    return tap;
}

class Bridge {
  public:
    Bridge(OwnE1000& nic, const std::string& name)
        : nic_(nic), tap_(open_tap(name, nic.chip.capabilities().mac)),
          buffers_(nic.device(), nr_rx + nr_tx) {
        for (std::uint32_t id = 0; id < nr_rx; ++id) {
            fill_.push_back(buffers_.fill(id));
        }
        (void)nic_.chip.rx_provide(fill_);
        for (std::uint32_t id = nr_rx; id < nr_rx + nr_tx; ++id) {
            free_.push_back(id);
        }
        fill_.reserve(OwnE1000::batch);
        tx_.reserve(OwnE1000::batch);
    }

    /// To wait for: nothing may come down while there is no buffer for it.
    [[nodiscard]] int wanted() const { return free_.empty() ? -1 : fd(); }

    bool pass() {
        const std::size_t up = receive();
        const std::size_t down = send();
        nic_.packets += up + down;
        return up + down != 0;
    }

  private:
    [[nodiscard]] int fd() const { return tap_.value(); }

    std::size_t receive() {
        std::array<udrv_net_rx, OwnE1000::batch> rx{};
        const std::size_t received = nic_.chip.rx_return(rx);
        fill_.clear();
        for (const udrv_net_rx& entry : std::span(rx).first(received)) {
            if ((entry.flags & (UDRV_NET_RX_EOP | UDRV_NET_RX_DROP)) == UDRV_NET_RX_EOP) {
                ++nic_.system_calls;
                // What a full queue refuses is lost, as on the wire.
                (void)!::write(fd(), buffers_.bytes(entry.id).data(), entry.len_bytes);
            }
            fill_.push_back(buffers_.fill(entry.id));
        }
        if (!fill_.empty()) {
            (void)nic_.chip.rx_provide(fill_);
        }
        return received;
    }

    std::size_t send() {
        std::array<udrv_net_completion, OwnE1000::batch> done{};
        const std::size_t sent = nic_.chip.tx_return(done);
        for (const udrv_net_completion& entry : std::span(done).first(sent)) {
            free_.push_back(entry.id);
        }
        tx_.clear();
        while (!free_.empty() && tx_.size() < OwnE1000::batch) {
            const std::uint32_t id = free_.back();
            ++nic_.system_calls;
            const ssize_t len_bytes = ::read(fd(), buffers_.bytes(id).data(), Buffers::size);
            if (len_bytes <= 0) {
                break;
            }
            free_.pop_back();
            tx_.push_back(buffers_.packet(id, static_cast<std::uint32_t>(len_bytes)));
        }
        if (!tx_.empty()) {
            (void)nic_.chip.tx_provide(tx_);
        }
        return sent + tx_.size();
    }

    OwnE1000& nic_;
    udrv::FileDescriptor tap_;
    Buffers buffers_;
    std::vector<std::uint32_t> free_; ///< transmit buffers
    std::vector<udrv_net_fill> fill_;
    std::vector<udrv_net_tx> tx_;
};

} // namespace

int main(int argc, char** argv) try {
    CLI::App app{"e1000 driver over TAP"};
    std::string address;
    std::string name;
    std::string stats;
    app.add_option("device", address, "PCI address")->required();
    app.add_option("name", name, "of the interface")->required();
    app.add_option("--stats", stats, "counters at exit and on SIGUSR1");
    CLI11_PARSE(app, argc, argv);

    OwnE1000 nic(address, stats);
    Bridge bridge(nic, name);
    nic.start();
    nic.ready("e1000_tap");
    for (unsigned passes = 0; !OwnE1000::stopping();) {
        if (!bridge.pass()) {
            nic.wait(bridge.wanted());
        } else if ((++passes & 1023U) == 0) {
            nic.look_at_signals();
        }
    }
    nic.chip.stop(); // before its buffers go
    return 0;
} catch (const std::exception& error) {
    fmt::print(stderr, "e1000_tap: {}\n", error.what());
    return 1;
}
