// SPDX-License-Identifier: MIT
#include "cli/supervisor.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cli/child.hpp"
#include "cli/driver_events.hpp"
#include "cli/history.hpp"
#include "cli/journal.hpp"
#include "cli/service_manager.hpp"
#include "cli/status.hpp"
#include "libudrv/error.hpp"
#include "libudrv/process/supervised.hpp"

namespace udrv::cli {

namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;
using Do = Supervision::Do;

/// Blocks them for good: a child gets them blocked, too, and opens them in its turn.
const sigset_t& blocked_signals() {
    ::sigprocmask(SIG_BLOCK, &supervision_signals(), nullptr);
    return supervision_signals();
}

/// A process that waits for the result of an upgrade.
struct Asker {
    pid_t pid;
    FileDescriptor process; ///< a pidfd: it cannot be taken for another
};

class Supervisor {
  public:
    Supervisor(const System& system, const PciAddress& address, const SupervisedProgram& program,
               const SupervisionLimits& limits)
        : system_(system), address_(address), path_(program.path), argv_(program.argv),
          deadline_(limits.deadline), events_(system, address, blocked_signals()),
          supervision_(limits), program_(program.path) {
        if (!program_) {
            throw_errno(errno, fmt::format("start the supervisor: open {}", path_.string()));
        }
        ::prctl(PR_SET_NAME, supervisor_name);
    }

    int run() {
        carry_out(supervision_.begin(Clock::now()));
        while (!status_) {
            events_.wait(pause(), {driver_.status_file(), tried_.status_file()});
            manager_.awake(Clock::now());
            take_signals();
            look_at_tried();
            look_at_driver();
            bury(false);
            if (successor_.ended()) { // the next death is followed by a process made only then
                successor_ = Child();
            }
            carry_out(supervision_.tick(Clock::now()));
        }
        bury(true);
        return *status_;
    }

  private:
    /// Until there is something to decide, or to look at: beats do not wake us.
    [[nodiscard]] milliseconds pause() const {
        const milliseconds look = std::clamp(deadline_ / 16, milliseconds{10}, milliseconds{250});
        const auto due = supervision_.due();
        if (!due) {
            return look;
        }
        const auto left = std::chrono::ceil<milliseconds>(*due - Clock::now());
        return std::clamp(left, milliseconds{0}, look);
    }

    // ---- Events ----------------------------------------------------------------------

    void take_signals() {
        while (const auto signal = events_.next_signal()) {
            switch (signal->ssi_signo) {
            case SIGTERM:
            case SIGINT:
                manager_.stopping();
                carry_out(supervision_.asked_to_stop(Clock::now()));
                break;
            case SIGHUP:
                take_asker(*signal);
                carry_out(supervision_.asked_to_upgrade(Clock::now()));
                break;
            case SIGUSR1:
                carry_out(supervision_.asked_to_report());
                break;
            default: // SIGCHLD only wakes us
                break;
            }
        }
    }

    void take_asker(const signalfd_siginfo& signal) {
        if (signal.ssi_code != SI_QUEUE || signal.ssi_int != upgrade_request) {
            return;
        }
        const auto pid = static_cast<pid_t>(signal.ssi_pid);
        FileDescriptor process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
        if (process) {
            askers_.push_back({pid, std::move(process)});
        }
    }

    void look_at_tried() {
        if (!tried_) {
            return;
        }
        tried_.listen();
        if (tried_.ready()) {
            carry_out(supervision_.tried_ready(Clock::now()));
        }
        if (const auto status = tried_.ended()) {
            carry_out(supervision_.tried_died(Supervision::describe(*status), Clock::now()));
        }
    }

    void look_at_driver() {
        if (!driver_) {
            return;
        }
        driver_.listen();
        if (!serving_ && driver_.serving()) {
            serving_ = true;
            manager_.serving(driver_.pid());
            carry_out(supervision_.serves(Clock::now()));
        }
        if (const std::uint64_t beats = driver_.beats(); beats != beats_) {
            beats_ = beats;
            carry_out(supervision_.beats(Clock::now()));
        }
        if (const auto status = driver_.ended()) {
            carry_out(supervision_.died(death(*status), Clock::now()));
        } else if (driver_ && events_.dying(driver_.pid())) {
            carry_out(supervision_.session_over(death(0), Clock::now()));
        }
    }

    [[nodiscard]] Death death(int status) const {
        return {.status = status,
                .lied = read_line(violations_file()) != violations_,
                .bound = system_.bound_driver(address_) == "udrv"};
    }

    [[nodiscard]] fs::path violations_file() const {
        return system_.device(address_) / "udrv/violations";
    }

    // ---- Actions ---------------------------------------------------------------------

    void carry_out(const Supervision::Actions& actions) {
        for (const Supervision::Action& action : actions) {
            carry_out(action);
        }
        // The next driver has begun by now.
        for (const std::string& cause : std::exchange(causes_, {})) {
            record_death(system_, address_, driver_name(), cause);
        }
    }

    void carry_out(const Supervision::Action& action) {
        switch (action.what) {
        case Do::start:
            start(successor_ ? std::move(successor_) : make(program_));
            break;
        case Do::make_successor:
            successor_ = make(program_);
            break;
        case Do::dismiss_successor:
            successor_.dismiss();
            break;
        case Do::try_program:
            try_program();
            break;
        case Do::start_tried:
            start(std::move(tried_));
            break;
        case Do::adopt_tried:
            program_ = std::move(tried_program_);
            break;
        case Do::drop_tried:
            tried_.dismiss();
            tried_program_ = Program();
            break;
        case Do::let_die:
            bury(true); // the last one
            dying_ = std::move(driver_);
            break;
        case Do::ask_to_leave:
            driver_.signal(SIGTERM);
            break;
        case Do::kill:
            driver_.signal(SIGKILL);
            break;
        case Do::report:
            driver_.signal(SIGUSR1);
            break;
        case Do::say:
            say(action.text, action.cause);
            break;
        case Do::answer:
            answer(action.value);
            break;
        case Do::end:
            status_ = action.value;
            break;
        }
    }

    void say(const std::string& text, const std::string& cause) {
        if (!journal_.warn(fmt::format("{}: {}", address_.str(), text),
                           {{"UDRV_BDF", address_.str()},
                            {"UDRV_DRIVER", driver_name()},
                            {"UDRV_CAUSE", cause}})) {
            spdlog::warn("{}: {}", address_.str(), text);
        }
        if (!cause.empty()) {
            causes_.push_back(cause);
        }
    }

    /// As `udrv status` calls it.
    [[nodiscard]] std::string driver_name() const { return driver_of(path_.filename().string()); }

    /// A process that gets ready. Without one there is nothing to wait for: it is told of as
    /// one that ended.
    [[nodiscard]] Child make(const Program& program) const {
        try {
            return {program, argv_, deadline_};
        } catch (const Error& error) {
            spdlog::error("{}: {}", address_.str(), error.what());
            return {};
        }
    }

    /// Its turn.
    void start(Child child) {
        violations_ = read_line(violations_file());
        events_.restart();
        if (!first_) {
            manager_.waiting();
        }
        first_ = false;
        driver_ = std::exchange(child, Child());
        serving_ = false;
        beats_ = 0;
        if (driver_) {
            driver_.give_turn();
        } else {
            constexpr int failed = 1 << 8; // as waitpid has an exit status of 1
            carry_out(supervision_.died(death(failed), Clock::now()));
        }
    }

    void try_program() {
        answering_.insert(answering_.end(), std::make_move_iterator(askers_.begin()),
                          std::make_move_iterator(askers_.end()));
        askers_.clear();
        tried_program_ = Program(path_);
        if (!tried_program_) {
            carry_out(supervision_.tried_died(
                fmt::format("open {}: {}", path_.string(), std::strerror(errno)), Clock::now()));
            return;
        }
        tried_ = make(tried_program_);
        if (!tried_) {
            carry_out(supervision_.tried_died("it cannot be started", Clock::now()));
        }
    }

    void answer(int outage_ms) {
        if (supervision_.state() == Supervision::State::ended) {
            std::move(askers_.begin(), askers_.end(), std::back_inserter(answering_));
        }
        siginfo_t info{};
        info.si_signo = upgrade_answer;
        info.si_code = SI_QUEUE;
        info.si_pid = ::getpid();
        info.si_uid = ::getuid();
        info.si_value.sival_int = outage_ms;
        for (const Asker& asker : answering_) {
            (void)::syscall(SYS_pidfd_send_signal, asker.process.value(), upgrade_answer, &info, 0);
        }
        answering_.clear();
    }

    void bury(bool wait) {
        if (const auto status = dying_.ended(wait)) {
            carry_out(supervision_.buried(*status));
        }
    }

    const System& system_;
    PciAddress address_;
    fs::path path_;
    char* const* argv_;
    milliseconds deadline_;
    DriverEvents events_;
    Supervision supervision_;
    Program program_;       ///< in use
    Program tried_program_; ///< that may be, from now on
    Child driver_;
    Child successor_; ///< waits for the driver's end
    Child tried_;     ///< of the new program, until its turn
    Child dying_;     ///< its session is over, its status still to come
    ServiceManager manager_;
    Journal journal_;
    std::vector<std::string> causes_; ///< of deaths that are not recorded yet
    bool first_ = true;               ///< no driver was started yet
    bool serving_ = false;
    std::uint64_t beats_ = 0;
    std::string violations_; ///< when the driver started
    std::vector<Asker> askers_;
    std::vector<Asker> answering_; ///< of the upgrade under way
    std::optional<int> status_;
};

} // namespace

SupervisionLimits supervision_limits(const System& system, unsigned deadline_ms,
                                     unsigned restart_limit) {
    SupervisionLimits limits;
    limits.deadline = milliseconds(deadline_ms);
    limits.restart_limit = restart_limit;
    const std::int64_t window_s =
        read_number(system.sys / "module/udrv_blk/parameters/recovery_window_s");
    if (window_s > 0) {
        limits.takeover =
            std::clamp(milliseconds(window_s * 1000) / 3, milliseconds{1000}, limits.start);
    }
    return limits;
}

int supervise(const System& system, const PciAddress& address, const SupervisedProgram& program,
              const SupervisionLimits& limits) {
    return Supervisor(system, address, program, limits).run();
}

} // namespace udrv::cli
