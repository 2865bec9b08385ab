// SPDX-License-Identifier: MIT
#include <cstdlib>
#include <functional>

#include <sys/ioctl.h>
#include <sys/wait.h>

#include "../hostile_blk.hpp"
#include "libudrv/error.hpp"
#include "rows.hpp"

namespace {

using namespace hostile;

/// A program that reads the first disk by itself, until it is told to stop.
class Reader {
  public:
    explicit Reader(const std::string& disk) : pid_(::fork()) {
        if (pid_ == 0) {
            read_all("/dev/" + disk);
        }
    }
    ~Reader() {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;

  private:
    [[noreturn]] static void read_all(const std::string& path) {
        void* at = ::mmap(nullptr, 16 * page_bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        while (true) {
            const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECT);
            for (int n = 0; n < 100; n++) {
                (void)!::pread(fd, at, 16 * page_bytes, static_cast<off_t>(n) * 65536);
            }
            ::close(fd);
        }
    }
    pid_t pid_;
};

using Attempt = std::function<void(BlkSession&, const udrv_blk_submission&)>;

/// One attempt, with a request out, in a session of its own that has to end.
void ends(const udrv::PciAddress& address, const std::string& name, const Attempt& attempt) {
    BlkSession s(address, blk_attach(3));
    const auto violations = attribute(address, "violations");
    KernelLog log;
    udrv_blk_submission request{};
    if (!s.take_within(patience_ms, request)) {
        report(false, name, "no request came");
        return;
    }
    attempt(s, request);
    const bool over = wait_until(patience_ms, [&] { return !s.publish(); });
    const auto before = bus_errors.load();
    (void)revoked(s.wakeup->driver);
    const auto counted = attribute(address, "violations") - violations;
    const int lines = log.count("broke the protocol: completion of a request it does not have");
    report(over && counted >= 1 && lines == 1 && bus_errors > before, name,
           fmt::format("over {}, {} violations, {} lines, {} bus errors", over, counted, lines,
                       bus_errors - before));
}

void entry_rows(const udrv::PciAddress& address) {
    for (const std::uint32_t by : {33U, 1U << 31, ~0U}) {
        ends(address, fmt::format("index: completion producer moved by {:#x}", by),
             [&](BlkSession& s, const udrv_blk_submission&) {
                 s.disks[0].completion.produce(s.disks[0].completion.index + by);
             });
    }
    ends(address, "complete: the same request twice", [](BlkSession& s, const auto& request) {
        s.disks[0].complete(request);
        s.disks[0].complete(request);
    });
    ends(address, "complete: a tag behind the last", [](BlkSession& s, auto request) {
        request.tag = s.disks[0].depth;
        s.disks[0].complete(request);
    });
    ends(address, "complete: a tag of 2^31", [](BlkSession& s, auto request) {
        request.tag = 1U << 31;
        s.disks[0].complete(request);
    });
    ends(address, "complete: a tag that is not out", [](BlkSession& s, auto request) {
        request.tag = (request.tag + 13) % s.disks[0].depth;
        s.disks[0].complete(request);
    });
    ends(address, "complete: on another disk",
         [](BlkSession& s, const auto& request) { s.disks[2].complete(request); });
    ends(address, "complete: a generation too old", [](BlkSession& s, auto request) {
        request.generation--;
        s.disks[0].complete(request);
    });
    ends(address, "complete: a generation to come", [](BlkSession& s, auto request) {
        request.generation += 100;
        s.disks[0].complete(request);
    });
    ends(address, "complete: a status that there is not", [](BlkSession& s, const auto& request) {
        s.disks[0].complete(request, UDRV_BLK_NR_STATUS);
    });
    ends(address, "complete: a reserved field", [](BlkSession& s, const auto& request) {
        s.disks[0].completion.push({request.tag, request.generation, UDRV_BLK_OK, 1});
    });
    // A tag that went round: the old generation of a tag that is out again.
    ends(address, "complete: an old use of a tag that is out again",
         [](BlkSession& s, const auto& first) {
             udrv_blk_submission next = first;
             s.disks[0].complete(first);
             (void)wait_until(patience_ms, [&] {
                 (void)s.publish();
                 while (s.disks[0].take(next) && next.tag != first.tag) {
                     s.disks[0].complete(next);
                 }
                 return next.tag == first.tag && next.generation != first.generation;
             });
             s.disks[0].complete(first);
         });
}

void slot_row(const udrv::PciAddress& address) {
    BlkSession s(address, blk_attach(3));
    const auto violations = attribute(address, "violations");
    std::uint32_t requests = 0;
    for (int n = 0; n < 200; n++) {
        udrv_blk_submission request{};
        if (!s.take_within(patience_ms, request)) {
            break;
        }
        std::memset(s.disks[0].slot(request.tag), 0xff, s.disks[0].slot_bytes);
        s.disks[0].complete(request);
        requests++;
    }
    check_eq("double fetch: 200 slots overwritten before they are completed", requests, 200);
    check_eq("double fetch: the session goes on", s.publish(), true);
    check_eq("double fetch: violations", attribute(address, "violations") - violations, 0);
}

void attach_rows(const udrv::PciAddress& address) {
    const auto refused = [&](const std::string& name, int wanted, auto&& change) {
        auto shape = blk_attach(3);
        change(shape);
        try {
            const BlkSession s(address, shape);
            report(false, "attach: " + name, "it was taken");
        } catch (const udrv::Error& error) {
            report(error.code().value() == wanted, "attach: " + name, error.code().message());
        }
    };
    refused("no disk", EINVAL, [](auto& a) { a.nr_disks = 0; });
    refused("33 disks", EINVAL, [](auto& a) { a.nr_disks = 33; });
    refused("a depth of 0", EINVAL, [](auto& a) { a.disks[1].depth = 0; });
    refused("a depth of 257", EINVAL, [](auto& a) { a.disks[1].depth = 257; });
    refused("no segment", EINVAL, [](auto& a) { a.disks[1].max_segments = 0; });
    refused("2^31 segments", EINVAL, [](auto& a) { a.disks[1].max_segments = 1U << 31; });
    // A block across the end of a page is two segments then, and cannot be split.
    refused("one segment, for blocks at any address", EINVAL, [](auto& a) {
        a.disks[1].max_segments = 1;
        a.disks[1].dma_alignment = a.disks[1].logical_block_bytes / 2 - 1;
    });
    refused("a virt boundary of two pages", EINVAL, [](auto& a) {
        a.disks[1].virt_boundary = 0x1fff;
        a.disks[1].max_segment_bytes = ~0U;
    });
    refused("blocks of 513 bytes", EINVAL, [](auto& a) { a.disks[1].logical_block_bytes = 513; });
    refused("blocks of 64 KiB", EINVAL, [](auto& a) { a.disks[1].logical_block_bytes = 1 << 16; });
    refused("no sector", EINVAL, [](auto& a) { a.disks[1].nr_sectors = 0; });
    refused("2^63 sectors", EINVAL, [](auto& a) { a.disks[1].nr_sectors = 1ULL << 63; });
    refused("a model without an end", EINVAL,
            [](auto& a) { std::memset(a.disks[1].model, 'x', 44); });
    refused("a revision without an end", EINVAL,
            [](auto& a) { std::memset(a.disks[1].revision, 'x', sizeof(a.disks[1].revision)); });
    refused("a vendor without an end", EINVAL,
            [](auto& a) { std::memset(a.disks[1].vendor, 'x', sizeof(a.disks[1].vendor)); });
    refused("discard of no range", EINVAL, [](auto& a) { a.disks[1].max_discard_segments = 0; });
    refused("discard of 257 ranges", EINVAL,
            [](auto& a) { a.disks[1].max_discard_segments = 257; });
    refused("ranges without discard", EINVAL, [](auto& a) { a.disks[1].max_discard_sectors = 0; });
    refused("discard of less than a block", EINVAL,
            [](auto& a) { a.disks[1].max_discard_sectors = 7; });
    refused("units out of order", EINVAL, [](auto& a) { std::swap(a.disks[0], a.disks[1]); });
    refused("unknown flags", EINVAL, [](auto& a) { a.disks[1].flags = 1U << 31; });
    refused("a vector that is not there", EINVAL, [](auto& a) { a.vector = 31; });
    refused("another disk in the old one's place", ESTALE,
            [](auto& a) { a.disks[1].nr_sectors += 8; });
    refused("another serial", ESTALE, [](auto& a) { a.disks[1].serial[0] = 'X'; });
}

/// A disk that says OK and writes nothing: what does a buffered read show?
void stale_row(const udrv::PciAddress& address) {
    // Only where the driver is not trusted is it kept from what memory held before.
    const bool untrusted = attribute(address, "untrusted") == 1;
    constexpr std::size_t bytes = 64 << 20;
    constexpr std::uint64_t secret = 0x5ec2e75ec2e75ec2;
    const pid_t child = ::fork(); // leaves its memory behind
    if (child == 0) {
        void* at =
            ::mmap(nullptr, 4 * bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at != MAP_FAILED) {
            auto* words = static_cast<std::uint64_t*>(at);
            std::fill(words, words + 4 * bytes / 8, secret);
        }
        ::_exit(0);
    }
    ::waitpid(child, nullptr, 0);
    BlkSession s(address, blk_attach(3));
    std::array<int, 2> line{};
    (void)!::pipe(line.data());
    const pid_t reader = ::fork();
    if (reader == 0) {
        std::vector<std::uint64_t> buffer(8192);
        std::uint64_t found[2]{};
        const int fd = ::open(("/dev/" + s.disks[1].name).c_str(), O_RDONLY);
        for (ssize_t got = 0; found[0] < bytes / 2; found[0] += static_cast<std::uint64_t>(got)) {
            got = ::read(fd, buffer.data(), 65536);
            if (got <= 0) {
                break;
            }
            for (std::size_t n = 0; n < static_cast<std::size_t>(got) / 8; n++) {
                found[1] += buffer[n] == secret ? 1U : 0U;
            }
        }
        (void)!::write(line[1], found, sizeof(found));
        ::_exit(0);
    }
    (void)wait_until(20'000, [&] {
        (void)s.complete_all();
        (void)s.publish();
        return ::waitpid(reader, nullptr, WNOHANG) == reader;
    });
    std::uint64_t found[2]{};
    ::fcntl(line[0], F_SETFL, O_NONBLOCK);
    (void)!::read(line[0], found, sizeof(found));
    const std::string name = "read without the device: another process's memory in what was read";
    const std::string what = fmt::format("{} of {} bytes", found[1] * 8, found[0]);
    report(found[0] > 0, "read without the device: something was read", what);
    if (untrusted) {
        report(found[1] == 0, name, what);
    } else {
        fmt::print("note: {}: {}, the driver is trusted\n", name, what);
    }
}

} // namespace

void blk_rows(const udrv::PciAddress& address) {
    survive_bus_errors();
    std::string disk;
    {
        BlkSession s(address, blk_attach(3));
        disk = s.disks[0].name;
        s.serve(1500); // partitions are looked for
    }
    {
        const Reader reader(disk);
        entry_rows(address);
        slot_row(address);
    }
    attach_rows(address);
    stale_row(address);
}
