// SPDX-License-Identifier: MIT
//
// The rest of a disk driver's main: attach, serve, say so, stop.
#pragma once

#include <cerrno>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "libudrv/blk/blk_service.hpp"
#include "libudrv/process/driver.hpp"
#include "libudrv/error.hpp"
#include "libudrv/process/ready_line.hpp"
#include "libudrv/process/sandbox.hpp"

namespace udrv {

/// Its driver's memory is locked (Driver::prepare). Serves the disks of `chip` until SIGTERM or
/// SIGINT; returns 0. Waits for the interrupts of vectors 0 to nr_vectors - 1. Prints one line when
/// the block devices are there. Throws Error if it can not start, or when the session ends under
/// it.
template <BlkChip C>
int serve_blk(DriverContext& context, C& chip, std::uint32_t nr_vectors = 1) {
    Device& device = context.device;
    if (context.driver.prepare == nullptr) {
        throw_error(EINVAL, fmt::format("serve disks with {}", context.driver.name),
                    "its memory is not locked: it and its disk may wait for each other",
                    "have Driver::prepare call lock_memory()");
    }
    BlkPort port(device, chip.disks(), 0);
    std::vector<IrqFile> irqs;
    for (std::uint32_t vector = 0; vector < nr_vectors; ++vector) {
        irqs.push_back(device.open_irq(vector));
    }
    const auto waiter = make_waiter(context.options.wait, irqs); // takes the signals
    Reporter reporter({std::string(context.driver.name), device.address().str(), port.names()},
                      context.options.stats_path);
    BlkService<C> service(chip, port, *waiter, reporter, usable_cpus());
    service.watched_by(context.heartbeat);
    service.start();

    std::string disks;
    std::vector<std::string> files;
    for (std::size_t n = 0; n < port.queues.size(); ++n) {
        const udrv_blk_disk& disk = chip.disks()[n];
        disks += fmt::format("{} ({}, {} MiB), ", port.queues[n].name, disk.model,
                             disk.nr_sectors / 2048);
        files.push_back("/sys/class/block/" + port.queues[n].name);
    }
    std::optional<ReadyLine> ready;
    const auto start_threads = [&] {
        reporter.start();
        ready.emplace(std::move(files),
                      fmt::format("{}: {} at {} ready, {}pid {}", port.names(), context.driver.name,
                                  device.address().str(), disks, ::getpid()));
    };
    if (context.options.sandbox) {
        enter_sandbox(start_threads, reporter.stats_file());
    } else {
        start_threads();
    }
    service.run();
    if (!context.options.stats_path.empty()) {
        reporter.snapshot(service.counters());
    }
    return 0;
}

} // namespace udrv
