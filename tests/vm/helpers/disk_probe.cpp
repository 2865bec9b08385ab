// SPDX-License-Identifier: MIT
//
// disk_probe: random writes of which every sector can be told from every other, so
// that the image of a disk can be compared, sector by sector, by a machine that knows
// no more than the arguments.
//
//   disk_probe write FILE FIRST SECTORS SEED STEPS direct|cached|dsync
//   disk_probe check FILE FIRST SECTORS SEED STEPS
//
//   disk_probe ata DISK        what an ATA disk says of itself by the HDIO_* calls
//   disk_probe ata-refused DISK    that commands which could change it are refused
//
// FIRST and SECTORS say which part of FILE is used. Four threads have a quarter of it
// each, and make STEPS writes of 512 B to 1 MiB there. A sector never written has to
// read as zeroes. Exits 0 if all is well.
#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <linux/hdreg.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "mix.hpp"

namespace {

constexpr std::size_t sector_bytes = 512;
constexpr std::uint64_t max_write_sectors = 2048; // 1 MiB
constexpr std::uint32_t nr_threads = 4;
constexpr std::size_t alignment = 4096;

struct Area {
    std::uint64_t first;
    std::uint64_t sectors;
    std::uint64_t seed;
    std::uint32_t steps;
    [[nodiscard]] std::uint64_t quarter() const { return sectors / nr_threads; }
};

using Sector = std::array<std::uint64_t, sector_bytes / 8>;

// Depends on the sector, the write and the seed.
Sector pattern(std::uint64_t sector, std::uint32_t step, std::uint64_t seed) {
    Sector words;
    std::uint64_t value = mix(seed) ^ mix(sector << 20 | step);
    words[0] = sector;
    words[1] = seed << 32 | step;
    for (std::size_t n = 2; n < words.size(); n++) {
        words[n] = value = mix(value);
    }
    return words;
}

struct Piece {
    std::uint64_t sector;
    std::uint64_t count;
};

// Short writes are as frequent as long ones.
Piece piece(const Area& area, std::uint32_t thread, std::uint32_t step) {
    const std::uint64_t random = mix(area.seed << 40 ^ std::uint64_t{thread} << 32 ^ step);
    const std::uint64_t limit = std::uint64_t{1} << (random % 12);
    const std::uint64_t count =
        std::min({1 + (random >> 8) % limit, max_write_sectors, area.quarter()});
    const std::uint64_t start = mix(random) % (area.quarter() - count + 1);
    return {area.first + thread * area.quarter() + start, count};
}

void write_quarter(int fd, const Area& area, std::uint32_t thread, std::atomic<bool>& failed) {
    void* const memory = std::aligned_alloc(alignment, max_write_sectors * sector_bytes);
    const std::unique_ptr<void, decltype(&std::free)> owner(memory, &std::free);
    auto* const bytes = static_cast<std::byte*>(memory);
    for (std::uint32_t step = 0; step < area.steps && !failed; step++) {
        const Piece at = piece(area, thread, step);
        for (std::uint64_t n = 0; n < at.count; n++) {
            const Sector words = pattern(at.sector + n, step, area.seed);
            std::memcpy(bytes + n * sector_bytes, words.data(), sector_bytes);
        }
        const std::size_t len_bytes = at.count * sector_bytes;
        const auto offset = static_cast<off_t>(at.sector * sector_bytes);
        if (::pwrite(fd, bytes, len_bytes, offset) != static_cast<ssize_t>(len_bytes)) {
            std::printf("write of %llu sectors at %llu: %s\n",
                        static_cast<unsigned long long>(at.count),
                        static_cast<unsigned long long>(at.sector), std::strerror(errno));
            failed = true;
        }
    }
}

int write(const char* path, const Area& area, std::string_view mode) {
    const int flags = mode == "direct" ? O_DIRECT : mode == "dsync" ? O_DIRECT | O_DSYNC : 0;
    const int fd = ::open(path, O_WRONLY | O_CLOEXEC | flags);
    if (fd < 0) {
        std::perror(path);
        return 1;
    }
    std::atomic<bool> failed = false;
    {
        std::vector<std::jthread> threads;
        for (std::uint32_t thread = 0; thread < nr_threads; thread++) {
            threads.emplace_back(write_quarter, fd, std::cref(area), thread, std::ref(failed));
        }
    }
    if (::fsync(fd) != 0 || ::close(fd) != 0) {
        std::perror(path);
        return 1;
    }
    return failed ? 1 : 0;
}

int check(const char* path, const Area& area) {
    constexpr std::uint32_t never = 0xffffffff;
    std::vector<std::uint32_t> steps(area.sectors, never);
    for (std::uint32_t thread = 0; thread < nr_threads; thread++) {
        for (std::uint32_t step = 0; step < area.steps; step++) {
            const Piece at = piece(area, thread, step);
            std::fill_n(steps.begin() + static_cast<std::ptrdiff_t>(at.sector - area.first),
                        at.count, step);
        }
    }
    const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        std::perror(path);
        return 1;
    }
    std::uint64_t written = 0, wrong = 0;
    Sector found, wanted;
    for (std::uint64_t n = 0; n < area.sectors; n++) {
        const std::uint64_t sector = area.first + n;
        const auto offset = static_cast<off_t>(sector * sector_bytes);
        if (::pread(fd, found.data(), sector_bytes, offset) != sector_bytes) {
            std::printf("sector %llu cannot be read\n", static_cast<unsigned long long>(sector));
            return 1;
        }
        wanted.fill(0);
        if (steps[n] != never) {
            wanted = pattern(sector, steps[n], area.seed);
            written++;
        }
        if (found != wanted && wrong++ < 3) {
            std::printf("sector %llu: found number %llu of write %llx, wanted write %x\n",
                        static_cast<unsigned long long>(sector),
                        static_cast<unsigned long long>(found[0]),
                        static_cast<unsigned long long>(found[1]), steps[n]);
        }
    }
    ::close(fd);
    std::printf("%llu sectors written, %llu never written, %llu wrong\n",
                static_cast<unsigned long long>(written),
                static_cast<unsigned long long>(area.sectors - written),
                static_cast<unsigned long long>(wrong));
    return wrong == 0 && written != 0 ? 0 : 1;
}

// ---- Commands of an ATA disk -----------------------------------------------------------

using Registers = std::array<std::uint8_t, 7>;
using Block = std::array<std::uint8_t, 512>;

void print_text(const char* name, const std::uint8_t* at, std::size_t bytes, bool swapped) {
    std::printf("%s: ", name);
    for (std::size_t i = 0; i < bytes; i++) {
        std::putchar(at[swapped ? i ^ 1 : i]);
    }
    std::putchar('\n');
}

/// HDIO_DRIVE_CMD with an answer of one block; the command, its second to fourth byte.
void print_block(int fd, const char* name, std::array<std::uint8_t, 4> args, bool identity) {
    std::array<std::uint8_t, 4 + 512> buffer{args[0], args[1], args[2], args[3]};
    if (::ioctl(fd, HDIO_DRIVE_CMD, buffer.data()) != 0) {
        std::printf("%s: %s\n", name, std::strerror(errno));
        return;
    }
    unsigned sum = 0;
    unsigned used = 0;
    for (std::size_t i = 4; i < buffer.size(); i++) {
        sum += buffer[i];
        used += buffer[i] != 0 ? 1 : 0;
    }
    // Of the block: SMART's have a sum of 0; counters may change from one look to the next.
    std::printf("%s: STATUS.ERR %u, sum %u, %s\n", name, buffer[0] & 1U, identity ? 0 : sum & 0xff,
                used > 1 ? "not empty" : "empty");
    if (identity) {
        print_text("  its model", &buffer[4 + 54], 40, true);
    }
}

int ata(const char* path) {
    const int fd = ::open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    Block identity{};
    if (::ioctl(fd, HDIO_GET_IDENTITY, identity.data()) != 0) {
        std::perror("HDIO_GET_IDENTITY");
        return 1;
    }
    print_text("serial", &identity[20], 20, false);
    print_text("revision", &identity[46], 8, false);
    print_text("model", &identity[54], 40, false);
    print_block(fd, "IDENTIFY DEVICE", {0xec, 0, 0, 1}, true);
    print_block(fd, "SMART READ DATA", {0xb0, 0, 0xd0, 1}, false);
    print_block(fd, "SMART READ THRESHOLDS", {0xb0, 0, 0xd1, 1}, false);
    print_block(fd, "SMART READ LOG 1", {0xb0, 1, 0xd5, 1}, false);
    Registers status{0xb0, 0xda, 0, 0, 0x4f, 0xc2, 0};
    const int failed = ::ioctl(fd, HDIO_DRIVE_TASK, status.data());
    std::printf("SMART RETURN STATUS: %d, LBA 23:8 %02x%02x\n", failed, status[5], status[4]);
    std::array<std::uint8_t, 4> power{0xe5, 0, 0, 0};
    const int unknown = ::ioctl(fd, HDIO_DRIVE_CMD, power.data());
    std::printf("CHECK POWER MODE: %d, %02x\n", unknown, power[2]);
    return 0;
}

int ata_refused(const char* path) {
    const int fd = ::open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    int wrong = 0;
    const auto refused = [&](const char* name, std::array<std::uint8_t, 4> args) {
        std::array<std::uint8_t, 4 + 4 * 512> buffer{args[0], args[1], args[2], args[3]};
        if (::ioctl(fd, HDIO_DRIVE_CMD, buffer.data()) == 0 || errno != EPERM) {
            std::printf("%s: %s\n", name, std::strerror(errno));
            wrong++;
        }
    };
    refused("SMART DISABLE OPERATIONS", {0xb0, 0, 0xd9, 0});
    refused("SMART EXECUTE OFF-LINE IMMEDIATE", {0xb0, 1, 0xd4, 0});
    refused("SMART WRITE LOG", {0xb0, 0x80, 0xd6, 1});
    refused("SMART READ LOG of four blocks", {0xb0, 1, 0xd5, 4});
    refused("SMART RETURN STATUS with a block", {0xb0, 0, 0xda, 1});
    refused("IDENTIFY DEVICE without a block", {0xec, 0, 0, 0});
    refused("IDENTIFY DEVICE of two blocks", {0xec, 0, 0, 2});
    refused("READ SECTORS", {0x20, 1, 0, 1});
    refused("WRITE DMA", {0xca, 1, 0, 0});
    refused("FLUSH CACHE", {0xe7, 0, 0, 0});
    refused("SET FEATURES, write cache off", {0xef, 0, 0x82, 0});
    refused("STANDBY IMMEDIATE", {0xe0, 0, 0, 0});
    refused("SECURITY ERASE UNIT", {0xf4, 0, 0, 0});
    refused("DATA SET MANAGEMENT", {0x06, 1, 1, 0});
    Registers task{0xb0, 0xda, 0, 0, 0x4e, 0xc2, 0};
    if (::ioctl(fd, HDIO_DRIVE_TASK, task.data()) == 0 || errno != EPERM) {
        std::printf("SMART without its key: %s\n", std::strerror(errno));
        wrong++;
    }
    return wrong == 0 ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
    const std::string_view command = argc > 1 ? argv[1] : "";
    if ((command == "write" && argc == 8) || (command == "check" && argc == 7)) {
        const Area area{std::strtoull(argv[3], nullptr, 0), std::strtoull(argv[4], nullptr, 0),
                        std::strtoull(argv[5], nullptr, 0),
                        static_cast<std::uint32_t>(std::strtoul(argv[6], nullptr, 0))};
        if (area.quarter() != 0) {
            return command == "write" ? write(argv[2], area, argv[7]) : check(argv[2], area);
        }
    }
    if (command == "ata" && argc == 3) {
        return ata(argv[2]);
    }
    if (command == "ata-refused" && argc == 3) {
        return ata_refused(argv[2]);
    }
    std::fputs("usage: disk_probe write FILE FIRST SECTORS SEED STEPS direct|cached|dsync\n"
               "       disk_probe check FILE FIRST SECTORS SEED STEPS\n"
               "       disk_probe ata|ata-refused DISK\n",
               stderr);
    return 2;
}
