// SPDX-License-Identifier: MIT
//
// The idle soaker of "User-Level Device Drivers: Achieved Performance" (2005): a loop
// at the lowest priority takes what the others leave of each CPU, and counts its turns.
// What is missing to the count of an idle machine is what the others used.
//
//   idle_soaker SECONDS
//
// Prints `begin`, and SECONDS later `end TURNS SECONDS`, for bench/run to take its own
// times at the same two moments.
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "bench/idle_class.hpp"

namespace {

struct alignas(128) Counter {
    std::atomic<std::uint64_t> turns{0};
};

/// One turn is some microseconds of arithmetic that no optimizer can leave out.
void soak(unsigned cpu, Counter& counter, const std::atomic<bool>& stop) {
    udrv::bench::run_idle_on(cpu);
    std::uint64_t value = cpu + 1;
    while (!stop.load(std::memory_order_relaxed)) {
        for (int n = 0; n < 1000; ++n) {
            value = value * 6364136223846793005U + 1442695040888963407U;
            asm volatile("" : "+r"(value));
        }
        counter.turns.fetch_add(1, std::memory_order_relaxed);
    }
}

void say(const std::string& line) {
    if (::write(STDOUT_FILENO, line.data(), line.size()) < 0) {
        std::_Exit(1);
    }
}

std::uint64_t total(const std::vector<Counter>& counters) {
    std::uint64_t turns = 0;
    for (const Counter& counter : counters) {
        turns += counter.turns.load(std::memory_order_relaxed);
    }
    return turns;
}

} // namespace

int main(int argc, char** argv) {
    double seconds = 0;
    if (argc == 2) {
        std::from_chars(argv[1], argv[1] + std::strlen(argv[1]), seconds);
    }
    if (!(seconds > 0 && seconds < 3600)) {
        fmt::print(stderr, "usage: idle_soaker SECONDS\n");
        return 2;
    }
    std::vector<Counter> counters(std::thread::hardware_concurrency());
    std::atomic<bool> stop{false};
    std::vector<std::jthread> threads;
    for (unsigned cpu = 0; cpu < counters.size(); ++cpu) {
        threads.emplace_back(soak, cpu, std::ref(counters[cpu]), std::cref(stop));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds{100});
    say("begin\n");
    const auto start = std::chrono::steady_clock::now();
    const std::uint64_t before = total(counters);
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    const std::uint64_t turns = total(counters) - before;
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    say(fmt::format("end {} {:.6f}\n", turns, took.count()));
    stop = true;
    return 0;
}
