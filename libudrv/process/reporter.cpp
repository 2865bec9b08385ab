// SPDX-License-Identifier: MIT
#include "libudrv/process/reporter.hpp"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "libudrv/error.hpp"
#include "libudrv/process/helper_thread.hpp"

namespace udrv {

namespace {

double seconds(const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

double ratio(std::uint64_t count, std::uint64_t of) {
    return of == 0 ? 0.0 : static_cast<double>(count) / static_cast<double>(of);
}

} // namespace

std::string counters_json(const ReportIdentity& identity, const CountersSnapshot& snapshot) {
    const DriverCounters& c = snapshot.counters;
    const std::uint64_t packets = c.rx_packets + c.tx_packets;
    const auto voluntary = static_cast<std::uint64_t>(snapshot.usage.ru_nvcsw);
    const auto involuntary = static_cast<std::uint64_t>(snapshot.usage.ru_nivcsw);
    const nlohmann::ordered_json json{
        {"driver", identity.driver},
        {"bdf", identity.bdf},
        {"name", identity.name},
        {"pid", ::getpid()},
        {"rx_packets", c.rx_packets},
        {"rx_buffers", c.rx_buffers},
        {"tx_packets", c.tx_packets},
        {"tx_segments", c.tx_segments},
        {"tx_completions", c.tx_completions},
        {"packets", packets},
        {"requests", c.requests},
        {"completions", c.completions},
        {"failures", c.failures},
        {"interrupts", c.interrupts},
        {"doorbells", c.doorbells},
        {"waits", c.waits},
        {"publishes", c.publishes},
        {"yields", c.yields},
        {"rests", c.rests},
        {"system_calls", c.system_calls()},
        {"passes", c.passes},
        {"idle_passes", c.idle_passes},
        {"applies", c.applies},
        {"link_changes", c.link_changes},
        {"context_switches_voluntary", voluntary},
        {"context_switches_involuntary", involuntary},
        {"cpu_user_s", seconds(snapshot.usage.ru_utime)},
        {"cpu_system_s", seconds(snapshot.usage.ru_stime)},
        {"system_calls_per_packet", ratio(c.system_calls(), packets)},
        {"context_switches_per_packet", ratio(voluntary + involuntary, packets)},
        {"interrupts_per_packet", ratio(c.interrupts, packets)},
        {"system_calls_per_request", ratio(c.system_calls(), c.completions)},
        {"context_switches_per_request", ratio(voluntary + involuntary, c.completions)},
        {"interrupts_per_request", ratio(c.interrupts, c.completions)},
    };
    return json.dump(2);
}

Reporter::Reporter(ReportIdentity identity, std::string stats_path)
    : identity_(std::move(identity)), stats_path_(std::move(stats_path)) {
    if (!stats_path_.empty()) {
        stats_ = FileDescriptor(
            ::open(stats_path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
        if (!stats_) {
            throw_errno(errno, "write counters to " + stats_path_);
        }
    }
}

Reporter::~Reporter() {
    stopping_.store(true, std::memory_order_relaxed);
    ring();
    if (thread_.joinable()) {
        thread_.join();
    }
    drain();
}

void Reporter::start() {
    thread_ = start_helper_thread([this] { run(); });
}

void Reporter::snapshot(const DriverCounters& counters) noexcept {
    CountersSnapshot snapshot{counters, {}};
    ::getrusage(RUSAGE_THREAD, &snapshot.usage);
    if (snapshots_.push(snapshot)) {
        ring();
    } else {
        dropped_.fetch_add(1, std::memory_order_relaxed);
    }
}

void Reporter::run() {
    std::uint32_t seen = 0;
    while (true) {
        pending_.wait(seen, std::memory_order_acquire);
        seen = pending_.load(std::memory_order_acquire);
        drain();
        if (stopping_.load(std::memory_order_relaxed)) {
            return;
        }
    }
}

void Reporter::drain() {
    Record record;
    while (records_.pop(record)) {
        spdlog::log(record.level, std::string_view(record.text.data(), record.len_bytes));
    }
    CountersSnapshot snapshot;
    while (snapshots_.pop(snapshot)) {
        write_stats(snapshot);
    }
}

void Reporter::write_stats(const CountersSnapshot& snapshot) const {
    if (stats_path_.empty()) {
        spdlog::info("{}", counters_json(identity_, snapshot));
        return;
    }
    // In one write: a reader sees the old text or the new one.
    const std::string text = counters_json(identity_, snapshot) + '\n';
    if (::pwrite(stats_.value(), text.data(), text.size(), 0) !=
            static_cast<ssize_t>(text.size()) ||
        ::ftruncate(stats_.value(), static_cast<off_t>(text.size())) != 0) {
        spdlog::error("write {}: {}", stats_path_, std::strerror(errno));
    }
}

} // namespace udrv
