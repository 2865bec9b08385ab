// SPDX-License-Identifier: MIT
//
// Reset, initialization (virtio 1.2, 3.1.1 and 5.1.5), configuration and stop. The rings are
// in virtio_net_rings.cpp.
#include "drivers/virtio_net/virtio_net.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <random>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "libudrv/error.hpp"

namespace udrv::virtio_net {

namespace {

using namespace std::chrono_literals;

constexpr auto answer_look = 1ms; // at answers that were late, once a second

constexpr std::uint64_t wanted_features =
    virtio::feature::version_1 | virtio::feature::event_idx | virtio::feature::access_platform |
    virtio::feature::order_platform | feature::csum | feature::guest_csum | feature::mtu |
    feature::mac | feature::host_tso4 | feature::host_tso6 | feature::status | feature::ctrl_vq |
    feature::ctrl_rx | feature::ctrl_mac_addr | feature::speed_duplex;

constexpr std::array<std::string_view, 9> names{
    "rx_csum_partial", "rx_csum_valid", "rx_dropped", "tx_dropped",   "rx_notified",
    "tx_notified",     "ctrl_refused",  "ctrl_late",  "device_resets"};

// Memory of the control queue: class, command and data, and the answer at the end.
constexpr std::size_t ctrl_bytes = 2048;
constexpr std::size_t ctrl_ack = ctrl_bytes - 1;

bool same_addresses(const udrv_net_desired& a, const udrv_net_desired& b) {
    return a.nr_unicast == b.nr_unicast && a.nr_multicast == b.nr_multicast &&
           std::memcmp(a.mac, b.mac, sizeof(a.mac)) == 0 &&
           std::memcmp(a.unicast, b.unicast, sizeof(a.unicast)) == 0 &&
           std::memcmp(a.multicast, b.multicast, sizeof(a.multicast)) == 0;
}

} // namespace

VirtioNet::VirtioNet(virtio::Transport& transport, DmaAllocator& dma, const Config& config)
    : transport_(transport), dma_(dma), config_(config) {
}

// ---- Reset and init ----------------------------------------------------------------

void VirtioNet::init() {
    transport_.reset();
    transport_.greet();
    features_ = choose_features(transport_.offered());
    transport_.accept(features_);
    capabilities_.mac = read_mac();
    capabilities_.max_mtu =
        has(feature::mtu) ? config::mtu.read(transport_.config()) : std::uint32_t{max_mtu};
    capabilities_.features = (has(feature::csum) ? UDRV_NET_F_TX_CSUM : 0u) |
                             (has(feature::host_tso4) ? UDRV_NET_F_TSO4 : 0u) |
                             (has(feature::host_tso6) ? UDRV_NET_F_TSO6 : 0u) |
                             (has(feature::guest_csum) ? UDRV_NET_F_RX_CSUM : 0u);
    capabilities_.tso_as_is = true; // 5.1.6.2.1: the sum of the pseudo header as the stack has it
    capabilities_.rx_buf_bytes = rx_buffer_bytes;
    if (has(feature::ctrl_rx)) {
        capabilities_.max_unicast = UDRV_NET_MAX_UNICAST;
    }
    allocate();
    transport_.reset();
}

/// Of what the device offers, what the driver knows and what can be used together
/// (5.1.3.1).
std::uint64_t VirtioNet::choose_features(std::uint64_t offered) {
    std::uint64_t features = virtio::choose_features(offered, wanted_features, config_.iommu);
    if (!config_.rx_checksum) {
        features &= ~feature::guest_csum;
    }
    if ((features & feature::csum) == 0) {
        features &= ~(feature::host_tso4 | feature::host_tso6);
    }
    if ((features & feature::ctrl_vq) == 0) {
        features &= ~(feature::ctrl_rx | feature::ctrl_mac_addr);
    }
    // Only fields whose features are offered are there for sure (2.5.1).
    const std::uint32_t needed = config::needed_bytes(features);
    if (transport_.config().len_bytes() < needed) {
        throw_error(
            EIO, "virtio_net: read the device's configuration",
            fmt::format("it has {} bytes, not {}", transport_.config().len_bytes(), needed));
    }
    // A device may be read before all is agreed on (3.1.1, step 4). Larger packets than we
    // have buffers for: then it is not to count on it.
    if ((features & feature::mtu) != 0) {
        const std::uint32_t mtu = config::mtu.read(transport_.config());
        if (mtu < 68 || mtu > max_mtu) {
            features &= ~feature::mtu;
        }
    }
    return features;
}

MacAddress VirtioNet::read_mac() {
    MacAddress mac{};
    if (has(feature::mac)) {
        mac = transport_.read_config([](RegisterIo& config) {
            MacAddress read{};
            for (std::uint32_t i = 0; i < read.size(); i++) {
                read[i] = config::mac.at(i, 1).read(config);
            }
            return read;
        });
    }
    const bool zero = std::all_of(mac.begin(), mac.end(), [](auto byte) { return byte == 0; });
    if ((mac[0] & 1) != 0 || zero) {
        // 5.1.5: a random one of our own. A successor's does not count: the interface keeps the
        // one that it got first.
        std::random_device random;
        std::generate(mac.begin(), mac.end(),
                      [&random] { return static_cast<std::uint8_t>(random()); });
        mac[0] = static_cast<std::uint8_t>((mac[0] & 0xfcu) | 2u); // local, not a group
    }
    return mac;
}

/// A receive chain has two descriptors or more, a packet to send the same.
void VirtioNet::allocate() {
    const auto queue_size = [this](std::uint16_t n, std::uint16_t wanted, std::uint16_t least) {
        return transport_.queue_size(n, wanted, least, "rx_queue_size, tx_queue_size");
    };
    rx_.emplace(dma_, queue_size(queue::receiveq1, config_.rx_size, 2 * UDRV_NET_MIN_DEPTH));
    tx_.emplace(dma_, queue_size(queue::transmitq1, config_.tx_size, UDRV_NET_MIN_DEPTH));
    capabilities_.rx_depth = rx_->size() / 2u;
    capabilities_.tx_depth = tx_->size();
    capabilities_.tx_max_segments = std::min<std::uint32_t>(tx_->size() - 1u, max_tx_segments);
    rx_mask_ = capabilities_.rx_depth - 1;
    tx_mask_ = capabilities_.tx_depth - 1;
    rx_buffers_.resize(capabilities_.rx_depth);
    rx_chains_.resize(capabilities_.rx_depth);
    tx_packets_.resize(capabilities_.tx_depth);
    const DmaBlock rx = dma_.allocate(capabilities_.rx_depth * sizeof(Header));
    const DmaBlock tx = dma_.allocate(capabilities_.tx_depth * sizeof(Header));
    rx_headers_ = reinterpret_cast<Header*>(rx.vaddr);
    rx_headers_dma_addr_ = rx.dma_addr;
    tx_headers_ = reinterpret_cast<Header*>(tx.vaddr);
    tx_headers_dma_addr_ = tx.dma_addr;
    if (has(feature::ctrl_vq)) {
        ctrl_.emplace(dma_, queue_size(queue::controlq, 16, 2));
        ctrl_memory_ = dma_.allocate(ctrl_bytes);
    }
}

// ---- Start and stop ------------------------------------------------------------------

/// 5.1.6.3.1: room for what may come; a device that said its MTU may send as much, whatever
/// the interface's is.
std::uint32_t VirtioNet::buffers_for(std::uint32_t mtu) const {
    const std::uint32_t most = has(feature::mtu) ? capabilities_.max_mtu : mtu;
    return (std::max(mtu, most) + ethernet_bytes + rx_buffer_bytes - 1) / rx_buffer_bytes;
}

/// 3.1.1, from the reset on. Buffers of before are posted again, in their order.
void VirtioNet::start(const udrv_net_desired& desired) {
    if (transport_.status() != 0) {
        transport_.reset(); // it asked for that while it was quiet
    }
    transport_.greet();
    transport_.accept(features_);
    const bool event_idx = has(virtio::feature::event_idx);
    rx_->start(event_idx);
    tx_->start(event_idx);
    transport_.enable(queue::receiveq1, *rx_, true);
    transport_.enable(queue::transmitq1, *tx_, true);
    if (ctrl_) {
        ctrl_->start(event_idx);
        transport_.enable(queue::controlq, *ctrl_, false);
    }
    chain_buffers_ = buffers_for(desired.mtu);
    transport_.run(); // no notification before that
    running_ = true;
    post_receive();
    asked_ = again_ = false; // the device has forgotten
    set_filter(desired, true);
}

void VirtioNet::stop() {
    if (!running_) {
        return;
    }
    running_ = false;
    transport_.reset();
    cut();
}

/// The device asked for it (2.1.2), or wrote nonsense.
void VirtioNet::restart() {
    stats_[device_resets]++;
    const udrv_net_desired state = state_;
    stop();
    start(state);
}

// ---- What the administrator wants -----------------------------------------------------

void VirtioNet::apply(const udrv_net_desired& desired) {
    if (desired.up == 0) {
        stop();
    } else if (!running_) {
        start(desired);
    } else if (buffers_for(desired.mtu) != chain_buffers_) {
        stop(); // the chains are of another length
        start(desired);
    } else {
        set_filter(desired, false);
    }
}

/// 5.1.6.5.1. Where the device cannot do what is wanted, it lets all through. `all`: it was
/// reset, else only what has changed is said. What is not answered soon, link() goes on with.
void VirtioNet::set_filter(const udrv_net_desired& desired, bool all) {
    const bool addresses = all || !same_addresses(desired, state_);
    const bool modes = desired.rx_mode != state_.rx_mode;
    state_ = desired;
    if (!ctrl_ || (!addresses && !modes)) {
        return; // without a control queue it lets all through
    }
    if (asked_) {
        again_ = true;
    } else if (addresses || filter_ != Filter::done) {
        filter_ = Filter::own_address;
    } else {
        filter_ = Filter::promisc;
    }
    go_on_with_filter(Clock::now() + config_.answer_wait);
    stats_[ctrl_late] += filter_ != Filter::done ? 1 : 0;
}

/// 5.1.6.5 sets no limit of time for an answer, and some devices answer only while they have a
/// link. Nobody waits for that longer than `until`.
void VirtioNet::go_on_with_filter(Clock::time_point until) {
    while (filter_ != Filter::done) {
        if (!asked_ && ask()) {
            asked_ = true;
            answer_limit_ = Clock::now() + config_.answer_limit;
        }
        if (asked_) {
            if (!answered(until)) {
                return;
            }
            asked_ = false;
            const auto* memory = reinterpret_cast<const std::uint8_t*>(ctrl_memory_.vaddr);
            evaluate(memory[ctrl_ack] == ctrl::ok);
        }
        const auto next = static_cast<Filter>(static_cast<std::uint8_t>(filter_) + 1);
        filter_ = std::exchange(again_, false) ? Filter::own_address : next;
    }
}

/// A device that needs a reset does not answer any more: link() sees to that.
bool VirtioNet::answered(Clock::time_point until) {
    for (;;) {
        const bool late = Clock::now() >= until;
        const std::uint8_t status = transport_.status();
        if (ctrl_->take()) {
            return true;
        }
        if (late || ctrl_->broken() || (status & virtio::device_status::device_needs_reset) != 0) {
            return false;
        }
        std::this_thread::sleep_for(10us);
    }
}

/// Of the command filter_.
void VirtioNet::evaluate(bool done) {
    stats_[ctrl_refused] += done ? 0 : 1;
    if (filter_ == Filter::own_address) {
        own_ = done;
    } else if (filter_ == Filter::table) {
        filtered_ = done;
    }
}

/// The command filter_. False: the device does not know it.
bool VirtioNet::ask() {
    const auto mode = [this](std::uint32_t bit) {
        return std::array{std::uint8_t{(state_.rx_mode & bit) != 0}};
    };
    switch (filter_) {
    case Filter::own_address:
        own_ = false;
        filtered_ = false;
        if (!has(feature::ctrl_mac_addr)) {
            return false;
        }
        command(ctrl::mac_addr_set, state_.mac);
        return true;
    case Filter::table:
        return has(feature::ctrl_rx) && ask_table();
    case Filter::promisc:
        if (!has(feature::ctrl_rx)) {
            return false;
        }
        command(ctrl::rx_promisc, filtered_ ? mode(UDRV_NET_PROMISC) : std::array{std::uint8_t{1}});
        return true;
    case Filter::allmulti:
        if (!has(feature::ctrl_rx)) {
            return false;
        }
        command(ctrl::rx_allmulti, mode(UDRV_NET_ALLMULTI));
        return true;
    case Filter::done:
        break;
    }
    return false;
}

/// 5.1.6.5.2: two lists with their lengths.
bool VirtioNet::ask_table() {
    std::array<std::uint8_t, 2 * 4 + 6 * (1 + UDRV_NET_MAX_UNICAST + UDRV_NET_MAX_MULTICAST)>
        data{};
    std::size_t end = 0;
    const auto put = [&](const void* bytes, std::size_t count) {
        std::memcpy(&data.at(end), bytes, count);
        end += count;
    };
    const std::uint32_t unicast = std::min<std::uint32_t>(state_.nr_unicast, UDRV_NET_MAX_UNICAST);
    const std::uint32_t listed = unicast + (own_ ? 0 : 1);
    put(&listed, sizeof(listed));
    if (!own_) { // the one that it has stays in force as well
        put(state_.mac, sizeof(state_.mac));
    }
    put(state_.unicast, std::size_t{6} * unicast);
    const std::uint32_t multicast =
        std::min<std::uint32_t>(state_.nr_multicast, UDRV_NET_MAX_MULTICAST);
    put(&multicast, sizeof(multicast));
    if (multicast != 0) {
        put(state_.multicast, std::size_t{6} * multicast);
    }
    command(ctrl::mac_table_set, std::span(data).first(end));
    return true;
}

/// 5.1.6.5: one command. From here on ctrl_memory_ is the device's.
void VirtioNet::command(const Command& what, std::span<const std::uint8_t> data) {
    auto* memory = reinterpret_cast<std::uint8_t*>(ctrl_memory_.vaddr);
    memory[0] = what.class_;
    memory[1] = what.command;
    std::copy(data.begin(), data.end(), memory + 2);
    memory[ctrl_ack] = 0xff;
    const virtio::Segment request{ctrl_memory_.dma_addr,
                                  static_cast<std::uint32_t>(2 + data.size())};
    const virtio::Segment answer{ctrl_memory_.dma_addr + ctrl_ack, 1};
    ctrl_->post({&request, 1}, {&answer, 1}, 0);
    if (ctrl_->publish()) {
        transport_.notify(queue::controlq);
    }
}

// ---- Interrupt, link and statistics ----------------------------------------------------

/// With one vector for all, the message does not say what it is for. The ISR status is not
/// to be read for a queue's (4.1.4.5.2), so only where no queue has anything.
NetCause VirtioNet::interrupt() {
    rx_->disarm();
    tx_->disarm();
    if (rx_->broken() || tx_->broken()) {
        return {.data = false, .link = true}; // link() sees to that
    }
    if (transport_.msix() && (rx_->pending() || tx_->pending())) {
        return {.data = true, .link = false};
    }
    const std::uint8_t causes = transport_.causes();
    return {.data = (causes & virtio::isr::queue) != 0,
            .link = (causes & virtio::isr::config) != 0};
}

/// Called once a second and after an interrupt of the configuration: the time to look
/// whether the device is still well. Between a reset and a start there is no configuration
/// to look at.
NetLink VirtioNet::link() {
    const std::uint8_t status = transport_.status();
    if (!running_ || status == virtio::device_status::gone) {
        return {};
    }
    if ((status & virtio::device_status::device_needs_reset) != 0 || rx_->broken() ||
        tx_->broken() || (ctrl_ && ctrl_->broken())) {
        restart();
    }
    RegisterIo& config = transport_.config();
    const bool up = !has(feature::status) || (config::status.read(config) & config::s_link_up) != 0;
    const auto now = Clock::now();
    if (!up) {
        answer_limit_ = now + config_.answer_limit; // it may be that it answers only with a link
    }
    go_on_with_filter(now + answer_look);
    if (!up) {
        return {};
    }
    if (asked_ && now >= answer_limit_) {
        restart();
    }
    NetLink link{.up = true, .full_duplex = true, .speed_mbps = unknown_speed};
    if (has(feature::speed_duplex)) {
        const std::uint32_t speed = config::speed.read(config);
        link.speed_mbps = speed <= config::speed_max ? speed : unknown_speed;
        link.full_duplex = config::duplex.read(config) != config::duplex_half;
    }
    return link;
}

std::span<const std::string_view> VirtioNet::stat_names() {
    static_assert(names.size() == nr_stats);
    return names;
}

void VirtioNet::read_stats(std::span<std::uint64_t> stats) {
    std::copy_n(stats_.begin(), std::min(stats.size(), stats_.size()), stats.begin());
}

void VirtioNet::read_registers(std::span<udrv_net_register> registers) {
    RegisterIo& io = transport_.common();
    const std::array shown{
        udrv_net_register{virtio::common::num_queues.offset, virtio::common::num_queues.read(io)},
        udrv_net_register{virtio::common::device_status.offset,
                          virtio::common::device_status.read(io)},
        udrv_net_register{virtio::common::config_generation.offset,
                          virtio::common::config_generation.read(io)}};
    std::copy_n(shown.begin(), std::min(registers.size(), shown.size()), registers.begin());
}

} // namespace udrv::virtio_net
