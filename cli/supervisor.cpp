// SPDX-License-Identifier: MIT
#include "cli/supervisor.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <new>
#include <optional>
#include <string>

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libudrv/error.hpp"
#include "libudrv/file.hpp"

namespace udrv::cli {

namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds long_life{1000}; ///< after that, a death is not its start's fault
constexpr milliseconds first_delay{10};
constexpr milliseconds longest_delay{5000};
constexpr milliseconds start_limit{60'000};   ///< chips reset, disks spin up
constexpr milliseconds goodbye_limit{10'000}; ///< from SIGTERM to SIGKILL

/// The page that child after child counts in.
MemoryMap shared_page() {
    void* memory = ::mmap(nullptr, sizeof(HeartbeatPage), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        throw_errno(errno, "start the supervisor: share memory");
    }
    return {memory, sizeof(HeartbeatPage)};
}

struct Ending {
    bool wanted = false;  ///< we were told to stop
    bool upgrade = false; ///< or to make way for a new program
    bool served = false;  ///< it came as far as serving
    int status = 0;       ///< as waitpid gives it
    milliseconds age{0};  ///< since it began to serve
    std::string reason;
};

std::string describe(int status) {
    if (WIFSIGNALED(status)) {
        const char* name = ::sigabbrev_np(WTERMSIG(status));
        return fmt::format("killed by SIG{}", name == nullptr ? "?" : name);
    }
    return fmt::format("exit status {}", WEXITSTATUS(status));
}

class Supervisor {
  public:
    Supervisor(const System& system, const PciAddress& address, const RunOptions& options)
        : system_(system), address_(address), options_(options), deadline_(options.deadline_ms) {
        sigemptyset(&signals_);
        for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGUSR1}) {
            sigaddset(&signals_, number);
        }
        ::sigprocmask(SIG_BLOCK, &signals_, &old_mask_);
        ::prctl(PR_SET_NAME, supervisor_name);
    }

    int run(char** argv, const std::function<int(Heartbeat)>& serve) {
        unsigned short_lives = 0;
        bool ever_served = false;
        while (true) {
            const Ending ending = live(serve);
            if (ending.upgrade) {
                execute(argv);
            } else if (ending.wanted) {
                return WIFEXITED(ending.status) ? WEXITSTATUS(ending.status) : 1;
            }
            ever_served = ever_served || ending.served;
            if (!ever_served) {
                return WIFEXITED(ending.status) && WEXITSTATUS(ending.status) != 0
                           ? WEXITSTATUS(ending.status)
                           : give_up("it ended before it served: " + ending.reason);
            }
            if (system_.bound_driver(address_) != "udrv") {
                return give_up("the device is not bound to udrv any more");
            }
            short_lives = ending.age >= long_life ? 0 : short_lives + 1;
            if (short_lives > options_.restart_limit) {
                return give_up(
                    fmt::format("it died {} times within a second of its start", short_lives));
            }
            const milliseconds delay = delay_after(short_lives);
            spdlog::warn("{}: the driver ended: {}; starting it again in {} ms", address_.str(),
                         ending.reason, delay.count());
            if (!sleep(delay)) {
                return 0;
            }
        }
    }

  private:
    static milliseconds delay_after(unsigned short_lives) {
        if (short_lives == 0) {
            return milliseconds{0};
        }
        const milliseconds doubled = first_delay * (1 << std::min(short_lives - 1, 12U));
        return std::min(longest_delay, doubled);
    }

    int give_up(const std::string& why) const {
        fmt::print(stderr, "udrv: restart the driver of {}: {}; the lines above say more\n",
                   address_.str(), why);
        return 1;
    }

    /// The next signal, or 0 after `timeout`.
    int wait_signal(milliseconds timeout) const {
        const timespec time{timeout.count() / 1000, timeout.count() % 1000 * 1'000'000};
        return std::max(::sigtimedwait(&signals_, nullptr, &time), 0);
    }

    /// False: told to stop meanwhile.
    bool sleep(milliseconds delay) const {
        const auto end = Clock::now() + delay;
        for (auto now = Clock::now(); now < end; now = Clock::now()) {
            const int number =
                wait_signal(std::chrono::duration_cast<milliseconds>(end - now) + milliseconds{1});
            if (number == SIGTERM || number == SIGINT) {
                return false;
            }
        }
        return true;
    }

    pid_t start(HeartbeatPage& page, const std::function<int(Heartbeat)>& serve) {
        const pid_t supervisor = ::getpid();
        const pid_t pid = ::fork();
        if (pid < 0) {
            throw_errno(errno, "start the driver");
        }
        if (pid != 0) {
            return pid;
        }
        // Nobody would start it again, nor end it.
        ::prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (::getppid() != supervisor) {
            ::_exit(1);
        }
        ::sigprocmask(SIG_SETMASK, &old_mask_, nullptr);
        int status = 1;
        try {
            status = serve(Heartbeat(page, std::max(deadline_ / 4, milliseconds{1})));
        } catch (const std::exception& error) {
            fmt::print(stderr, "udrv: {}\n", error.what());
        }
        std::fflush(nullptr);
        ::_exit(status);
    }

    /// One child from start to end.
    Ending live(const std::function<int(Heartbeat)>& serve) {
        HeartbeatPage& page = *new (page_.data()) HeartbeatPage{}; // the last child is gone
        const std::string violations = read_line(violations_file());
        const pid_t pid = start(page, serve);
        Ending ending;
        std::uint64_t beats = 0;
        auto last_beat = Clock::now();
        auto served_at = last_beat;
        bool hung = false;
        std::optional<Clock::time_point> kill_at;
        while (::waitpid(pid, &ending.status, WNOHANG) == 0) {
            const int number = wait_signal(std::max(deadline_ / 16, milliseconds{10}));
            const auto now = Clock::now();
            if (!ending.served && page.serving.load(std::memory_order_relaxed) != 0) {
                ending.served = true;
                served_at = last_beat = now;
            }
            if (const std::uint64_t seen = page.beats.load(std::memory_order_relaxed);
                seen != beats) {
                beats = seen;
                last_beat = now;
            }
            if (number == SIGTERM || number == SIGINT || number == SIGHUP) {
                ending.wanted = number != SIGHUP || ending.wanted;
                ending.upgrade = number == SIGHUP && !ending.wanted;
                kill_at = now + goodbye_limit;
                ::kill(pid, SIGTERM);
            } else if (number == SIGUSR1) {
                ::kill(pid, SIGUSR1);
            }
            if (!hung && now - last_beat > (ending.served ? deadline_ : start_limit)) {
                hung = true;
                ::kill(pid, SIGKILL);
            } else if (kill_at && now >= *kill_at) {
                ::kill(pid, SIGKILL);
            }
        }
        if (ending.served) {
            ending.age = std::chrono::duration_cast<milliseconds>(Clock::now() - served_at);
        }
        ending.reason = describe(ending.status);
        if (hung) {
            ending.reason = fmt::format("no progress for {} ms",
                                        (ending.served ? deadline_ : start_limit).count());
        } else if (read_line(violations_file()) != violations) {
            ending.reason = "it broke the protocol (`dmesg` says how), " + ending.reason;
        }
        return ending;
    }

    [[nodiscard]] fs::path violations_file() const {
        return system_.device(address_) / "udrv/violations";
    }

    /// The program's file as it is now; returns only if that can not be executed.
    void execute(char** argv) const {
        ::sigprocmask(SIG_SETMASK, &old_mask_, nullptr);
        ::execv(program_.c_str(), argv);
        spdlog::error("upgrade: execute {}: {}; the old program goes on", program_.string(),
                      std::strerror(errno));
        ::sigprocmask(SIG_BLOCK, &signals_, nullptr);
    }

    const System& system_;
    PciAddress address_;
    const RunOptions& options_;
    milliseconds deadline_;
    MemoryMap page_ = shared_page();
    sigset_t signals_{};
    sigset_t old_mask_{};
    fs::path program_ = fs::read_symlink("/proc/self/exe"); ///< now: later it may be "(deleted)"
};

} // namespace

int supervise(const System& system, const PciAddress& address, const RunOptions& options,
              char** argv, const std::function<int(Heartbeat)>& serve) {
    return Supervisor(system, address, options).run(argv, serve);
}

} // namespace udrv::cli
