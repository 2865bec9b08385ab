// SPDX-License-Identifier: MIT
//
// Contiguous direct reads of a disk, one transfer at a time, as in the evaluation of
// "User-Level Device Drivers: Achieved Performance" (2005), section 4.1.
//
//   read_sweep DEVICE MIB SECONDS SECTORS...
//
// For each transfer size in SECTORS (512 bytes): reads MIB mebibytes from the start of
// the disk on, or what SECONDS allow of it (0: all of it). Prints `begin SECTORS`, and
// `end SECTORS BYTES SECONDS` after, for bench/run to take its own times at the same
// two moments.
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>

#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "libudrv/error.hpp"
#include "libudrv/file.hpp"

namespace {

constexpr std::size_t sector_bytes = 512;

void say(const std::string& line) {
    if (::write(STDOUT_FILENO, line.data(), line.size()) < 0) {
        udrv::throw_errno(errno, "write to stdout");
    }
}

struct Sweep {
    const udrv::FileDescriptor& disk;
    std::uint64_t bytes;
    double seconds;

    void read(std::size_t sectors, void* buffer) const {
        using Clock = std::chrono::steady_clock;
        const std::size_t size = sectors * sector_bytes;
        std::uint64_t done = 0;
        say(fmt::format("begin {}\n", sectors));
        const auto start = Clock::now();
        std::chrono::duration<double> took{};
        do {
            const ssize_t got = ::pread(disk.value(), buffer, size, static_cast<off_t>(done));
            if (got != static_cast<ssize_t>(size)) {
                udrv::throw_errno(got < 0 ? errno : EIO,
                                  fmt::format("read {} sectors at byte {}", sectors, done));
            }
            done += size;
            took = Clock::now() - start;
        } while (done + size <= bytes && (seconds == 0 || took.count() < seconds));
        say(fmt::format("end {} {} {:.6f}\n", sectors, done, took.count()));
    }
};

} // namespace

int main(int argc, char** argv) try {
    if (argc < 5) {
        fmt::print(stderr, "usage: read_sweep DEVICE MIB SECONDS SECTORS...\n");
        return 2;
    }
    const udrv::FileDescriptor disk(::open(argv[1], O_RDONLY | O_DIRECT | O_CLOEXEC));
    if (!disk) {
        udrv::throw_errno(errno, fmt::format("open {}", argv[1]));
    }
    constexpr std::size_t largest = std::size_t{8192} * sector_bytes;
    const std::unique_ptr<void, decltype(&std::free)> buffer(std::aligned_alloc(4096, largest),
                                                             &std::free);
    const Sweep sweep{disk, std::stoull(argv[2]) << 20, std::stod(argv[3])};
    for (int n = 4; n < argc; ++n) {
        const std::size_t sectors = std::stoul(argv[n]);
        if (sectors == 0 || sectors * sector_bytes > largest) {
            udrv::throw_error(EINVAL, fmt::format("read {} sectors", sectors),
                              "a transfer has 1 to 8192");
        }
        sweep.read(sectors, buffer.get());
    }
    return 0;
} catch (const std::exception& error) {
    fmt::print(stderr, "read_sweep: {}\n", error.what());
    return 1;
}
