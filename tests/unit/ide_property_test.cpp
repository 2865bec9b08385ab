// SPDX-License-Identifier: MIT
//
// ide: random requests on four disks, with random faults of the drives. Whatever
// happens: each request completes exactly once, in order on its disk, with a status
// that its fault explains; a read that succeeded returns what the last writes left; and
// a medium holds what succeeded writes brought.
#include <gtest/gtest.h>

#include <deque>
#include <random>
#include <set>

#include "tests/unit/ide_rig.hpp"

namespace udrv::test {
namespace {

constexpr std::uint64_t nr_places = 64; ///< sectors in use, near an interesting border

class Property {
  public:
    Property(std::uint32_t seed, bool faults) : random_(seed), faults_(faults) {
        rig_.config.command_timeout = std::chrono::seconds{5};
        rig_.config.reset_timeout = std::chrono::seconds{10};
        for (std::uint32_t n = 0; n < 4; n++) {
            FakeIdeDrive& drive = rig_.channels[n / 2].drives[n % 2];
            // The first disk's sectors lie around the end of 28 bits.
            drive.make_disk(n == 0 ? 0x10000100 : 1 * gib + n, n != 3);
            if (n == 1) {
                drive.offer_fua();
                drive.offer_trim();
            }
            disks_[n].drive = &drive;
            disks_[n].base = n == 0 ? 0x0fffffff - nr_places / 2 : n * 1000;
            disks_[n].expected.assign(nr_places, IdeSector{});
        }
        rig_.start();
    }

    void run(unsigned steps) {
        for (unsigned i = 0; i < steps && !::testing::Test::HasFailure(); i++) {
            step();
        }
        for (unsigned i = 0; i < 200 && outstanding() != 0; i++) {
            rig_.pass(std::chrono::seconds{1});
            reap();
        }
        EXPECT_EQ(outstanding(), 0u);
        for (Disk& disk : disks_) {
            for (std::uint64_t i = 0; i < nr_places; i++) {
                EXPECT_TRUE(disk.unsure.contains(i) ||
                            disk.drive->read(disk.base + i) == disk.expected[i])
                    << "sector " << i;
            }
        }
    }

    std::uint64_t completed = 0;
    std::uint64_t failed = 0;

  private:
    struct Request {
        std::uint32_t tag = 0;
        std::uint32_t generation = 0;
        std::uint8_t op = 0;
        std::uint64_t first = 0; ///< place
        std::uint32_t count = 0;
        IdeRig::Segments segments;
    };
    struct Disk {
        FakeIdeDrive* drive = nullptr;
        std::uint64_t base = 0;
        std::vector<IdeSector> expected;
        std::set<std::uint64_t> unsure; ///< a write of it failed: old or new
        std::deque<Request> queue;
        std::set<std::uint32_t> tags;
    };

    std::uint32_t below(std::uint32_t limit) {
        return std::uniform_int_distribution<std::uint32_t>(0, limit - 1)(random_);
    }

    std::size_t outstanding() const {
        std::size_t count = 0;
        for (const Disk& disk : disks_) {
            count += disk.queue.size();
        }
        return count;
    }

    void step() {
        switch (below(faults_ ? 8 : 6)) {
        case 0:
        case 1:
        case 2:
            submit(below(4));
            break;
        case 3:
            if (rig_.channels[below(2)].run() && below(8) != 0) {
                (void)rig_.chip->interrupt(); // the others are lost
            }
            break;
        case 4:
            reap();
            break;
        case 5:
            rig_.pass(std::chrono::milliseconds{below(faults_ ? 2000 : 10)});
            break;
        case 6:
            fault(*disks_[below(4)].drive);
            break;
        default:
            rig_.channels[below(2)].noise();
            (void)rig_.chip->interrupt();
            break;
        }
    }

    void fault(FakeIdeDrive& drive) {
        switch (below(6)) {
        case 0:
            drive.aborts = 1;
            break;
        case 1:
            drive.crc_errors = below(5);
            break;
        case 2:
            drive.hangs = below(3);
            break;
        case 3:
            drive.silent = 1;
            break;
        case 4:
            drive.faults = 1;
            break;
        default:
            rig_.channels[below(2)].short_count = true;
            break;
        }
    }

    /// A segment list of odd pieces: words, sectors, pages.
    IdeRig::Segments pieces(std::uint32_t nr_sectors) {
        IdeRig::Segments result;
        std::uint32_t left = nr_sectors * 512;
        while (left != 0) {
            const bool last = result.size() == 127;
            std::uint32_t len = last ? left : std::min(left, (below(4096) + 2) & ~1u);
            len = below(2) == 0 ? left : len;
            const std::uint64_t at = rig_.memory.allocate(std::max(len, 2u)).dma_addr;
            result.push_back({at, len, 0});
            left -= len;
        }
        return result;
    }

    void submit(std::uint32_t number) {
        Disk& disk = disks_[number];
        Request request;
        while (request.tag < 4 && disk.tags.contains(request.tag)) {
            request.tag++;
        }
        if (request.tag == 4) {
            return;
        }
        request.op = static_cast<std::uint8_t>(below(10) == 0 ? UDRV_BLK_FLUSH : below(2));
        std::uint8_t flags = 0;
        if (request.op != UDRV_BLK_FLUSH) {
            request.first = below(nr_places);
            request.count = 1 + below(static_cast<std::uint32_t>(nr_places - request.first));
            request.segments = pieces(request.count);
            if (request.op == UDRV_BLK_WRITE) {
                rig_.fill(request.segments, below(0x7fffffff));
                flags = number == 1 && below(2) == 0 ? UDRV_BLK_REQ_FUA : 0;
            }
        }
        const BlkSubmission one =
            rig_.request(number, request.tag, request.op,
                         request.op == UDRV_BLK_FLUSH ? 0 : disk.base + request.first,
                         request.count, request.segments, flags);
        request.generation = one.generation;
        disk.tags.insert(request.tag);
        disk.queue.push_back(request);
        rig_.submit(number, one);
    }

    void reap() {
        for (const BlkCompletion& done : rig_.take()) {
            ASSERT_LT(done.disk, 4u);
            Disk& disk = disks_[done.disk];
            ASSERT_FALSE(disk.queue.empty());
            const Request request = disk.queue.front(); // in order
            disk.queue.pop_front();
            ASSERT_EQ(done.tag, request.tag);
            ASSERT_EQ(done.generation, request.generation);
            disk.tags.erase(request.tag);
            completed++;
            failed += done.status != UDRV_BLK_OK ? 1 : 0;
            EXPECT_TRUE(faults_ || done.status == UDRV_BLK_OK) << done.status;
            check(disk, request, done.status == UDRV_BLK_OK);
        }
    }

    void check(Disk& disk, const Request& request, bool good) {
        const auto data = rig_.bytes(request.segments);
        for (std::uint64_t i = 0; i < request.count; i++) {
            const std::uint64_t place = request.first + i;
            IdeSector sector;
            std::memcpy(sector.data(), data.data() + i * 512, 512);
            if (request.op == UDRV_BLK_WRITE && good) {
                disk.expected[place] = sector;
                disk.unsure.erase(place);
            } else if (request.op == UDRV_BLK_WRITE) {
                disk.unsure.insert(place);
            } else if (request.op == UDRV_BLK_READ && good && !disk.unsure.contains(place)) {
                EXPECT_EQ(sector, disk.expected[place]) << "sector " << place;
            }
        }
    }

    IdeRig rig_;
    std::array<Disk, 4> disks_;
    std::mt19937 random_;
    bool faults_;
};

TEST(IdeProperty, RandomRequestsOnFourDisks) {
    std::uint64_t completed = 0;
    for (std::uint32_t seed = 1; seed <= 10; seed++) {
        SCOPED_TRACE(seed);
        Property property(seed, false);
        property.run(1500);
        completed += property.completed;
    }
    RecordProperty("completed", std::to_string(completed));
    EXPECT_GT(completed, 1000u);
}

TEST(IdeProperty, RandomFaultsFailOnlyWhatTheyTouch) {
    std::uint64_t completed = 0;
    std::uint64_t failed = 0;
    for (std::uint32_t seed = 1; seed <= 10; seed++) {
        SCOPED_TRACE(seed);
        Property property(seed, true);
        property.run(1500);
        completed += property.completed;
        failed += property.failed;
    }
    RecordProperty("completed", std::to_string(completed));
    RecordProperty("failed", std::to_string(failed));
    EXPECT_GT(failed, 50u);
    EXPECT_LT(failed, completed / 2);
}

} // namespace
} // namespace udrv::test
