// SPDX-License-Identifier: MIT
//
// unbind_race ROUNDS SEED BDF...: drivers that do all that a driver may do, from several
// threads each, while their devices are unbound, removed and found again, and they
// themselves are killed, at the same moments. The devices are bound to udrv at the end
// as they are at the start. Prints how often each thing was done; whether the kernel
// stood it, the caller sees in its log.
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <thread>

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <udrv/net.h>

#include "hostile.hpp"

namespace {

using namespace hostile;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// What a call pins at most: long enough to be in the middle of it when the device goes.
constexpr std::size_t pinned_bytes = std::size_t{400} << 20;
constexpr std::size_t memory_bytes = std::size_t{4} << 20;

enum Kind : std::size_t {
    kind_open,
    kind_call,
    kind_exchange,
    kind_coherent,
    kind_map,
    kind_attach,
    kind_irq,
    kind_state,
    kind_unbind,
    kind_remove,
    kind_reset,
    kind_kill,
    nr_kinds
};
constexpr std::array<const char*, nr_kinds> kind_names{"open",   "call",   "exchange", "coherent",
                                                       "map",    "attach", "irq",      "state",
                                                       "unbind", "remove", "reset",    "kill"};

/// Shared by all processes.
struct Counts {
    std::array<std::atomic<std::uint64_t>, nr_kinds> good;
};
Counts* counts = nullptr;

bool count(Kind kind, bool good) {
    counts->good[kind] += good ? 1 : 0;
    return good;
}

// ---- A driver ----------------------------------------------------------------------

std::string sysfs(const std::string& bdf) {
    return "/sys/bus/pci/devices/" + bdf;
}

class Driver {
  public:
    explicit Driver(std::string bdf) : bdf_(std::move(bdf)) {
        // The same few pages again and again: pinning takes time, not memory.
        const int file = ::memfd_create("pinned", MFD_CLOEXEC);
        (void)!::ftruncate(file, memory_bytes);
        void* at = ::mmap(nullptr, pinned_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        memory_ = static_cast<std::byte*>(at);
        for (std::size_t n = 0; n < pinned_bytes; n += memory_bytes) {
            (void)::mmap(memory_ + n, memory_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
                         file, 0);
        }
        ::close(file);
    }

    [[noreturn]] void run(std::uint64_t seed) {
        Random random(seed);
        if (random.one_in(2)) {
            signal_often(); // whatever it does is interrupted, opening a device, too
        }
        while (true) {
            const int fd = ::open(("/dev/udrv/" + bdf_).c_str(), O_RDWR | O_CLOEXEC);
            if (!count(kind_open, fd >= 0)) {
                ::usleep(2000);
                continue;
            }
            session(fd, random);
        }
    }

  private:
    static void signal_often() {
        struct sigaction action {};
        action.sa_handler = [](int /*signal*/) {};
        ::sigaction(SIGALRM, &action, nullptr);
        constexpr timeval period{0, 700};
        const itimerval timer{period, period};
        ::setitimer(ITIMER_REAL, &timer, nullptr);
    }

    void session(int fd, Random& random) {
        const auto end = steady_clock::now() + milliseconds(random.below(300));
        std::atomic<bool> over{false};
        std::vector<std::thread> threads;
        const auto repeat = [&](auto what) {
            threads.emplace_back([&over, what, own = Random(random.next())]() mutable {
                while (!over) {
                    what(own);
                    ::usleep(own.below(3000));
                }
            });
        };
        udrv_irq_setup setup{};
        setup.mode = UDRV_IRQ_INTX;
        setup.nr_vectors = 1;
        (void)udrv::call(fd, UDRV_IOC_IRQ_SETUP, setup);
        (void)::ioctl(fd, UDRV_IOC_BUS_MASTER, 1UL);
        repeat([&](Random& r) { exchange(fd, r); });
        repeat([&](Random& r) { exchange(fd, r); });
        repeat([&](Random& r) { calls(fd, r); });
        threads.emplace_back([&over, fd] { // without a pause: a reset meets it in the call
            udrv_config config{};
            while (!over && udrv::call(fd, UDRV_IOC_CONFIG, config) == 0) {
            }
        });
        repeat([&](Random& r) { maps(fd, r); });
        repeat([&](Random&) { attach(fd); });
        repeat([&](Random& r) { interrupts(fd, r); });
        repeat([&](Random&) { state(); });
        while (steady_clock::now() < end) {
            ::usleep(5000);
        }
        if (random.one_in(3)) {
            ::_exit(0); // whatever the threads do
        }
        over = true;
        if (random.one_in(2)) {
            ::close(fd); // under them; the number is not used again before they are gone
        }
        for (std::thread& thread : threads) {
            thread.join();
        }
        ::close(fd);
    }

    void exchange(int fd, Random& random) {
        const std::size_t pages =
            random.one_in(2) ? 1 + random.below(16) : pinned_bytes / page_bytes;
        udrv_dma_segment segment{}; // one is too few for most: then it is undone
        udrv_dma_region region{};
        region.vaddr = reinterpret_cast<std::uintptr_t>(memory_);
        region.len_bytes = pages * page_bytes;
        region.segments = reinterpret_cast<std::uintptr_t>(&segment);
        region.nr_segments = 1;
        region.flags = UDRV_DMA_TO_DEVICE;
        udrv_dma_exchange x{};
        x.regions = reinterpret_cast<std::uintptr_t>(&region);
        x.nr_regions = 1;
        if (count(kind_exchange, udrv::call(fd, UDRV_IOC_DMA_EXCHANGE, x) == 1) &&
            random.one_in(2)) {
            region.flags = 0;
            (void)udrv::call(fd, UDRV_IOC_DMA_EXCHANGE, x);
        }
    }

    static void calls(int fd, Random& random) {
        udrv_info info{};
        info.abi_version = UDRV_ABI_VERSION;
        count(kind_call, udrv::call(fd, UDRV_IOC_INFO, info) == 0);
        udrv_config config{};
        config.offset = 4 * random.below(16);
        (void)udrv::call(fd, UDRV_IOC_CONFIG, config);
        (void)::ioctl(fd, UDRV_IOC_BUS_MASTER, static_cast<unsigned long>(random.below(2)));
        udrv_coherent coherent{};
        coherent.len_bytes = page_bytes;
        if (random.one_in(8) &&
            count(kind_coherent, udrv::call(fd, UDRV_IOC_COHERENT, coherent) == 0)) {
            touch(fd, UDRV_MMAP_COHERENT(coherent.handle), 1);
        }
    }

    /// Maps a page, touches it for a while, unmaps it.
    static bool touch(int fd, std::uint64_t offset, unsigned times) {
        void* at = ::mmap(nullptr, page_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                          static_cast<off_t>(offset));
        if (at == MAP_FAILED) {
            return false;
        }
        for (; times > 0; times--) {
            (void)*static_cast<volatile std::uint32_t*>(at);
            ::usleep(200);
        }
        ::munmap(at, page_bytes);
        return true;
    }

    static void maps(int fd, Random& random) {
        count(kind_map, touch(fd, UDRV_MMAP_BAR(0), random.below(20)));
        count(kind_map, touch(fd, UDRV_MMAP_PORT, random.below(20)));
    }

    static void attach(int fd) {
        udrv_net_attach net{};
        net.mac[0] = 2;
        net.nr_queues = 1;
        net.tx_depth = net.rx_depth = UDRV_NET_MIN_DEPTH;
        net.rx_buf_bytes = UDRV_NET_MAX_BUF;
        net.tx_max_segments = 32;
        net.max_mtu = 1500;
        udrv_attach request{};
        request.kind = UDRV_PORT_NET;
        net.size = sizeof(net);
        request.arg = reinterpret_cast<std::uintptr_t>(&net);
        count(kind_attach, udrv::call(fd, UDRV_IOC_ATTACH, request) == 0);
    }

    static void interrupts(int fd, Random& random) {
        const int irq = ::ioctl(fd, UDRV_IOC_IRQ_OPEN, 0UL);
        if (!count(kind_irq, irq >= 0)) {
            return;
        }
        udrv_irq_events events{};
        for (std::uint32_t n = random.below(20); n > 0; n--) {
            pollfd file{irq, POLLIN, 0};
            if (::poll(&file, 1, 5) > 0) {
                (void)!::read(irq, &events, sizeof(events));
            }
            (void)!::write(irq, &events, sizeof(events));
        }
        if (random.one_in(4)) {
            (void)!::read(irq, &events, sizeof(events)); // sleeps until the session ends
        }
        ::close(irq);
    }

    void state() {
        std::array<char, 32> text{};
        for (const char* name : {"/udrv/state", "/udrv/owner", "/udrv/pinned_bytes"}) {
            const int fd = ::open((sysfs(bdf_) + name).c_str(), O_RDONLY | O_CLOEXEC);
            count(kind_state, ::read(fd, text.data(), text.size()) > 0);
            pollfd file{fd, POLLPRI, 0};
            (void)::poll(&file, 1, 1);
            ::close(fd);
        }
    }

    std::string bdf_;
    std::byte* memory_;
};

// ---- Those that pull it away from under them ------------------------------------------

void bind(const std::string& bdf) {
    (void)store("/sys/bus/pci/rescan", "1");
    (void)store(sysfs(bdf) + "/driver_override", "udrv");
    (void)store("/sys/bus/pci/drivers_probe", bdf);
}

bool bound(const std::string& bdf) {
    return ::access((sysfs(bdf) + "/udrv/state").c_str(), F_OK) == 0;
}

pid_t start(const std::string& bdf, std::uint64_t seed) {
    const pid_t pid = ::fork();
    if (pid == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        survive_bus_errors();
        Driver(bdf).run(seed);
    }
    return pid;
}

int run(std::uint64_t rounds, std::uint64_t seed, const std::vector<std::string>& devices) {
    Random random(seed);
    struct Running {
        std::string bdf;
        pid_t pid;
    };
    std::vector<Running> drivers;
    for (const std::string& bdf : devices) {
        drivers.push_back({bdf, start(bdf, random.next())}); // one has the device,
        drivers.push_back({bdf, start(bdf, random.next())}); // the other wants it
    }
    for (std::uint64_t round = 0; round < rounds; round++) {
        Running& one = drivers[random.below(static_cast<std::uint32_t>(drivers.size()))];
        ::usleep(random.below(100'000));
        std::vector<std::thread> threads;
        const std::string bdf = one.bdf;
        const std::uint32_t what = random.below(10);
        if (what >= 8 || what == 0) {
            threads.emplace_back([&] { count(kind_reset, store(sysfs(bdf) + "/reset", "1")); });
        }
        if (what < 7) {
            threads.emplace_back(
                [&] { count(kind_unbind, store("/sys/bus/pci/drivers/udrv/unbind", bdf)); });
        }
        if (what == 0 || what == 7) {
            threads.emplace_back([&] { count(kind_remove, store(sysfs(bdf) + "/remove", "1")); });
        }
        if (what <= 3) {
            ::usleep(random.below(2000));
            count(kind_kill, ::kill(one.pid, SIGKILL) == 0);
        }
        for (std::thread& thread : threads) {
            thread.join();
        }
        bind(bdf);
        for (Running& driver : drivers) {
            if (::waitpid(driver.pid, nullptr, WNOHANG) == driver.pid) {
                driver.pid = start(driver.bdf, random.next());
            }
        }
    }
    for (const Running& driver : drivers) {
        ::kill(driver.pid, SIGKILL);
        ::waitpid(driver.pid, nullptr, 0);
    }
    for (std::size_t n = 0; n < nr_kinds; n++) {
        report(counts->good[n] > 0, fmt::format("{}: {}", kind_names[n], counts->good[n].load()),
               counts->good[n] > 0 ? "" : "it never succeeded");
    }
    for (const std::string& bdf : devices) {
        report(bound(bdf), bdf + " is bound at the end");
    }
    return failures == 0 ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
    if (argc < 4) {
        std::fprintf(stderr, "usage: unbind_race ROUNDS SEED BDF...\n");
        return 2;
    }
    counts = static_cast<Counts*>(
        ::mmap(nullptr, sizeof(Counts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    return run(std::strtoull(argv[1], nullptr, 0), std::strtoull(argv[2], nullptr, 0),
               {argv + 3, argv + argc});
}
