// SPDX-License-Identifier: MIT
//
// page_ends write|read|look|large DISK SECTOR: direct requests from and to the middle of
// a page, and what became of the rest of it.
//   write   one block, from a page full of a secret otherwise
//   look    how much of the secret the page at SECTOR shows: "total: N data N secret"
//   read    fills the page at SECTOR, reads one block of it to the middle of a page:
//           "total: N data N changed", the latter of the rest of that page
//   large   a megabyte to the middle of a page of a huge page, and back
// Exits 0 if the requests were done.
#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace {

constexpr std::size_t block = 512;
constexpr std::size_t page = 4096;
constexpr std::size_t block_at = 1536;
constexpr std::size_t huge = 2 << 20;
constexpr unsigned char data_byte = 0x21;
constexpr unsigned char secret_byte = 0x5e;
constexpr unsigned char disk_byte = 0x77;

unsigned char* memory(std::size_t bytes) {
    void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    return at == MAP_FAILED ? nullptr : static_cast<unsigned char*>(at);
}

std::ptrdiff_t count(const unsigned char* bytes, std::size_t size, unsigned char value) {
    return std::count(bytes, bytes + size, value);
}
/// Of what was read to [from, from + size) in memory full of the secret: how much is
/// `value`; and how much of the rest of that memory changed.
void print_read(const unsigned char* all, std::size_t all_size, const unsigned char* from,
                std::size_t size, unsigned char value) {
    const auto rest = static_cast<std::ptrdiff_t>(all_size - size);
    const auto kept = count(all, all_size, secret_byte) - count(from, size, secret_byte);
    std::printf("total: %td data %td changed\n", count(from, size, value), rest - kept);
}

bool done(ssize_t got, std::size_t wanted, const char* what) {
    if (got == static_cast<ssize_t>(wanted)) {
        return true;
    }
    std::printf("%s: %zd of %zu bytes, %s\n", what, got, wanted, std::strerror(errno));
    return false;
}

bool write_block(int fd, off_t at) {
    unsigned char* bytes = memory(page);
    std::memset(bytes, secret_byte, page);
    std::memset(bytes + block_at, data_byte, block);
    return done(::pwrite(fd, bytes + block_at, block, at), block, "write");
}

bool look(int fd, off_t at) {
    unsigned char* bytes = memory(page);
    if (!done(::pread(fd, bytes, page, at), page, "look")) {
        return false;
    }
    std::printf("total: %td data %td secret\n", count(bytes, page, data_byte),
                count(bytes, page, secret_byte));
    return true;
}

bool read_block(int fd, off_t at) {
    unsigned char* bytes = memory(page);
    std::memset(bytes, disk_byte, page);
    if (!done(::pwrite(fd, bytes, page, at), page, "fill")) {
        return false;
    }
    std::memset(bytes, secret_byte, page);
    if (!done(::pread(fd, bytes + block_at, block, at), block, "read")) {
        return false;
    }
    print_read(bytes, page, bytes + block_at, block, disk_byte);
    return true;
}

bool large(int fd, off_t at) {
    constexpr std::size_t bytes = 1 << 20;
    unsigned char* all = memory(3 * huge);
    // Its first whole huge page.
    auto* from = all + (huge - reinterpret_cast<std::uintptr_t>(all) % huge) % huge;
    if (::madvise(from, huge, MADV_HUGEPAGE) != 0 || ::madvise(from, huge, MADV_DONTNEED) != 0) {
        return done(-1, bytes, "huge page");
    }
    std::memset(from, data_byte, huge);
    if (!done(::pwrite(fd, from + block, bytes, at), bytes, "write")) {
        return false;
    }
    std::memset(from, secret_byte, huge);
    if (!done(::pread(fd, from + block, bytes, at), bytes, "read")) {
        return false;
    }
    print_read(from, huge, from + block, bytes, data_byte);
    return true;
}

} // namespace

int main(int argc, char** argv) {
    const std::string_view what = argc == 4 ? argv[1] : "";
    const int fd = argc == 4 ? ::open(argv[2], O_RDWR | O_DIRECT) : -1;
    if (fd < 0) {
        std::fprintf(stderr, "usage: page_ends write|read|look|large DISK SECTOR\n");
        return 2;
    }
    const auto at = static_cast<off_t>(std::strtoull(argv[3], nullptr, 0) * block);
    const bool ok = what == "write"  ? write_block(fd, at)
                    : what == "look" ? look(fd, at)
                    : what == "read" ? read_block(fd, at)
                                     : what == "large" && large(fd, at);
    return ok ? 0 : 1;
}
