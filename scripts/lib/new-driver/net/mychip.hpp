// SPDX-License-Identifier: MIT
//
// MyChip: a NetChip (libudrv/net/net_chip.hpp). It knows registers and descriptors only: a
// device's, or those of the model in its tests.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "drivers/mychip/mychip_registers.hpp"
#include "libudrv/device/call.hpp"
#include "libudrv/device/dma.hpp"
#include "libudrv/device/registers.hpp"
#include "libudrv/net/net_chip.hpp"

namespace udrv::mychip {

/// For Device::stop_by(): what ends all transfers, when this process is gone. Here a reset,
/// and the wait until it is over.
inline constexpr udrv_stop_write end_of_transfers[] = {
    stop_write(bar_number, reg::control.offset, sizeof(std::uint32_t), control::reset,
               control::reset),
};

/// Nothing is under way afterwards, and the chip does not interrupt. Throws Error.
void reset(RegisterIo& regs);

inline constexpr std::uint32_t depth = 256; ///< of either ring, a power of two

class MyChip {
  public:
    /// After reset(). Reads its address, and takes memory for descriptors from `dma`.
    MyChip(RegisterIo& regs, DmaAllocator& dma);
    MyChip(const MyChip&) = delete;
    MyChip& operator=(const MyChip&) = delete;
    ~MyChip() = default;

    [[nodiscard]] const NetCapabilities& capabilities() const { return capabilities_; }
    void apply(const udrv_net_desired& desired);
    [[nodiscard]] NetCause interrupt();
    [[nodiscard]] std::size_t rx_provide(std::span<const udrv_net_fill> fill);
    [[nodiscard]] std::size_t rx_return(std::span<udrv_net_rx> rx);
    [[nodiscard]] std::size_t tx_provide(std::span<const udrv_net_tx> tx);
    [[nodiscard]] std::size_t tx_return(std::span<udrv_net_completion> completion);
    [[nodiscard]] bool arm();
    [[nodiscard]] NetLink link();
    [[nodiscard]] static std::span<const std::string_view> stat_names();
    void read_stats(std::span<std::uint64_t> stats);
    void read_counters(udrv_net_counters& counters) const;
    void read_registers(std::span<udrv_net_register> registers);
    void stop();

  private:
    /// Entries between head and tail; free-running indices.
    template <typename T>
    struct Queue {
        std::array<T, depth> entries{};
        std::uint32_t producer = 0;
        std::uint32_t consumer = 0;
        [[nodiscard]] bool empty() const { return producer == consumer; }
        [[nodiscard]] bool full() const { return producer - consumer == depth; }
        void push(const T& entry) { entries[producer++ % depth] = entry; }
        T pop() { return entries[consumer++ % depth]; }
    };

    RegisterIo& regs_;
    NetCapabilities capabilities_;
    bool up_ = false;
    Queue<udrv_net_fill> buffers_;        ///< ours until a packet has come into them
    Queue<udrv_net_completion> completed_; ///< packets that are done, in the order given
    std::uint64_t tx_dropped_ = 0;
};

static_assert(NetChip<MyChip>);

} // namespace udrv::mychip
