// SPDX-License-Identifier: MIT
//
// Serving: what serve_net() and serve_blk() have in common, from the attached port to the end.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "libudrv/device/irq.hpp"
#include "libudrv/loop/waiter.hpp"
#include "libudrv/process/driver.hpp"
#include "libudrv/process/reporter.hpp"
#include "libudrv/process/sandbox.hpp"

namespace udrv {

class Serving {
  public:
    /// Opens the IRQ files of vectors 0 to nr_vectors - 1, and takes the signals. `port` is
    /// what the interface or the disks are called. The data thread waits for the first
    /// `nr_awaited` vectors; the others are for threads of its service. Throws Error.
    Serving(DriverContext& context, const std::string& port, std::uint32_t nr_vectors,
            std::uint32_t nr_awaited)
        : context_(context), irqs_(open(context.device, nr_vectors)),
          waiter_(make_waiter(context.options.wait, {irqs_.data(), nr_awaited})),
          reporter_({std::string(context.driver.name), context.device.address().str(), port},
                    context.options.stats_path) {}

    [[nodiscard]] std::vector<IrqFile>& irqs() { return irqs_; }
    [[nodiscard]] Waiter& waiter() { return *waiter_; }
    [[nodiscard]] Reporter& reporter() { return reporter_; }

    /// Starts `service` and serves until a signal says stop; returns the exit status.
    /// `start_threads` starts what runs beside the data thread, on the way into the sandbox;
    /// `ready` tells that it serves. Throws Error, also when the session ends under it.
    template <typename Service, typename StartThreads, typename Ready>
    int run(Service& service, StartThreads start_threads, Ready ready) {
        service.watched_by(context_.heartbeat);
        service.start();
        const auto start_all = [&] {
            reporter_.start();
            start_threads();
        };
        if (context_.options.sandbox) {
            enter_sandbox(start_all, reporter_.stats_file());
        } else {
            start_all();
        }
        ready();
        service.run();
        if (!context_.options.stats_path.empty()) {
            reporter_.snapshot(service.total());
        }
        return 0;
    }

  private:
    [[nodiscard]] static std::vector<IrqFile> open(Device& device, std::uint32_t nr_vectors) {
        std::vector<IrqFile> irqs;
        for (std::uint32_t vector = 0; vector < nr_vectors; ++vector) {
            irqs.push_back(device.open_irq(vector));
        }
        return irqs;
    }

    DriverContext& context_;
    std::vector<IrqFile> irqs_;
    std::unique_ptr<Waiter> waiter_;
    Reporter reporter_;
};

} // namespace udrv
