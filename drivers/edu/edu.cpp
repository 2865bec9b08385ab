// SPDX-License-Identifier: MIT
//
// edu: the tutorial. QEMU's teaching device (1234:11e8, docs/specs/edu of QEMU)
// shows all that a driver needs of udrv in one page: registers, interrupts, DMA
// memory of the device's, and memory of our own that it may reach.
//
//     qemu-system-x86_64 ... -device edu
//     udrv bind BDF && udrv run edu BDF
//
// prints what it did, a line each, and exits 0 if all of it was right. Read
// run() at the end first.
#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <poll.h>

#include "driver_ids.hpp" // made of edu.ids
#include "libudrv/device/dma_mapping.hpp"
#include "libudrv/error.hpp"
#include "libudrv/process/bring_up.hpp"
#include "libudrv/process/driver.hpp"
#include "libudrv/process/sandbox.hpp"

namespace udrv::edu {

namespace {

// The registers, in BAR 0. Each is a place and a width; read() and write() take
// the RegisterIo it is on, so that a driver runs on a test's model as well.
namespace reg {
using R32 = Register<std::uint32_t>;
constexpr R32 identification{0x00}; // 0xRRrr00ed: version RR.rr
constexpr R32 liveness{0x04};       // reads as what was written, inverted
constexpr R32 factorial{0x08};      // write n, later read n!
constexpr R32 status{0x20};
constexpr R32 irq_status{0x24}; // why it interrupts
constexpr R32 irq_ack{0x64};    // write those bits to lower the line
constexpr R32 dma_source{0x80};
constexpr R32 dma_target{0x88};
constexpr R32 dma_count{0x90}; // bytes
constexpr R32 dma_command{0x98};
} // namespace reg

constexpr std::uint32_t status_computing = 0x01;
constexpr std::uint32_t status_irq_after_factorial = 0x80;
constexpr std::uint32_t dma_start = 0x1, dma_from_device = 0x2, dma_irq = 0x4;
constexpr std::uint32_t irq_factorial = 0x001, irq_dma = 0x100;

constexpr std::uint32_t device_buffer = 0x40000; // its memory, as it names it: 4 KiB
constexpr std::uint32_t half = 2048;             // we send a half and get the same back
constexpr unsigned address_bits = 28;            // it reaches the first 256 MiB only

/// A predecessor that was killed may have left a transfer or a computation that is still to
/// end, and edu has no reset: what we told it meanwhile it would ignore. The kernel switched
/// bus mastering off, so that such a transfer reaches no memory, and we switch it on only
/// after this.
void wait_until_quiet(RegisterIo& regs) {
    for (int n = 0; n < 1000; n++) {
        const bool transferring = (reg::dma_command.read(regs) & dma_start) != 0;
        if (!transferring && (reg::status.read(regs) & status_computing) == 0) {
            reg::irq_ack.write(regs, reg::irq_status.read(regs));
            return;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    throw_error(ETIMEDOUT, "edu: wait for what an earlier driver began", "it is busy for a second");
}

/// Waits for the interrupt with this cause and acknowledges it. The IRQ file is
/// readable once the device has interrupted; the interrupt is then masked, and
/// the next poll() unmasks it. So: acknowledge first, then wait again.
void wait_for(std::uint32_t cause, const IrqFile& irq, RegisterIo& regs) {
    for (int waits = 0; waits < 10; waits++) {
        pollfd ready{irq.fd(), POLLIN, 0};
        const int got = ::poll(&ready, 1, 1000);
        if (got > 0) {
            (void)irq.try_read(); // how many there were: takes the count back to zero
        }
        const std::uint32_t causes = reg::irq_status.read(regs);
        reg::irq_ack.write(regs, causes);
        if (got > 0 && (causes & cause) != 0) {
            return;
        }
        if (got == 0) { // every wait on hardware ends, and says what it saw last
            throw_error(ETIMEDOUT, fmt::format("edu: wait for interrupt {:#x}", cause),
                        fmt::format("none in a second, irq_status is {:#x}", causes));
        }
    }
    throw_error(EIO, "edu: wait for an interrupt", "many came, but not the one asked for");
}

bool check_factorial(const IrqFile& irq, RegisterIo& regs) {
    reg::status.write(regs, status_irq_after_factorial);
    reg::factorial.write(regs, 10);
    wait_for(irq_factorial, irq, regs);
    const std::uint32_t result = reg::factorial.read(regs);
    const bool busy = (reg::status.read(regs) & status_computing) != 0;
    fmt::print("edu: 10! = {}, by interrupt\n", result);
    return result == 3628800 && !busy;
}

void transfer(std::uint64_t source, std::uint64_t target, std::uint32_t direction,
              const IrqFile& irq, RegisterIo& regs) {
    reg::dma_source.write(regs, static_cast<std::uint32_t>(source)); // fits in 28 bits
    reg::dma_target.write(regs, static_cast<std::uint32_t>(target));
    reg::dma_count.write(regs, half);
    reg::dma_command.write(regs, dma_start | dma_irq | direction);
    wait_for(irq_dma, irq, regs);
}

/// The first half of `memory` to the device, and back into the second. The device
/// has an address of its own for it, `dma_addr`; never give it a pointer.
bool check_dma(std::span<std::byte> memory, std::uint64_t dma_addr, std::string_view what,
               const IrqFile& irq, RegisterIo& regs) {
    const auto out = memory.first(half);
    const auto back = memory.subspan(half, half);
    std::generate(out.begin(), out.end(), [n = 1u]() mutable { return std::byte(n = n * 5 + 3); });
    std::fill(back.begin(), back.end(), std::byte{0});
    transfer(dma_addr, device_buffer, 0, irq, regs);
    transfer(device_buffer, dma_addr + half, dma_from_device, irq, regs);
    const bool equal = std::equal(out.begin(), out.end(), back.begin());
    fmt::print("edu: {} bytes of {} there and back, {}\n", half, what, equal ? "equal" : "DIFFER");
    return equal;
}

/// Memory of this process, pinned and translated for the device: map, use, exchange
/// for other memory, use that; both are unmapped at the end.
bool check_pinned(Device& device, const IrqFile& irq, RegisterIo& regs) {
    const std::array<DmaBuffer, 2> pages{DmaBuffer(4096), DmaBuffer(4096)};
    constexpr std::uint32_t both_ways = UDRV_DMA_TO_DEVICE | UDRV_DMA_FROM_DEVICE;
    try {
        std::vector<DmaMapping> mapped;
        mapped.emplace_back(device, pages[0].bytes(), both_ways);
        bool good = check_dma(pages[0].bytes(), mapped[0].segments()[0].dma_addr, "pinned memory",
                              irq, regs);
        mapped = DmaMapping::exchange(device, mapped, std::array{pages[1].bytes()}, both_ways);
        good &= check_dma(pages[1].bytes(), mapped[0].segments()[0].dma_addr, "exchanged memory",
                          irq, regs);
        return good;
    } catch (const Error& error) {
        if (error.code().value() != EOPNOTSUPP || device.confined()) {
            throw; // an IOMMU makes any page reachable
        }
        fmt::print("edu: pinned memory refused: it is above the 256 MiB that {} bits reach\n",
                   address_bits);
        return true; // a clear no, instead of bouncing in silence
    }
}

/// What bring_up() asks for, in the order in which it asks (libudrv/process/bring_up.hpp).
class Board {
  public:
    explicit Board(Device& device) : device_(device), regs_(device.map_bar(0)) {}

    /// Bus mastering is off until this is done.
    void quiet() {
        const std::uint32_t version = reg::identification.read(regs_);
        reg::liveness.write(regs_, 0x12345678);
        alive_ = (version & 0xffff) == 0x00ed && reg::liveness.read(regs_) == ~0x12345678u;
        fmt::print("edu: version {}.{}, {}\n", version >> 24, version >> 16 & 0xff,
                   alive_ ? "alive" : "NOT an edu device");
        wait_until_quiet(regs_);
    }

    [[nodiscard]] static ChipNeeds needs() {
        return {.dma_bits = address_bits, .interrupts = {UDRV_IRQ_MSI, UDRV_IRQ_INTX}};
    }

    /// Bus mastering is on: it can reach what it is given.
    BarMapping& make(const ChipInterrupts& interrupts) {
        block_ = device_.allocate(4096);
        fmt::print("edu: {} is interrupt {}\n", interrupts.mode == UDRV_IRQ_MSI ? "MSI" : "INTx",
                   interrupts.lines.at(0));
        return regs_;
    }

    [[nodiscard]] bool alive() const { return alive_; }
    [[nodiscard]] const DmaBlock& block() const { return block_; }

  private:
    Device& device_;
    BarMapping regs_;
    DmaBlock block_;
    bool alive_ = false;
};

int run(DriverContext& context) {
    Device& device = context.device; // ours alone until this process ends, however it ends
    Board board(device);
    BarMapping& regs = bring_up(device, board);
    const IrqFile irq = device.open_irq(0);
    // All is open and mapped, and the work needs no privilege. Files cannot be had from here
    // on; a little memory can, for the device, too. (Other drivers leave this to serve_net()
    // or serve_blk().)
    if (context.options.sandbox) {
        enter_sandbox();
    }
    std::fflush(stdout); // whoever waits for a driver knows now that it is there
    const DmaBlock& block = board.block();
    bool good = board.alive();
    good &= check_factorial(irq, regs);
    good &= check_dma({block.vaddr, block.len_bytes}, block.dma_addr, "coherent memory", irq, regs);
    good &= check_pinned(device, irq, regs);
    fmt::print("edu: {}\n", good ? "all good" : "FAILED");
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

} // namespace
} // namespace udrv::edu

int main(int argc, char** argv) {
    return udrv::driver_main({.name = "edu",
                              .description = "QEMU's teaching device: the tutorial",
                              .ids = udrv::driver_ids,
                              .run = udrv::edu::run,
                              .version = udrv::driver_version},
                             argc, argv);
}
