// SPDX-License-Identifier: MIT
//
// AHCI: commands that fail, hang or are lost; only they are to suffer for it. Sections
// are those of AHCI 1.3.1.
#include <gtest/gtest.h>

#include "tests/unit/ahci_rig.hpp"

namespace udrv::test {
namespace {

using Fake = FakeAhci;
constexpr std::uint32_t ok = UDRV_BLK_OK;

struct AhciRecovery : testing::Test {
    AhciRig rig;

    AhciRecovery() { rig.fill(0, 11); }

    /// 32 reads of 8 blocks; tag n reads from block 8 n.
    std::map<std::uint32_t, std::uint32_t> read_all() {
        std::vector<BlkSubmission> many;
        for (std::uint32_t tag = 0; tag < 32; tag++) {
            many.push_back(rig.make(0, tag, UDRV_BLK_READ, tag * 8, 8, 2));
        }
        rig.submit(many);
        return rig.finish(32);
    }
    /// All but `except` are right, and have the right data.
    void expect_right(const std::map<std::uint32_t, std::uint32_t>& done,
                      const std::set<std::uint32_t>& except = {}) {
        for (const auto& [tag, status] : done) {
            if (!except.contains(tag)) {
                EXPECT_EQ(status, ok) << tag;
                EXPECT_TRUE(rig.same(0, tag)) << tag;
            }
        }
    }
    /// The emulated HBA of QEMU 7.
    void emulate() {
        rig.chip.no_error_log = rig.chip.no_tfes = rig.chip.goes_on = true;
        rig.chip.error_clears_ci = rig.chip.keeps_sact = true;
    }
};

TEST_F(AhciRecovery, OnlyTheCommandThatTheLogNamesFails) {
    rig.chip.disks[0].bad = {17 * 8 + 3};
    rig.start();
    auto done = read_all();
    EXPECT_EQ(done[17], std::uint32_t{UDRV_BLK_MEDIUM});
    expect_right(done, {17});
    EXPECT_EQ(rig.driver->counters(0).device_errors, 1u);
    EXPECT_EQ(rig.driver->counters(0).resets, 0u) << "the log is enough (6.2.2.2)";
    EXPECT_EQ(rig.chip.comresets, 0u);
    expect_right(read_all(), {17}); // and it goes on
}

// 6.2.2.2; and PxTFD still has the failed command's status when the log is asked for (3.3.8).
TEST_F(AhciRecovery, StepsAfterAFailedQueuedCommand) {
    rig.chip.disks[0].bad = {0};
    rig.start();
    rig.submit(rig.make(0, 5, UDRV_BLK_READ, 0, 8));
    rig.chip.run();
    rig.chip.writes.clear();
    EXPECT_TRUE(rig.take().empty());
    (void)rig.driver->tick(rig.now);
    const auto port = [](std::uint32_t offset) { return Fake::place(0, offset); };
    const std::vector<std::uint32_t> until_stopped{port(Fake::PIS), Fake::IS, port(Fake::PIE),
                                                   port(Fake::CMD)}; // ST 0
    const std::vector<std::uint32_t> until_log{port(Fake::SERR), port(Fake::PIS), port(Fake::PIS),
                                               port(Fake::CMD), port(Fake::CI)}; // ST 1, the log
    const std::vector<std::uint32_t> at_last{port(Fake::PIS), port(Fake::PIE)};
    const auto steps = [&] {
        std::vector<std::uint32_t> offsets;
        for (const auto& w : std::exchange(rig.chip.writes, {})) {
            offsets.push_back(w.offset);
        }
        return offsets;
    };
    EXPECT_EQ(steps(), until_stopped);
    EXPECT_TRUE(rig.take().empty()) << "CR is still 1";
    rig.pass_until([&] { return !rig.chip.writes.empty(); });
    EXPECT_EQ(steps(), until_log);
    EXPECT_NE(rig.chip.at(0, Fake::TFD) & 1, 0u) << "of the read: the log has not come yet";
    EXPECT_TRUE(rig.take().empty());
    rig.pass_until([&] { return !rig.chip.writes.empty(); });
    EXPECT_EQ(steps(), at_last);
    EXPECT_EQ(rig.take().at(0).status, std::uint32_t{UDRV_BLK_MEDIUM});
    EXPECT_EQ(rig.chip.comresets, 0u);
}

TEST_F(AhciRecovery, TheLogIsUsedHoweverLateItComes) {
    for (const unsigned lateness : {0u, 1u, 10u, 300u}) {
        AhciRig late;
        late.fill(0, 11);
        late.chip.disks[0].bad = {9};
        late.start();
        late.chip.lateness = lateness;
        late.submit({late.make(0, 0, UDRV_BLK_READ, 0, 8), late.make(0, 1, UDRV_BLK_READ, 8, 8)});
        auto done = late.finish(2);
        EXPECT_EQ(done[0], ok);
        EXPECT_EQ(done[1], std::uint32_t{UDRV_BLK_MEDIUM});
        EXPECT_EQ(late.chip.comresets, 0u) << lateness;
    }
}

// 3.3.8: until the disk has taken a command, PxTFD is about the one before.
TEST_F(AhciRecovery, ASlowCommandIsNotBlamedForTheErrorBeforeIt) {
    rig.config.ncq = false;
    rig.chip.disks[0].bad = {80};
    rig.start();
    rig.submit(rig.make(0, 0, UDRV_BLK_READ, 80, 8));
    EXPECT_EQ(rig.finish(1)[0], std::uint32_t{UDRV_BLK_MEDIUM});
    rig.chip.bus_master = false; // and so the next one is not even fetched
    rig.submit(rig.make(0, 1, UDRV_BLK_READ, 0, 8));
    rig.pass(2s);
    EXPECT_TRUE(rig.take().empty());
    rig.chip.bus_master = true;
    EXPECT_EQ(rig.finish(1)[1], ok);
    EXPECT_EQ(rig.driver->counters(0).device_errors, 1u);
}

TEST_F(AhciRecovery, WithoutALogTheSuspectsGoOneAtATime) {
    rig.chip.no_error_log = true;
    rig.chip.disks[0].bad = {17 * 8 + 3, 30 * 8};
    rig.start();
    auto done = read_all();
    EXPECT_EQ(done[17], std::uint32_t{UDRV_BLK_MEDIUM});
    EXPECT_EQ(done[30], std::uint32_t{UDRV_BLK_MEDIUM});
    expect_right(done, {17, 30});
}

TEST_F(AhciRecovery, EmulatedHbaThatGoesOnAfterAnError) {
    emulate();
    rig.chip.disks[0].bad_error = 4; // ABRT is all it says
    rig.chip.disks[0].bad = {3 * 8, 17 * 8 + 3, 31 * 8};
    rig.start();
    for (int round = 0; round < 3; round++) {
        const auto begin = rig.now;
        auto done = read_all();
        for (const std::uint32_t tag : {3u, 17u, 31u}) {
            EXPECT_EQ(done[tag], std::uint32_t{UDRV_BLK_IOERR}) << tag;
        }
        expect_right(done, {3, 17, 31});
        EXPECT_LT(rig.now - begin, 3s) << "found without a command's timeout";
    }
    EXPECT_EQ(rig.driver->counters(0).timeouts, 0u);
}

TEST_F(AhciRecovery, NonQueuedCommands) {
    for (const bool clears_ci : {false, true}) {
        rig.config.ncq = false;
        rig.chip.error_clears_ci = clears_ci;
        rig.chip.disks[0].bad = {80};
        rig.start();
        rig.submit({rig.make(0, 0, UDRV_BLK_READ, 0, 8), rig.make(0, 1, UDRV_BLK_READ, 80, 8),
                    rig.make(0, 2, UDRV_BLK_WRITE, 160, 8), rig.make(0, 3, UDRV_BLK_FLUSH)});
        auto done = rig.finish(4);
        EXPECT_EQ(done[1], std::uint32_t{UDRV_BLK_MEDIUM});
        EXPECT_EQ(done[0] | done[2] | done[3], ok);
    }
}

TEST_F(AhciRecovery, WhatTheErrorBitsBecome) { // ACS-3, ERROR field
    for (const auto& [error, status] :
         std::map<std::uint8_t, std::uint32_t>{{0x40, UDRV_BLK_MEDIUM},
                                               {0x44, UDRV_BLK_MEDIUM},
                                               {0x10, UDRV_BLK_IOERR},
                                               {0x04, UDRV_BLK_IOERR}}) {
        rig.chip.disks[0].bad = {0};
        rig.chip.disks[0].bad_error = error;
        rig.start();
        rig.submit(rig.make(0, 0, UDRV_BLK_WRITE, 0, 8));
        EXPECT_EQ(rig.finish(1)[0], status) << unsigned{error};
    }
    rig.chip.disks[0].aborts_trim = true;
    rig.submit(rig.make(0, 0, UDRV_BLK_DISCARD, 0, 8));
    EXPECT_EQ(rig.finish(1)[0], std::uint32_t{UDRV_BLK_NOTSUPP});
}

TEST_F(AhciRecovery, DamagedOnTheWayIsTriedAgainAFewTimes) {
    rig.start();
    rig.chip.disks[0].damaged_transfers = 2;
    expect_right(read_all());
    rig.chip.disks[0].damaged_transfers = 1000;
    rig.submit(rig.make(0, 0, UDRV_BLK_READ, 0, 8));
    EXPECT_EQ(rig.finish(1)[0], std::uint32_t{UDRV_BLK_IOERR});
    EXPECT_EQ(rig.chip.disks[0].damaged_transfers, 997u);
}

TEST_F(AhciRecovery, ABrokenTransferResetsThePortAndNothingIsLost) {
    rig.start();
    std::vector<BlkSubmission> many;
    for (std::uint32_t tag = 0; tag < 32; tag++) {
        many.push_back(rig.make(0, tag, UDRV_BLK_READ, tag * 8, 8));
    }
    rig.submit(many);
    rig.chip.run(0, 10);
    rig.chip.break_link(0); // IFS
    expect_right(rig.finish(32));
    EXPECT_EQ(rig.chip.comresets, 1u);
    EXPECT_EQ(rig.driver->counters(0).link_errors, 1u);
    EXPECT_EQ(rig.driver->counters(0).reissued, 22u);
}

TEST_F(AhciRecovery, AFlushKeepsItsPlaceAcrossARecovery) {
    rig.chip.disks[0].bad = {0};
    rig.start();
    rig.submit({rig.make(0, 0, UDRV_BLK_WRITE, 0, 8), rig.make(0, 1, UDRV_BLK_WRITE, 8, 8),
                rig.make(0, 2, UDRV_BLK_FLUSH), rig.make(0, 3, UDRV_BLK_WRITE, 16, 8)});
    auto done = rig.finish(4);
    EXPECT_EQ(done[0], std::uint32_t{UDRV_BLK_MEDIUM});
    EXPECT_EQ(rig.chip.disks[0].finished, (std::vector<std::uint8_t>{0x61, 0xea, 0x61}));
}

// 5.3.8, RegFIS:ClearCI: the signature of a disk that has forgotten everything ends the command.
TEST_F(AhciRecovery, ADiskThatResetsItselfHasDoneNothing) {
    for (const bool interrupts : {true, false}) {
        for (const std::uint8_t op :
             std::initializer_list<std::uint8_t>{UDRV_BLK_READ, UDRV_BLK_WRITE, UDRV_BLK_FLUSH}) {
            rig.config.ncq = false;
            rig.start();
            std::memset(rig.tag(0, 0).data(), 0xee, 4096);
            rig.submit(rig.make(0, 0, op, 0, op == UDRV_BLK_FLUSH ? 0 : 8));
            rig.chip.disk_forgets(0);
            const auto done = interrupts ? rig.take() : rig.reap();
            EXPECT_TRUE(done.empty()) << unsigned{op} << " was not carried out";
            if (done.empty()) {
                EXPECT_EQ(rig.finish(1)[0], ok);
            }
            EXPECT_EQ(rig.chip.disks[0].finished.size(), 2u) << "IDENTIFY, and once more";
            EXPECT_TRUE(op == UDRV_BLK_FLUSH || rig.same(0, 0));
        }
    }
}

TEST_F(AhciRecovery, ADeviceFaultIsAnErrorWithoutErr) { // ACS-3, DEVICE FAULT bit
    rig.config.ncq = false;
    rig.start();
    for (const std::uint8_t op :
         std::initializer_list<std::uint8_t>{UDRV_BLK_WRITE, UDRV_BLK_FLUSH}) {
        rig.chip.disks[0].faults = 1;
        rig.submit(rig.make(0, 0, op, 0, op == UDRV_BLK_FLUSH ? 0 : 8));
        EXPECT_EQ(rig.finish(1)[0], std::uint32_t{UDRV_BLK_IOERR}) << unsigned{op};
    }
}

// 3.3.12: the link made good what went wrong, which PxSERR keeps and no interrupt tells.
TEST_F(AhciRecovery, ARecoveredErrorOfTheLinkFailsNoSlowCommand) {
    for (const bool ncq : {true, false}) {
        for (const std::uint8_t op :
             std::initializer_list<std::uint8_t>{UDRV_BLK_READ, UDRV_BLK_WRITE, UDRV_BLK_FLUSH}) {
            rig.config.ncq = ncq;
            rig.start();
            const auto recovered = 1u << 1 | 1u << 19; // ERR.M, DIAG.B
            rig.chip.disks[0].slow = true;
            rig.chip.at(0, Fake::SERR) |= recovered;
            rig.submit(rig.make(0, 0, op, 0, op == UDRV_BLK_FLUSH ? 0 : 8));
            for (int n = 0; n < 8; n++) { // a bad cable
                rig.pass(500ms);
                rig.chip.at(0, Fake::SERR) |= recovered;
            }
            EXPECT_LE(rig.chip.comresets, 1u);
            EXPECT_TRUE(rig.take().empty());
            rig.chip.disks[0].slow = false;
            EXPECT_EQ(rig.finish(1)[0], ok) << ncq << unsigned{op};
            rig.chip.comresets = 0;
        }
    }
}

// ---- Time ---------------------------------------------------------------------------------

TEST_F(AhciRecovery, ACommandThatNeverEndsTimesOutAlone) {
    rig.chip.disks[0].hangs = {9 * 8 + 1};
    rig.start();
    const auto begin = rig.now;
    auto done = read_all();
    EXPECT_EQ(done[9], std::uint32_t{UDRV_BLK_IOERR});
    expect_right(done, {9});
    EXPECT_GE(rig.now - begin, 30s); // two tries of 15 s
    EXPECT_LT(rig.now - begin, 32s);
    EXPECT_EQ(rig.driver->counters(0).timeouts, 2u);
    EXPECT_EQ(rig.chip.comresets, 2u);
    expect_right(read_all(), {9});
}

TEST_F(AhciRecovery, SlowSectorsDoNotLoseTheDisk) {
    rig.chip.disks[0].hangs = {0, 3 * 8, 9 * 8 + 1};
    rig.start();
    for (int round = 0; round < 3; round++) {
        auto done = read_all();
        for (const std::uint32_t tag : {0u, 3u, 9u}) {
            EXPECT_EQ(done[tag], std::uint32_t{UDRV_BLK_IOERR}) << tag;
        }
        expect_right(done, {0, 3, 9});
    }
    EXPECT_EQ(rig.driver->counters(0).lost, 0u);
    rig.chip.disks[0].hangs.clear();
    expect_right(read_all());
}

TEST_F(AhciRecovery, NoRequestIsKeptForAsLongAsTheKernelWaits) { // 120 s, disk.c
    for (std::uint64_t block = 0; block < 32 * 8; block += 8) {
        rig.chip.disks[0].hangs.insert(block);
    }
    rig.start();
    const auto begin = rig.now;
    for (const auto& [tag, status] : read_all()) {
        EXPECT_EQ(status, std::uint32_t{UDRV_BLK_IOERR}) << tag;
    }
    EXPECT_LT(rig.now - begin, 115s);
    EXPECT_EQ(rig.driver->counters(0).lost, 0u);
}

TEST_F(AhciRecovery, ATimeoutThatWasPassingIsNoError) {
    rig.start();
    rig.chip.disks[0].frozen = true;
    rig.submit({rig.make(0, 1, UDRV_BLK_READ, 0, 8), rig.make(0, 2, UDRV_BLK_READ, 8, 8)});
    rig.pass(15100ms);
    rig.chip.disks[0].frozen = false;
    expect_right(rig.finish(2));
    EXPECT_EQ(rig.driver->counters(0).timeouts, 2u);
}

// Bus mastering is off for a while, again and again: commands hang, and nothing says why.
TEST_F(AhciRecovery, WithoutBusMasteringNothingFailsAndNothingIsLost) {
    rig.start();
    for (int round = 0; round < 8; round++) {
        std::vector<BlkSubmission> many;
        for (std::uint32_t tag = 0; tag < 32; tag++) {
            many.push_back(rig.make(0, tag, UDRV_BLK_READ, tag * 8, 8, 2));
        }
        rig.chip.bus_master = round % 2 != 0; // not fetched, or fetched and not moved
        rig.submit(many);
        rig.pass(10ms);
        rig.chip.bus_master = false;
        rig.pass(16s); // over the time-out, into the recovery
        rig.chip.bus_master = true;
        expect_right(rig.finish(32));
    }
    EXPECT_EQ(rig.driver->counters(0).lost, 0u);
}

TEST_F(AhciRecovery, ALostMessageIsNotTheLast) { // 10.7.2.1
    rig.chip.msi = true;
    rig.start();
    rig.submit(rig.make(0, 0, UDRV_BLK_READ, 0, 8));
    rig.pass(1ms);
    rig.chip.settle();
    rig.chip.run();
    EXPECT_TRUE(rig.chip.interrupting());
    EXPECT_FALSE(rig.chip.interrupting()) << "and nobody has seen it";
    rig.pass(300ms); // found in time all the same
    EXPECT_EQ(rig.take().size(), 1u);
    rig.submit(rig.make(0, 1, UDRV_BLK_READ, 0, 8));
    rig.chip.run();
    EXPECT_TRUE(rig.chip.interrupting()) << "IS was never cleared";
}

TEST_F(AhciRecovery, FlushesMayTakeLonger) {
    rig.start();
    rig.chip.disks[0].frozen = true;
    rig.submit(rig.make(0, 1, UDRV_BLK_FLUSH));
    rig.pass(29s);
    EXPECT_EQ(rig.chip.comresets, 0u);
    rig.chip.disks[0].frozen = false;
    EXPECT_EQ(rig.finish(1)[1], ok);
}

TEST_F(AhciRecovery, ADiskThatNeverAnswersAgainIsGivenUp) {
    rig.start();
    rig.chip.disks[0].frozen = true; // IDENTIFY, too
    const auto begin = rig.now;
    for (const auto& [tag, status] : read_all()) {
        EXPECT_NE(status, ok) << tag;
    }
    EXPECT_LT(rig.now - begin, 40s) << "not fifteen seconds for each";
    EXPECT_EQ(rig.driver->counters(0).lost, 1u);
    rig.submit(rig.make(0, 3, UDRV_BLK_READ, 0, 8));
    EXPECT_EQ(rig.take().at(0).status, std::uint32_t{UDRV_BLK_IOERR});
    rig.chip.disks[0].frozen = false; // somebody has switched it off and on
    rig.pass(30s);
    EXPECT_EQ(rig.driver->counters(0).returned, 1u);
    expect_right(read_all());
}

TEST_F(AhciRecovery, APortThatDoesNotComeBackFailsAllOfItsRequestsAndNoOthers) {
    rig.chip.plug(1, 100);
    rig.start();
    rig.chip.disks[0].dead_after_reset = true;
    std::vector<BlkSubmission> many;
    for (std::uint32_t tag = 0; tag < 32; tag++) {
        many.push_back(rig.make(0, tag, UDRV_BLK_READ, tag * 8, 8));
    }
    many[20] = rig.make(0, 20, UDRV_BLK_FLUSH); // some wait behind it
    rig.submit(many);
    rig.chip.unplug(0);
    for (const auto& [tag, status] : rig.finish(32)) {
        EXPECT_EQ(status, std::uint32_t{UDRV_BLK_IOERR}) << tag;
    }
    rig.submit(rig.make(0, 0, UDRV_BLK_WRITE, 0, 8));
    EXPECT_EQ(rig.take().at(0).status, std::uint32_t{UDRV_BLK_IOERR});
    EXPECT_GE(rig.driver->tick(rig.now), rig.now + 500ms) << "a look now and then";
    rig.submit(rig.make(1, 0, UDRV_BLK_READ, 0, 8), 1);
    EXPECT_EQ(rig.finish(1)[0], ok);
}

// ---- Hot plug ------------------------------------------------------------------------------

TEST_F(AhciRecovery, ALostDiskComesBack) { // 7.3.1
    for (const bool interrupts : {true, false}) {
        rig.start();
        rig.chip.unplug(0);
        (void)rig.take();
        rig.pass(25s);
        EXPECT_EQ(rig.driver->counters(0).lost, 1u);
        rig.submit(rig.make(0, 0, UDRV_BLK_READ, 0, 8));
        EXPECT_EQ(rig.finish(1)[0], std::uint32_t{UDRV_BLK_IOERR});
        rig.chip.plug_in(0);
        if (interrupts) {
            (void)rig.take();
            rig.pass(200ms);
        } else {
            rig.pass(1500ms);
        }
        EXPECT_EQ(rig.driver->counters(0).returned, 1u);
        expect_right(read_all());
        EXPECT_FALSE(rig.chip.interrupting());
    }
}

TEST_F(AhciRecovery, ADiskThatIsAwayForAMomentLosesNothing) {
    rig.start();
    std::vector<BlkSubmission> many;
    for (std::uint32_t tag = 0; tag < 32; tag++) {
        many.push_back(rig.make(0, tag, UDRV_BLK_READ, tag * 8, 8));
    }
    rig.submit(many);
    rig.chip.run(0, 5);
    rig.chip.unplug(0);
    for (auto& completion : rig.take()) {
        EXPECT_EQ(completion.status, ok);
    }
    rig.pass(8s);
    rig.chip.plug_in(0);
    EXPECT_EQ(rig.finish(27).size(), 27u);
    EXPECT_EQ(rig.driver->counters(0).lost, 0u);
}

TEST_F(AhciRecovery, AnotherDiskDoesNotTakeOver) {
    for (const auto away : {std::chrono::milliseconds(25s), 2000ms}) {
        AhciRig swap;
        swap.start();
        const auto first = swap.chip.disks[0].identify;
        swap.chip.unplug(0);
        (void)swap.take();
        swap.pass(away);
        put_text(swap.chip.disks[0].identify, 10, 10, "ANOTHER");
        seal(swap.chip.disks[0].identify);
        swap.chip.plug_in(0);
        (void)swap.take();
        swap.pass(5s);
        EXPECT_EQ(swap.driver->counters(0).strangers, 1u);
        swap.chip.forget();
        swap.submit(swap.make(0, 0, UDRV_BLK_WRITE, 0, 8));
        EXPECT_EQ(swap.finish(1)[0], std::uint32_t{UDRV_BLK_IOERR});
        EXPECT_TRUE(swap.chip.disks[0].log.empty()) << "it was written to";
        // The first one again.
        swap.chip.unplug(0);
        (void)swap.take();
        swap.pass(100ms);
        swap.chip.disks[0].identify = first;
        swap.chip.plug_in(0);
        (void)swap.take();
        swap.pass(2s);
        EXPECT_EQ(swap.driver->counters(0).returned, 1u);
        swap.submit(swap.make(0, 1, UDRV_BLK_WRITE, 0, 8));
        EXPECT_EQ(swap.finish(1)[1], ok);
    }
}

TEST_F(AhciRecovery, ADiskThatComesBackInStandbyIsWoken) {
    rig.start();
    rig.chip.unplug(0);
    (void)rig.take();
    rig.pass(1s);
    rig.chip.disks[0].standby = 0x37c8;
    rig.chip.plug_in(0);
    rig.pass(1s);
    expect_right(read_all());
    EXPECT_EQ(rig.driver->counters(0).lost, 0u);
}

TEST_F(AhciRecovery, ADeviceInAnEmptyPortIsSaid) {
    rig.start();
    EXPECT_EQ(rig.driver->troubles().arrivals, 0u);
    rig.chip.plug(2, 100);
    rig.chip.plug_in(2);
    EXPECT_TRUE(rig.chip.interrupting());
    (void)rig.take();
    (void)rig.take();
    EXPECT_GE(rig.driver->troubles().arrivals, 1u);
    EXPECT_FALSE(rig.chip.interrupting()) << "for ever";
    expect_right(read_all());
}

TEST_F(AhciRecovery, AnEngineThatDoesNotStopResetsTheHbaAndNeighboursLoseNothing) {
    rig.chip.plug(1, 1000);
    rig.fill(1, 12);
    rig.start();
    rig.chip.hba_resets = 0;
    rig.chip.disks[0].hangs = {0};
    rig.chip.cr_hangs = 1;
    rig.submit({rig.make(0, 0, UDRV_BLK_READ, 0, 8), rig.make(0, 1, UDRV_BLK_READ, 8, 8)});
    rig.chip.run(0);
    EXPECT_EQ(rig.take().size(), 1u);
    rig.pass(14900ms);
    rig.submit({rig.make(1, 5, UDRV_BLK_READ, 0, 8), rig.make(1, 6, UDRV_BLK_FLUSH)}, 1);
    rig.pass(1000ms);
    EXPECT_EQ(rig.chip.hba_resets, 1u); // 10.4.3
    auto done = rig.finish(3);
    EXPECT_EQ(done[0], std::uint32_t{UDRV_BLK_IOERR});
    EXPECT_EQ(done[5] | done[6], ok);
    EXPECT_TRUE(rig.same(1, 5));
}

// Nothing is completed: the HBA may still write to that memory.
TEST_F(AhciRecovery, AnHbaThatDoesNotComeBackIsLeftToTheKernel) {
    rig.start();
    rig.chip.disks[0].frozen = true;
    rig.chip.cr_hangs = 1;
    rig.chip.hr_hangs = true;
    rig.submit({rig.make(0, 0, UDRV_BLK_READ, 0, 8), rig.make(0, 1, UDRV_BLK_WRITE, 8, 8)});
    rig.pass(20s);
    EXPECT_TRUE(rig.take().empty());
    EXPECT_NE(rig.driver->failure(), nullptr);
    EXPECT_EQ(rig.driver->tick(rig.now), BlkClock::time_point::max());
}

TEST_F(AhciRecovery, ADeviceThatIsGoneFailsEverything) {
    rig.start();
    rig.submit({rig.make(0, 0, UDRV_BLK_READ, 0, 8), rig.make(0, 1, UDRV_BLK_FLUSH)});
    rig.chip.gone = true;
    EXPECT_TRUE(rig.driver->interrupt());
    const auto done = rig.reap();
    ASSERT_EQ(done.size(), 2u);
    EXPECT_EQ(done[0].status, std::uint32_t{UDRV_BLK_IOERR});
    rig.driver->stop(); // and that ends, too
}

TEST_F(AhciRecovery, ALostInterruptIsMadeUpFor) {
    rig.start();
    rig.submit(rig.make(0, 0, UDRV_BLK_READ, 0, 8));
    (void)rig.driver->tick(rig.now);
    rig.chip.run();
    rig.now += 300ms;
    (void)rig.driver->tick(rig.now);
    EXPECT_EQ(rig.rings.take().size(), 1u);
    EXPECT_EQ(rig.driver->counters(0).device_errors, 0u);
}

TEST_F(AhciRecovery, TickSaysWhenItIsNeeded) {
    rig.start();
    EXPECT_EQ(rig.driver->tick(rig.now), BlkClock::time_point::max());
    rig.submit(rig.make(0, 0, UDRV_BLK_READ, 0, 8));
    const auto next = rig.driver->tick(rig.now);
    EXPECT_EQ(next, rig.now + 250ms);
    rig.chip.forget();
    EXPECT_EQ(rig.driver->tick(rig.now + 100ms), next);
    EXPECT_EQ(rig.chip.reads, 0u) << "no register access in between";
    rig.chip.run();
    EXPECT_EQ(rig.take().size(), 1u);
    EXPECT_EQ(rig.driver->tick(rig.now + 101ms), BlkClock::time_point::max());
}

// ---- Anything, in any order -----------------------------------------------------------------

/// Random requests that do not overlap while under way, against a copy of what the
/// disk should hold, with all that can go wrong going wrong now and then.
struct Storm {
    AhciRig rig;
    std::mt19937 random;
    Bytes expected;
    std::map<std::uint32_t, std::pair<std::uint64_t, std::uint64_t>> under_way;
    std::set<std::uint64_t> unsure; ///< written by a command that failed
    std::array<std::uint64_t, UDRV_BLK_NR_STATUS> count{};

    explicit Storm(std::uint32_t seed) : random(seed) {
        rig.config.command_timeout = 1500ms; // for the test's sake
        rig.config.flush_timeout = 3000ms;
    }

    std::uint32_t pick(std::uint32_t below) { return static_cast<std::uint32_t>(random() % below); }

    void submit(std::uint32_t tag) {
        const std::uint64_t sector = pick(AhciRig::disk_blocks - 64);
        const std::uint32_t sectors = 1 + pick(64);
        for (const auto& [other, range] : under_way) {
            if (sector < range.second && range.first < sector + sectors) {
                return;
            }
        }
        const std::uint32_t what = pick(20);
        BlkSubmission submission;
        if (what < 9) {
            submission = rig.make(0, tag, UDRV_BLK_READ, sector, sectors, 1 + pick(8));
        } else if (what < 17) {
            submission = rig.make(0, tag, UDRV_BLK_WRITE, sector, sectors, 1 + pick(8),
                                  pick(4) == 0 ? UDRV_BLK_REQ_FUA : 0);
            for (std::uint32_t i = 0; i < sectors * 512; i += 64) { // enough to tell apart
                const auto number = static_cast<std::uint32_t>(random());
                std::memcpy(rig.tag(0, tag).data() + i, &number, sizeof number);
            }
        } else if (what < 19) {
            submission = rig.make(0, tag, UDRV_BLK_FLUSH);
        } else {
            submission = rig.make(0, tag, UDRV_BLK_DISCARD, sector, sectors);
        }
        const bool flush = submission.request->op == UDRV_BLK_FLUSH;
        under_way[tag] = flush ? std::pair{0ul, 0ul} : std::pair{sector, sector + sectors};
        rig.submit(submission);
    }

    void check(const BlkCompletion& completion) {
        ASSERT_EQ(under_way.erase(completion.tag), 1u);
        AhciRig::Tag& tag = rig.tag(0, completion.tag);
        const udrv_blk_request& request = tag.request();
        EXPECT_EQ(completion.generation, request.generation);
        ASSERT_LT(completion.status, count.size());
        count.at(completion.status)++;
        for (std::uint32_t i = 0; i < request.nr_sectors; i++) {
            const std::uint64_t block = request.sector + i;
            std::uint8_t* place = &expected[block * 512];
            if (completion.status != UDRV_BLK_OK) {
                if (request.op != UDRV_BLK_READ) {
                    unsure.insert(block);
                }
            } else if (request.op == UDRV_BLK_READ) {
                EXPECT_TRUE(unsure.contains(block) ||
                            std::memcmp(tag.data() + i * 512, place, 512) == 0)
                    << "block " << block;
            } else {
                unsure.erase(block);
                if (request.op == UDRV_BLK_WRITE) {
                    std::memcpy(place, tag.data() + i * 512, 512);
                } else {
                    std::memset(place, 0, 512);
                }
            }
        }
    }

    void harm() {
        FakeAhci::Disk& disk = rig.chip.disks[0];
        rig.chip.lateness = pick(8);
        rig.chip.bus_master |= pick(20) == 0;
        switch (pick(400)) {
        case 0:
            disk.bad = {pick(AhciRig::disk_blocks)};
            break;
        case 1:
            disk.bad.clear();
            break;
        case 2:
            disk.damaged_transfers = 1 + pick(2);
            break;
        case 3:
            rig.chip.break_link(0);
            break;
        case 4:
            disk.hangs = {pick(AhciRig::disk_blocks)};
            break;
        case 5:
        case 6:
            disk.hangs.clear();
            break;
        case 7:
            rig.chip.cr_hangs = pick(4) == 0 ? 1 : 0;
            break;
        case 8:
            rig.chip.bus_master = false;
            break;
        default:
            break;
        }
    }

    void run(int steps) {
        rig.fill(0, 99);
        expected = rig.chip.disks[0].data;
        rig.start();
        const std::uint32_t depth = rig.driver->disks()[0].depth;
        for (int step = 0; step < steps || !under_way.empty(); step++) {
            ASSERT_LT(step, steps + 200'000) << under_way.size() << " requests are lost";
            if (step >= steps) {
                rig.chip.bus_master = true;
            } else {
                for (std::uint32_t n = pick(6); n != 0; n--) {
                    const std::uint32_t tag = pick(depth);
                    if (!under_way.contains(tag)) {
                        submit(tag);
                    }
                }
                harm();
            }
            rig.chip.run(0, pick(8));
            if (pick(3) != 0) {
                for (const BlkCompletion& completion : rig.take()) {
                    check(completion);
                }
            }
            (void)rig.driver->tick(rig.now);
            rig.now += std::chrono::milliseconds(pick(3));
        }
        for (std::uint64_t block = 0; block < AhciRig::disk_blocks; block++) {
            if (!unsure.contains(block)) {
                ASSERT_EQ(
                    std::memcmp(&expected[block * 512], &rig.chip.disks[0].data[block * 512], 512),
                    0)
                    << "block " << block;
            }
        }
        EXPECT_GT(count[UDRV_BLK_OK], static_cast<std::uint64_t>(steps) / 10);
    }
};

TEST(AhciStorm, StandardHba) {
    for (std::uint32_t seed = 1; seed <= 3; seed++) {
        Storm storm(seed);
        storm.run(2000);
        EXPECT_GT(storm.rig.driver->counters(0).reissued, 0u);
    }
}

TEST(AhciStorm, EmulatedHba) {
    for (std::uint32_t seed = 11; seed <= 13; seed++) {
        Storm storm(seed);
        auto& chip = storm.rig.chip;
        chip.no_error_log = chip.no_tfes = chip.goes_on = true;
        chip.error_clears_ci = chip.keeps_sact = true;
        storm.run(2000);
    }
}

TEST(AhciStorm, WithoutQueuing) {
    for (std::uint32_t seed = 21; seed <= 22; seed++) {
        Storm storm(seed);
        storm.rig.config.ncq = false;
        storm.run(2000);
    }
}

TEST(AhciStorm, FewSlots) {
    Storm storm(31);
    storm.rig.chip.cap = 0xc0000303; // 4
    storm.run(2000);
}

} // namespace
} // namespace udrv::test
