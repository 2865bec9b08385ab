// SPDX-License-Identifier: MIT
//
// NVMe: commands that fail, hang or are lost, a controller that breaks, lies or has news.
// Sections are those of NVMe 1.4.
#include <algorithm>
#include <optional>
#include <utility>

#include <gtest/gtest.h>

#include "tests/unit/nvme_rig.hpp"

namespace udrv::test {
namespace {

using Fake = FakeNvme;
constexpr std::uint32_t ok = UDRV_BLK_OK;
constexpr std::uint16_t dnr = 0x4000;

struct NvmeRecovery : testing::Test {
    NvmeRig rig;
    NvmeRecovery() { rig.fill(9); }
    [[nodiscard]] const nvme::NvmeCounters& counters() const { return rig.driver->counters(); }
    /// The driver's clock, and the controller, for that long.
    void work(std::chrono::seconds time) {
        for (const auto end = rig.now + time; rig.now < end; rig.now += 100ms) {
            rig.chip.run();
            (void)rig.driver->tick(rig.now);
        }
    }
    /// The same, with a look at what is done as often.
    void serve(std::chrono::seconds time) {
        for (const auto end = rig.now + time; rig.now < end; rig.now += 100ms) {
            rig.chip.run();
            (void)rig.take();
            (void)rig.driver->tick(rig.now);
        }
    }
    [[nodiscard]] auto read_page(std::uint8_t number) const {
        return std::count(rig.chip.pages_read.begin(), rig.chip.pages_read.end(), number);
    }
};

TEST_F(NvmeRecovery, OnlyTheBadBlockFails) {
    rig.chip.bad[17 * 8 + 3] = 0x281 | dnr;
    rig.start();
    rig.read(32);
    auto done = rig.finish(32);
    EXPECT_EQ(done[17], std::uint32_t{UDRV_BLK_MEDIUM});
    done.erase(17);
    rig.expect_right(done);
    EXPECT_EQ(counters().errors, 1u);
    EXPECT_EQ(counters().resets, 0u);
}

TEST_F(NvmeRecovery, WithoutDnrItIsTriedAgain) {
    rig.chip.bad[3] = 0x281;
    rig.chip.bad_times[3] = 2;
    rig.start();
    rig.read(4);
    rig.expect_right(rig.finish(4));
    EXPECT_EQ(counters().retries, 2u);
}

TEST_F(NvmeRecovery, AControllerThatWasResetFromElsewhereIsResetAtOnce) { // 3.1.6
    rig.start();
    rig.read(4);
    (void)rig.chip.under_way();
    rig.chip.reset_elsewhere();
    work(2s); // and not after a command's time and the Abort's
    EXPECT_EQ(counters().resets, 1u);
    rig.expect_right(rig.finish(4));
    EXPECT_EQ(counters().timeouts, 0u);
}

TEST_F(NvmeRecovery, ButNotForEver) {
    rig.chip.bad[3] = 0x281;
    rig.start();
    rig.read(1);
    EXPECT_EQ(rig.finish(1)[0], std::uint32_t{UDRV_BLK_MEDIUM});
    EXPECT_EQ(counters().retries, 5u);
}

// CRD names one of three delays, in units of 100 ms (4.6.1, 5.15.2.2), for a host that has said
// that it keeps them (5.21.1, "Host Behavior Support").
TEST_F(NvmeRecovery, ARetryWaitsForAsLongAsTheControllerAsks) {
    rig.chip.crdt = {5, 20, 50};
    rig.chip.bad[0] = 0x006 | 2 << 11; // Internal Error, CRD 2
    rig.chip.bad_times[0] = 1;
    rig.start();
    rig.read(1);
    const auto begin = rig.now;
    (void)rig.driver->tick(rig.now);
    rig.chip.run();
    EXPECT_TRUE(rig.take().empty());
    const auto next = rig.driver->tick(rig.now);
    EXPECT_EQ(next, begin + 2s);
    rig.now += 1900ms;
    (void)rig.driver->tick(rig.now);
    EXPECT_EQ(rig.chip.under_way(), 0u);
    rig.expect_right(rig.finish(1));
    EXPECT_GE(rig.now, begin + 2s);
}

// That it was said is forgotten with each reset.
TEST_F(NvmeRecovery, AlsoAfterAReset) {
    rig.chip.crdt = {0, 20, 0};
    rig.start();
    rig.read(1);
    rig.chip.fatal();
    rig.expect_right(rig.finish(1));
    EXPECT_EQ(counters().resets, 1u);
    rig.chip.bad[0] = 0x006 | 2 << 11;
    rig.chip.bad_times[0] = 1;
    rig.read(1);
    const auto begin = rig.now;
    rig.expect_right(rig.finish(1));
    EXPECT_GE(rig.now, begin + 2s);
}

TEST_F(NvmeRecovery, DelaysAreAskedForWhereThereAreAny) {
    constexpr std::uint8_t host_behavior = 0x16;
    const auto asked = [&](NvmeRig& one) {
        one.start();
        one.fill(9);
        one.read(4);
        one.expect_right(one.finish(4));
        return std::count(one.chip.features_set.begin(), one.chip.features_set.end(),
                          host_behavior);
    };
    EXPECT_EQ(asked(rig), 0) << "older controllers do not know it";
    NvmeRig refuses;
    refuses.chip.crdt = {5, 0, 0};
    refuses.chip.no_features = {host_behavior};
    EXPECT_EQ(asked(refuses), 1) << "and is served all the same";
}

TEST_F(NvmeRecovery, StatusesAreTold) {
    const auto status = [&](std::uint16_t code, std::uint8_t op) {
        rig.chip.bad = {{0, static_cast<std::uint16_t>(code | dnr)}};
        rig.submit(rig.make(0, 0, op, 0, 8));
        return rig.finish(1)[0];
    };
    rig.start();
    EXPECT_EQ(status(0x280, UDRV_BLK_WRITE), std::uint32_t{UDRV_BLK_MEDIUM}); // Write Fault
    EXPECT_EQ(status(0x281, UDRV_BLK_READ), std::uint32_t{UDRV_BLK_MEDIUM});
    EXPECT_EQ(status(0x287, UDRV_BLK_READ), std::uint32_t{UDRV_BLK_MEDIUM});
    EXPECT_EQ(status(0x002, UDRV_BLK_READ), std::uint32_t{UDRV_BLK_IOERR}); // Invalid Field
    EXPECT_EQ(status(0x004, UDRV_BLK_READ), std::uint32_t{UDRV_BLK_IOERR}); // Data Transfer
    EXPECT_EQ(status(0x006, UDRV_BLK_READ), std::uint32_t{UDRV_BLK_IOERR}); // Internal
}

TEST_F(NvmeRecovery, ALateCommandIsAbortedAndTriedAgain) {
    rig.chip.hangs = {0};
    rig.start();
    rig.read(8);
    rig.chip.run();
    EXPECT_EQ(rig.take().size(), 7u);
    work(16s);
    EXPECT_EQ(counters().timeouts, 1u);
    EXPECT_EQ(counters().aborts, 1u);
    rig.chip.hangs.clear();
    rig.expect_right(rig.finish(1));
    EXPECT_EQ(counters().resets, 0u) << "the abort is enough";
}

TEST_F(NvmeRecovery, ACommandThatIsLateTwiceFails) {
    rig.chip.hangs = {0};
    rig.start();
    rig.read(8);
    auto done = rig.finish(8);
    EXPECT_EQ(done[0], std::uint32_t{UDRV_BLK_TIMEOUT});
    done.erase(0);
    rig.expect_right(done);
    EXPECT_EQ(counters().aborts, 2u);
    EXPECT_EQ(counters().resets, 0u);
}

TEST_F(NvmeRecovery, WhereAnAbortDoesNotHelpTheControllerIsReset) {
    rig.chip.abort_works = false;
    rig.chip.hangs = {0};
    rig.start();
    rig.read(8);
    rig.chip.run();
    EXPECT_EQ(rig.take().size(), 7u);
    work(22s);
    EXPECT_EQ(counters().aborts, 1u);
    EXPECT_EQ(counters().resets, 1u);
    rig.chip.hangs.clear();
    rig.expect_right(rig.finish(1));
    rig.read(8); // and it goes on
    rig.expect_right(rig.finish(8));
}

// No more Aborts than ACL at the same time, however many are late (5.1; the model looks).
TEST_F(NvmeRecovery, AControllerThatHangsIsReset) {
    rig.chip.acl = 1;
    rig.chip.hung = true;
    rig.start();
    rig.read(64);
    work(30s);
    EXPECT_EQ(counters().resets, 1u);
    rig.chip.hung = false;
    rig.expect_right(rig.finish(64));
}

TEST_F(NvmeRecovery, AlsoOneThatDoesNotEvenAnswerAdminCommands) {
    rig.chip.hung = rig.chip.admin_hangs = true;
    rig.config.admin_timeout = 200ms;
    EXPECT_NE(rig.start_error().find("Identify of the controller"), std::string::npos);
    rig.chip.hung = rig.chip.admin_hangs = false;
    rig.start();
    rig.chip.hung = rig.chip.admin_hangs = true;
    rig.read(4);
    work(23s);
    EXPECT_EQ(counters().resets, 1u);
    rig.chip.hung = rig.chip.admin_hangs = false;
    rig.expect_right(rig.finish(4));
}

// An Abort that is lost is in nobody's way but the next one's (5.1: best effort).
TEST_F(NvmeRecovery, AnAbortThatIsNotAnsweredIsNotTheEndOfAborts) {
    rig.chip.acl = 0;
    rig.chip.hangs = {0};
    rig.start();
    rig.chip.unanswered = {Fake::ABORT};
    rig.read(1);
    work(17s);
    EXPECT_EQ(counters().aborts, 1u);
    rig.chip.hangs.clear(); // it ends by itself
    rig.expect_right(rig.finish(1));
    EXPECT_EQ(counters().resets, 0u);
    rig.chip.hangs = {8};
    rig.read(2);
    serve(25s);
    EXPECT_EQ(counters().resets, 1u);
    rig.chip.hangs.clear();
    rig.expect_right(rig.finish(1));
}

// Many that are late, one Abort at a time: as long as they are answered it goes on.
TEST_F(NvmeRecovery, AbortsOneAfterTheOther) {
    rig.chip.acl = 0;
    for (std::uint64_t n = 0; n < 32; n++) {
        rig.chip.hangs.insert(n * 8);
    }
    rig.start();
    rig.read(32);
    serve(30s);
    EXPECT_EQ(counters().resets, 0u);
    EXPECT_GE(counters().aborts, 28u);
    rig.chip.hangs.clear();
    rig.expect_right(rig.finish(32));
}

// CAP.TO, and a unit more: 500 ms, 1 s here.
TEST_F(NvmeRecovery, ReadyALittleLateIsNotTooLate) {
    rig.chip.cap_to = 1;
    rig.start();
    rig.read(1);
    rig.chip.fatal();
    rig.chip.rdy_sticks = true;
    rig.pass_until([&] { return counters().resets != 0; });
    rig.chip.forget();
    rig.pass(800ms);
    EXPECT_EQ(rig.writes_to(Fake::CC), 0u) << "it is not tried again";
    rig.chip.rdy_sticks = false;
    rig.expect_right(rig.finish(1));
    EXPECT_EQ(rig.writes_to(Fake::CC), 1u);
}

TEST_F(NvmeRecovery, AFatalStatusIsNoticedWithinASecond) {
    rig.start();
    rig.read(16);
    rig.chip.fatal();
    work(1s);
    EXPECT_EQ(counters().fatal, 1u);
    EXPECT_EQ(counters().resets, 1u);
    rig.expect_right(rig.finish(16));
    EXPECT_EQ(counters().timeouts, 0u);
}

TEST_F(NvmeRecovery, ItComesBackAtTheThirdTry) {
    rig.start();
    rig.read(16);
    rig.chip.fatal();
    rig.chip.cfs_at_enable = 2;
    rig.expect_right(rig.finish(16));
    EXPECT_EQ(counters().resets, 1u);
    EXPECT_EQ(rig.driver->failure(), nullptr);
}

// Nothing is completed while the controller may still use its memory.
TEST_F(NvmeRecovery, OneThatDoesNotComeBackIsTheKernelsToReset) {
    rig.start();
    rig.read(16);
    rig.chip.fatal();
    rig.chip.rdy_sticks = true;
    work(49s);
    EXPECT_TRUE(rig.take().empty());
    EXPECT_EQ(rig.driver->failure(), nullptr);
    work(10s);
    ASSERT_NE(rig.driver->failure(), nullptr);
    EXPECT_NE(std::string(rig.driver->failure()).find("CSTS is 0x3"), std::string::npos)
        << rig.driver->failure();
    EXPECT_TRUE(rig.take().empty());
}

TEST_F(NvmeRecovery, OneThatIsGoneEndsTheDriver) {
    rig.start();
    rig.read(1);
    rig.chip.gone = true;
    work(2s);
    ASSERT_NE(rig.driver->failure(), nullptr);
    EXPECT_TRUE(rig.take().empty());
}

TEST_F(NvmeRecovery, AnotherControllerIsNotServed) {
    rig.start();
    rig.chip.serial = "SN-2";
    rig.read(1);
    rig.chip.fatal();
    work(5s);
    ASSERT_NE(rig.driver->failure(), nullptr);
    EXPECT_NE(std::string(rig.driver->failure()).find("another controller"), std::string::npos);
}

TEST_F(NvmeRecovery, ANamespaceThatIsAnotherOneFailsAndComesBack) {
    rig.chip.add(2, 1000);
    rig.start();
    rig.chip.namespaces[2].active = false;
    rig.read(1);
    rig.chip.fatal();
    rig.expect_right(rig.finish(1));
    EXPECT_EQ(counters().lost, 1u);
    rig.submit(rig.make(1, 0, UDRV_BLK_READ, 0, 8), 1);
    EXPECT_EQ(rig.finish(1)[0], std::uint32_t{UDRV_BLK_IOERR});
    rig.chip.namespaces[2].active = true;
    rig.read(1);
    rig.chip.fatal();
    rig.expect_right(rig.finish(1));
    EXPECT_EQ(counters().returned, 1u);
    rig.submit(rig.make(1, 0, UDRV_BLK_READ, 0, 8), 1);
    EXPECT_EQ(rig.finish(1)[0], ok);
}

// A request that has to do with each reset is not given out for ever.
TEST_F(NvmeRecovery, ARequestThatBreaksTheControllerEnds) {
    rig.start();
    rig.read(1);
    std::uint32_t status = ok;
    for (int n = 0; n < 10; n++) {
        rig.chip.hung = true;
        rig.chip.fatal();
        work(2s);
        if (const auto done = rig.take(); !done.empty()) {
            status = done[0].status;
            break;
        }
    }
    EXPECT_EQ(status, std::uint32_t{UDRV_BLK_IOERR});
    EXPECT_EQ(counters().resets, 5u);
}

struct Lie {
    const char* name;
    std::function<void(std::array<std::uint32_t, 4>&)> lie;
};

TEST_F(NvmeRecovery, ALyingControllerIsReset) {
    const Lie lies[] = {
        {"a command that it does not have", [](auto& e) { e[3] ^= 0x80; }},
        {"an older use of the slot", [](auto& e) { e[3] ^= 0x8000; }},
        {"no such slot", [](auto& e) { e[3] |= 0xff; }},
        {"another queue", [](auto& e) { e[2] ^= 2u << 16; }},
        {"the admin queue", [](auto& e) { e[2] &= 0xffff; }},
        {"a head beyond the queue", [](auto& e) { e[2] |= 0xffff; }},
    };
    for (const Lie& lie : lies) {
        NvmeRig one;
        one.fill(9);
        one.start();
        one.chip.lie = lie.lie;
        one.read(8);
        one.chip.run(1);
        one.chip.lie = nullptr;
        one.expect_right(one.finish(8));
        EXPECT_EQ(one.driver->counters().lies, 1u) << lie.name;
        EXPECT_EQ(one.driver->counters().resets, 1u) << lie.name;
    }
}

// 4.6: where the head was when the entry was made. Entries may be posted in another order than
// made, and no slot is given out because of it.
TEST_F(NvmeRecovery, AHeadThatLagsIsNoLie) {
    std::uint32_t last = 0;
    const Lie lags[] = {
        {"always 0", [](auto& e) { e[2] &= 0xffff0000; }},
        {"that of the one before",
         [&](auto& e) {
             const std::uint32_t head = e[2] & 0xffff;
             e[2] = (e[2] & 0xffff0000) | std::exchange(last, head);
         }},
    };
    for (const Lie& lag : lags) {
        NvmeRig one;
        one.fill(9);
        one.config.depth = 32;
        one.start();
        one.chip.lie = lag.lie;
        for (int n = 0; n < 40; n++) {
            one.read(31);
            one.chip.run(static_cast<std::size_t>(n));
            one.expect_right(one.finish(31));
        }
        EXPECT_EQ(one.driver->counters().lies, 0u) << lag.name;
        EXPECT_EQ(one.driver->counters().resets, 0u) << lag.name;
    }
}

// 7.3.2: with CC.EN at 0 there are no queues any more, and no doorbells of theirs.
TEST_F(NvmeRecovery, NoDoorbellOnceTheResetHasBegun) {
    rig.start();
    rig.chip.lie = [](auto& e) { e[3] ^= 0x80; };
    rig.read(8);
    rig.chip.run(1);
    rig.chip.lie = nullptr;
    EXPECT_TRUE(rig.chip.event(1, 0, 2)); // found in the same look
    rig.expect_right(rig.finish(8));
    EXPECT_EQ(counters().resets, 1u);
    EXPECT_EQ(counters().lies, 1u);
}

TEST_F(NvmeRecovery, ACompletionTwiceIsALie) {
    rig.start();
    rig.read(1);
    std::optional<std::uint32_t> first;
    rig.chip.lie = [&](auto& e) {
        first = first.value_or(e[3] & 0xffff);
        e[3] = (e[3] & 0xffff0000) | *first;
    };
    rig.chip.run();
    EXPECT_EQ(rig.take().size(), 1u);
    rig.read(1);
    rig.chip.run();
    EXPECT_TRUE(rig.take().empty());
    EXPECT_EQ(counters().lies, 1u);
    rig.chip.lie = nullptr;
    rig.expect_right(rig.finish(1));
}

// 5.2: requests for events are always out, and an event's page is read.
TEST_F(NvmeRecovery, EventsAreTakenAndAskedForAgain) {
    rig.start();
    EXPECT_EQ(rig.chip.event_requests(), 4u);
    EXPECT_TRUE(rig.chip.event(1, 0, 2)); // SMART
    EXPECT_TRUE(rig.take().empty());
    rig.chip.settle();
    (void)rig.take();
    EXPECT_EQ(counters().warnings, 1u);
    EXPECT_TRUE(rig.chip.event(2, 0, 4)); // namespaces changed
    EXPECT_TRUE(rig.chip.event(0, 3, 1)); // Persistent Internal Error
    (void)rig.take();
    rig.chip.settle();
    (void)rig.take();
    rig.chip.settle();
    (void)rig.take();
    EXPECT_EQ(counters().changes, 1u);
    EXPECT_EQ(counters().warnings, 2u);
    EXPECT_EQ(rig.chip.pages_read, (std::vector<std::uint8_t>{2, 4, 1}));
    EXPECT_EQ(rig.chip.event_requests(), 4u);
    EXPECT_EQ(rig.driver->troubles().warnings, 2u);
    EXPECT_TRUE(rig.chip.event(1, 0, 2)) << "its page was read: events of its kind come again";
}

// Spare space that is used up stays used up, and many controllers report it as long as it is so
// and is not masked.
TEST_F(NvmeRecovery, AWarningThatLastsIsToldOnce) {
    rig.start();
    rig.chip.critical_warning = 4;
    rig.chip.warn();
    for (int n = 0; n < 50; n++) {
        (void)rig.take();
        rig.chip.settle();
    }
    EXPECT_LE(read_page(2), 2);
    EXPECT_EQ(counters().warnings, 1u);
    EXPECT_EQ(rig.chip.event_requests(), 4u);
    serve(200s);
    EXPECT_EQ(counters().warnings, 1u);
    EXPECT_LE(read_page(2), 6) << "a look a minute, whether it is over";
    rig.read(4);
    rig.chip.fatal();
    rig.expect_right(rig.finish(4));
    serve(2s);
    EXPECT_EQ(counters().warnings, 1u) << "nor after a reset";
    rig.chip.critical_warning = 4 | 2; // a second one
    rig.chip.warn();
    serve(1s);
    EXPECT_EQ(counters().warnings, 2u);
    rig.chip.critical_warning = 4; // the second is over, and comes back
    serve(130s);
    rig.chip.critical_warning = 4 | 2;
    rig.chip.warn();
    serve(1s);
    EXPECT_EQ(counters().warnings, 3u);
    rig.chip.critical_warning = 0;
    serve(130s);
    const auto looks = read_page(2);
    serve(200s);
    EXPECT_EQ(read_page(2), looks) << "nothing is masked: nothing to look for";
}

// Whatever it is: one that comes again at once does not keep the driver busy.
TEST_F(NvmeRecovery, EventsWithoutEndAreNotAskedForAtOnce) {
    rig.start();
    unsigned came = 0;
    const auto storm = [&] {
        came = 0;
        for (int n = 0; n < 200; n++) {
            came += rig.chip.event(0, 3, 1) ? 1u : 0u;
            (void)rig.take();
            rig.chip.settle();
            (void)rig.take();
            (void)rig.driver->tick(rig.now);
        }
        return came;
    };
    EXPECT_LE(storm(), 24u);
    EXPECT_LT(rig.driver->tick(rig.now), BlkClock::time_point::max());
    serve(61s);
    EXPECT_EQ(rig.chip.event_requests(), 4u) << "and then it is again";
    EXPECT_GT(storm(), 4u);
}

// 5.2.1, Namespace Attribute Changed: what is known of it may be wrong. With other blocks a
// transfer would be of another place, and of another size.
TEST_F(NvmeRecovery, ANamespaceThatWasFormattedIsNotUsedAsItWas) {
    rig.chip.add(2, 1000);
    rig.start();
    EXPECT_TRUE(rig.chip.format(1, 12));
    serve(5s);
    rig.submit(rig.make(0, 0, UDRV_BLK_WRITE, 0, 8));
    EXPECT_EQ(rig.finish(1)[0], std::uint32_t{UDRV_BLK_IOERR});
    EXPECT_EQ(counters().lost, 1u);
    EXPECT_EQ(counters().changes, 1u);
    rig.submit(rig.make(1, 0, UDRV_BLK_READ, 0, 8), 1);
    EXPECT_EQ(rig.finish(1)[0], ok) << "the other one is as it was";
    EXPECT_TRUE(rig.chip.format(1, 9));
    serve(5s);
    EXPECT_EQ(counters().returned, 1u);
}

// Requests that are under way are not blamed for these resets.
TEST_F(NvmeRecovery, ManyChangesFailNoRequest) {
    rig.start();
    rig.chip.hung = true;
    rig.read(8);
    for (int n = 0; n < 10; n++) {
        rig.chip.changed = {1};
        EXPECT_TRUE(rig.chip.event(2, 0, 4));
        serve(3s);
    }
    EXPECT_EQ(counters().changes, 10u);
    EXPECT_EQ(counters().resets, 10u);
    rig.chip.hung = false;
    rig.expect_right(rig.finish(8));
}

TEST_F(NvmeRecovery, AChangeOfAnotherNamespaceDisturbsNobody) {
    rig.start();
    rig.chip.changed = {7};
    EXPECT_TRUE(rig.chip.event(2, 0, 4));
    serve(5s);
    EXPECT_EQ(counters().changes, 1u);
    EXPECT_EQ(counters().resets, 0u);
    rig.chip.changed = {0xffffffff}; // more than the list has room for
    EXPECT_TRUE(rig.chip.event(2, 0, 4));
    serve(5s);
    EXPECT_EQ(counters().resets, 1u);
}

// Deleted and made again, with the same size and format: other data.
TEST_F(NvmeRecovery, ANamespaceOfTheSameSizeIsNotTheSame) {
    rig.chip.namespaces[1].nguid_low = 1;
    rig.start();
    rig.chip.namespaces[1].nguid_low = 2;
    rig.read(1);
    rig.chip.fatal();
    EXPECT_EQ(rig.finish(1)[0], std::uint32_t{UDRV_BLK_IOERR});
    EXPECT_EQ(counters().lost, 1u);
}

TEST_F(NvmeRecovery, NoMoreEventRequestsThanItTakes) {
    rig.chip.aerl = 0;
    rig.start();
    EXPECT_EQ(rig.chip.event_requests(), 1u);
}

TEST_F(NvmeRecovery, AfterAResetEventsAreAskedForAgain) {
    rig.start();
    rig.read(1);
    rig.chip.fatal();
    rig.expect_right(rig.finish(1));
    EXPECT_EQ(rig.chip.event_requests(), 4u);
}

// Anything that can happen, at random; each request ends once, and what is read is right.
TEST_F(NvmeRecovery, AllAtRandom) {
    for (unsigned seed = 0; seed < 20; seed++) {
        NvmeRig one;
        one.fill(seed);
        one.start();
        std::mt19937 random(seed);
        for (int round = 0; round < 30; round++) {
            one.chip.lateness = static_cast<unsigned>(random() % 20);
            one.chip.max_run = 1 + random() % 20;
            one.chip.abort_works = random() % 2 == 0;
            one.chip.hangs.clear();
            one.chip.bad.clear();
            if (random() % 4 == 0) {
                one.chip.hangs = {random() % 256};
            }
            const bool fatal = random() % 4 == 0;
            one.read(32);
            one.chip.run(random() % 32);
            if (fatal) {
                one.chip.fatal();
            }
            const auto done = one.finish(32);
            for (const auto& [number, status] : done) {
                const bool hung = !one.chip.hangs.empty() && *one.chip.hangs.begin() / 8 == number;
                if (!hung) {
                    EXPECT_EQ(status, ok) << seed << ", " << round << ", " << number;
                    EXPECT_TRUE(one.same(number));
                }
            }
        }
    }
}

} // namespace
} // namespace udrv::test
