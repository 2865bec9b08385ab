// SPDX-License-Identifier: MIT
//
// fuzz_calls CALLS SEED BDF...: every call on every file of udrv, and ethtool's on its
// interfaces, with wrong sizes, pointers, values and order, from several threads and
// processes a device, while files are closed, processes killed and devices unbound under
// them. The devices are bound to udrv and are so again at the end. Prints how many calls
// there were, by kind, and how many of them succeeded.
//
// Registers are read, never written: a chip told at random to do something may do it.
#include <array>
#include <chrono>
#include <cstdlib>

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "fuzz_calls/worker.hpp"

namespace {

using namespace fuzz;

[[noreturn]] void process(const std::string& bdf, std::uint64_t seed) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const rlimit files{64, 64};
    ::setrlimit(RLIMIT_NOFILE, &files);
    survive_bus_errors();
    ::signal(SIGSEGV, SIG_DFL); // that ends it, and the next one begins
    Random random(seed);
    Worker worker(bdf);
    const auto end =
        std::chrono::steady_clock::now() + std::chrono::milliseconds(200 + random.below(1500));
    std::vector<std::thread> threads;
    for (int n = 0; n < 3; n++) {
        threads.emplace_back([&, own = random.next()] { worker.run(own, end); });
    }
    // A thread may sleep in a read that nothing ends: go, whatever they do.
    while (std::chrono::steady_clock::now() < end + std::chrono::milliseconds(100)) {
        ::usleep(10'000);
    }
    ::_exit(0);
}

// ---- All of them -----------------------------------------------------------------------

int run(std::uint64_t calls, std::uint64_t seed, const std::vector<std::string>& devices) {
    Random random(seed);
    struct Running {
        pid_t pid = -1;
        std::size_t device = 0;
    };
    std::vector<Running> running;
    for (std::size_t n = 0; n < devices.size(); n++) {
        running.push_back({-1, n});
        running.push_back({-1, n}); // one has the device, the other wants it
    }
    std::uint64_t processes = 0, kills = 0, unbinds = 0, ended_by_signal = 0;
    auto next_unbind = std::chrono::steady_clock::now();
    while (shared->total < calls) {
        for (Running& r : running) {
            int status = 0;
            if (r.pid > 0 && ::waitpid(r.pid, &status, WNOHANG) == r.pid) {
                ended_by_signal += WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL ? 1U : 0U;
                r.pid = -1;
            }
            if (r.pid <= 0) {
                const std::uint64_t own = random.next();
                r.pid = ::fork();
                if (r.pid == 0) {
                    process(devices[r.device], own);
                }
                processes++;
            } else if (random.one_in(200)) {
                ::kill(r.pid, SIGKILL);
                kills++;
            }
        }
        if (std::chrono::steady_clock::now() > next_unbind) {
            const std::string& bdf =
                devices[random.below(static_cast<std::uint32_t>(devices.size()))];
            (void)store("/sys/bus/pci/drivers/udrv/unbind", bdf);
            ::usleep(random.below(50'000));
            unbinds += store("/sys/bus/pci/drivers/udrv/bind", bdf) ? 1U : 0U;
            next_unbind =
                std::chrono::steady_clock::now() + std::chrono::milliseconds(random.below(2000));
        }
        ::usleep(5000);
    }
    for (const Running& r : running) {
        ::kill(r.pid, SIGKILL);
        ::waitpid(r.pid, nullptr, 0);
    }
    for (std::size_t n = 0; n < nr_kinds; n++) {
        fmt::print("{:12} {:9} calls {:9} succeeded\n", kind_names[n], shared->calls[n].load(),
                   shared->good[n].load());
        report(shared->calls[n] > 0 && (shared->good[n] > 0 || n == call_unknown),
               fmt::format("some '{}' succeeded", kind_names[n]));
    }
    fmt::print("total: {} calls {} processes {} killed {} ended by a signal {} unbinds\n",
               shared->total.load(), processes, kills, ended_by_signal, unbinds);
    return failures == 0 ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
    if (argc < 4) {
        std::fprintf(stderr, "usage: fuzz_calls CALLS SEED BDF...\n");
        return 2;
    }
    void* at =
        ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) {
        return 1;
    }
    shared = static_cast<Shared*>(at); // all zero
    fmt::print("seed {}\n", argv[2]);
    std::fflush(stdout);
    return run(std::strtoull(argv[1], nullptr, 0), std::strtoull(argv[2], nullptr, 0),
               {argv + 3, argv + argc});
}
