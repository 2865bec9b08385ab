// SPDX-License-Identifier: MIT
//
// The rest of a network driver's main: attach, say so, serve, stop.
#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include "libudrv/net/net_service.hpp"
#include "libudrv/process/driver.hpp"
#include "libudrv/process/output.hpp"
#include "libudrv/process/sandbox.hpp"

namespace udrv {

/// Serves `chip` as a network interface until SIGTERM or SIGINT; returns 0. The
/// chip has been reset and may use bus mastering; `vector` is its interrupt.
/// Prints one line when ready. Throws Error if it can not start, or when the
/// session ends under it.
template <NetChip C>
int serve_net(DriverContext& context, C& chip, std::uint32_t vector = 0) {
    Device& device = context.device;
    NetPort port(device, chip.capabilities(),
                 {.name = context.options.name,
                  .vector = vector,
                  .driver = context.driver.name,
                  .stat_names = C::stat_names()});
    const IrqFile irq = device.open_irq(vector);
    const auto waiter = make_waiter(context.options.wait, {&irq, 1}); // takes the signals
    Reporter reporter({std::string(context.driver.name), device.address().str(), port.name()},
                      context.options.stats_path);
    NetService<C> service(chip, port, *waiter, reporter, usable_cpus());
    service.watched_by(context.heartbeat);
    service.start();
    if (context.options.sandbox) {
        enter_sandbox([&] { reporter.start(); }, reporter.stats_file());
    } else {
        reporter.start();
    }

    const MacAddress& mac = chip.capabilities().mac;
    say(STDOUT_FILENO,
        fmt::format("{}: {} at {} ready, {:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}, pid {}\n",
                    port.name(), context.driver.name, device.address().str(), mac[0], mac[1],
                    mac[2], mac[3], mac[4], mac[5], ::getpid()));

    service.run();
    if (!context.options.stats_path.empty()) {
        reporter.snapshot(service.counters());
    }
    return 0;
}

} // namespace udrv
