// SPDX-License-Identifier: MIT
//
// BlkService: the loop of every disk driver. It moves requests between a chip
// (blk_chip.hpp) and the rings of a port (blk_port.hpp), and drives the chip's clock.
// When it sleeps, and why no wakeup is lost, is in libudrv/loop/service_loop.hpp; what a
// disk adds:
//  - The kernel has no poll loop of its own for disks, it always wants to be woken
//    (need_wakeup.kernel stays 1). So completions reach their waiters when the loop
//    enters the kernel, and it never sleeps on them.
//  - Time-outs and steps of error recovery: chip.tick() says when it wants to be
//    called again, and the sleep lasts no longer. It is called before the last look
//    at the rings, since it may complete requests, and after whatever was submitted,
//    since submitting made that last look a pass with work, after which the loop
//    comes here once more before it sleeps.
//  - Several interrupts (an IDE controller's two channels): the waiter waits for all
//    of them, and the chip finds out whose it was.
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>

#include "libudrv/blk/blk_chip.hpp"
#include "libudrv/blk/blk_port.hpp"
#include "libudrv/error.hpp"
#include "libudrv/loop/service_loop.hpp"

namespace udrv {

template <BlkChip C>
class BlkService : public ServiceLoop<BlkService<C>> {
    using Loop = ServiceLoop<BlkService<C>>;
    using Loop::batch;
    using Loop::counters_;

  public:
    using typename Loop::Milliseconds;

    /// Nothing is owned; everything outlives the service. `cpus` is what the
    /// process may run on: with one, it never polls.
    BlkService(C& chip, BlkPort& port, Waiter& waiter, Reporter& reporter, unsigned cpus)
        : Loop(waiter, reporter, IdlePolicy(cpus, true), port.sleep, port.kernel), chip_(chip),
          port_(port), done_(port.queues) {}

    /// From here on the chip may interrupt.
    void start() { chip_.start(done_); }

    /// One bounded look at everything; true if anything moved. Returning what is
    /// done goes first: it makes the room that the rest needs.
    bool pass() {
        ++counters_.passes;
        std::uint32_t moved = reap();
        for (std::uint32_t disk = 0; disk < port_.queues.size(); ++disk) {
            moved += submit(disk);
        }
        counters_.idle_passes += moved == 0 ? 1 : 0;
        return moved != 0;
    }

    // Of a Service.

    [[nodiscard]] std::uint32_t offered() {
        std::uint32_t count = 0;
        for (BlkQueue& queue : port_.queues) {
            count += queue.submission.available(queue.depth);
        }
        return count;
    }

    /// A disk that is read one block at a time is never busy, and each sleep costs it
    /// two wakeups. Polling finds the next request; the end of one that is under way
    /// only where the chip writes it to memory.
    [[nodiscard]] bool worth_polling() const {
        return C::completes_in_memory || counters_.requests == counters_.completions;
    }

    /// All there is, is in the rings.
    [[nodiscard]] static bool changed() { return false; }
    static void refresh() {}

    [[nodiscard]] std::optional<Milliseconds> timeout() {
        const BlkClock::time_point now = BlkClock::now();
        const BlkClock::time_point next = tick(now);
        if (next == BlkClock::time_point::max()) {
            return std::nullopt;
        }
        return std::max(Milliseconds{0}, std::chrono::ceil<Milliseconds>(next - now));
    }

    void entered(bool interrupted) {
        if (interrupted) {
            (void)chip_.interrupt();
        }
        // A disk that keeps the loop busy must not hold up another one's recovery:
        // the loop comes here several times a second even then.
        (void)tick(BlkClock::now());
    }

    void stop() { chip_.stop(); }

  private:
    /// The chip -> completion rings: what it finds now, and what submit() and tick() have
    /// found since the last pass.
    std::uint32_t reap() {
        chip_.reap();
        const std::uint32_t count = done_.commit();
        if (count != 0) {
            counters_.completions += count;
            counters_.failures = done_.failures();
            this->produced_awaited(count);
        }
        return count;
    }

    /// A submission ring -> the chip.
    std::uint32_t submit(std::uint32_t disk) {
        BlkQueue& queue = port_.queues[disk];
        const auto entries = queue.submission.peek(batch); // in one piece: the rest next time
        if (entries.empty()) {
            return 0;
        }
        std::size_t count = 0;
        for (const udrv_blk_submission& entry : entries) {
            if (entry.tag < queue.depth) { // a slot that is there
                requests_[count++] = {entry.tag, entry.generation, queue.slot(entry.tag)};
            }
        }
        const auto taken = static_cast<std::uint32_t>(entries.size());
        chip_.submit(disk, std::span<const BlkSubmission>(requests_.data(), count));
        queue.submission.release(taken);
        counters_.requests += count;
        return taken;
    }

    /// The chip's clock, and a line for people when it had to give up a command.
    BlkClock::time_point tick(BlkClock::time_point now) {
        const BlkClock::time_point next = chip_.tick(now);
        if constexpr (requires { chip_.troubles(); }) {
            const BlkTroubles troubles = chip_.troubles();
            if (troubles.timeouts != seen_.timeouts) {
                this->reporter_.log(spdlog::level::warn,
                                    "commands that timed out: {}, resets: {} so far",
                                    troubles.timeouts, troubles.resets);
            }
            if (troubles.lost != seen_.lost || troubles.returned != seen_.returned) {
                this->reporter_.log(spdlog::level::warn,
                                    "disks that did not come back after a reset: {}, of which "
                                    "came back later: {} so far",
                                    troubles.lost, troubles.returned);
            }
            if (troubles.strangers != seen_.strangers) {
                this->reporter_.log(spdlog::level::err,
                                    "another disk is in the place of one that is in use: put the "
                                    "first back, or unbind and bind the device");
            }
            if (troubles.arrivals != seen_.arrivals) {
                this->reporter_.log(spdlog::level::warn,
                                    "a device was plugged in where there was no disk: restart the "
                                    "driver, or `udrv upgrade`, to serve it");
            }
            if (troubles.warnings != seen_.warnings) {
                this->reporter_.log(spdlog::level::warn,
                                    "the controller warns of its health or of an error inside: {} "
                                    "warnings so far; have a copy of the data",
                                    troubles.warnings);
            }
            if (troubles.changes != seen_.changes) {
                this->reporter_.log(spdlog::level::warn,
                                    "disks of the controller were added, removed or changed: "
                                    "`udrv upgrade` serves new ones; another size needs an unbind "
                                    "and a bind");
            }
            seen_ = troubles;
        }
        if constexpr (requires { chip_.failure(); }) {
            if (const char* failure = chip_.failure()) {
                throw_error(EIO, "serve the disks", failure);
            }
        }
        return next;
    }

    C& chip_;
    BlkPort& port_;
    BlkTroubles seen_;
    BlkCompletions done_;
    std::array<BlkSubmission, batch> requests_{};
};

} // namespace udrv
