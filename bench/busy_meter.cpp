// SPDX-License-Identifier: MIT
//
// What a closed loop costs, under QEMU's instruction clock (scripts/vm --icount), where time
// is the number of instructions executed.
//
//   busy_meter SECONDS FILE:FIELD[+FIELD]...
//
// A loop of class SCHED_IDLE takes what the others leave of each processor. The busy time is
// all time less the loop's own, which the scheduler counts to the nanosecond (/proc/stat is of
// no use here: it counts idle time by ticks). FILE:FIELD are counters of work that was done, for
// instance /sys/block/sda/stat:1+5; fields count from 1.
//
// Prints one JSON line about the window: elapsed_ns (of all processors together), busy_ns,
// context switches and interrupts of the machine, and what each counter grew by.
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <cerrno>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <pthread.h>
#include <sched.h>
#include <time.h>

#include "bench/idle_class.hpp"
#include "libudrv/error.hpp"

namespace {

using Words = std::vector<std::string>;

struct Counter {
    std::string file;
    std::vector<std::size_t> fields;

    [[nodiscard]] std::uint64_t read() const {
        std::ifstream in(file);
        Words words;
        for (std::string word; in >> word;) {
            words.push_back(word);
        }
        std::uint64_t sum = 0;
        for (const std::size_t field : fields) {
            if (field < 1 || field > words.size()) {
                udrv::throw_error(EINVAL, fmt::format("read field {} of {}", field, file),
                                  fmt::format("it has {} fields", words.size()));
            }
            sum += std::stoull(words[field - 1]);
        }
        return sum;
    }
};

Counter parse(const std::string& text) {
    const std::size_t colon = text.rfind(':');
    Counter counter{text.substr(0, colon), {}};
    std::istringstream fields(colon == std::string::npos ? "1" : text.substr(colon + 1));
    for (std::string field; std::getline(fields, field, '+');) {
        counter.fields.push_back(std::stoul(field));
    }
    return counter;
}

/// One thread a processor, of class SCHED_IDLE.
class Soaker {
  public:
    Soaker() {
        cpu_set_t allowed;
        CPU_ZERO(&allowed);
        ::sched_getaffinity(0, sizeof(allowed), &allowed);
        for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
            if (CPU_ISSET(cpu, &allowed)) {
                threads_.emplace_back([cpu](const std::stop_token& stop) { soak(cpu, stop); });
            }
        }
    }

    /// Nanoseconds that it had, of all processors, so far.
    [[nodiscard]] std::int64_t had_ns() {
        std::int64_t sum = 0;
        for (std::jthread& thread : threads_) {
            clockid_t clock{};
            timespec time{};
            if (::pthread_getcpuclockid(thread.native_handle(), &clock) != 0 ||
                ::clock_gettime(clock, &time) != 0) {
                udrv::throw_errno(errno, "read the processor time of a thread");
            }
            sum += time.tv_sec * 1'000'000'000 + time.tv_nsec;
        }
        return sum;
    }
    [[nodiscard]] std::size_t processors() const { return threads_.size(); }

  private:
    static void soak(std::size_t cpu, const std::stop_token& stop) {
        udrv::bench::run_idle_on(cpu);
        while (!stop.stop_requested()) {
            for (int n = 0; n < 10000; ++n) {
                asm volatile("" : : : "memory");
            }
        }
    }

    std::vector<std::jthread> threads_;
};

/// `ctxt` and `intr` of /proc/stat.
std::uint64_t of_proc_stat(const char* name) {
    std::ifstream in("/proc/stat");
    for (std::string line; std::getline(in, line);) {
        std::istringstream words(line);
        std::string word;
        std::uint64_t value = 0;
        if (words >> word >> value && word == name) {
            return value;
        }
    }
    udrv::throw_error(ENOENT, "read /proc/stat", fmt::format("it has no line '{}'", name));
}

struct Reading {
    std::chrono::steady_clock::time_point time;
    std::int64_t soaked_ns;
    std::uint64_t switches, interrupts;
    std::vector<std::uint64_t> counters;
};

Reading look(Soaker& soaker, const std::vector<Counter>& counters) {
    Reading now{{}, 0, of_proc_stat("ctxt"), of_proc_stat("intr"), {}};
    for (const Counter& counter : counters) {
        now.counters.push_back(counter.read());
    }
    now.time = std::chrono::steady_clock::now();
    now.soaked_ns = soaker.had_ns();
    return now;
}

int run(double seconds, const std::vector<Counter>& counters) {
    Soaker soaker;
    std::this_thread::sleep_for(std::chrono::milliseconds{100});
    const Reading before = look(soaker, counters);
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    const Reading after = look(soaker, counters);
    const auto elapsed_ns =
        static_cast<std::int64_t>(soaker.processors()) *
        std::chrono::duration_cast<std::chrono::nanoseconds>(after.time - before.time).count();
    nlohmann::json result{{"elapsed_ns", elapsed_ns},
                          {"busy_ns", elapsed_ns - (after.soaked_ns - before.soaked_ns)},
                          {"switches", after.switches - before.switches},
                          {"interrupts", after.interrupts - before.interrupts},
                          {"counters", nlohmann::json::array()}};
    for (std::size_t n = 0; n < counters.size(); ++n) {
        result["counters"].push_back(after.counters[n] - before.counters[n]);
    }
    fmt::print("{}\n", result.dump());
    return 0;
}

} // namespace

int main(int argc, char** argv) {
    double seconds = 0;
    if (argc > 1) {
        std::from_chars(argv[1], argv[1] + std::strlen(argv[1]), seconds);
    }
    if (argc < 3 || !(seconds > 0 && seconds < 3600)) {
        fmt::print(stderr, "usage: busy_meter SECONDS FILE:FIELD[+FIELD]...\n");
        return 2;
    }
    try {
        std::vector<Counter> counters;
        for (int n = 2; n < argc; ++n) {
            counters.push_back(parse(argv[n]));
        }
        return run(seconds, counters);
    } catch (const std::exception& error) {
        fmt::print(stderr, "busy_meter: {}\n", error.what());
        return 1;
    }
}
