// SPDX-License-Identifier: MIT
//
// NetPort: the driver's end of the rings and state pages of udrv/net.h.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "libudrv/device/device.hpp"
#include "libudrv/net/net_chip.hpp"
#include "libudrv/rings/need_wakeup.hpp"
#include "libudrv/rings/ring.hpp"
#include "libudrv/rings/state_page.hpp"
#include <udrv/net.h>

namespace udrv {

/// One queue's rings, and who wants to be woken. Views of shared memory, for the
/// thread that serves it only.
struct NetQueue {
    RingConsumer<udrv_net_tx> tx;
    RingProducer<udrv_net_completion> completion;
    RingConsumer<udrv_net_fill> fill;
    RingProducer<udrv_net_rx> rx;
    SleepFlag sleep; ///< ours: ring my doorbell
    WakeFlag kernel; ///< the kernel's: enter the kernel after producing
};

/// What an interface is to be, besides what its chip can do.
struct NetPortOptions {
    std::string name;                               ///< at the first attach; empty: udn<n>
    std::uint32_t vector = 0;                       ///< interrupt of the desired state
    std::span<const std::uint32_t> queue_vectors{}; ///< of each queue; empty: one, of `vector`
    std::string_view driver{};                      ///< for `ethtool -i`
    std::span<const std::string_view> stat_names{}; ///< for `ethtool -S`
};

/// The attachment of a session to its network interface. It ends with the session.
class NetPort {
  public:
    /// Makes (or takes over) the interface of the bound device and maps the rings.
    /// Throws Error.
    NetPort(Device& device, const NetCapabilities& capabilities, const NetPortOptions& options);

    /// Over `len_bytes` of plain memory laid out as `layout` says: for unit tests
    /// that play the kernel. The memory is not owned.
    NetPort(std::byte* memory, std::size_t len_bytes, const udrv_net_attach& layout);

    /// The interface's name, as the kernel gave it at attach.
    [[nodiscard]] const std::string& name() const { return name_; }
    [[nodiscard]] std::uint32_t ifindex() const { return ifindex_; }

    /// As many as the kernel granted, one at least.
    std::vector<NetQueue> queues;
    StatePageReader<udrv_net_desired> desired;
    StatePageWriter<udrv_net_published> published;

  private:
    void lay_out(std::byte* memory, std::size_t len_bytes, const udrv_net_attach& layout);

    MemoryMap map_;
    std::string name_;
    std::uint32_t ifindex_ = 0;
};

} // namespace udrv
