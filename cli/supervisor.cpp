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

#include "cli/driver_events.hpp"
#include "cli/successor.hpp"
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
    bool hung = false;
    bool lied = false;   ///< the kernel counted a violation
    pid_t dying = 0;     ///< its session is over, its status still to come
    int status = 0;      ///< as waitpid gives it
    milliseconds age{0}; ///< since it began to serve
};

std::string describe(int status) {
    if (WIFSIGNALED(status)) {
        const char* name = ::sigabbrev_np(WTERMSIG(status));
        return fmt::format("killed by SIG{}", name == nullptr ? "?" : name);
    }
    return fmt::format("exit status {}", WEXITSTATUS(status));
}

/// The signals that a supervisor takes; they are blocked from now on, and so is the one
/// that its successor waits for.
sigset_t blocked_signals(sigset_t& before) {
    sigset_t signals;
    sigemptyset(&signals);
    for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGUSR1}) {
        sigaddset(&signals, number);
    }
    sigset_t blocked = signals;
    sigaddset(&blocked, SIGUSR2);
    ::sigprocmask(SIG_BLOCK, &blocked, &before);
    return signals;
}

class Supervisor {
  public:
    Supervisor(const System& system, const PciAddress& address, const RunOptions& options,
               const SupervisedDriver& driver)
        : system_(system), address_(address), options_(options), driver_(driver),
          deadline_(options.deadline_ms), events_(system, address, blocked_signals(old_mask_)) {
        ::prctl(PR_SET_NAME, supervisor_name);
    }

    int run(char** argv) {
        unsigned short_lives = 0;
        bool ever_served = false;
        while (true) {
            const Ending ending = live();
            bury_last(0);
            if (ending.dying != 0) { // after a long life: what of is said when it is known
                last_ = ending;
                ever_served = true;
                short_lives = 0;
                continue;
            }
            if (ending.upgrade) {
                execute(argv);
            } else if (ending.wanted) {
                return WIFEXITED(ending.status) ? WEXITSTATUS(ending.status) : 1;
            }
            ever_served = ever_served || ending.served;
            if (!ever_served) {
                return WIFEXITED(ending.status) && WEXITSTATUS(ending.status) != 0
                           ? WEXITSTATUS(ending.status)
                           : give_up("it ended before it served: " + reason(ending));
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
            say_ended(ending, delay);
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

    [[nodiscard]] std::string reason(const Ending& ending) const {
        if (ending.hung) {
            return fmt::format("no progress for {} ms",
                               (ending.served ? deadline_ : start_limit).count());
        }
        return (ending.lied ? "it broke the protocol (`dmesg` says how), " : "") +
               describe(ending.status);
    }

    void say_ended(const Ending& ending, milliseconds delay) const {
        spdlog::warn("{}: the driver ended: {}; starting it again in {} ms", address_.str(),
                     reason(ending), delay.count());
    }

    /// Of the one whose successor was started while it was dying. `how`: as for waitpid.
    void bury_last(int how) {
        if (last_.dying != 0 && ::waitpid(last_.dying, &last_.status, how) != 0) {
            say_ended(last_, milliseconds{0});
            last_.dying = 0;
        }
    }

    /// False: told to stop meanwhile.
    bool sleep(milliseconds delay) {
        const auto end = Clock::now() + delay;
        for (auto now = Clock::now(); now < end; now = Clock::now()) {
            const int number =
                events_.wait(std::chrono::duration_cast<milliseconds>(end - now) + milliseconds{1});
            if (number == SIGTERM || number == SIGINT) {
                return false;
            }
        }
        return true;
    }

    /// In a child.
    void prepare() {
        events_.close();
        driver_.prepare();
    }

    /// In a child.
    int serve() {
        ::sigprocmask(SIG_SETMASK, &old_mask_, nullptr);
        return driver_.serve(Heartbeat(heartbeat(), std::max(deadline_ / 4, milliseconds{1})));
    }

    /// One child from start to end.
    Ending live() {
        HeartbeatPage& page = *new (page_.data()) HeartbeatPage{}; // the last child is gone
        const std::string violations = read_line(violations_file());
        events_.restart();
        const pid_t pid = successor_.take();
        Ending ending;
        std::uint64_t beats = 0;
        auto last_beat = Clock::now();
        auto served_at = last_beat;
        std::optional<Clock::time_point> kill_at;
        bool succession = false;
        while (::waitpid(pid, &ending.status, WNOHANG) == 0) {
            const int number =
                events_.wait(std::clamp(deadline_ / 16, milliseconds{10}, milliseconds{250}));
            bury_last(WNOHANG);
            successor_.reap();
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
                successor_.dismiss(); // of the old program, or of nobody
                kill_at = now + goodbye_limit;
                ::kill(pid, SIGTERM);
            } else if (number == SIGUSR1) {
                ::kill(pid, SIGUSR1);
            }
            if (!ending.hung && now - last_beat > (ending.served ? deadline_ : start_limit)) {
                ending.hung = true;
                ::kill(pid, SIGKILL);
            } else if (kill_at && now >= *kill_at) {
                ::kill(pid, SIGKILL);
            }
            if (!ending.served || now - served_at < long_life || kill_at) {
                continue;
            }
            if (events_.dying(pid) && system_.bound_driver(address_) == "udrv") {
                ending.dying = pid;
                break;
            }
            if (!succession) { // once a life: one that can not be is not tried for ever
                successor_.make();
                succession = true;
            }
        }
        if (ending.served) {
            ending.age = std::chrono::duration_cast<milliseconds>(Clock::now() - served_at);
        }
        ending.lied = read_line(violations_file()) != violations;
        return ending;
    }

    [[nodiscard]] HeartbeatPage& heartbeat() const {
        return *std::launder(reinterpret_cast<HeartbeatPage*>(page_.data()));
    }

    [[nodiscard]] fs::path violations_file() const {
        return system_.device(address_) / "udrv/violations";
    }

    /// The program's file as it is now, with no child left; returns only if that can not be
    /// executed.
    void execute(char** argv) const {
        sigset_t mask;
        ::sigprocmask(SIG_SETMASK, &old_mask_, &mask);
        ::execv(program_.c_str(), argv);
        spdlog::error("upgrade: execute {}: {}; the old program goes on", program_.string(),
                      std::strerror(errno));
        ::sigprocmask(SIG_SETMASK, &mask, nullptr);
    }

    const System& system_;
    PciAddress address_;
    const RunOptions& options_;
    const SupervisedDriver& driver_;
    milliseconds deadline_;
    MemoryMap page_ = shared_page();
    sigset_t old_mask_{}; ///< a driver's
    DriverEvents events_;
    Successor successor_{[this] { prepare(); }, [this] { return serve(); }};
    Ending last_;                                           ///< while its `dying` is not 0
    fs::path program_ = fs::read_symlink("/proc/self/exe"); ///< now: later it may be "(deleted)"
};

} // namespace

int supervise(const System& system, const PciAddress& address, const RunOptions& options,
              char** argv, const SupervisedDriver& driver) {
    return Supervisor(system, address, options, driver).run(argv);
}

} // namespace udrv::cli
