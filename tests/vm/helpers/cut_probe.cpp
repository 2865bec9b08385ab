// SPDX-License-Identifier: MIT
//
// cut_probe: writes to a disk whose power will be cut, and keeps a record, elsewhere, of
// what was promised; and looks at what the disk has afterwards.
//
//   cut_probe write DISK LANE SEED RECORD direct|dsync|cached
//   cut_probe check IMAGE LANE SEED RECORD
//
// Lanes are parts of the disk, for a writer each. It writes blocks of which every one can
// be told from every other, each to a place of its own, in batches of 1 to 8, and each batch
// ends with fdatasync (direct, cached); or each block is written with O_DSYNC (dsync).
// RECORD has two numbers: how many blocks are acknowledged, that is, that call has returned;
// and how many are written. It goes on until the lane is full.
//   check prints "N acknowledged N lost N pending N lost", of which those that were written,
// but not acknowledged, may be lost. Exits 0 if nothing acknowledged is.
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include <fcntl.h>
#include <unistd.h>

#include "mix.hpp"

namespace {

constexpr std::size_t block_bytes = 4096;
constexpr std::uint64_t lane_blocks = 65536;
constexpr std::uint64_t stride = 2;        // neighbours would become one request
constexpr std::uint64_t pause_us = 10'000; // the longest, so that a fast disk is not full at once

struct alignas(block_bytes) Block {
    std::array<std::uint64_t, block_bytes / 8> words;
};

struct Lane {
    std::uint64_t number;
    std::uint64_t seed;

    [[nodiscard]] off_t place(std::uint64_t n) const {
        return static_cast<off_t>((number * lane_blocks + n) * stride * block_bytes);
    }
    void fill(Block& block, std::uint64_t n) const {
        std::uint64_t value = mix(seed) ^ mix(number << 32 | n);
        for (std::uint64_t& word : block.words) {
            word = value = mix(value);
        }
    }
};

struct Promise {
    std::uint64_t acknowledged = 0;
    std::uint64_t written = 0;
};

/// In one write, so that a cut finds the old numbers or the new ones.
bool put(int record, const Promise& promise) {
    std::array<char, 64> text;
    const int len =
        std::snprintf(text.data(), text.size(), "%10ju %10ju\n",
                      std::uintmax_t{promise.acknowledged}, std::uintmax_t{promise.written});
    return ::pwrite(record, text.data(), static_cast<std::size_t>(len), 0) == len;
}

/// False, with errno, when the disk or the record failed.
bool write_lane(int disk, int record, const Lane& lane, bool dsync) {
    Block block;
    Promise promise;
    std::uint64_t random = lane.seed;
    while (promise.written < lane_blocks) {
        random = mix(random);
        const auto pause = static_cast<useconds_t>((random >> 32) % pause_us);
        if (dsync) {
            ::usleep(pause);
        }
        for (std::uint64_t left = dsync ? 1 : 1 + random % 8;
             left > 0 && promise.written < lane_blocks; left--) {
            lane.fill(block, promise.written);
            if (::pwrite(disk, &block, block_bytes, lane.place(promise.written)) != block_bytes) {
                return false;
            }
            promise.written++;
            if (!dsync && !put(record, promise)) {
                return false;
            }
        }
        if (!dsync) {
            ::usleep(pause); // before the promise: while some blocks are written only
            if (::fdatasync(disk) != 0) {
                return false;
            }
        }
        promise.acknowledged = promise.written;
        if (!put(record, promise)) {
            return false;
        }
    }
    return true;
}

/// Of the blocks [from, to), how many the image does not have.
std::uint64_t missing(int image, const Lane& lane, std::uint64_t from, std::uint64_t to) {
    Block wanted;
    Block got;
    std::uint64_t count = 0;
    for (std::uint64_t n = from; n < to; n++) {
        lane.fill(wanted, n);
        const ssize_t bytes = ::pread(image, &got, block_bytes, lane.place(n));
        count += bytes != block_bytes || got.words != wanted.words ? 1 : 0;
    }
    return count;
}

bool check_lane(int image, int record, const Lane& lane) {
    std::array<char, 64> text{};
    Promise promise;
    // A writer that was not even started has no record: a failure of the test.
    if (::pread(record, text.data(), text.size() - 1, 0) <= 0) {
        return false;
    }
    char* end = nullptr;
    promise.acknowledged = std::strtoull(text.data(), &end, 10);
    promise.written = std::strtoull(end, nullptr, 10);
    const std::uint64_t lost = missing(image, lane, 0, promise.acknowledged);
    std::printf("%ju acknowledged %ju lost %ju pending %ju lost\n",
                std::uintmax_t{promise.acknowledged}, std::uintmax_t{lost},
                std::uintmax_t{promise.written - promise.acknowledged},
                std::uintmax_t{missing(image, lane, promise.acknowledged, promise.written)});
    return lost == 0;
}

} // namespace

int main(int argc, char** argv) {
    const std::string_view what = argc > 5 ? argv[1] : "";
    const std::string_view mode = argc == 7 ? argv[6] : "";
    const bool check = what == "check" && argc == 6;
    const bool dsync = mode == "dsync";
    if (!check && (what != "write" || !(mode == "direct" || mode == "cached" || dsync))) {
        std::fprintf(stderr, "usage: cut_probe write DISK LANE SEED RECORD direct|dsync|cached\n"
                             "       cut_probe check IMAGE LANE SEED RECORD\n");
        return 2;
    }
    const Lane lane{std::strtoull(argv[3], nullptr, 0), std::strtoull(argv[4], nullptr, 0)};
    const int direct = mode == "cached" ? 0 : O_DIRECT;
    const int disk = ::open(argv[2], check ? O_RDONLY : O_WRONLY | direct | (dsync ? O_DSYNC : 0));
    const int record = ::open(argv[5], check ? O_RDONLY : O_WRONLY | O_CREAT, 0644);
    if (disk >= 0 && record >= 0 &&
        (check ? check_lane(disk, record, lane) : write_lane(disk, record, lane, dsync))) {
        return 0;
    }
    if (!check) {
        std::fprintf(stderr, "cut_probe: lane %s of %s: %s\n", argv[3], argv[2],
                     std::strerror(errno));
    }
    return 1;
}
