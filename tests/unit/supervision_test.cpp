// SPDX-License-Identifier: MIT
//
// What a supervisor decides, without a process or a clock: events in, actions out.
#include "cli/supervision.hpp"

#include <csignal>
#include <map>
#include <random>
#include <string>

#include <gtest/gtest.h>

namespace udrv::cli {
namespace {

using namespace std::chrono_literals;
using State = Supervision::State;
using Do = Supervision::Do;
using Ms = std::chrono::milliseconds;

constexpr int exited(int status) {
    return status << 8; // as waitpid has it
}

const std::map<Do, std::string> names{
    {Do::start, "start"},
    {Do::make_successor, "make_successor"},
    {Do::dismiss_successor, "dismiss_successor"},
    {Do::try_program, "try"},
    {Do::start_tried, "start_tried"},
    {Do::adopt_tried, "adopt"},
    {Do::drop_tried, "drop"},
    {Do::let_die, "let_die"},
    {Do::ask_to_leave, "ask_to_leave"},
    {Do::kill, "kill"},
    {Do::report, "report"},
    {Do::say, "say"},
    {Do::answer, "answer"},
    {Do::end, "end"},
};

class SupervisionTest : public testing::Test {
  protected:
    /// The actions as words, without `say`, whose text is kept.
    std::string did(const Supervision::Actions& actions) {
        std::string all;
        for (const auto& action : actions) {
            if (action.what == Do::say) {
                said = action.text;
                cause = action.cause;
                continue;
            }
            all += (all.empty() ? "" : " ") + names.at(action.what);
            if (action.what == Do::answer || action.what == Do::end) {
                all += "=" + std::to_string(action.value);
            }
        }
        return all;
    }
    Supervision::Time after(Ms time) { return now += time; }
    State state() const { return supervision.state(); }
    std::string died(int status, bool bound = true) {
        return did(supervision.died({.status = status, .lied = false, .bound = bound}, now));
    }
    std::string tick(Ms time) { return did(supervision.tick(after(time))); }
    std::string cause; ///< of the last `say`
    /// A driver that has served for two seconds, with a successor.
    void settle() {
        EXPECT_EQ(did(supervision.begin(now)), "start");
        EXPECT_EQ(did(supervision.serves(after(100ms))), "");
        EXPECT_EQ(tick(1000ms), "make_successor");
        EXPECT_EQ(did(supervision.beats(after(1000ms))), "");
    }
    /// Up to the point where the new program has its turn.
    void hand_over() {
        settle();
        EXPECT_EQ(did(supervision.asked_to_upgrade(now)), "try");
        EXPECT_EQ(did(supervision.tried_ready(after(50ms))), "ask_to_leave");
        after(20ms);
        EXPECT_EQ(died(exited(0)), "start_tried");
        EXPECT_EQ(state(), State::handing_over);
    }

    SupervisionLimits limits;
    Supervision supervision{limits};
    Supervision::Time now{1h};
    std::string said;
};

TEST_F(SupervisionTest, ADeathHasItsCause) {
    settle();
    died(SIGSEGV);
    EXPECT_EQ(cause, "killed by SIGSEGV");
    EXPECT_EQ(did(supervision.serves(after(100ms))), "");
    EXPECT_EQ(tick(5100ms), "kill make_successor") << "it made no progress";
    died(SIGKILL);
    EXPECT_EQ(cause, "no progress for 5000 ms");
    EXPECT_EQ(did(supervision.asked_to_upgrade(now)), "");
    died(3 << 8, false);
    EXPECT_EQ(cause, "exit status 3") << said;
}

TEST_F(SupervisionTest, ADeathAfterALongLife) {
    settle();
    EXPECT_EQ(died(SIGKILL), "start");
    EXPECT_EQ(said, "the driver ended: killed by SIGKILL; starting it again in 0 ms");
    EXPECT_EQ(state(), State::starting);
}

TEST_F(SupervisionTest, ADyingDriverIsFollowedBeforeItIsGone) {
    settle();
    EXPECT_EQ(did(supervision.session_over({.lied = true}, now)), "let_die start");
    EXPECT_EQ(did(supervision.serves(after(30ms))), "");
    EXPECT_EQ(did(supervision.buried(SIGSEGV)), "");
    EXPECT_EQ(said, "the driver ended: it broke the protocol (`dmesg` says how), killed by "
                    "SIGSEGV; starting it again in 0 ms");
}

TEST_F(SupervisionTest, ShortLivesAreFollowedLaterAndLater) {
    settle();
    EXPECT_EQ(died(SIGKILL), "start");
    for (unsigned n = 1; n <= limits.restart_limit; ++n) {
        EXPECT_EQ(did(supervision.serves(after(1ms))), "");
        EXPECT_EQ(died(SIGKILL), "");
        EXPECT_EQ(state(), State::pausing);
        const auto delay = std::min(Ms(10 << (n - 1)), limits.longest_delay);
        EXPECT_EQ(supervision.due(), now + delay) << n;
        EXPECT_EQ(tick(delay), "start");
    }
    EXPECT_EQ(died(SIGKILL), "drop dismiss_successor end=1");
    EXPECT_EQ(said, "restart the driver: it died 11 times within a second of its start; the lines "
                    "above say more");
}

TEST_F(SupervisionTest, OneThatNeverServedIsNotStartedAgain) {
    EXPECT_EQ(did(supervision.begin(now)), "start");
    EXPECT_EQ(died(exited(3)), "drop dismiss_successor end=3");
}

TEST_F(SupervisionTest, OneThatIsUnboundIsNotStartedAgain) {
    settle();
    EXPECT_EQ(died(exited(1), false), "drop dismiss_successor end=1");
    EXPECT_EQ(did(supervision.asked_to_stop(now)), "");
}

TEST_F(SupervisionTest, AHangIsADeath) {
    settle();
    EXPECT_EQ(supervision.due(), now + limits.deadline);
    EXPECT_EQ(tick(limits.deadline - 1ms), "");
    EXPECT_EQ(did(supervision.beats(now)), "");
    EXPECT_EQ(tick(limits.deadline - 1ms), "");
    EXPECT_EQ(tick(1ms), "kill");
    EXPECT_EQ(tick(limits.deadline), "") << "once";
    EXPECT_EQ(died(SIGKILL), "start");
    EXPECT_EQ(said, "the driver ended: no progress for 5000 ms; starting it again in 0 ms");
    EXPECT_EQ(tick(limits.start), "kill") << "nor does it start for ever";
}

TEST_F(SupervisionTest, AnUpgrade) {
    hand_over();
    EXPECT_EQ(did(supervision.serves(after(70ms))), "");
    EXPECT_EQ(did(supervision.beats(after(500ms))), "") << "not proven yet";
    EXPECT_EQ(tick(600ms), "") << "no successor of the old program";
    EXPECT_EQ(did(supervision.beats(now)), "dismiss_successor adopt answer=70");
    EXPECT_EQ(tick(0ms), "make_successor");
    EXPECT_EQ(died(SIGKILL), "start");
}

TEST_F(SupervisionTest, ANewProgramThatIsNeverReadyStopsNobody) {
    settle();
    EXPECT_EQ(did(supervision.asked_to_upgrade(now)), "try");
    EXPECT_EQ(did(supervision.tried_died("exit status 127", now)), "drop answer=-1");
    EXPECT_EQ(state(), State::serving);
    EXPECT_EQ(said, "upgrade: the new program ended before it was ready: exit status 127; the old "
                    "program goes on");
    EXPECT_EQ(did(supervision.asked_to_upgrade(now)), "try");
    std::string all;
    for (Ms time{0}; time < limits.ready; time += 1000ms) {
        (void)did(supervision.beats(now));
        all += tick(1000ms);
    }
    EXPECT_EQ(all, "drop answer=-1");
    EXPECT_EQ(state(), State::serving);
}

TEST_F(SupervisionTest, ANewProgramThatDoesNotServeIsFollowedByTheOldOne) {
    hand_over();
    EXPECT_EQ(died(exited(1)), "drop answer=-1 start");
    EXPECT_EQ(state(), State::starting);
    EXPECT_EQ(did(supervision.serves(after(30ms))), "");
    EXPECT_EQ(tick(1000ms), "make_successor") << "of the old program";
}

TEST_F(SupervisionTest, ANewProgramThatHangsAtStartIsFollowedByTheOldOne) {
    hand_over();
    EXPECT_LT(limits.takeover, 30s) << "requests of disks fail after that";
    EXPECT_EQ(tick(limits.takeover), "kill");
    EXPECT_EQ(died(SIGKILL), "drop answer=-1 start");
    EXPECT_EQ(said, "upgrade: the new program did not come to serve: no progress for 10000 ms; "
                    "the old program goes on");
}

TEST_F(SupervisionTest, ANewProgramThatDiesSoonIsFollowedByTheOldOne) {
    hand_over();
    EXPECT_EQ(did(supervision.serves(after(30ms))), "");
    EXPECT_EQ(did(supervision.beats(after(500ms))), "");
    EXPECT_EQ(died(SIGSEGV), "drop answer=-1 start");
}

TEST_F(SupervisionTest, ANewProgramThatDiesBeforeItsTurn) {
    settle();
    EXPECT_EQ(did(supervision.asked_to_upgrade(now)), "try");
    EXPECT_EQ(did(supervision.tried_ready(now)), "ask_to_leave");
    EXPECT_EQ(did(supervision.tried_died("killed by SIGKILL", now)), "");
    EXPECT_EQ(died(exited(0)), "drop answer=-1 start");
}

TEST_F(SupervisionTest, AnOldDriverThatDoesNotLeaveIsKilled) {
    settle();
    EXPECT_EQ(did(supervision.asked_to_upgrade(now)), "try");
    EXPECT_EQ(did(supervision.tried_ready(now)), "ask_to_leave");
    EXPECT_EQ(tick(limits.goodbye), "kill");
    EXPECT_EQ(died(SIGKILL), "start_tried");
}

TEST_F(SupervisionTest, ADeathDuringATrialIsADeathLikeAnyOther) {
    settle();
    EXPECT_EQ(did(supervision.asked_to_upgrade(now)), "try");
    EXPECT_EQ(died(SIGKILL), "drop start");
    EXPECT_EQ(did(supervision.serves(after(30ms))), "try") << "it was asked for";
    // A short life: what is wanted may be the cure.
    EXPECT_EQ(died(SIGKILL), "");
    EXPECT_EQ(state(), State::trying);
    EXPECT_EQ(did(supervision.tried_ready(after(50ms))), "start_tried");
    EXPECT_EQ(did(supervision.serves(after(50ms))), "");
    EXPECT_EQ(did(supervision.beats(after(1000ms))), "dismiss_successor adopt answer=100");
}

TEST_F(SupervisionTest, AProgramThatDiesAtOnceCanBeReplaced) {
    settle();
    EXPECT_EQ(died(SIGKILL), "start");
    EXPECT_EQ(died(exited(1)), "");
    EXPECT_EQ(state(), State::pausing);
    EXPECT_EQ(did(supervision.asked_to_upgrade(now)), "try");
    EXPECT_EQ(tick(limits.takeover), "drop answer=-1 start") << "it is not waited for in vain";
    EXPECT_EQ(did(supervision.asked_to_upgrade(now)), "");
    EXPECT_EQ(died(exited(1)), "try");
    EXPECT_EQ(did(supervision.tried_ready(after(5ms))), "start_tried");
}

TEST_F(SupervisionTest, RequestsDuringAnUpgradeAreOneMore) {
    hand_over();
    for (int n = 0; n < 100; ++n) {
        EXPECT_EQ(did(supervision.asked_to_upgrade(after(4ms))), "");
    }
    EXPECT_EQ(did(supervision.serves(now)), "");
    EXPECT_EQ(did(supervision.beats(after(1000ms))), "dismiss_successor adopt answer=400 try");
    EXPECT_EQ(did(supervision.tried_died("exit status 2", now)), "drop answer=-1");
    EXPECT_EQ(state(), State::serving);
}

TEST_F(SupervisionTest, ReportsGoToWhoServes) {
    EXPECT_EQ(did(supervision.begin(now)), "start");
    EXPECT_EQ(did(supervision.asked_to_report()), "");
    EXPECT_EQ(did(supervision.serves(now)), "");
    EXPECT_EQ(did(supervision.asked_to_report()), "report");
    EXPECT_EQ(died(SIGKILL), "");
    EXPECT_EQ(state(), State::pausing);
    EXPECT_EQ(did(supervision.asked_to_report()), "");
    EXPECT_EQ(tick(10ms), "start");
    EXPECT_EQ(did(supervision.asked_to_report()), "");
    EXPECT_EQ(did(supervision.serves(now)), "");
    EXPECT_EQ(did(supervision.asked_to_upgrade(now)), "try");
    EXPECT_EQ(did(supervision.asked_to_report()), "report");
    EXPECT_EQ(did(supervision.tried_ready(now)), "ask_to_leave");
    EXPECT_EQ(did(supervision.asked_to_report()), "");
}

constexpr const char* stop = "drop dismiss_successor ask_to_leave";
constexpr const char* over = "drop dismiss_successor end=0";

TEST_F(SupervisionTest, AStopDuringTheFirstStart) {
    (void)supervision.begin(now);
    EXPECT_EQ(did(supervision.asked_to_stop(now)), stop);
    EXPECT_EQ(died(exited(1)), over) << "a wanted end is no error";
}

TEST_F(SupervisionTest, AStopWhileItServes) {
    settle();
    EXPECT_EQ(did(supervision.asked_to_stop(now)), stop);
    EXPECT_EQ(did(supervision.asked_to_stop(now)), "");
    EXPECT_EQ(died(exited(0)), over);
}

TEST_F(SupervisionTest, AStopThatTheDriverDoesNotFollow) {
    settle();
    EXPECT_EQ(did(supervision.asked_to_stop(now)), stop);
    EXPECT_EQ(tick(limits.goodbye), "kill");
    EXPECT_EQ(died(SIGKILL), "drop dismiss_successor end=1");
}

TEST_F(SupervisionTest, AStopDuringATrial) {
    settle();
    (void)supervision.asked_to_upgrade(now);
    EXPECT_EQ(did(supervision.asked_to_stop(now)), stop);
    EXPECT_EQ(did(supervision.tried_ready(now)), "") << "too late";
    EXPECT_EQ(died(exited(0)), "drop dismiss_successor answer=-1 end=0");
}

TEST_F(SupervisionTest, AStopWhileTheOldOneLeaves) {
    settle();
    (void)supervision.asked_to_upgrade(now);
    (void)supervision.tried_ready(now);
    EXPECT_EQ(did(supervision.asked_to_stop(now)), stop);
    EXPECT_EQ(died(exited(0)), "drop dismiss_successor answer=-1 end=0");
}

TEST_F(SupervisionTest, AStopWhileTheNewOneStarts) {
    hand_over();
    EXPECT_EQ(did(supervision.asked_to_stop(now)), stop);
    EXPECT_EQ(did(supervision.serves(now)), "");
    EXPECT_EQ(died(exited(0)), "drop dismiss_successor answer=-1 end=0");
}

TEST_F(SupervisionTest, AStopDuringAPause) {
    settle();
    (void)died(SIGKILL);
    (void)died(SIGKILL);
    EXPECT_EQ(state(), State::pausing);
    EXPECT_EQ(did(supervision.asked_to_stop(now)), over);
    EXPECT_EQ(state(), State::ended);
}

// Any events in any order: there is one driver at most, never two programs' at a time, nobody
// is without a driver and a time at which that changes, and a stop ends it.
TEST_F(SupervisionTest, AnyOrder) {
    for (unsigned seed = 1; seed <= 300; ++seed) {
        std::minstd_rand random(seed);
        Supervision one{limits};
        bool driver = false;
        bool tried = false;
        bool ended = false;
        const auto obey = [&](const Supervision::Actions& actions) {
            for (const auto& action : actions) {
                switch (action.what) {
                case Do::start:
                    ASSERT_FALSE(driver) << seed;
                    driver = true;
                    break;
                case Do::start_tried:
                    ASSERT_TRUE(tried && !driver) << seed;
                    driver = true;
                    tried = false;
                    break;
                case Do::try_program:
                    ASSERT_FALSE(tried) << seed;
                    tried = true;
                    break;
                case Do::drop_tried:
                    tried = false;
                    break;
                case Do::let_die:
                    ASSERT_TRUE(driver) << seed;
                    driver = false;
                    break;
                case Do::ask_to_leave:
                case Do::kill:
                case Do::report:
                    ASSERT_TRUE(driver) << seed;
                    break;
                case Do::end:
                    ASSERT_TRUE(!driver && !ended) << seed;
                    ended = true;
                    break;
                default:
                    break;
                }
            }
        };
        obey(one.begin(now));
        obey(one.serves(now));
        for (int n = 0; n < 300 && !ended; ++n) {
            after(Ms(random() % 700));
            switch (random() % 10) {
            case 0:
                obey(one.asked_to_upgrade(now));
                break;
            case 1:
                obey(one.asked_to_report());
                break;
            case 2:
                if (driver) {
                    obey(one.serves(now));
                }
                break;
            case 3:
                if (driver && random() % 2 == 0) {
                    driver = false;
                    obey(one.died({.status = random() % 2 == 0 ? SIGKILL : exited(1)}, now));
                }
                break;
            case 4:
                if (driver) {
                    obey(one.session_over({}, now));
                }
                break;
            case 5:
                if (tried) {
                    obey(one.tried_ready(now));
                }
                break;
            case 6:
                if (tried) {
                    tried = false;
                    obey(one.tried_died("exit status 1", now));
                }
                break;
            default:
                if (driver) {
                    obey(one.beats(now));
                }
                break;
            }
            obey(one.tick(now));
            ASSERT_TRUE(driver || ended || one.due()) << seed << ": nobody serves, for ever";
        }
        obey(one.asked_to_stop(now));
        if (driver) {
            driver = false;
            obey(one.died({.status = exited(0)}, now));
        }
        EXPECT_TRUE(ended) << seed;
    }
}

} // namespace
} // namespace udrv::cli
