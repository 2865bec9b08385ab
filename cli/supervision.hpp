// SPDX-License-Identifier: MIT
//
// Supervision: what a supervisor decides. Events and times go in, actions come out; no
// process, file or clock is touched here (cli/supervisor.cpp does that).
//
// State         The driver                     Left when
// starting      has its turn                   it serves; it ends; start limit: killed
// serving       serves                         it ends; no beat for the deadline: killed
// trying        serves, or has ended           the new program is ready, ends, or takes too
//               meanwhile                      long to get ready
// leaving       was asked to leave for the     it ends; goodbye limit: killed
//               new program
// handing_over  of the new program, has its    it serves; it ends; takeover limit: killed,
//               turn                           and the old program is started again
// pausing       none                           the delay is over
// stopping      was asked to leave for good    it ends; goodbye limit: killed
// ended         none
//
// Signal        starting  serving  trying  leaving  handing_over  pausing  stopping
// TERM, INT     stopping  stopping (the new program's process is dropped)  ended    -
// HUP           later     trying   later   later    later         trying   -
// USR1          -         to the driver    -        -             -        -
// "later": when the driver serves. USR2 is never for us.
//
// A driver of a new program is on trial until its first beat after long_life of service. Up to
// then its end means that the old program is started again.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace udrv::cli {

struct SupervisionLimits {
    using Milliseconds = std::chrono::milliseconds;

    Milliseconds deadline{5000};  ///< without a beat
    unsigned restart_limit = 10;  ///< consecutive runs under long_life
    Milliseconds start{60'000};   ///< chips reset, disks spin up
    Milliseconds goodbye{10'000}; ///< from SIGTERM to SIGKILL
    Milliseconds ready{30'000};   ///< for a new program to get ready, while the old one serves
    /// For a new program to serve, while nobody does; well below the time after which
    /// requests of disks fail.
    Milliseconds takeover{10'000};
    Milliseconds long_life{1000}; ///< after that, a death is not its start's fault
    Milliseconds first_delay{10};
    Milliseconds longest_delay{5000};
};

/// What is known of a driver's end.
struct Death {
    int status = 0;    ///< as waitpid gives it
    bool lied = false; ///< the kernel counted a violation
    bool bound = true; ///< the device is udrv's still
};

class Supervision {
  public:
    using Time = std::chrono::steady_clock::time_point;
    using Milliseconds = std::chrono::milliseconds;

    enum class State { starting, serving, trying, leaving, handing_over, pausing, stopping, ended };

    enum class Do {
        start,          ///< a driver of the program in use: its successor, if there is one
        make_successor, ///< of the program in use
        dismiss_successor,
        try_program,  ///< a process of the program's file as it is now gets ready
        start_tried,  ///< it is the driver now, the old one has ended
        adopt_tried,  ///< its program is the one in use
        drop_tried,   ///< forget it; the process ends if it is not the driver
        let_die,      ///< the driver's process ends by itself; buried() follows
        ask_to_leave, ///< the driver
        kill,         ///< the driver
        report,       ///< has the driver write its counters
        say,          ///< `text`
        answer,       ///< whoever asked for the upgrade: `value` is the outage in ms, or -1
        end           ///< `value` is the exit status
    };
    struct Action {
        Do what;
        std::string text{};
        int value = 0;
        std::string cause{}; ///< with `say`, of a driver's death: why
    };
    using Actions = std::vector<Action>;

    explicit Supervision(const SupervisionLimits& limits) : limits_(limits) {}

    // Events. `now` never goes back.
    [[nodiscard]] Actions begin(Time now);
    [[nodiscard]] Actions asked_to_stop(Time now);
    [[nodiscard]] Actions asked_to_upgrade(Time now);
    [[nodiscard]] Actions asked_to_report();
    [[nodiscard]] Actions serves(Time now);                   ///< the driver does, from now on
    [[nodiscard]] Actions beats(Time now);                    ///< the driver made progress
    [[nodiscard]] Actions died(const Death& death, Time now); ///< the driver
    [[nodiscard]] Actions session_over(const Death& death, Time now); ///< of a dying driver
    [[nodiscard]] Actions buried(int status); ///< the process that was let die
    [[nodiscard]] Actions tried_ready(Time now);
    [[nodiscard]] Actions tried_died(const std::string& reason, Time now);
    /// Time has passed: due() at the latest.
    [[nodiscard]] Actions tick(Time now);

    /// When tick() has something to do.
    [[nodiscard]] std::optional<Time> due() const;
    [[nodiscard]] State state() const { return state_; }

    [[nodiscard]] static std::string describe(int status);

  private:
    void put(Do what, std::string text = {}, int value = 0, std::string cause = {});
    [[nodiscard]] Actions taken();
    void enter(State state, std::optional<Time> deadline = std::nullopt);
    void start(Time now);
    void begin_trial(Time now);
    void give_up(const std::string& why, const std::string& cause);
    void end(int status);
    void upgrade_failed(const std::string& why);
    void start_again(const Death& death, Time now);
    void go_on(Time now);
    void fall_back(const std::string& why, Time now);
    void hand_over(Time now);
    void stopped(int status);
    void overdue(Time now);
    void hung();
    [[nodiscard]] std::string reason(const Death& death) const;
    [[nodiscard]] Milliseconds delay() const;
    [[nodiscard]] Milliseconds age(Time now) const;
    [[nodiscard]] bool watched() const; ///< beats are due

    SupervisionLimits limits_;
    State state_ = State::starting;
    std::optional<Time> deadline_; ///< of the state
    Actions actions_;

    // Of the present driver.
    bool alive_ = false;
    bool served_ = false;
    bool killed_ = false;        ///< by us
    std::string no_progress_;    ///< why it was killed, if it hung
    bool has_successor_ = false; ///< one was made, or tried to be: once a life
    bool on_trial_ = false;      ///< it is of the new program
    Time served_at_{};
    Time last_beat_{};

    unsigned short_lives_ = 0;
    bool ever_served_ = false;
    bool upgrade_wanted_ = false; ///< later
    bool asked_ = false;          ///< somebody waits for the answer
    bool tried_is_ready_ = false;
    Time left_at_{}; ///< since when nobody serves, in an upgrade
    Milliseconds outage_{0};
    std::string last_words_; ///< what there is to say of the one that is dying, but its status
    bool dying_lied_ = false;
};

} // namespace udrv::cli
