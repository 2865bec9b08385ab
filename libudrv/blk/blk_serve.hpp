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
#include "libudrv/error.hpp"
#include "libudrv/loop/serving.hpp"
#include "libudrv/process/bring_up.hpp"
#include "libudrv/process/driver.hpp"
#include "libudrv/process/ready_line.hpp"

namespace udrv {

/// Its driver's memory is locked (Driver::prepare). Serves the disks of `chip` until SIGTERM or
/// SIGINT; returns 0. Waits for the interrupts of vectors 0 to nr_vectors - 1. Prints one line when
/// the block devices are there. Throws Error if it cannot start, or when the session ends under
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
    Serving serving(context, port.names(), nr_vectors, nr_vectors);
    BlkService<C> service(chip, port, serving.waiter(), serving.reporter(), usable_cpus());

    std::string disks;
    std::vector<std::string> files;
    for (std::size_t n = 0; n < port.queues.size(); ++n) {
        const udrv_blk_disk& disk = chip.disks()[n];
        disks += fmt::format("{} ({}, {} MiB), ", port.queues[n].name, disk.model,
                             disk.nr_sectors / 2048);
        files.push_back("/sys/class/block/" + port.queues[n].name);
    }
    // The kernel makes the block devices only while they are served: a thread looks for them.
    std::optional<ReadyLine> ready;
    const auto start_threads = [&] {
        ready.emplace(std::move(files),
                      fmt::format("{}: {} at {} ready, {}pid {}", port.names(), context.driver.name,
                                  device.address().str(), disks, ::getpid()));
    };
    return serving.run(service, start_threads, [] {});
}

/// Driver::run of a driver of disks.
template <Board B>
int run_blk(DriverContext& context) {
    B board(context.device);
    ChipInterrupts interrupts;
    auto& chip = bring_up(context.device, board, &interrupts);
    return serve_blk(context, chip, interrupts.nr_vectors);
}

} // namespace udrv
