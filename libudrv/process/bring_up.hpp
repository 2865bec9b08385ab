// SPDX-License-Identifier: MIT
//
// bring_up(): the one order in which a chip comes to life. It is a safety rule: a chip that a
// killed driver left running still knows the memory of that driver, and must not reach ours.
//
//   map          the board's constructor: registers, I/O ports. It writes to no register.
//   quiet        nothing is under way: no transfer, no interrupt
//   DMA bits     before any memory is taken for the chip
//   stop writes  how the kernel ends the chip's transfers, should this process end
//   interrupts   MSI-X, MSI or INTx
//   bus master   from here on the chip reaches memory
//   make         the chip's driver: memory, features, who is there
//
// What follows, serve_net() and serve_blk() do: attach, sandbox, serve.
#pragma once

#include <cerrno>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "libudrv/error.hpp"
#include <udrv/udrv.h>

namespace udrv {

/// What a chip needs before it may reach memory.
struct ChipNeeds {
    unsigned dma_bits = 32; ///< of an address that it can use, 24 to 64
    /// Device::stop_by().
    std::vector<udrv_stop_write> stop_writes{};
    /// What it can use of UDRV_IRQ_MSIX, UDRV_IRQ_MSI and UDRV_IRQ_INTX, the best first.
    std::vector<std::uint32_t> interrupts{UDRV_IRQ_INTX};
    std::uint32_t nr_vectors = 1;    ///< wanted
    std::uint32_t least_vectors = 1; ///< it cannot do with fewer
    /// Of a chip without the INTx-disable bit: Device::mask_intx_by().
    std::optional<udrv_intx_mask> intx_mask{};
};

/// What it got.
struct ChipInterrupts {
    std::uint32_t mode = UDRV_IRQ_INTX;
    std::uint32_t nr_vectors = 1;
    std::vector<std::uint32_t> lines{}; ///< Linux's number of each
};

/// Written once a chip, in its driver.cpp; drivers/ahci/board.hpp is an example. Made of a
/// Device, it outlives the chip that it makes. All of it may block, and throw Error.
template <typename B>
concept Board = requires(B board, const ChipInterrupts& interrupts) {
    {board.quiet()};
    // Asked when it is quiet.
    { board.needs() } -> std::convertible_to<ChipNeeds>;
    // Bus mastering is on. Returns a reference: a NetChip or a BlkChip to be served.
    {board.make(interrupts)};
};

namespace detail {

template <typename D>
[[nodiscard]] ChipInterrupts choose_interrupts(D& device, const ChipNeeds& needs) {
    const udrv_info& info = device.info();
    const std::string tried = "set up the interrupts of " + device.address().str();
    for (const std::uint32_t mode : needs.interrupts) {
        if ((mode == UDRV_IRQ_MSIX && info.nr_msix == 0) ||
            (mode == UDRV_IRQ_MSI && info.nr_msi == 0)) {
            continue;
        }
        std::vector<std::uint32_t> lines;
        try {
            lines = device.irq_setup(mode, needs.nr_vectors);
        } catch (const Error& error) {
            if (mode == needs.interrupts.back()) {
                throw;
            }
            spdlog::debug("{}; trying the next kind", error.what());
            continue;
        }
        if (lines.size() < needs.least_vectors) {
            throw_error(
                EIO, tried,
                fmt::format("the kernel gave {} instead of {}", lines.size(), needs.least_vectors));
        }
        return {mode, static_cast<std::uint32_t>(lines.size()), lines};
    }
    throw_error(ENODEV, tried, "it has none of those that its driver can use");
}

} // namespace detail

/// Returns what board.make() does. `interrupts`, if it is wanted, tells what the chip has.
/// `D` is Device, or a test's. Throws Error; the chip then is quiet, or cannot reach memory, or
/// is the kernel's to stop.
template <Board B, typename D>
decltype(auto) bring_up(D& device, B& board, ChipInterrupts* interrupts = nullptr) {
    board.quiet();
    const ChipNeeds needs = board.needs();
    device.dma_bits(needs.dma_bits);
    device.stop_by(needs.stop_writes);
    if (needs.intx_mask) {
        device.mask_intx_by(*needs.intx_mask);
    }
    const ChipInterrupts got = detail::choose_interrupts(device, needs);
    device.bus_master(true);
    if (interrupts != nullptr) {
        *interrupts = got;
    }
    decltype(auto) chip = board.make(got);
    if constexpr (requires { chip.notes(); }) {
        for (const std::string& note : chip.notes()) {
            spdlog::warn("{}: {}", device.address().str(), note);
        }
    }
    return chip;
}

} // namespace udrv
