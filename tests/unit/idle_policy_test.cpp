// SPDX-License-Identifier: MIT
//
// IdlePolicy, but for its hold-off (hold_off_test.cpp).
#include "libudrv/loop/idle_policy.hpp"

#include <gtest/gtest.h>

namespace udrv {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

TEST(IdlePolicySpare, PollsAdaptWithinBounds) {
    IdlePolicy policy(4);
    for (int n = 0; n < 20; ++n) {
        policy.polled(true);
    }
    EXPECT_EQ(policy.polls(), idle::most_polls);
    EXPECT_FALSE(policy.short_poll());
    for (int n = 0; n < 200; ++n) {
        policy.polled(false);
    }
    EXPECT_EQ(policy.polls(), idle::least_polls);
    EXPECT_TRUE(policy.short_poll());
}

// What comes regularly, though not within the shortest polls, is found by a trial and kept.
TEST(IdlePolicySpare, SlowAnswersAreFoundByATrial) {
    IdlePolicy policy(2, true);
    int polls = 0;
    for (; policy.polls() < idle::trial_polls; ++polls) {
        ASSERT_LT(polls, 40);
        policy.polled(false);
    }
    EXPECT_GT(polls, 16); // rarely enough
    policy.polled(true);
    EXPECT_EQ(policy.polls(), 2 * idle::trial_polls);
}

TEST(IdlePolicySpare, NothingElseIsDone) {
    IdlePolicy policy(2, true, true);
    EXPECT_FALSE(policy.may_yield()) << "others have a processor of their own";
    EXPECT_FALSE(policy.may_gather(1));
    EXPECT_FALSE(policy.hold_off().enabled());
}

TEST(IdlePolicyAlone, NeverPolls) {
    for (const bool slow : {false, true}) {
        IdlePolicy policy(1, slow);
        for (int n = 0; n < 40; ++n) {
            ASSERT_EQ(policy.polls(), 0U);
            policy.polled(n == 7);
        }
    }
}

TEST(IdlePolicyAlone, AYieldPaysIfThereAreAnswersSoon) {
    IdlePolicy policy(1);
    EXPECT_TRUE(policy.may_yield());
    policy.yielded(milliseconds{0}, 1);
    EXPECT_TRUE(policy.may_yield());
    policy.yielded(milliseconds{4}, 5); // long, but for a batch
    EXPECT_TRUE(policy.may_yield());
    policy.yielded(milliseconds{4}, 1); // somebody computes
    EXPECT_TRUE(policy.may_yield());
    policy.yielded(milliseconds{0}, 0); // nobody answers
    EXPECT_FALSE(policy.may_yield());
    EXPECT_FALSE(policy.may_yield());
    EXPECT_TRUE(policy.may_yield());
    for (int n = 0; n < 20; ++n) {
        policy.yielded(milliseconds{0}, 0);
    }
    for (std::uint32_t n = 1; n < idle::sleeps_without_yield; ++n) {
        EXPECT_FALSE(policy.may_yield());
    }
    EXPECT_TRUE(policy.may_yield());
}

TEST(IdlePolicyAlone, GatheringPaysIfMoreIsOffered) {
    IdlePolicy policy(1);
    EXPECT_FALSE(policy.may_gather(0));
    EXPECT_FALSE(policy.may_gather(idle::gather_aim)) << "enough at once";
    EXPECT_TRUE(policy.may_gather(1));
    EXPECT_EQ(policy.gather_time(), idle::first_gather);
    policy.gathered(microseconds{400}, 8); // one each 50 us
    EXPECT_EQ(policy.gather_time(), microseconds{400});
    EXPECT_TRUE(policy.may_gather(1));
    policy.gathered(microseconds{400}, 1);
    EXPECT_EQ(policy.gather_time(), idle::longest_gather);
    EXPECT_TRUE(policy.may_gather(1));
    // Who offered it waits for us: less and less.
    std::uint32_t tried = 0;
    for (std::uint32_t n = 0; n < 10'000; ++n) {
        if (policy.may_gather(1)) {
            ++tried;
            policy.gathered(microseconds{300}, 0);
            EXPECT_EQ(policy.gather_time(), idle::first_gather);
        }
    }
    EXPECT_GT(tried, 10U);
    EXPECT_LT(tried, 40U);
}

TEST(IdlePolicyAlone, HoldsOffWhereTheServiceWantsIt) {
    EXPECT_FALSE(IdlePolicy(1).hold_off().enabled());
    EXPECT_TRUE(IdlePolicy(1, false, true).hold_off().enabled());
}

} // namespace
} // namespace udrv
