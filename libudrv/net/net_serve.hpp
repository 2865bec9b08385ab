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

#include "libudrv/net/net_service.hpp"
#include "libudrv/process/driver.hpp"
#include "libudrv/process/output.hpp"
#include "libudrv/process/sandbox.hpp"

namespace udrv {

/// Which threads serve which queues, by which vectors, on which processors. Queue n belongs
/// to thread n % nr_threads. The kernel has the n-th processor send by queue n % nr_queues
/// (XPS), so that a thread runs on the processors of its queues.
struct NetThreads {
    unsigned nr_threads = 1;
    std::vector<std::uint32_t> queue_vectors;

    /// `vector` is the first of `nr_vectors`.
    NetThreads(unsigned nr_queues, unsigned nr_threads_at_most, std::uint32_t vector,
               std::uint32_t nr_vectors)
        : nr_threads(std::max(1U, std::min({nr_queues, nr_threads_at_most, nr_vectors}))) {
        for (unsigned n = 0; n < nr_queues; ++n) {
            queue_vectors.push_back(vector + n % nr_threads);
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

/// Serves `chip` as a network interface until SIGTERM or SIGINT; returns 0. The
/// chip has been reset and may use bus mastering. `vector` is its interrupt, or the first of
/// `nr_vectors`: a chip with several queues is served by up to so many threads, no more than
/// the process has processors, each with a vector of its own. The first vector is also that of
/// all that is not a queue's. Prints one line when ready. Throws Error if it can not start,
/// or when the session ends under it.
template <NetChip C>
int serve_net(DriverContext& context, C& chip, std::uint32_t vector = 0,
              std::uint32_t nr_vectors = 1) {
    Device& device = context.device;
    const unsigned cpus = usable_cpus();
    const unsigned nr_queues =
        MultiQueueNetChip<C>
            ? std::min(chip.capabilities().nr_queues,
                       context.options.queues == 0 ? UDRV_NET_MAX_QUEUES : context.options.queues)
            : 1;
    const NetThreads threads(nr_queues, cpus, vector, nr_vectors);
    NetPort port(device, chip.capabilities(),
                 {.name = context.options.name,
                  .vector = vector,
                  .queue_vectors = threads.queue_vectors,
                  .driver = context.driver.name,
                  .stat_names = C::stat_names()});
    std::vector<IrqFile> irqs;
    for (unsigned n = 0; n < threads.nr_threads; ++n) {
        irqs.push_back(device.open_irq(vector + n));
    }
    if constexpr (MultiQueueNetChip<C>) {
        for (std::size_t n = 0; n < port.queues.size(); ++n) {
            chip.route(static_cast<unsigned>(n), threads.queue_vectors[n]);
        }
    }
    const auto waiter = make_waiter(context.options.wait, {irqs.data(), 1}); // takes the signals
    Reporter reporter({std::string(context.driver.name), device.address().str(), port.name()},
                      context.options.stats_path);
    typename NetService<C>::Workers workers;
    NetService<C> service(chip, port, *waiter, reporter, cpus, &workers, threads.nr_threads);
    cpu_set_t processors;
    CPU_ZERO(&processors);
    (void)::sched_getaffinity(0, sizeof(processors), &processors);
    for (unsigned n = 1; n < threads.nr_threads && n < port.queues.size(); ++n) {
        workers.add(irqs[n], reporter, cpus, net_queue_pairs(chip, port, n, threads.nr_threads),
                    chip.capabilities().tx_max_segments, threads.processors(processors, n));
    }
    service.watched_by(context.heartbeat);
    service.start();
    const auto start_threads = [&] {
        reporter.start();
        if (!workers.empty()) {
            workers.start();
            const cpu_set_t own = threads.processors(processors, 0);
            (void)::sched_setaffinity(0, sizeof(own), &own);
        }
    };
    if (context.options.sandbox) {
        enter_sandbox(start_threads, reporter.stats_file());
    } else {
        start_threads();
    }

    const MacAddress& mac = chip.capabilities().mac;
    say(STDOUT_FILENO,
        fmt::format("{}: {} at {} ready, {:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}, pid {}\n",
                    port.name(), context.driver.name, device.address().str(), mac[0], mac[1],
                    mac[2], mac[3], mac[4], mac[5], ::getpid()));

    service.run();
    workers.rethrow();
    if (!context.options.stats_path.empty()) {
        reporter.snapshot(service.total());
    }
    return 0;
}

} // namespace udrv
