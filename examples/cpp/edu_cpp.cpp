// SPDX-License-Identifier: MIT
//
// edu_cpp: a driver in a repository of its own, on the installed headers and library of
// udrv. QEMU's teaching device (-device edu) computes factorials and copies memory; this
// driver has it do both, again and again, and checks the results, until SIGTERM.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <udrv/driver.hpp>

#include "driver_ids.hpp" // made of edu_cpp.ids

namespace edu {

using udrv::Register;

// Registers, in BAR 0 (QEMU, docs/specs/edu).
namespace reg {
using R32 = Register<std::uint32_t>;
constexpr R32 identification{0x00}; // 0xRRrr00ed
constexpr R32 factorial{0x08};
constexpr R32 status{0x20};
constexpr R32 irq_status{0x24};
constexpr R32 irq_ack{0x64};
constexpr R32 dma_source{0x80};
constexpr R32 dma_target{0x88};
constexpr R32 dma_count{0x90};
constexpr R32 dma_command{0x98};
} // namespace reg

constexpr std::uint32_t status_computing = 0x01, status_irq = 0x80;
constexpr std::uint32_t dma_start = 0x1, dma_from_device = 0x2, dma_irq = 0x4;
constexpr std::uint32_t irq_factorial = 0x001, irq_dma = 0x100;
constexpr std::uint32_t device_buffer = 0x40000; // its own memory, as it names it
constexpr std::uint32_t half = 2048;
constexpr unsigned address_bits = 28;

volatile std::sig_atomic_t stop = 0;

/// There is no reset: what a predecessor began is waited for.
void quiet(udrv::RegisterIo& regs) {
    using namespace std::chrono_literals;
    constexpr udrv::WaitTime second{1s, 1ms};
    if ((reg::identification.read(regs) & 0xffff) != 0x00ed) {
        udrv::throw_error(ENODEV, "edu_cpp: look at the device", "it is no edu");
    }
    udrv::wait_until(regs, reg::dma_command, "edu_cpp", "dma_command", dma_start, 0, second);
    udrv::wait_until(regs, reg::status, "edu_cpp", "status", status_computing, 0, second);
    reg::irq_ack.write(regs, reg::irq_status.read(regs));
}

class Edu {
  public:
    Edu(udrv::RegisterIo& registers, udrv::DmaBlock block)
        : regs_(registers), memory_(block.vaddr, block.len_bytes), dma_addr_(block.dma_addr) {}

    void check_factorial(const udrv::IrqFile& irq, std::uint32_t n) {
        std::uint32_t wanted = 1;
        for (std::uint32_t i = 2; i <= n; ++i) {
            wanted *= i;
        }
        reg::status.write(regs_, status_irq);
        reg::factorial.write(regs_, n);
        wait_for(irq, irq_factorial);
        const std::uint32_t got = reg::factorial.read(regs_);
        if (got != wanted) {
            udrv::throw_error(EIO, fmt::format("edu_cpp: compute {}!", n),
                              fmt::format("got {}, wanted {}", got, wanted));
        }
    }

    /// The first half of the memory to the device, and back into the second.
    void check_dma(const udrv::IrqFile& irq, unsigned round) {
        const auto out = memory_.first(half);
        const auto back = memory_.subspan(half, half);
        std::generate(out.begin(), out.end(),
                      [n = round]() mutable { return static_cast<std::byte>(n = n * 5 + 3); });
        std::fill(back.begin(), back.end(), std::byte{0});
        transfer(irq, dma_addr_, device_buffer, 0);
        transfer(irq, device_buffer, dma_addr_ + half, dma_from_device);
        if (!std::equal(out.begin(), out.end(), back.begin())) {
            udrv::throw_error(EIO, "edu_cpp: copy there and back", "the bytes differ");
        }
    }

  private:
    /// The IRQ file masks the interrupt when it fires; the next poll() unmasks it.
    void wait_for(const udrv::IrqFile& irq, std::uint32_t cause) {
        for (int waits = 0; waits < 10; ++waits) {
            pollfd ready{irq.fd(), POLLIN, 0};
            const int got = ::poll(&ready, 1, 1000);
            if (got > 0) {
                (void)irq.try_read();
            }
            const std::uint32_t causes = reg::irq_status.read(regs_);
            reg::irq_ack.write(regs_, causes);
            if (got > 0 && (causes & cause) != 0) {
                return;
            }
            if (got == 0) {
                udrv::throw_error(ETIMEDOUT,
                                  fmt::format("edu_cpp: wait for interrupt {:#x}", cause),
                                  fmt::format("none in a second, irq_status is {:#x}", causes));
            }
        }
        udrv::throw_error(EIO, "edu_cpp: wait for an interrupt", "many came, but not that one");
    }

    void transfer(const udrv::IrqFile& irq, std::uint64_t source, std::uint64_t target,
                  std::uint32_t direction) {
        reg::dma_source.write(regs_, static_cast<std::uint32_t>(source)); // fits in 28 bits
        reg::dma_target.write(regs_, static_cast<std::uint32_t>(target));
        reg::dma_count.write(regs_, half);
        reg::dma_command.write(regs_, dma_start | dma_irq | direction);
        wait_for(irq, irq_dma);
    }

    udrv::RegisterIo& regs_;
    std::span<std::byte> memory_;
    std::uint64_t dma_addr_;
};

void handle(int number, void (*handler)(int)) {
    struct sigaction action {};
    action.sa_handler = handler;
    ::sigaction(number, &action, nullptr);
}

/// What udrv::bring_up() asks for, in the order in which it asks.
class Board {
  public:
    explicit Board(udrv::Device& device) : device_(device), registers_(device.map_bar(0)) {}

    void quiet() { edu::quiet(registers_); }
    [[nodiscard]] static udrv::ChipNeeds needs() {
        return {.dma_bits = address_bits, .interrupts = {UDRV_IRQ_MSI, UDRV_IRQ_INTX}};
    }
    Edu& make(const udrv::ChipInterrupts& /*interrupts*/) {
        return chip_.emplace(registers_, device_.allocate(4096));
    }

  private:
    udrv::Device& device_;
    udrv::BarMapping registers_;
    std::optional<Edu> chip_;
};

int run(udrv::DriverContext& context) {
    udrv::Device& device = context.device;
    Board board(device);
    Edu& chip = udrv::bring_up(device, board);
    const udrv::IrqFile irq = device.open_irq(0);
    handle(SIGTERM, [](int) { stop = 1; });
    handle(SIGINT, [](int) { stop = 1; });
    if (context.options.sandbox) {
        udrv::enter_sandbox();
    }
    udrv::say(STDOUT_FILENO,
              fmt::format("edu_cpp at {} ready, pid {}\n", device.address().str(), ::getpid()));
    context.heartbeat.serving();
    for (unsigned round = 0; stop == 0; ++round) {
        chip.check_factorial(irq, round % 13);
        chip.check_dma(irq, round);
        context.heartbeat.beat();
    }
    return 0;
}

} // namespace edu

int main(int argc, char** argv) {
    return udrv::driver_main({.name = "edu_cpp",
                              .description = "QEMU's teaching device, from outside of the tree",
                              .ids = udrv::driver_ids,
                              .run = edu::run,
                              .version = udrv::driver_version},
                             argc, argv);
}
