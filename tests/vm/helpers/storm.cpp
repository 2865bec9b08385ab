// SPDX-License-Identifier: MIT
//
// storm BDF unread|read|poll|msi SECONDS: a driver of QEMU's edu device that has it
// assert its interrupt and never acknowledges it. Prints how often it came back to the
// interrupt's file and how many interrupts there were meanwhile:
//   unread  it never comes back
//   read    it reads all the time: each read takes the mask away
//   poll    it polls all the time, likewise
//   msi     it never comes back; the device sends one message after the other
#include <chrono>
#include <cstdlib>
#include <string_view>

#include <poll.h>

#include "hostile.hpp"

using namespace hostile;

int main(int argc, char** argv) {
    const std::string_view mode = argc == 4 ? argv[2] : "";
    if (mode != "unread" && mode != "read" && mode != "poll" && mode != "msi") {
        std::fprintf(stderr, "usage: storm BDF unread|read|poll|msi SECONDS\n");
        return 2;
    }
    try {
        constexpr std::uint32_t irq_raise = 0x60;
        const auto address = udrv::PciAddress::parse(argv[1]);
        udrv::Device device(address);
        udrv::BarMapping regs = device.map_bar(0);
        const bool msi = mode == "msi";
        (void)device.irq_setup(msi ? UDRV_IRQ_MSI : UDRV_IRQ_INTX, 1);
        device.bus_master(msi);
        const udrv::IrqFile irq = device.open_irq(0);
        (void)irq.try_read(); // unmasks
        const auto before = attribute(address, "interrupts");
        regs.write32(irq_raise, 1);
        fmt::print("asserted\n");
        std::fflush(stdout);
        const auto end =
            std::chrono::steady_clock::now() + std::chrono::seconds(std::atoi(argv[3]));
        std::uint64_t returns = 0, messages = 1;
        while (std::chrono::steady_clock::now() < end) {
            if (mode == "read") {
                (void)irq.wait();
                returns++;
            } else if (mode == "poll") {
                pollfd ready{irq.fd(), POLLIN, 0};
                (void)::poll(&ready, 1, 0);
                (void)irq.try_read();
                returns += 2;
            } else if (msi) {
                regs.write32(irq_raise, 1);
                messages++;
            } else {
                ::usleep(10'000);
            }
        }
        const auto interrupts = attribute(address, "interrupts") - before;
        fmt::print("total: {} returns {} interrupts {} messages\n", returns, interrupts, messages);
        // One before the first return, and one for each of them at most.
        report(interrupts >= 1 && interrupts <= static_cast<std::int64_t>(returns) + 2,
               "interrupts are bounded by the returns", fmt::format("{}", interrupts));
        return failures == 0 ? 0 : 1;
    } catch (const std::exception& error) {
        fmt::print("FAIL: {}\n", error.what());
        return 1;
    }
}
