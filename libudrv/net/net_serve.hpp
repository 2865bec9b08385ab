// SPDX-License-Identifier: MIT
//
// The rest of a network driver's main: attach, say so, serve, stop.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include "libudrv/loop/serving.hpp"
#include "libudrv/net/net_service.hpp"
#include "libudrv/process/bring_up.hpp"
#include "libudrv/process/driver.hpp"
#include "libudrv/process/output.hpp"

namespace udrv {

/// Which threads serve which queues, by which vectors, on which processors. Queue n belongs
/// to thread n % nr_threads. The kernel has the n-th processor send by queue n % nr_queues
/// (XPS), so that a thread runs on the processors of its queues.
struct NetThreads {
    unsigned nr_threads = 1;
    std::vector<std::uint32_t> queue_vectors;

    NetThreads(unsigned nr_queues, unsigned nr_threads_at_most, std::uint32_t nr_vectors)
        : nr_threads(std::max(1U, std::min({nr_queues, nr_threads_at_most, nr_vectors}))) {
        for (unsigned n = 0; n < nr_queues; ++n) {
            queue_vectors.push_back(n % nr_threads);
        }
    }

    /// Of those in `all`.
    [[nodiscard]] cpu_set_t processors(const cpu_set_t& all, unsigned thread) const {
        const auto nr_queues = static_cast<unsigned>(queue_vectors.size());
        cpu_set_t own;
        CPU_ZERO(&own);
        for (unsigned cpu = 0, n = 0; cpu < CPU_SETSIZE; ++cpu) {
            if (CPU_ISSET(cpu, &all) && n++ % nr_queues % nr_threads == thread) {
                CPU_SET(cpu, &own);
            }
        }
        return own;
    }
};

/// Serves `chip` as a network interface until SIGTERM or SIGINT; returns 0. It may use bus
/// mastering. A chip with several queues is served by up to `nr_vectors` threads, no more than
/// the process has processors, each with a vector of its own. The first vector is also that of
/// all that is not a queue's. Prints one line when ready. Throws Error if it cannot start,
/// or when the session ends under it.
template <NetChip C>
int serve_net(DriverContext& context, C& chip, std::uint32_t nr_vectors = 1) {
    Device& device = context.device;
    const unsigned cpus = usable_cpus();
    const unsigned nr_queues =
        MultiQueueNetChip<C>
            ? std::min(chip.capabilities().nr_queues,
                       context.options.queues == 0 ? UDRV_NET_MAX_QUEUES : context.options.queues)
            : 1;
    const NetThreads threads(nr_queues, cpus, nr_vectors);
    NetPort port(device, chip.capabilities(),
                 {.name = context.options.name,
                  .vector = 0,
                  .queue_vectors = threads.queue_vectors,
                  .driver = context.driver.name,
                  .stat_names = C::stat_names()});
    Serving serving(context, port.name(), threads.nr_threads, 1);
    if constexpr (MultiQueueNetChip<C>) {
        for (std::size_t n = 0; n < port.queues.size(); ++n) {
            chip.route(static_cast<unsigned>(n), threads.queue_vectors[n]);
        }
    }
    typename NetService<C>::Workers workers;
    NetService<C> service(chip, port, serving.waiter(), serving.reporter(), cpus, &workers,
                          threads.nr_threads);
    cpu_set_t processors;
    CPU_ZERO(&processors);
    (void)::sched_getaffinity(0, sizeof(processors), &processors);
    for (unsigned n = 1; n < threads.nr_threads && n < port.queues.size(); ++n) {
        workers.add(serving.irqs()[n], serving.reporter(), cpus,
                    net_queue_pairs(chip, port, n, threads.nr_threads),
                    chip.capabilities().tx_max_segments, threads.processors(processors, n));
    }
    const auto start_threads = [&] {
        if (!workers.empty()) {
            workers.start();
            const cpu_set_t own = threads.processors(processors, 0);
            (void)::sched_setaffinity(0, sizeof(own), &own);
        }
    };
    const auto ready = [&] {
        const MacAddress& mac = chip.capabilities().mac;
        say(STDOUT_FILENO,
            fmt::format("{}: {} at {} ready, {:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}, pid {}\n",
                        port.name(), context.driver.name, device.address().str(), mac[0], mac[1],
                        mac[2], mac[3], mac[4], mac[5], ::getpid()));
    };
    const int status = serving.run(service, start_threads, ready);
    workers.rethrow();
    return status;
}

/// Driver::run of a driver of a network card.
template <Board B>
int run_net(DriverContext& context) {
    B board(context.device);
    ChipInterrupts interrupts;
    auto& chip = bring_up(context.device, board, &interrupts);
    return serve_net(context, chip, interrupts.nr_vectors);
}

} // namespace udrv
