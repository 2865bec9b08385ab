// SPDX-License-Identifier: MIT
//
// hostile_blk BDF MUTATIONS [SEED]: attaches as three disks, says OK to all requests
// without any disk, and mutates what it shares with the kernel, from a second thread
// too. A violation ends the session; the next one begins. Somebody else makes the
// load. Prints what was done and what came of it.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>

#include "hostile_blk.hpp"
#include "libudrv/error.hpp"

namespace {

using namespace hostile;

enum Theme : std::uint8_t {
    harmless, ///< slots of requests, wakeup words, the indices that the kernel only writes
    completion_entries,
    completion_index,
    submission_entries, ///< which we believe: wrong tags come back
    anywhere,
    lies, ///< the first thread itself: a wrong entry now and then
    nr_themes
};
constexpr std::array<const char*, nr_themes> theme_names = {
    "slots and flags", "completion entries", "completion index",
    "submissions",     "anywhere",           "wrong entries"};
// What the kernel has to notice. (`anywhere` may hit nothing that matters.)
constexpr std::array noticed = {completion_entries, completion_index, submission_entries, lies};

struct Tally {
    std::uint64_t sessions = 0, mutations = 0, violated = 0, requests = 0;
};

std::vector<Target> targets(BlkSession& s, Theme theme) {
    const std::byte* map = s.map.data();
    std::vector<Target> all;
    if (theme == anywhere) {
        return {{0, s.map.len_bytes()}};
    }
    if (theme == harmless) {
        all = {word_at(map, s.wakeup, sizeof(*s.wakeup)), word_at(map, &s.wakeup->driver),
               word_at(map, &s.wakeup->kernel)};
    }
    for (BlkSession::Disk& disk : s.disks) {
        switch (theme) {
        case harmless:
            all.push_back(word_at(map, disk.slots, std::size_t{disk.depth} * disk.slot_bytes));
            all.push_back(word_at(map, &disk.submission.header->consumer, sizeof(udrv_ring_index)));
            all.push_back(word_at(map, &disk.completion.header->consumer, sizeof(udrv_ring_index)));
            break;
        case completion_entries:
            all.push_back(entries_of(map, disk.completion));
            break;
        case completion_index:
            all.push_back(word_at(map, &disk.completion.header->producer));
            break;
        case submission_entries:
            all.push_back(entries_of(map, disk.submission));
            break;
        default:
            break;
        }
    }
    return all;
}

/// A wrong completion in place of a right one.
void lie(BlkSession::Disk& disk, udrv_blk_submission request, Random& random) {
    udrv_blk_completion entry{request.tag, request.generation, UDRV_BLK_OK, 0};
    switch (random.below(5)) {
    case 0:
        entry.tag = evil(random, entry.tag);
        break;
    case 1:
        entry.generation = evil(random, entry.generation);
        break;
    case 2:
        entry.status = evil(random, entry.status);
        break;
    case 3:
        entry.reserved = evil(random, 0);
        break;
    default:
        disk.completion.push(entry);
        break; // once more
    }
    disk.completion.push(entry);
}

void one_session(const udrv::PciAddress& address, Theme theme, Random& random, std::uint64_t budget,
                 Tally& tally) {
    BlkSession s(address, blk_attach(3));
    const auto violations = attribute(address, "violations");
    {
        Mutator mutator(s.map.data(), targets(s, theme), random.next(), budget,
                        theme == completion_index ? 100 : 0);
        const bool alone = theme == lies;
        std::uint64_t lied = 0;
        std::array<udrv_blk_submission, 64> kept{};
        std::array<std::uint32_t, 64> kept_disk{};
        std::size_t nr_kept = 0;
        const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(400);
        for (std::uint32_t pass = 0; s.publish(); pass++) {
            if ((alone ? lied >= budget : mutator.done()) ||
                ((pass & 15U) == 0 && std::chrono::steady_clock::now() > end)) {
                break;
            }
            bool any = false;
            for (std::uint32_t n = 0; n < s.disks.size(); n++) {
                udrv_blk_submission request{};
                for (int i = 0; i < 64 && s.disks[n].take(request); i++) {
                    any = true;
                    tally.requests++;
                    if (alone && random.one_in(16)) {
                        lie(s.disks[n], request, random);
                        lied++;
                    } else if (nr_kept < kept.size() && random.one_in(4)) {
                        kept[nr_kept] = request; // later, out of order
                        kept_disk[nr_kept++] = n;
                    } else {
                        s.disks[n].complete(request, random.one_in(256) ? random.below(5) : 0);
                    }
                }
            }
            while (nr_kept > 0 && random.one_in(2)) {
                const std::size_t i = random.below(static_cast<std::uint32_t>(nr_kept--));
                s.disks[kept_disk[i]].complete(kept[i]);
                kept[i] = kept[nr_kept];
                kept_disk[i] = kept_disk[nr_kept];
            }
            if (!any) {
                ::usleep(100);
            }
        }
        mutator.stop();
        tally.mutations += mutator.count() + lied;
    }
    tally.violated += attribute(address, "violations") > violations ? 1U : 0U;
    tally.sessions++;
}

} // namespace

int main(int argc, char** argv) {
    if (argc < 3) {
        std::fprintf(stderr, "usage: hostile_blk BDF MUTATIONS [SEED]\n");
        return 2;
    }
    try {
        const auto [address, wanted, seed] = Arguments(argc, argv);
        survive_bus_errors();
        Random random(seed);
        {
            BlkSession s(address, blk_attach(3));
            fmt::print("seed {}, disks {} {} {}\n", seed, s.disks[0].name, s.disks[1].name,
                       s.disks[2].name);
            std::fflush(stdout);
            s.serve(1500); // their partitions are looked for
        }
        std::array<Tally, nr_themes> tallies{};
        Tally sum{};
        // Each lie needs a request to lie about, and on a slow machine those come late.
        constexpr std::uint64_t most_sessions = 300;
        const auto told = [&] {
            return std::all_of(noticed.begin(), noticed.end(),
                               [&](Theme theme) { return tallies[theme].violated > 0; });
        };
        while (sum.mutations < wanted || (!told() && sum.sessions < most_sessions)) {
            const auto theme = static_cast<Theme>(sum.sessions % nr_themes);
            Tally& tally = tallies[theme];
            const std::uint64_t before = tally.mutations, violated = tally.violated;
            one_session(address, theme, random, theme == lies ? 1024 : 20000, tally);
            sum.sessions++;
            sum.mutations += tally.mutations - before;
            sum.violated += tally.violated - violated;
        }
        for (std::size_t n = 0; n < nr_themes; n++) {
            const Tally& t = tallies[n];
            fmt::print("{:22} {:7} sessions {:10} mutations {:7} violated {:8} requests\n",
                       theme_names[n], t.sessions, t.mutations, t.violated, t.requests);
        }
        fmt::print("total: {} sessions {} mutations {} violated {} bus errors\n", sum.sessions,
                   sum.mutations, sum.violated, bus_errors.load());
        check_eq("violations by slots and flags", tallies[harmless].violated, 0);
        for (const Theme theme : noticed) {
            report(
                tallies[theme].violated > 0, fmt::format("violations by {}", theme_names[theme]),
                fmt::format("{} of {} sessions", tallies[theme].violated, tallies[theme].sessions));
        }
        return failures == 0 ? 0 : 1;
    } catch (const std::exception& error) {
        fmt::print("FAIL: {}\n", error.what());
        return 1;
    }
}
