// SPDX-License-Identifier: MIT
//
// Reporter: log records and counters on their way off the data thread. The data
// thread never waits for a terminal or a disk: it puts a record of fixed size into
// a lock-free queue and goes on; a helper thread writes. When the queue is full the
// record is dropped and counted.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>

#include <boost/lockfree/spsc_queue.hpp>
#include <fmt/format.h>
#include <spdlog/common.h>
#include <sys/resource.h>

#include "libudrv/file.hpp"
#include "libudrv/process/counters.hpp"

namespace udrv {

/// Counters of one moment, with what the kernel says of the data thread.
struct CountersSnapshot {
    DriverCounters counters;
    rusage usage{}; ///< RUSAGE_THREAD of the data thread
};

/// Who the counters belong to; constant.
struct ReportIdentity {
    std::string driver;
    std::string bdf;
    std::string name; ///< of the interface or disk
};

class Reporter {
  public:
    /// `stats_path` is the JSON file whose contents snapshot() replaces; empty: the log.
    /// It is opened here, since a driver in its sandbox opens nothing. Throws Error.
    Reporter(ReportIdentity identity, std::string stats_path);
    Reporter(const Reporter&) = delete;
    Reporter& operator=(const Reporter&) = delete;
    /// Writes what is still queued, then ends the thread.
    ~Reporter();

    /// Starts the helper thread (all signals blocked in it); until then records wait.
    void start();

    /// One thread at a time. Formats into the record, cut to its size; never blocks
    /// or allocates (as long as the arguments' formatters do not).
    template <typename... Args>
    void log(spdlog::level::level_enum level, fmt::format_string<Args...> format,
             Args&&... args) noexcept {
        Record record;
        record.level = level;
        const auto end = fmt::format_to_n(record.text.data(), record.text.size(), format,
                                          std::forward<Args>(args)...);
        record.len_bytes = static_cast<std::uint32_t>(end.out - record.text.data());
        if (records_.push(record)) {
            ring();
        } else {
            dropped_.fetch_add(1, std::memory_order_relaxed);
        }
    }

    /// Takes the counters (and this thread's rusage) to the stats file. Same thread.
    void snapshot(const DriverCounters& counters) noexcept;

    /// The stats file's descriptor, for the sandbox; -1: none.
    [[nodiscard]] int stats_file() const { return stats_.value(); }

    /// Records that found the queue full.
    [[nodiscard]] std::uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

  private:
    struct Record {
        spdlog::level::level_enum level = spdlog::level::info;
        std::uint32_t len_bytes = 0;
        std::array<char, 184> text;
    };

    void ring() noexcept {
        pending_.fetch_add(1, std::memory_order_release);
        pending_.notify_one();
    }
    void run();
    void drain();
    void write_stats(const CountersSnapshot& snapshot) const;

    ReportIdentity identity_;
    std::string stats_path_;
    FileDescriptor stats_;
    boost::lockfree::spsc_queue<Record, boost::lockfree::capacity<256>> records_;
    boost::lockfree::spsc_queue<CountersSnapshot, boost::lockfree::capacity<4>> snapshots_;
    std::atomic<std::uint32_t> pending_{0}; ///< changes when there is something to do
    std::atomic<bool> stopping_{false};
    std::atomic<std::uint64_t> dropped_{0};
    std::thread thread_;
};

/// The JSON text of a snapshot (an object, see Reporter::snapshot), for the stats
/// file: the counters, CPU time, context switches, and both per packet and per request.
[[nodiscard]] std::string counters_json(const ReportIdentity& identity,
                                        const CountersSnapshot& snapshot);

} // namespace udrv
