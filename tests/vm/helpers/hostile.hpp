// SPDX-License-Identifier: MIT
//
// What the hostile drivers of the tests share: seeded random numbers, mutation of
// shared words from a second thread, survival when a mapping is revoked under them,
// and checks.
#pragma once

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include "checks.hpp"
#include "libudrv/device/device.hpp"
#include "libudrv/device/irq.hpp"
#include "mix.hpp"
#include <udrv/udrv.h>

namespace hostile {

using namespace checks;

constexpr std::size_t page_bytes = 4096;

/// The same everywhere for the same seed.
class Random {
  public:
    explicit Random(std::uint64_t seed) : state_(seed) {}
    std::uint64_t next() {
        const std::uint64_t number = mix(state_);
        state_ += mix_step;
        return number;
    }
    std::uint32_t word() { return static_cast<std::uint32_t>(next()); }
    /// 0 to limit - 1
    std::uint32_t below(std::uint32_t limit) {
        return static_cast<std::uint32_t>((next() >> 32) * limit >> 32);
    }
    bool one_in(std::uint32_t n) { return below(n) == 0; }

  private:
    std::uint64_t state_;
};

/// Writes `text` to a file of sysfs, in one call.
inline bool store(const std::string& path, const std::string& text) {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    const bool good = fd >= 0 && ::write(fd, text.data(), text.size()) > 0;
    ::close(fd);
    return good;
}

/// BDF MUTATIONS [SEED]. Without a seed, another one each time; it is printed, to repeat
/// a run.
struct Arguments {
    udrv::PciAddress address;
    std::uint64_t wanted;
    std::uint64_t seed;

    /// With 2 arguments at least.
    Arguments(int argc, char** argv)
        : address(udrv::PciAddress::parse(argv[1])), wanted(std::strtoull(argv[2], nullptr, 0)),
          seed(argc > 3 ? std::strtoull(argv[3], nullptr, 0)
                        : static_cast<std::uint64_t>(::getpid()) * 7919) {}
};

// ---- Revoked mappings ------------------------------------------------------------

inline std::atomic<std::uint64_t> bus_errors{0};

/// A touch of a mapping that is gone finds a page of our own from then on.
inline void on_bus_error(int /*signal*/, siginfo_t* info, void* /*context*/) {
    const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr) & ~(page_bytes - 1);
    if (::mmap(reinterpret_cast<void*>(address), page_bytes, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) {
        ::_exit(99);
    }
    bus_errors.fetch_add(1);
}
inline void survive_bus_errors() {
    struct sigaction action {};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO;
    ::sigaction(SIGBUS, &action, nullptr);
}

// ---- Shared memory ----------------------------------------------------------------

/// One end of a ring, without the care of the library: any index can be stored.
template <typename T>
struct Ring {
    udrv_ring_header* header = nullptr;
    T* entries = nullptr;
    std::uint32_t depth = 0;
    std::atomic<std::uint32_t> index{0}; ///< ours; the mutator aims with it

    void at(std::byte* map, std::uint32_t offset, std::uint32_t count) {
        void* place = map + offset;
        header = static_cast<udrv_ring_header*>(place);
        void* first = header + 1;
        entries = static_cast<T*>(first);
        depth = count;
        index = 0;
    }
    [[nodiscard]] T get(std::uint32_t i) const { return entries[i & (depth - 1)]; }
    void set(std::uint32_t i, const T& entry) { entries[i & (depth - 1)] = entry; }
    [[nodiscard]] std::uint32_t producer() const {
        return std::atomic_ref(header->producer.value).load(std::memory_order_acquire);
    }
    void produce(std::uint32_t value) {
        std::atomic_ref(header->producer.value).store(value, std::memory_order_release);
    }
    /// As a consumer: is there one more? An index that makes no sense is nothing.
    [[nodiscard]] bool waiting() const { return producer() - index - 1 < depth; }
    /// As a producer: the honest way.
    void push(const T& entry) {
        set(index, entry);
        produce(index + 1);
        ++index;
    }
};

/// Words that a mutator may write: an area, or, with a cursor, the entries near it.
struct Target {
    std::size_t offset = 0;
    std::size_t bytes = 0;
    const std::atomic<std::uint32_t>* cursor = nullptr;
    std::uint32_t depth = 0; ///< with a cursor: of the ring at `offset`
    std::uint32_t entry_bytes = 0;
};
template <typename T>
Target entries_of(const std::byte* map, const Ring<T>& ring) {
    const void* first = ring.entries;
    return {static_cast<std::size_t>(static_cast<const std::byte*>(first) - map), 0, &ring.index,
            ring.depth, sizeof(T)};
}
inline Target word_at(const std::byte* map, const void* word, std::size_t bytes = 4) {
    return {static_cast<std::size_t>(static_cast<const std::byte*>(word) - map), bytes};
}

/// What an evil value looks like: near the true one, or far from it.
inline std::uint32_t evil(Random& random, std::uint32_t old) {
    switch (random.below(10)) {
    case 0:
        return old + 1;
    case 1:
        return old - 1;
    case 2:
        return old ^ 1U << random.below(32);
    case 3:
        return 0;
    case 4:
        return ~0U;
    case 5:
        return 1U << 31;
    case 6:
        return random.below(4096);
    case 7:
        return old + (1U << random.below(12));
    case 8:
        return old << 1;
    default:
        return random.word();
    }
}

inline void mutate(std::byte* map, const Target& target, Random& random) {
    std::size_t offset = target.offset;
    if (target.cursor != nullptr) {
        const std::uint32_t entry = target.cursor->load() + random.below(8) - 6;
        offset += std::size_t{entry & (target.depth - 1)} * target.entry_bytes;
        offset += std::size_t{4} * random.below(target.entry_bytes / 4);
    } else {
        offset += std::size_t{4} * random.below(static_cast<std::uint32_t>(target.bytes / 4));
    }
    void* place = map + offset;
    std::atomic_ref word(*static_cast<std::uint32_t*>(place));
    word.store(evil(random, word.load(std::memory_order_relaxed)), std::memory_order_relaxed);
}

/// A second thread that writes while the first one works and the kernel reads. With
/// `pause_us`, not more often than that: for words that end the session at once.
class Mutator {
  public:
    Mutator(std::byte* map, std::vector<Target> targets, std::uint64_t seed, std::uint64_t budget,
            useconds_t pause_us = 0)
        : map_(map), targets_(std::move(targets)), seed_(seed), budget_(budget),
          pause_us_(pause_us), thread_([this] { run(); }) {}
    ~Mutator() { stop(); }
    Mutator(const Mutator&) = delete;
    Mutator& operator=(const Mutator&) = delete;

    void stop() {
        stop_ = true;
        if (thread_.joinable()) {
            thread_.join();
        }
    }
    [[nodiscard]] std::uint64_t count() const { return count_; }
    [[nodiscard]] bool done() const { return count_ >= budget_; }

  private:
    void run() {
        Random random(seed_);
        while (!stop_ && !targets_.empty() && count_ < budget_) {
            const auto n = random.below(static_cast<std::uint32_t>(targets_.size()));
            mutate(map_, targets_[n], random);
            ++count_;
            if (pause_us_ != 0 || (count_ & 511U) == 0) {
                ::usleep(pause_us_); // and lets the others run
            }
        }
    }

    std::byte* map_;
    std::vector<Target> targets_;
    std::uint64_t seed_;
    std::uint64_t budget_;
    useconds_t pause_us_;
    std::atomic<std::uint64_t> count_{0};
    std::atomic<bool> stop_{false};
    std::thread thread_;
};

// ---- Looking from outside ------------------------------------------------------------

inline std::int64_t attribute(const udrv::PciAddress& address, const std::string& name) {
    std::ifstream file(fmt::format("/sys/bus/pci/devices/{}/udrv/{}", address.str(), name));
    std::int64_t value = -1;
    file >> value;
    return value;
}
inline std::string text_attribute(const udrv::PciAddress& address, const std::string& name) {
    std::ifstream file(fmt::format("/sys/bus/pci/devices/{}/udrv/{}", address.str(), name));
    std::string text;
    std::getline(file, text);
    return text;
}
/// For what has to happen, on a host however busy.
constexpr int patience_ms = 20'000;

template <typename F>
bool wait_until(int timeout_ms, F&& condition) {
    for (int i = 0; i < timeout_ms; i++) {
        if (condition()) {
            return true;
        }
        ::usleep(1000);
    }
    return condition();
}

/// Whether a touch of a map raises a bus error, as it must soon after the session's end.
inline bool revoked(std::uint32_t& word) {
    const auto before = bus_errors.load();
    return wait_until(patience_ms, [&] {
        std::atomic_ref(word).store(0);
        return bus_errors > before;
    });
}

/// The kernel's messages from now on.
class KernelLog {
  public:
    KernelLog() : fd_(::open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC)) {
        ::lseek(fd_.value(), 0, SEEK_END);
    }
    /// New lines with `text` in them.
    int count(const std::string& text) {
        std::string record(8192, '\0');
        int found = 0;
        while (true) {
            const auto length = ::read(fd_.value(), record.data(), record.size());
            if (length < 0 && errno == EPIPE) {
                continue; // overwritten before we came
            }
            if (length <= 0) {
                return found;
            }
            const std::string line(record.data(), static_cast<std::size_t>(length));
            found += line.find(text) != std::string::npos ? 1 : 0;
        }
    }

  private:
    udrv::FileDescriptor fd_;
};

} // namespace hostile
