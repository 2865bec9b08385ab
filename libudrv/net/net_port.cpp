// SPDX-License-Identifier: MIT
#include "libudrv/net/net_port.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "libudrv/error.hpp"
#include "libudrv/rings/shared_map.hpp"

namespace udrv {

NetPort::NetPort(Device& device, const NetCapabilities& capabilities,
                 const NetPortOptions& options) {
    const std::string& name = options.name;
    udrv_net_attach layout{};
    if (name.size() >= sizeof(layout.name)) {
        throw_error(EINVAL, fmt::format("name the interface '{}'", name),
                    fmt::format("it is longer than {} characters", sizeof(layout.name) - 1),
                    "choose a shorter --name");
    }
    // What the kernel does not take in a name; it would say no more than EINVAL.
    if (name == "." || name == ".." || name.find_first_of("/:% \t\n\v\f\r") != std::string::npos) {
        throw_error(EINVAL, fmt::format("name the interface '{}'", name),
                    "no interface can have that name",
                    "choose a --name without blanks, '/', ':' and '%'");
    }
    std::copy(name.begin(), name.end(), layout.name);
    std::copy(capabilities.mac.begin(), capabilities.mac.end(), layout.mac);
    layout.vector = options.vector;
    layout.nr_queues = 1;
    layout.queues[0].vector = options.vector;
    if (!options.queue_vectors.empty()) {
        layout.nr_queues = static_cast<std::uint32_t>(
            std::min<std::size_t>(options.queue_vectors.size(), UDRV_NET_MAX_QUEUES));
        for (std::uint32_t n = 0; n < layout.nr_queues; ++n) {
            layout.queues[n].vector = options.queue_vectors[n];
        }
    }
    layout.tx_depth = capabilities.tx_depth;
    layout.rx_depth = capabilities.rx_depth;
    layout.rx_buf_bytes = capabilities.rx_buf_bytes;
    layout.tx_max_segments = capabilities.tx_max_segments;
    layout.max_mtu = capabilities.max_mtu;
    layout.features = capabilities.features;
    layout.flags = capabilities.tso_as_is ? UDRV_NET_ATTACH_TSO_AS_IS : 0;
    layout.max_csum_field = capabilities.max_csum_field;
    layout.max_tso_hdr_bytes = capabilities.max_tso_hdr_bytes;
    layout.max_tso_bytes = capabilities.max_tso_bytes;
    layout.max_rx_usecs = capabilities.max_rx_usecs;
    layout.max_unicast = std::min<std::uint32_t>(capabilities.max_unicast, UDRV_NET_MAX_UNICAST);
    // Cut to what there is room for, with the zero at the end.
    options.driver.copy(layout.driver, sizeof(layout.driver) - 1);
    const auto nr_stats = std::min<std::size_t>(options.stat_names.size(), UDRV_NET_MAX_STATS);
    for (std::size_t n = 0; n < nr_stats; ++n) {
        options.stat_names[n].copy(layout.stat_names[n], UDRV_NET_STAT_LEN - 1);
    }
    layout.nr_stats = static_cast<std::uint32_t>(nr_stats);
    device.attach(UDRV_PORT_NET, &layout, sizeof(layout));
    map_ = device.map_port(layout.map_bytes);
    lay_out(map_.data(), map_.len_bytes(), layout);
}

NetPort::NetPort(std::byte* memory, std::size_t len_bytes, const udrv_net_attach& layout) {
    lay_out(memory, len_bytes, layout);
}

void NetPort::lay_out(std::byte* memory, std::size_t len_bytes, const udrv_net_attach& layout) {
    name_.assign(layout.name, ::strnlen(layout.name, sizeof(layout.name)));
    ifindex_ = layout.ifindex;
    const SharedMap map(memory, len_bytes);
    desired = StatePageReader<udrv_net_desired>(map.at<udrv_net_desired>(layout.desired));
    published = StatePageWriter<udrv_net_published>(map.at<udrv_net_published>(layout.published));

    for (const udrv_net_queue_layout& offsets :
         std::span(layout.queues)
             .first(std::min<std::size_t>(layout.nr_queues, UDRV_NET_MAX_QUEUES))) {
        NetQueue& queue = queues.emplace_back();
        queue.tx = map.consumer<udrv_net_tx>(offsets.tx, layout.tx_depth);
        queue.completion = map.producer<udrv_net_completion>(offsets.completion, layout.tx_depth);
        queue.fill = map.consumer<udrv_net_fill>(offsets.fill, layout.rx_depth);
        queue.rx = map.producer<udrv_net_rx>(offsets.rx, layout.rx_depth);
        auto* wakeup = map.at<udrv_need_wakeup>(offsets.need_wakeup);
        queue.sleep = SleepFlag(&wakeup->driver);
        queue.kernel = WakeFlag(&wakeup->kernel);
    }
}

} // namespace udrv
