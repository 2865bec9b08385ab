// SPDX-License-Identifier: MIT
//
// Does a device still write to memory that its driver gave back?
//   freed_pages hold LEAVE_MIB [FRAMES]
//       takes all memory but so much, fills it, and looks for a second whether it stays as it
//       is: "total: N pages N changed". With FRAMES the physical addresses of its pages go
//       there, and it looks once somebody has removed that file.
//   freed_pages blast ADDRESS
//       sends datagrams there, more than the chip takes, until it is killed
//   freed_pages rogue BDF FRAMES
//       the control, on an e1000 without an IOMMU: gives memory back and has the chip write
//       to it at once; then, when FRAMES is there, to what is now in there, and so another
//       process's, and removes FRAMES. "total: N freed N others"
#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <string_view>
#include <vector>

#include <arpa/inet.h>
#include <sys/socket.h>

#include "hostile_e1000.hpp"
#include "libudrv/device/dma_mapping.hpp"
#include "libudrv/error.hpp"

namespace {

using namespace hostile;

std::uint64_t available_bytes() {
    std::ifstream file("/proc/meminfo");
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with("MemAvailable:")) {
            return std::strtoull(line.c_str() + 13, nullptr, 10) << 10;
        }
    }
    return 0;
}

/// Of the pages of our own memory from `at` on; 0 where there is none.
std::vector<std::uint64_t> frames_of(const void* at, std::size_t pages) {
    std::vector<std::uint64_t> frames(pages);
    const udrv::FileDescriptor pagemap(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
    (void)!::pread(pagemap.value(), frames.data(), pages * 8,
                   static_cast<off_t>(reinterpret_cast<std::uintptr_t>(at) / page_bytes * 8));
    for (std::uint64_t& frame : frames) {
        frame = (frame & ((1ULL << 55) - 1)) * page_bytes;
    }
    return frames;
}

/// Whether nobody has the page just now (KPF_BUDDY, Documentation/admin-guide/mm/pagemap.rst).
bool is_free(std::uint64_t frame) {
    static const udrv::FileDescriptor file(::open("/proc/kpageflags", O_RDONLY | O_CLOEXEC));
    std::uint64_t flags = 0;
    return ::pread(file.value(), &flags, sizeof(flags),
                   static_cast<off_t>(frame / page_bytes * 8)) == sizeof(flags) &&
           (flags >> 10 & 1) != 0;
}

std::uint64_t changed_pages(const std::uint64_t* words, std::size_t pages) {
    constexpr std::size_t page_words = page_bytes / 8;
    std::uint64_t changed = 0;
    for (std::size_t page = 0; page < pages; page++, words += page_words) {
        const std::uint64_t wanted = 0xca0a51e5'00000000 + page;
        const auto* end = words + page_words;
        const auto* other =
            std::find_if(words, end, [&](std::uint64_t word) { return word != wanted; });
        if (other != end && changed++ < 3) {
            fmt::print("page {}: {:#018x} at {:#x}\n", page, *other, (other - words) * 8);
        }
    }
    return changed;
}

int hold(std::uint64_t leave_mib, const char* frames_file) {
    const std::uint64_t available = available_bytes();
    const std::size_t pages = (available - std::min(available, leave_mib << 20)) / page_bytes;
    void* at = ::mmap(nullptr, pages * page_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (at == MAP_FAILED || pages == 0) {
        return 1;
    }
    auto* words = static_cast<std::uint64_t*>(at);
    for (std::size_t n = 0; n < pages * page_bytes / 8; n++) {
        words[n] = 0xca0a51e5'00000000 + n / (page_bytes / 8);
    }
    if (frames_file != nullptr) {
        const std::string made = std::string(frames_file) + ".new";
        std::ofstream file(made);
        for (const std::uint64_t frame : frames_of(at, pages)) {
            file << frame << '\n';
        }
        file.close();
        (void)std::rename(made.c_str(), frames_file);
        // Not a moment less: what is written later would hit who has the memory then.
        (void)wait_until(240'000, [&] { return ::access(frames_file, F_OK) != 0; });
    }
    ::sleep(1);
    const std::uint64_t changed = changed_pages(words, pages);
    fmt::print("total: {} pages {} changed\n", pages, changed);
    return 0;
}

int blast(const char* address) {
    const int fd = ::socket(AF_INET, SOCK_DGRAM, 0);
    sockaddr_in peer{};
    peer.sin_family = AF_INET;
    peer.sin_port = htons(9);
    ::inet_pton(AF_INET, address, &peer.sin_addr);
    const void* where = &peer;
    (void)::connect(fd, static_cast<const sockaddr*>(where), sizeof(peer));
    std::array<char, 1400> data{};
    data.fill('\xee');
    std::array<iovec, 64> pieces{};
    std::array<mmsghdr, 64> messages{};
    for (std::size_t n = 0; n < messages.size(); n++) {
        pieces[n] = {data.data(), data.size()};
        messages[n].msg_hdr.msg_iov = &pieces[n];
        messages[n].msg_hdr.msg_iovlen = 1;
    }
    while (true) {
        (void)::sendmmsg(fd, messages.data(), messages.size(), 0);
        ::usleep(2000); // 32,000 a second, more than the chip takes
    }
}

int rogue(const udrv::PciAddress& address, const char* frames_file) {
    constexpr std::size_t bytes = 32 << 20;
    constexpr std::size_t step = 4 << 20;
    udrv::Device device(address);
    device.dma_bits(64);
    if ((device.info().flags & UDRV_DEV_IOMMU) != 0) {
        report(false, "no IOMMU confines the device");
        return 1;
    }
    LoopbackChip chip(device);
    std::memset(chip.frame(), 0xee, LoopbackChip::frame_bytes);
    std::vector<std::uint64_t> freed;
    {
        void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        if (at == MAP_FAILED) {
            return 1;
        }
        {
            const std::span memory(static_cast<std::byte*>(at), bytes);
            const udrv::DmaMapping mapping(device, memory,
                                           UDRV_DMA_TO_DEVICE | UDRV_DMA_FROM_DEVICE);
            freed = frames_of(at, bytes / page_bytes);
        }
        ::munmap(at, bytes);
    }
    // In the middle of large pieces, which nobody takes soon; what somebody took is left alone.
    std::size_t written = 0;
    for (std::size_t page = step / 2 / page_bytes; page < freed.size(); page += step / page_bytes) {
        if (is_free(freed[page])) {
            written += chip.transfer(chip.frame_addr(), freed[page]) ? 1U : 0U;
        }
    }
    fmt::print("written\n");
    std::fflush(stdout);
    // What another process has now.
    if (!wait_until(120'000, [&] { return ::access(frames_file, R_OK) == 0; })) {
        report(false, "another process has memory");
        return 1;
    }
    std::sort(freed.begin(), freed.end());
    std::size_t others = 0;
    std::ifstream file(frames_file);
    for (std::uint64_t frame = 0; others < 32 && file >> frame;) {
        if (std::binary_search(freed.begin(), freed.end(), frame)) {
            others += chip.transfer(chip.frame_addr(), frame) ? 1U : 0U;
        }
    }
    (void)::unlink(frames_file);
    fmt::print("total: {} freed {} others\n", written, others);
    return 0;
}

} // namespace

int main(int argc, char** argv) {
    const std::string_view what = argc > 2 ? argv[1] : "";
    try {
        if (what == "hold") {
            return hold(std::strtoull(argv[2], nullptr, 10), argc > 3 ? argv[3] : nullptr);
        }
        if (what == "blast") {
            return blast(argv[2]);
        }
        if (what == "rogue" && argc == 4) {
            return rogue(udrv::PciAddress::parse(argv[2]), argv[3]);
        }
    } catch (const std::exception& error) {
        fmt::print("FAIL: {}\n", error.what());
        return 1;
    }
    std::fprintf(stderr, "usage: freed_pages hold LEAVE_MIB [FRAMES] | blast ADDRESS | "
                         "rogue BDF FRAMES\n");
    return 2;
}
