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

TEST_F(AhciRecovery, StepsAfterAFailedQueuedCommand) { // 6.2.2.2
    rig.chip.disks[0].bad = {0};
    rig.start();
    rig.submit(rig.make(0, 5, UDRV_BLK_READ, 0, 8));
    rig.chip.run();
    rig.chip.writes.clear();
    EXPECT_TRUE(rig.take().empty());
    (void)rig.driver->tick(rig.now);
    std::vector<std::pair<std::uint32_t, std::uint32_t>> steps;
    for (const auto& w : rig.chip.writes) {
        steps.emplace_back(w.offset, w.value);
    }
    const auto port = [](std::uint32_t offset) { return Fake::place(0, offset); };
    const std::vector<std::uint32_t> order{
        port(Fake::PIS),  Fake::IS,        port(Fake::PIE), port(Fake::CMD), // ST 0
        port(Fake::SERR), port(Fake::PIS), port(Fake::PIS), port(Fake::CMD), // ST 1
        port(Fake::CI),                                                      // the log
        port(Fake::PIS),  port(Fake::PIE)};
    ASSERT_EQ(steps.size(), order.size());
    for (std::size_t i = 0; i < order.size(); i++) {
        EXPECT_EQ(steps[i].first, order[i]) << i;
    }
    EXPECT_EQ(rig.take().at(0).status, std::uint32_t{UDRV_BLK_MEDIUM});
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

// ---- Time ---------------------------------------------------------------------------------

TEST_F(AhciRecovery, ACommandThatNeverEndsTimesOutAlone) {
    rig.chip.disks[0].hangs = {9 * 8 + 1};
    rig.start();
    const auto begin = rig.now;
    auto done = read_all();
    EXPECT_EQ(done[9], std::uint32_t{UDRV_BLK_TIMEOUT});
    expect_right(done, {9});
    EXPECT_GE(rig.now - begin, 10s); // two tries of 5 s
    EXPECT_LT(rig.now - begin, 12s);
    EXPECT_EQ(rig.driver->counters(0).timeouts, 2u);
    EXPECT_EQ(rig.chip.comresets, 2u);
    expect_right(read_all(), {9});
}

TEST_F(AhciRecovery, ATimeoutThatWasPassingIsNoError) {
    rig.start();
    rig.chip.disks[0].frozen = true;
    rig.submit({rig.make(0, 1, UDRV_BLK_READ, 0, 8), rig.make(0, 2, UDRV_BLK_READ, 8, 8)});
    rig.pass(5100ms);
    rig.chip.disks[0].frozen = false;
    expect_right(rig.finish(2));
    EXPECT_EQ(rig.driver->counters(0).timeouts, 2u);
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
    rig.chip.disks[0].frozen = true;
    const auto begin = rig.now;
    for (const auto& [tag, status] : read_all()) {
        EXPECT_NE(status, ok) << tag;
    }
    EXPECT_LT(rig.now - begin, 25s) << "not five seconds for each";
    rig.submit(rig.make(0, 3, UDRV_BLK_READ, 0, 8));
    EXPECT_EQ(rig.take().at(0).status, std::uint32_t{UDRV_BLK_IOERR});
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
    EXPECT_EQ(rig.driver->tick(rig.now), BlkClock::time_point::max());
    rig.submit(rig.make(1, 0, UDRV_BLK_READ, 0, 8), 1);
    EXPECT_EQ(rig.finish(1)[0], ok);
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
    rig.pass(4900ms);
    rig.submit({rig.make(1, 5, UDRV_BLK_READ, 0, 8), rig.make(1, 6, UDRV_BLK_FLUSH)}, 1);
    rig.pass(1000ms);
    EXPECT_EQ(rig.chip.hba_resets, 1u); // 10.4.3
    auto done = rig.finish(3);
    EXPECT_EQ(done[0], std::uint32_t{UDRV_BLK_TIMEOUT});
    EXPECT_EQ(done[5] | done[6], ok);
    EXPECT_TRUE(rig.same(1, 5));
}

TEST_F(AhciRecovery, AnHbaThatDoesNotComeBackFailsEverything) {
    rig.start();
    rig.chip.disks[0].frozen = true;
    rig.chip.cr_hangs = 1;
    rig.chip.hr_hangs = true;
    for (const auto& [tag, status] : read_all()) {
        EXPECT_EQ(status, std::uint32_t{UDRV_BLK_IOERR}) << tag;
    }
}

TEST_F(AhciRecovery, ADeviceThatIsGoneFailsEverything) {
    rig.start();
    rig.submit({rig.make(0, 0, UDRV_BLK_READ, 0, 8), rig.make(0, 1, UDRV_BLK_FLUSH)});
    rig.chip.gone = true;
    EXPECT_TRUE(rig.driver->interrupt());
    std::vector<BlkCompletion> done(4);
    ASSERT_EQ(rig.driver->reap(done), 2u);
    EXPECT_EQ(done[0].status, std::uint32_t{UDRV_BLK_IOERR});
    rig.driver->stop(); // and that ends, too
}

TEST_F(AhciRecovery, ALostInterruptIsMadeUpFor) {
    rig.start();
    rig.submit(rig.make(0, 0, UDRV_BLK_READ, 0, 8));
    (void)rig.driver->tick(rig.now);
    rig.chip.run();
    rig.now += 300ms;
    EXPECT_EQ(rig.driver->tick(rig.now), rig.now) << "there is something to reap";
    std::vector<BlkCompletion> done(4);
    EXPECT_EQ(rig.driver->reap(done), 1u);
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

    explicit Storm(std::uint32_t seed) : random(seed) {}

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
            if (step < steps) {
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
