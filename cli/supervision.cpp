// SPDX-License-Identifier: MIT
#include "cli/supervision.hpp"

#include <algorithm>
#include <csignal>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <sys/wait.h>

namespace udrv::cli {

std::string Supervision::describe(int status) {
    if (WIFSIGNALED(status)) {
        const char* name = ::sigabbrev_np(WTERMSIG(status));
        return fmt::format("killed by SIG{}", name == nullptr ? "?" : name);
    }
    return fmt::format("exit status {}", WEXITSTATUS(status));
}

// ---- Events --------------------------------------------------------------------------

Supervision::Actions Supervision::begin(Time now) {
    start(now);
    return taken();
}

Supervision::Actions Supervision::asked_to_stop(Time now) {
    if (state_ == State::stopping || state_ == State::ended) {
        return taken();
    }
    if (alive_) {
        put(Do::drop_tried);
        put(Do::dismiss_successor);
        put(Do::ask_to_leave);
        enter(State::stopping, now + limits_.goodbye);
    } else {
        end(0);
    }
    return taken();
}

Supervision::Actions Supervision::asked_to_upgrade(Time now) {
    if (state_ == State::ended || state_ == State::stopping) {
        return taken();
    }
    asked_ = true;
    if ((state_ == State::serving && !on_trial_) || state_ == State::pausing) {
        begin_trial(now);
    } else {
        upgrade_wanted_ = true;
    }
    return taken();
}

Supervision::Actions Supervision::asked_to_report() {
    if (watched()) {
        put(Do::report);
    }
    return taken();
}

Supervision::Actions Supervision::serves(Time now) {
    if (state_ != State::starting && state_ != State::handing_over) {
        served_ = true; // it stops all the same
        return taken();
    }
    served_ = ever_served_ = true;
    served_at_ = last_beat_ = now;
    if (state_ == State::handing_over) {
        outage_ = std::chrono::duration_cast<Milliseconds>(now - left_at_);
    }
    enter(State::serving);
    if (upgrade_wanted_ && !on_trial_) {
        begin_trial(now);
    }
    return taken();
}

Supervision::Actions Supervision::beats(Time now) {
    last_beat_ = now;
    if (state_ == State::serving && on_trial_ && age(now) >= limits_.long_life) {
        on_trial_ = false;
        has_successor_ = false; // that is of the old program
        short_lives_ = 0;
        put(Do::dismiss_successor);
        put(Do::adopt_tried);
        put(Do::say,
            fmt::format("the new program serves, after {} ms without a driver", outage_.count()));
        if (std::exchange(asked_, false)) {
            put(Do::answer, {}, static_cast<int>(outage_.count()));
        }
        if (upgrade_wanted_) {
            asked_ = true;
            begin_trial(now);
        }
    }
    return taken();
}

Supervision::Actions Supervision::died(const Death& death, Time now) {
    alive_ = false;
    switch (state_) {
    case State::starting:
    case State::serving:
        if (on_trial_) {
            fall_back("served, but not for long: " + reason(death), now);
        } else {
            start_again(death, now);
        }
        break;
    case State::trying:
        start_again(death, now);
        break;
    case State::leaving:
        left_at_ = now;
        hand_over(now);
        break;
    case State::handing_over:
        fall_back(fmt::format("did not come to serve: {}", reason(death)), now);
        break;
    case State::stopping:
        stopped(death.status);
        break;
    case State::pausing:
    case State::ended:
        break;
    }
    return taken();
}

Supervision::Actions Supervision::session_over(const Death& death, Time now) {
    const bool unsettled = state_ != State::serving && state_ != State::trying;
    if (unsettled || on_trial_ || age(now) < limits_.long_life || !death.bound) {
        return taken(); // its end is near, and says more
    }
    put(Do::let_die);
    last_words_ = no_progress_;
    dying_lied_ = death.lied;
    short_lives_ = 0;
    if (state_ == State::trying) {
        put(Do::drop_tried);
        upgrade_wanted_ = true;
    }
    start(now);
    return taken();
}

Supervision::Actions Supervision::buried(int status) {
    const std::string why =
        last_words_.empty()
            ? (dying_lied_ ? "it broke the protocol (`dmesg` says how), " : "") + describe(status)
            : last_words_;
    put(Do::say, fmt::format("the driver ended: {}; starting it again in 0 ms", why), 0, why);
    return taken();
}

Supervision::Actions Supervision::tried_ready(Time now) {
    if (state_ == State::trying) {
        tried_is_ready_ = true;
        if (alive_) {
            put(Do::ask_to_leave);
            enter(State::leaving, now + limits_.goodbye);
        } else {
            hand_over(now);
        }
    }
    return taken();
}

Supervision::Actions Supervision::tried_died(const std::string& reason, Time now) {
    tried_is_ready_ = false;
    if (state_ == State::trying) {
        upgrade_failed("ended before it was ready: " + reason);
        go_on(now);
    }
    return taken(); // in `leaving`: the old program is started when its driver has left
}

Supervision::Actions Supervision::tick(Time now) {
    if (deadline_ && now >= *deadline_) {
        overdue(now);
    }
    if (watched() && !killed_ && now - last_beat_ >= limits_.deadline) {
        hung();
    }
    const bool settled = state_ == State::serving && !on_trial_;
    if (settled && !has_successor_ && age(now) >= limits_.long_life) {
        put(Do::make_successor);
        has_successor_ = true;
    }
    return taken();
}

std::optional<Supervision::Time> Supervision::due() const {
    std::optional<Time> first = deadline_;
    const auto also = [&](Time time) { first = std::min(first.value_or(time), time); };
    if (watched() && !killed_) {
        also(last_beat_ + limits_.deadline);
    }
    if (state_ == State::serving && !on_trial_ && !has_successor_) {
        also(served_at_ + limits_.long_life);
    }
    return first;
}

// ---- Steps ---------------------------------------------------------------------------

void Supervision::put(Do what, std::string text, int value, std::string cause) {
    actions_.push_back({what, std::move(text), value, std::move(cause)});
}

Supervision::Actions Supervision::taken() {
    return std::exchange(actions_, {});
}

void Supervision::enter(State state, std::optional<Time> deadline) {
    state_ = state;
    deadline_ = deadline;
}

/// A driver of the program in use.
void Supervision::start(Time now) {
    alive_ = true;
    served_ = killed_ = on_trial_ = has_successor_ = false;
    no_progress_.clear();
    put(Do::start);
    enter(State::starting, now + limits_.start);
}

void Supervision::begin_trial(Time now) {
    upgrade_wanted_ = false;
    tried_is_ready_ = false;
    put(Do::try_program);
    enter(State::trying, now + (alive_ ? limits_.ready : limits_.takeover));
}

/// The old driver has left: the turn of the new program's process.
void Supervision::hand_over(Time now) {
    if (!tried_is_ready_) {
        fall_back("ended before its turn", now);
        return;
    }
    alive_ = on_trial_ = true;
    served_ = killed_ = false;
    no_progress_.clear();
    put(Do::start_tried);
    enter(State::handing_over, now + limits_.takeover);
}

void Supervision::upgrade_failed(const std::string& why) {
    put(Do::drop_tried);
    put(Do::say, fmt::format("upgrade: the new program {}; the old program goes on", why));
    if (std::exchange(asked_, false)) {
        put(Do::answer, {}, -1);
    }
    if (upgrade_wanted_) {
        asked_ = true; // whoever asked meanwhile
    }
}

/// With the program in use, after a trial that failed while its driver served, or paused.
void Supervision::go_on(Time now) {
    if (!alive_) {
        start(now);
        return;
    }
    enter(State::serving);
    if (upgrade_wanted_) {
        begin_trial(now);
    }
}

/// The new program is no good, and nobody serves.
void Supervision::fall_back(const std::string& why, Time now) {
    upgrade_failed(why);
    start(now);
}

/// The driver of the program in use has died.
void Supervision::start_again(const Death& death, Time now) {
    if (!ever_served_) {
        const bool said = WIFEXITED(death.status) && WEXITSTATUS(death.status) != 0;
        if (said) {
            end(WEXITSTATUS(death.status));
        } else {
            give_up("it ended before it served: " + reason(death), reason(death));
        }
        return;
    }
    if (!death.bound) {
        give_up("the device is not bound to udrv any more", reason(death));
        return;
    }
    short_lives_ = served_ && age(now) >= limits_.long_life ? 0 : short_lives_ + 1;
    if (short_lives_ > limits_.restart_limit) {
        give_up(fmt::format("it died {} times within a second of its start", short_lives_),
                reason(death));
        return;
    }
    const bool trying = state_ == State::trying;
    if (trying && short_lives_ != 0) { // perhaps that is why somebody wants a new one
        put(Do::say, fmt::format("the driver ended: {}; the new program comes next", reason(death)),
            0, reason(death));
        left_at_ = now;
        deadline_ = std::min(deadline_.value_or(now + limits_.takeover), now + limits_.takeover);
        return;
    }
    if (trying) {
        put(Do::drop_tried);
        upgrade_wanted_ = true;
    }
    put(Do::say,
        fmt::format("the driver ended: {}; starting it again in {} ms", reason(death),
                    delay().count()),
        0, reason(death));
    if (short_lives_ == 0) {
        start(now);
    } else {
        left_at_ = now;
        enter(State::pausing, now + delay());
        if (upgrade_wanted_) {
            begin_trial(now);
        }
    }
}

void Supervision::stopped(int status) {
    if (WIFEXITED(status)) {
        end(served_ ? WEXITSTATUS(status) : 0);
        return;
    }
    if (WTERMSIG(status) == SIGTERM || !served_) {
        end(0); // before it could take the signal
        return;
    }
    put(Do::say, killed_ ? fmt::format("the driver did not leave within {} ms and was killed",
                                       limits_.goodbye.count())
                         : fmt::format("the driver did not leave well: {}", describe(status)));
    end(1);
}

void Supervision::give_up(const std::string& why, const std::string& cause) {
    put(Do::say, fmt::format("restart the driver: {}; the lines above say more", why), 0, cause);
    end(1);
}

void Supervision::end(int status) {
    put(Do::drop_tried);
    put(Do::dismiss_successor);
    if (std::exchange(asked_, false)) {
        put(Do::answer, {}, -1);
    }
    put(Do::end, {}, status);
    enter(State::ended);
}

/// The state's deadline has passed.
void Supervision::overdue(Time now) {
    deadline_.reset();
    switch (state_) {
    case State::starting:
    case State::handing_over:
        no_progress_ =
            fmt::format("no progress for {} ms",
                        (state_ == State::starting ? limits_.start : limits_.takeover).count());
        [[fallthrough]];
    case State::leaving:
    case State::stopping:
        killed_ = true;
        put(Do::kill);
        break;
    case State::trying:
        upgrade_failed("did not get ready in time");
        go_on(now);
        break;
    case State::pausing:
        start(now);
        break;
    case State::serving:
    case State::ended:
        break;
    }
}

void Supervision::hung() {
    no_progress_ = fmt::format("no progress for {} ms", limits_.deadline.count());
    killed_ = true;
    put(Do::kill);
}

std::string Supervision::reason(const Death& death) const {
    if (!no_progress_.empty()) {
        return no_progress_;
    }
    return (death.lied ? "it broke the protocol (`dmesg` says how), " : "") +
           describe(death.status);
}

Supervision::Milliseconds Supervision::delay() const {
    if (short_lives_ == 0) {
        return Milliseconds{0};
    }
    const Milliseconds doubled = limits_.first_delay * (1 << std::min(short_lives_ - 1, 12U));
    return std::min(limits_.longest_delay, doubled);
}

Supervision::Milliseconds Supervision::age(Time now) const {
    return served_ ? std::chrono::duration_cast<Milliseconds>(now - served_at_) : Milliseconds{0};
}

bool Supervision::watched() const {
    return alive_ && served_ && (state_ == State::serving || state_ == State::trying);
}

} // namespace udrv::cli
