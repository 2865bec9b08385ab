// SPDX-License-Identifier: MIT
//
// core_probe: what the core promises a driver, tried one after the other on QEMU's
// edu device. Prints "ok NAME" or "FAIL NAME: why" and exits 0 if nothing failed.
//
//   core_probe BDF intx|msi    everything that one session can show
//   core_probe BDF bus-error   waits until the device is unbound, then touches it
//   core_probe BDF outlived    holds the file of an interrupt's path beyond the session
//   core_probe BDF stopped     the kernel's writes to a chip whose driver was killed
//   core_probe BDF exec        the memory of a driver goes, its file stays
#include <algorithm>
#include <array>
#include <cerrno>
#include <csetjmp>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include "checks.hpp"
#include "libudrv/device/device.hpp"
#include "libudrv/device/port_io.hpp"
#include "libudrv/error.hpp"
#include "libudrv/process/helper_thread.hpp"

namespace {

using namespace udrv;
using namespace checks;

constexpr std::size_t page_bytes = 4096;
constexpr std::size_t huge_bytes = 2 << 20;
constexpr std::uint32_t both = UDRV_DMA_TO_DEVICE | UDRV_DMA_FROM_DEVICE;

// Registers of edu, docs/specs/edu of QEMU.
constexpr std::uint32_t edu_factorial = 0x08, edu_status = 0x20, edu_irq_status = 0x24,
                        edu_irq_raise = 0x60, edu_irq_ack = 0x64, edu_dma_source = 0x80,
                        edu_dma_target = 0x88, edu_dma_count = 0x90, edu_dma_command = 0x98,
                        edu_buffer = 0x40000;

template <typename F>
void check_throws(const std::string& name, int wanted, F&& call) {
    try {
        call();
        report(false, name, "no error");
    } catch (const Error& error) {
        report(error.code().value() == wanted, name, error.what());
    }
}

std::int64_t attribute(const PciAddress& address, const std::string& name) {
    std::ifstream file(fmt::format("/sys/bus/pci/devices/{}/udrv/{}", address.str(), name));
    std::int64_t value = -1;
    file >> value;
    return value;
}
/// VmLck of this process, in bytes.
std::int64_t locked_bytes() {
    std::ifstream file("/proc/self/status");
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with("VmLck:")) {
            return std::stoll(line.substr(6)) * 1024;
        }
    }
    return -1;
}

std::byte* memory(std::size_t bytes, int protection = PROT_READ | PROT_WRITE, int flags = 0) {
    void* at = ::mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    return at == MAP_FAILED ? nullptr : static_cast<std::byte*>(at);
}

/// One region with room for `room` segments.
struct Region {
    std::vector<udrv_dma_segment> segments;
    udrv_dma_region region{};
    Region(const void* at, std::size_t bytes, std::uint32_t flags = both, std::uint32_t room = 64)
        : segments(room) {
        region.vaddr = reinterpret_cast<std::uintptr_t>(at);
        region.len_bytes = bytes;
        region.segments = reinterpret_cast<std::uintptr_t>(segments.data());
        region.nr_segments = room;
        region.flags = flags;
    }
};
long exchange(const Device& device, udrv_dma_region* regions, std::uint32_t count) {
    udrv_dma_exchange call{};
    call.regions = reinterpret_cast<std::uintptr_t>(regions);
    call.nr_regions = count;
    return udrv::call(device.fd(), UDRV_IOC_DMA_EXCHANGE, call);
}
/// Structures that a call takes may be longer or shorter than the kernel's.
void check_sizes(const Device& device) {
    struct Grown {
        udrv_config now{};
        std::uint64_t later = 0;
    } config;
    const auto ask = [&](std::uint32_t size) {
        config.now.size = size;
        return ::ioctl(device.fd(), UDRV_IOC_CONFIG, &config);
    };
    check_eq("size: of this version", ask(sizeof(udrv_config)), 0);
    check_eq("size: what the call returned", config.now.value, 0x11e81234U);
    config.now.value = 0;
    check_eq("size: of a later version, which is not used", ask(sizeof(Grown)), 0);
    check_eq("size: what the call returned", config.now.value, 0x11e81234U);
    config.later = 1;
    check_errno("size: of a later version, which is used", ask(sizeof(Grown)), E2BIG);
    config.later = 0;
    config.now.value = 77;
    check_errno("size: below that of the first version", ask(sizeof(udrv_config) - 1), EINVAL);
    check_errno("size: 0", ask(0), EINVAL);
    check_errno("size: 4 GiB", ask(~0U), E2BIG);
    check_eq("size: nothing was written", config.now.value, 77U);
    udrv_config last{}; // ends in a page that is not there
    std::byte* pages = memory(2 * page_bytes);
    ::munmap(pages + page_bytes, page_bytes);
    std::byte* at = pages + page_bytes - sizeof(last);
    last.size = sizeof(last);
    std::memcpy(at, &last, sizeof(last));
    check_eq("size: at the end of the memory", ::ioctl(device.fd(), UDRV_IOC_CONFIG, at), 0);
    last.size += 8;
    std::memcpy(at, &last, sizeof(last));
    check_errno("size: beyond the memory", ::ioctl(device.fd(), UDRV_IOC_CONFIG, at), EFAULT);
    last.size = sizeof(last);
    std::memcpy(at + 4, &last, sizeof(last) - 4);
    check_errno("size: a structure that ends outside the memory",
                ::ioctl(device.fd(), UDRV_IOC_CONFIG, at + 4), EFAULT);

    udrv_info info{};
    info.abi_version = UDRV_ABI_VERSION - 1;
    info.features = ~0ULL;
    check_errno("version: another one", udrv::call(device.fd(), UDRV_IOC_INFO, info), EPROTO);
    check_eq("version: the kernel's", info.abi_version, std::uint32_t{UDRV_ABI_VERSION});
    check_eq("version: nothing else is said", info.vendor, 0);
    check_eq("version: ours", udrv::call(device.fd(), UDRV_IOC_INFO, info), 0);
    check_eq("features: no unknown one is granted", info.features & ~UDRV_FEATURES_ALL, 0U);
    // As programs of version 3 ask; and what they ask next.
    using Info3 = std::array<std::uint32_t, 44>;
    Info3 old{};
    check_eq("version 3: is told the version", ::ioctl(device.fd(), _IOR('u', 0x00, Info3), &old),
             0);
    check_eq("version 3: which is not its own", old[0], std::uint32_t{UDRV_ABI_VERSION});
    check_eq("version 3: nothing else is said", std::count(old.begin() + 1, old.end(), 0U), 43);
    check_errno("version 3: other calls", ::ioctl(device.fd(), _IO('u', 0x03), 0UL), ENOTTY);
}

long map(const Device& device, Region& region) {
    return exchange(device, &region.region, 1);
}
long unmap(const Device& device, std::uint32_t handle) {
    udrv_dma_region region{};
    region.handle = handle;
    return exchange(device, &region, 1);
}

// ---- Configuration space -------------------------------------------------------

void check_config(Device& device) {
    check_eq("config: vendor and device", device.config_read(0, 4), 0x11e81234);
    check_throws("config: no write to a BAR", EPERM, [&] { device.config_write(0x10, 4, 0); });
    check_throws("config: no write to the command register", EPERM,
                 [&] { device.config_write(0x04, 2, 0x0006); });
    check_throws("config: no write to the MSI address", EPERM,
                 [&] { device.config_write(0x44, 4, 0xfee00000); });
    device.config_write(0x0c, 1, 0x10); // cache line size: on the list
    check_eq("config: the cache line size may be written", device.config_read(0x0c, 1), 0x10);
    check_throws("config: not aligned", EINVAL, [&] { (void)device.config_read(0x01, 4); });
    check_throws("config: behind the end", EINVAL, [&] { (void)device.config_read(0x10000, 4); });
}

// ---- Interrupts -----------------------------------------------------------------

bool readable(int fd, int timeout_ms) {
    pollfd ready{fd, POLLIN, 0};
    return ::poll(&ready, 1, timeout_ms) == 1 && (ready.revents & POLLIN) != 0;
}
void raise_irq(BarMapping& regs) {
    regs.write32(edu_irq_raise, 1);
}
void acknowledge(BarMapping& regs) {
    regs.write32(edu_irq_ack, regs.read32(edu_irq_status));
}

/// The paper's interface, by the plainest calls.
void check_irq_file(const std::string& path, BarMapping& regs) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    report(fd >= 0, "open " + path, fd >= 0 ? "" : std::strerror(errno));
    if (fd < 0) {
        return;
    }
    check_errno("a second opener", ::open(path.c_str(), O_RDWR | O_CLOEXEC), EBUSY);
    std::uint32_t count = 0;
    check_errno("read of 2 bytes", ::read(fd, &count, 2), EINVAL);

    ::fcntl(fd, F_SETFL, O_NONBLOCK);
    check_errno("O_NONBLOCK, no interrupt", ::read(fd, &count, sizeof(count)), EAGAIN);
    check_eq("poll, no interrupt", readable(fd, 50), false);
    for (int round = 0; round < 3; round++) {
        raise_irq(regs);
        const bool came = readable(fd, 5000);
        const auto length = ::read(fd, &count, sizeof(count));
        acknowledge(regs);
        check_eq("poll, then read, an interrupt", fmt::format("{} {} {}", came, length, count),
                 "true 4 1");
    }
    // Masked until the reader comes back. A level stays, an edge of MSI would be
    // kept by the interrupt controller: either way one more at most.
    raise_irq(regs);
    check_eq("an interrupt", readable(fd, 5000), true);
    acknowledge(regs);
    for (int i = 0; i < 10; i++) {
        raise_irq(regs);
        acknowledge(regs);
    }
    udrv_irq_events events{};
    check_eq("read of 8 bytes", ::read(fd, &events, sizeof(events)), 8);
    check_eq("counted while masked", fmt::format("{} {}", events.interrupts, events.doorbells),
             "1 0");
    (void)readable(fd, 100);
    (void)!::read(fd, &count, sizeof(count)); // the edge that was kept

    ::fcntl(fd, F_SETFL, 0);
    raise_irq(regs); // pending before the read sleeps
    check_eq("blocking read, pending", ::read(fd, &count, sizeof(count)), 4);
    acknowledge(regs);
    // Ten minutes of waiting are a hang: the test's own time limit ends that. The
    // factorial interrupts a little later, when the read sleeps.
    regs.write32(edu_status, 0x80);
    regs.write32(edu_factorial, 5);
    check_eq("blocking read, asleep", ::read(fd, &count, sizeof(count)), 4);
    acknowledge(regs);
    check_eq("5!", regs.read32(edu_factorial), 120);
    regs.write32(edu_status, 0);
    const std::uint32_t word = 0;
    check_eq("write publishes", ::write(fd, &word, sizeof(word)), 4);
    ::close(fd);

    // Closed: no handler, so nothing counts; opened again it works.
    std::ifstream interrupts("/proc/interrupts");
    bool there = false;
    for (std::string line; std::getline(interrupts, line);) {
        there = there || line.find("udrv-") != std::string::npos;
    }
    check_eq("handler gone after close", there, false);
    const int again = ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK);
    (void)!::read(again, &count, sizeof(count)); // unmasks
    raise_irq(regs);
    check_eq("opened again", readable(again, 5000), true);
    acknowledge(regs);
    ::close(again);
}

// ---- DMA ------------------------------------------------------------------------

void transfer(BarMapping& regs, std::uint64_t source, std::uint64_t target, std::uint32_t bytes,
              std::uint32_t direction) {
    regs.write32(edu_dma_source, static_cast<std::uint32_t>(source));
    regs.write32(edu_dma_target, static_cast<std::uint32_t>(target));
    regs.write32(edu_dma_count, bytes);
    regs.write32(edu_dma_command, 1 | direction);
    for (int i = 0; i < 5000 && (regs.read32(edu_dma_command) & 1) != 0; i++) {
        ::usleep(1000);
    }
}

void check_dma_errors(Device& device, std::byte* pages, bool confined) {
    Region unaligned(pages + 1, page_bytes);
    check_errno("dma: address not aligned", map(device, unaligned), EINVAL);
    Region short_one(pages, 100);
    check_errno("dma: length not of whole pages", map(device, short_one), EINVAL);
    Region empty(pages, 0);
    check_errno("dma: length zero", map(device, empty), EINVAL);
    Region flags(pages, page_bytes, 8);
    check_errno("dma: unknown flag", map(device, flags), EINVAL);
    Region reserved(pages, page_bytes);
    reserved.region.reserved = 1;
    check_errno("dma: reserved field", map(device, reserved), EINVAL);
    check_errno("dma: unknown handle", unmap(device, 12345), ENOENT);
    udrv_dma_region none{};
    check_errno("dma: no regions", exchange(device, &none, 0), EINVAL);
    check_errno("dma: too many regions", exchange(device, &none, UDRV_MAX_DMA_BATCH + 1), EINVAL);
    check_errno("dma: bad pointer", exchange(device, nullptr, 1), EFAULT);

    std::byte* gone = memory(page_bytes);
    ::munmap(gone, page_bytes);
    Region unmapped(gone, page_bytes);
    check_errno("dma: memory that is not there", map(device, unmapped), EFAULT);
    std::byte* constant = memory(page_bytes, PROT_READ);
    Region writes(constant, page_bytes, UDRV_DMA_FROM_DEVICE);
    check_errno("dma: device writes to read-only memory", map(device, writes), EFAULT);
    if (confined) {
        Region reads(constant, page_bytes, UDRV_DMA_TO_DEVICE);
        check_eq("dma: device reads read-only memory", map(device, reads), 1);
        check_eq("dma: and back", unmap(device, reads.region.handle), 1);
        Region once(pages, page_bytes);
        Region twice(pages, page_bytes);
        check_eq("dma: a page twice", map(device, once) + map(device, twice), 2);
        check_eq("dma: at two addresses", once.segments[0].dma_addr != twice.segments[0].dma_addr,
                 true);
        check_eq("dma: and back, both",
                 unmap(device, once.region.handle) + unmap(device, twice.region.handle), 2);
        // Without a huge page the pages of 64 KiB are not all in one piece for
        // the device only if there is no IOMMU: so ask with room for none.
        Region room(pages, 2 * page_bytes, both, 0);
        check_errno("dma: no room for segments", map(device, room), ENOSPC);
        check_eq("dma: and how many it needs", room.region.nr_segments >= 1, true);
    }
    ::munmap(constant, page_bytes);
    check_eq("dma: nothing is left mapped", attribute(device.address(), "mappings"), 1);
    check_eq("dma: nor pinned", attribute(device.address(), "pinned_bytes"), page_bytes);
    check_eq("dma: nor locked", locked_bytes(), page_bytes);
}

void check_exchange(Device& device, std::byte* pages) {
    constexpr std::uint32_t count = 256;
    const auto base = attribute(device.address(), "pinned_bytes");
    std::vector<udrv_dma_segment> segments(count);
    std::vector<udrv_dma_region> old(count);
    for (std::uint32_t i = 0; i < count; i++) {
        old[i] = {reinterpret_cast<std::uintptr_t>(pages) + i * page_bytes,
                  page_bytes,
                  reinterpret_cast<std::uintptr_t>(&segments[i]),
                  1,
                  both,
                  0,
                  0};
    }
    check_eq("exchange: 256 buffers in one call", exchange(device, old.data(), count), count);
    check_eq("exchange: mappings", attribute(device.address(), "mappings"), count + 1);
    check_eq("exchange: pinned", attribute(device.address(), "pinned_bytes"),
             base + count * static_cast<long>(page_bytes));
    check_eq("exchange: charged to the limit", locked_bytes(),
             base + count * static_cast<long>(page_bytes));

    // The old ones go and the next come, in one call.
    std::vector<udrv_dma_region> turn;
    for (udrv_dma_region& region : old) {
        turn.push_back({0, 0, 0, 0, 0, region.handle, 0});
    }
    for (std::uint32_t i = 0; i < count; i++) {
        turn.push_back({reinterpret_cast<std::uintptr_t>(pages) + (count + i) * page_bytes,
                        page_bytes, reinterpret_cast<std::uintptr_t>(&segments[i]), 1, both, 0, 0});
    }
    check_eq("exchange: 256 for 256 others", exchange(device, turn.data(), 2 * count), 2 * count);
    check_eq("exchange: as many are mapped", attribute(device.address(), "mappings"), count + 1);

    // The third of five fails: two are done, and stay so.
    std::array<udrv_dma_region, 5> five{};
    for (std::uint32_t i = 0; i < 5; i++) {
        five[i] = {0, 0, 0, 0, 0, i == 2 ? 54321 : turn[count + i].handle, 0};
    }
    check_eq("exchange: ends at the one that fails", exchange(device, five.data(), 5), 2);
    check_eq("exchange: what was done stays done", attribute(device.address(), "mappings"),
             count - 1);
    std::vector<udrv_dma_region> rest;
    for (std::uint32_t i = 2; i < count; i++) {
        rest.push_back({0, 0, 0, 0, 0, turn[count + i].handle, 0});
    }
    check_eq("exchange: the rest goes", exchange(device, rest.data(), count - 2), count - 2);
    check_errno("exchange: not twice", unmap(device, turn[count].handle), ENOENT);
    check_eq("exchange: pinned as before", attribute(device.address(), "pinned_bytes"), base);
    check_eq("exchange: charged as before", locked_bytes(), base);
}

void check_transfer(Device& device, BarMapping& regs, std::byte* pages) {
    // Into the device and out of it, by another page.
    Region out(pages, page_bytes, UDRV_DMA_TO_DEVICE);
    Region in(pages + 7 * page_bytes, page_bytes, UDRV_DMA_FROM_DEVICE);
    for (std::size_t i = 0; i < page_bytes; i++) {
        pages[i] = static_cast<std::byte>(i * 7 + 1);
    }
    // Not the whole page: QEMU ends if the device's buffer is used to its end.
    constexpr std::uint32_t bytes = page_bytes / 2;
    check_eq("transfer: two pages", map(device, out) + map(device, in), 2);
    transfer(regs, out.segments[0].dma_addr, edu_buffer, bytes, 0);
    transfer(regs, edu_buffer, in.segments[0].dma_addr, bytes, 2);
    check_eq("transfer: 2 KiB there and back differ",
             std::memcmp(pages, pages + 7 * page_bytes, bytes), 0);
    check_eq("transfer: unmapped",
             unmap(device, out.region.handle) + unmap(device, in.region.handle), 2);
    // The page is the process's own again, and out of the device's reach.
    std::memset(pages + 7 * page_bytes, 0x55, page_bytes);
    transfer(regs, edu_buffer, in.segments[0].dma_addr, bytes, 2);
    check_eq("transfer: to an unmapped page does nothing",
             static_cast<int>(pages[7 * page_bytes + 100]), 0x55);
}

void check_huge(Device& device) {
    std::byte* huge = memory(huge_bytes, PROT_READ | PROT_WRITE, MAP_HUGETLB);
    if (huge == nullptr) {
        report(false, "huge page", "none to be had: the guest must set vm.nr_hugepages");
        return;
    }
    huge[0] = std::byte{1};
    Region region(huge, huge_bytes);
    const long mapped = map(device, region);
    check_eq("huge page: mapped", mapped, 1);
    check_eq("huge page: segments", region.region.nr_segments, 1);
    check_eq("huge page: bytes of it", region.segments[0].len_bytes, huge_bytes);
    check_eq("huge page: pinned", attribute(device.address(), "pinned_bytes"),
             huge_bytes + page_bytes);
    check_eq("huge page: unmapped", unmap(device, region.region.handle), 1);
    ::munmap(huge, huge_bytes);
}

void check_limit(Device& device, std::byte* pages) {
    // The right to lock more than the limit goes first (the caller dropped it).
    const rlimit limit{8 * page_bytes, 8 * page_bytes};
    ::setrlimit(RLIMIT_MEMLOCK, &limit);
    Region seven(pages, 7 * page_bytes);
    check_eq("limit of 8 pages: 7 more than the first", map(device, seven), 1);
    Region one(pages + 8 * page_bytes, page_bytes);
    check_errno("limit of 8 pages: and one more", map(device, one), ENOMEM);
    check_throws("limit of 8 pages: coherent memory", ENOMEM,
                 [&] { (void)device.allocate(page_bytes); });
    check_eq("limit of 8 pages: back", unmap(device, seven.region.handle), 1);
    check_eq("limit of 8 pages: then it fits", map(device, one), 1);
    check_eq("limit of 8 pages: and back", unmap(device, one.region.handle), 1);
}

// ---- Memory maps ------------------------------------------------------------------

void check_maps(Device& device) {
    const std::size_t bar = device.info().bars[0].len_bytes;
    check_eq("mmap: BAR 0", try_map(device, bar, UDRV_MMAP_BAR(0), MAP_SHARED), 0);
    check_errno("mmap: longer than the BAR",
                try_map(device, bar + page_bytes, UDRV_MMAP_BAR(0), MAP_SHARED), EINVAL);
    check_errno("mmap: a BAR that is not there",
                try_map(device, page_bytes, UDRV_MMAP_BAR(3), MAP_SHARED), EINVAL);
    check_errno("mmap: private", try_map(device, page_bytes, UDRV_MMAP_BAR(0), MAP_PRIVATE),
                EINVAL);
    check_errno("mmap: coherent memory that is not there",
                try_map(device, page_bytes, UDRV_MMAP_COHERENT(77), MAP_SHARED), EINVAL);
    check_errno("mmap: rings without a port",
                try_map(device, page_bytes, UDRV_MMAP_PORT, MAP_SHARED), EINVAL);
}

int session(const PciAddress& address, bool msi) {
    Device device(address);
    check_errno("a second open", ::open(fmt::format("/dev/udrv/{}", address.str()).c_str(), O_RDWR),
                EBUSY);
    check_eq("close on exec", ::fcntl(device.fd(), F_GETFD), FD_CLOEXEC);
    check_eq("info: device", device.info().device, 0x11e8);
    check_eq("info: length of BAR 0", device.info().bars[0].len_bytes, 1 << 20);
    check_eq("info: MSI vectors", device.info().nr_msi, 1);
    const bool confined = (device.info().flags & UDRV_DEV_IOMMU) != 0;
    check_eq("info: IOMMU as sysfs says", confined ? 1 : 0, attribute(address, "iommu"));
    check_errno("unknown call", ::ioctl(device.fd(), _IO('u', 0x7f)), ENOTTY);
    check_sizes(device);
    check_config(device);
    check_maps(device);

    BarMapping regs = device.map_bar(0);
    device.dma_bits(28);
    const auto lines = device.irq_setup(msi ? UDRV_IRQ_MSI : UDRV_IRQ_INTX, 1);
    check_eq("vectors", lines.size(), 1);
    if (msi) {
        const IrqFile early = device.open_irq(0);
        (void)early.try_read(); // unmasks
        raise_irq(regs);
        check_eq("without bus mastering no message comes", readable(early.fd(), 300), false);
        acknowledge(regs);
    }
    device.bus_master(msi); // a message is a write to memory, a line needs none
    check_irq_file(fmt::format("/proc/irq/{}/irq", lines.at(0)), regs);

    const DmaBlock block = device.allocate(100);
    check_eq("coherent memory: whole pages", block.len_bytes, page_bytes);
    bool zero = true;
    for (std::size_t i = 0; i < block.len_bytes; i++) {
        zero = zero && block.vaddr[i] == std::byte{0};
    }
    check_eq("coherent memory: zeroed", zero, true);
    check_throws("address bits: too late", EBUSY, [&] { device.dma_bits(32); });
    device.bus_master(true);
    std::byte* pages = memory(1024 * page_bytes);
    std::memset(pages, 1, 1024 * page_bytes);
    check_dma_errors(device, pages, confined);
    // Without an IOMMU the chip reaches 256 MiB only: pages may be above them.
    if (confined) {
        check_exchange(device, pages);
        check_transfer(device, regs, pages);
        check_huge(device);
        check_limit(device, pages);
    } else {
        Region page(pages, page_bytes);
        const long result = map(device, page);
        report(result == 1 || errno == EOPNOTSUPP, "dma: out of the chip's reach is refused",
               result == 1 ? "within reach" : std::strerror(errno));
    }
    return failures == 0 ? 0 : 1;
}

// ---- Revocation --------------------------------------------------------------------

std::jmp_buf back;
void on_bus_error(int /*signal*/) {
    std::longjmp(back, 1);
}

int bus_error(const PciAddress& address) {
    Device device(address);
    BarMapping regs = device.map_bar(0);
    const DmaBlock block = device.allocate(page_bytes);
    const IrqFile irq = device.open_irq(0);
    check_eq("before: identification", regs.read32(0) & 0xffff, 0x00ed);
    fmt::print("ready\n");
    std::fflush(stdout);
    try {
        while (true) {
            (void)irq.wait(); // until the device goes
        }
    } catch (const Error& error) {
        report(error.code().value() == ENODEV, "a sleeping reader is woken", error.what());
    }
    struct sigaction action {};
    action.sa_handler = on_bus_error;
    action.sa_flags = SA_NODEFER;
    ::sigaction(SIGBUS, &action, nullptr);
    volatile bool reached = false;
    if (setjmp(back) == 0) {
        reached = regs.read32(0) != 0xdeadbeef;
    }
    check_eq("after: a register raises SIGBUS", bool(reached), false);
    reached = false;
    if (setjmp(back) == 0) {
        reached = *static_cast<volatile std::byte*>(block.vaddr) == std::byte{0};
    }
    check_eq("after: coherent memory raises SIGBUS", bool(reached), false);
    udrv_info info{};
    check_errno("after: calls", udrv::call(device.fd(), UDRV_IOC_INFO, info), ENODEV);
    pollfd ready{irq.fd(), POLLIN, 0};
    ::poll(&ready, 1, 1000);
    check_eq("after: poll says error and hang-up", ready.revents & (POLLERR | POLLHUP),
             POLLERR | POLLHUP);
    return failures == 0 ? 0 : 1;
}

// ---- A file that is held beyond its session -------------------------------------------

/// By epoll, by a thread in poll, and by the file itself: each is told, none finds freed
/// memory, and the next session has a file of its own at the same path.
int outlived(const PciAddress& address) {
    auto device = std::make_unique<Device>(address);
    const std::string path =
        fmt::format("/proc/irq/{}/irq", device->irq_setup(UDRV_IRQ_INTX, 1).at(0));
    const int file = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    check_eq("the path opens", file >= 0, true);
    const int set = ::epoll_create1(EPOLL_CLOEXEC);
    epoll_event event{.events = EPOLLIN, .data = {}};
    check_eq("epoll takes it", ::epoll_ctl(set, EPOLL_CTL_ADD, file, &event), 0);
    int told = 0;
    std::thread polling([&] {
        pollfd ready{file, POLLIN, 0};
        (void)::poll(&ready, 1, 600'000);
        told = ready.revents & (POLLERR | POLLHUP);
    });
    ::usleep(300'000); // it most likely sleeps by now
    device.reset();
    polling.join();
    check_eq("poll says error and hang-up", told, POLLERR | POLLHUP);
    check_errno("the path is gone", ::access(path.c_str(), F_OK), ENOENT);
    check_eq("no pid owns the device", attribute(address, "owner"), 0);
    event = {};
    check_eq("epoll reports", ::epoll_wait(set, &event, 1, 5000), 1);
    check_eq("error and hang-up", event.events & (EPOLLERR | EPOLLHUP), EPOLLERR | EPOLLHUP);
    std::uint32_t count = 0;
    check_errno("read", static_cast<int>(::read(file, &count, sizeof(count))), ENODEV);
    check_errno("write", static_cast<int>(::write(file, &count, sizeof(count))), ENODEV);

    Device next(address);
    check_eq("the next session has the same line",
             fmt::format("/proc/irq/{}/irq", next.irq_setup(UDRV_IRQ_INTX, 1).at(0)), path);
    BarMapping regs = next.map_bar(0);
    const int own = ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK);
    check_eq("and a file of its own", own >= 0, true);
    check_errno("the old one stays dead", static_cast<int>(::read(file, &count, sizeof(count))),
                ENODEV);
    ::close(file);
    ::close(set);
    (void)!::read(own, &count, sizeof(count)); // unmasks
    raise_irq(regs);
    check_eq("it works beside and after the old one", readable(own, 5000), true);
    acknowledge(regs);
    ::close(own);
    return failures == 0 ? 0 : 1;
}

// ---- How a chip is stopped --------------------------------------------------------------

constexpr std::uint32_t liveness = 0x04; // reads as what was written, inverted
constexpr std::uint32_t factorial = 0x08;
constexpr std::uint32_t status = 0x20; // bit 0: computing
constexpr std::uint32_t dma_source = 0x80;

/// In a process of its own, which is killed.
template <typename Driver>
void killed_driver(const PciAddress& address, Driver driver) {
    std::fflush(stdout);
    const pid_t child = ::fork();
    if (child == 0) {
        int result = 1;
        try {
            Device device(address);
            driver(device);
            std::fflush(stdout);
            result = failures == 0 ? 0 : 1;
        } catch (const std::exception& error) {
            fmt::print("FAIL: {}\n", error.what());
            std::fflush(stdout);
        }
        if (result == 0) {
            (void)::raise(SIGKILL);
        }
        ::_exit(result);
    }
    int ended = 0;
    ::waitpid(child, &ended, 0);
    check_eq("the driver was killed", WIFSIGNALED(ended) ? WTERMSIG(ended) : 0, SIGKILL);
}

int stopped(const PciAddress& address) {
    const auto add = [](const Device& device, udrv_stop_write write) {
        return udrv::call(device.fd(), UDRV_IOC_STOP_WRITE, write);
    };
    // sysfs wakes those who poll the state when a session ends, and not before.
    const FileDescriptor state(
        ::open(fmt::format("/sys/bus/pci/devices/{}/udrv/state", address.str()).c_str(),
               O_RDONLY | O_CLOEXEC));
    std::array<char, 16> text{};
    const auto changed = [&](int timeout_ms) {
        (void)!::pread(state.value(), text.data(), text.size(), 0);
        pollfd file{state.value(), POLLPRI, 0};
        return ::poll(&file, 1, timeout_ms) == 1;
    };
    std::thread killing;
    check_eq("the state does not change by itself", changed(100), false);
    killing = std::thread([&] {
        ::usleep(300'000); // the other most likely polls by now
        killed_driver(address, [](Device&) {});
    });
    check_eq("poll of the state wakes at a session's end", changed(60'000), true);
    killing.join();
    (void)!::pread(state.value(), text.data(), text.size(), 0);
    check_eq("which leaves it idle", std::string_view(text.data()).starts_with("idle"), true);

    killed_driver(address, [&](Device& device) {
        check_errno("no such BAR", add(device, udrv::stop_write(UDRV_NR_BARS, 0, 4, 0)), EINVAL);
        check_errno("a BAR that it does not have", add(device, udrv::stop_write(1, 0, 4, 0)),
                    EINVAL);
        check_errno("three bytes", add(device, udrv::stop_write(0, 0, 3, 0)), EINVAL);
        check_errno("sixteen bytes", add(device, udrv::stop_write(0, 0, 16, 0)), EINVAL);
        for (const std::uint32_t len : {2U, 4U, 8U}) {
            check_errno(fmt::format("{} bytes, not aligned", len),
                        add(device, udrv::stop_write(0, len / 2, len, 0)), EINVAL);
            check_errno(fmt::format("{} bytes behind the BAR's end", len),
                        add(device, udrv::stop_write(0, 1 << 20, len, 0)), EINVAL);
            check_errno(fmt::format("{} bytes at the end of all offsets", len),
                        add(device, udrv::stop_write(0, 0 - len, len, 0)), EINVAL);
        }
        check_errno("a value of 9 bits in a byte", add(device, udrv::stop_write(0, 0, 1, 256)),
                    EINVAL);
        check_errno("a mask of 33 bits in 4 bytes",
                    add(device, udrv::stop_write(0, 0, 4, 0, 1ULL << 32)), EINVAL);
        const auto mask_by = [&](std::uint32_t bar, std::uint32_t mask_at,
                                 std::uint32_t unmask_at) {
            udrv_intx_mask mask{};
            mask.bar = bar;
            mask.mask_offset = mask_at;
            mask.unmask_offset = unmask_at;
            return udrv::call(device.fd(), UDRV_IOC_INTX_MASK, mask);
        };
        check_errno("INTx mask: no such BAR", mask_by(UDRV_NR_BARS, 0, 4), EINVAL);
        check_errno("INTx mask: a BAR that it does not have", mask_by(1, 0, 4), EINVAL);
        check_errno("INTx mask: not aligned", mask_by(0, 2, 4), EINVAL);
        check_errno("INTx mask: behind the BAR's end", mask_by(0, 0, 1 << 20), EINVAL);
        check_errno("INTx mask: at the end of all offsets", mask_by(0, ~3U, 0), EINVAL);
        check_eq("INTx mask: not needed here", mask_by(0, 0, 4), 0);
        const std::array<udrv_stop_write, 4> writes = {{
            udrv::stop_write(0, liveness, 4, 1),
            udrv::stop_write(0, factorial, 4, 5),
            udrv::stop_write(0, status, 4, 0, 1), // waits until it has computed
            udrv::stop_write(0, liveness, 4, 0x12345678),
        }};
        for (unsigned n = static_cast<unsigned>(writes.size()); n < UDRV_MAX_STOP_WRITES; ++n) {
            device.stop_by(std::span(writes).first(1));
        }
        device.stop_by(writes);
        check_errno("one too many", add(device, writes[0]), ENOSPC);
        BarMapping regs = device.map_bar(0);
        regs.write32(liveness, 77);
        check_eq("nothing is written before the end", regs.read32(liveness), ~77U);
    });
    killed_driver(address, [&](Device& device) {
        BarMapping regs = device.map_bar(0);
        check_eq("all were written", regs.read32(factorial), 120);
        check_eq("in order", regs.read32(liveness), ~0x12345678U);
        // Never 0: bit 0 of the identification.
        device.stop_by(std::array<udrv_stop_write, 1>{{udrv::stop_write(0, 0, 4, 0, 1)}});
        regs.write32(liveness, 78);
    });
    killed_driver(address, [&](Device& device) {
        check_eq("they are of one session", device.map_bar(0).read32(liveness), ~78U);
        // edu takes 4 bytes below 0x80, and up to 8 above it, where its DMA registers are.
        device.stop_by(std::array<udrv_stop_write, 1>{
            {udrv::stop_write(0, dma_source, 8, 0x123456789abcdef0)}});
    });
    Device device(address);
    void* regs =
        ::mmap(nullptr, page_bytes, PROT_READ, MAP_SHARED, device.fd(),
               UDRV_MMAP_BAR(0)); // a load of 8 bytes: edu gives the upper half to no other
    check_eq("eight bytes were written",
             *reinterpret_cast<volatile std::uint64_t*>(static_cast<std::byte*>(regs) + dma_source),
             0x123456789abcdef0);
    return failures == 0 ? 0 : 1;
}

// ---- I/O ports ----------------------------------------------------------------------------

constexpr std::uint16_t port = 0x80; // where the firmware says how far it got: nobody minds

/// How a child ends (as waitpid(2) has it) that does `driver` with a session of its own.
template <typename Driver>
int driver_status(const PciAddress& address, Driver driver) {
    std::fflush(stdout);
    const pid_t child = ::fork();
    if (child == 0) {
        driver(std::make_unique<Device>(address));
        ::_exit(0);
    }
    int came_to = 0;
    ::waitpid(child, &came_to, 0);
    return came_to;
}

/// The right to them ends with the session: with its owner, if need be.
int ports(const PciAddress& address) {
    const std::string unbind = "/sys/bus/pci/drivers/udrv/unbind";
    const auto killed = [](int came_to) {
        return WIFSIGNALED(came_to) && WTERMSIG(came_to) == SIGKILL;
    };
    const auto work_on = [](udrv::DirectPortIo& io) {
        for (int n = 0; n < 1000; n++) {
            io.write8(0, 0x55);
            ::usleep(10'000);
        }
    };
    int came_to = driver_status(address, [&](std::unique_ptr<Device> device) {
        udrv::DirectPortIo io(port, 1);
        device.reset();
        work_on(io);
    });
    check_eq("closed the session, kept its ports: killed", killed(came_to), true);
    came_to = driver_status(address, [&](std::unique_ptr<Device> device) {
        udrv::DirectPortIo io(port, 1);
        std::thread other([&] { work_on(io); });
        device.reset();
        other.join();
    });
    check_eq("with another thread at work on them: killed", killed(came_to), true);
    came_to = driver_status(address, [&](std::unique_ptr<Device> device) {
        { udrv::DirectPortIo io(port, 1); }
        device.reset();
    });
    check_eq("gave its ports back first: lives", came_to, 0);
    came_to = driver_status(address, [](std::unique_ptr<Device> device) { device.reset(); });
    check_eq("never had a port: lives", came_to, 0);
    came_to = driver_status(address, [&](std::unique_ptr<Device> /*device*/) {
        ::signal(SIGSEGV, [](int /*signal*/) { ::_exit(77); });
        udrv::DirectPortIo io(port, 1);
        auto helper = udrv::start_helper_thread([] {
            sigset_t fault;
            sigemptyset(&fault);
            sigaddset(&fault, SIGSEGV);
            pthread_sigmask(SIG_UNBLOCK, &fault, nullptr); // a helper thread blocks them all
            asm volatile("inb $0x80, %%al" ::: "al");      // it has no right to it
        });
        helper.join();
    });
    check_eq("a helper thread has no right to them", WIFEXITED(came_to) ? WEXITSTATUS(came_to) : 0,
             77);
    // Unbound while it works on them: when unbind returns, it is over.
    std::array<int, 2> line{};
    (void)!::pipe(line.data());
    std::fflush(stdout);
    const pid_t child = ::fork();
    if (child == 0) {
        Device device(address);
        udrv::DirectPortIo io(port, 1);
        (void)!::write(line[1], "x", 1);
        work_on(io);
        ::_exit(0);
    }
    char ready = 0;
    (void)!::read(line[0], &ready, 1);
    const FileDescriptor file(::open(unbind.c_str(), O_WRONLY | O_CLOEXEC));
    const std::string bdf = address.str();
    check_eq("unbind", ::write(file.value(), bdf.data(), bdf.size()), bdf.size());
    ::waitpid(child, &came_to, 0);
    check_eq("unbound while it works on its ports: killed", killed(came_to), true);
    const FileDescriptor probe(::open("/sys/bus/pci/drivers/udrv/bind", O_WRONLY | O_CLOEXEC));
    check_eq("bound again", ::write(probe.value(), bdf.data(), bdf.size()), bdf.size());
    return failures == 0 ? 0 : 1;
}

// ---- BARs smaller than a page ---------------------------------------------------------------

/// QEMU's sdhci-pci: 256 bytes; its capabilities are those of QEMU (SD Host Controller
/// Specification 2.2.26).
int small_bar(const PciAddress& address, bool shared_page) {
    Device device(address);
    const udrv_bar_info& bar = device.info().bars[0];
    check_eq("length", bar.len_bytes, 0x100);
    check_eq("can be mapped", (bar.flags & UDRV_BAR_MMAP) != 0, !shared_page);
    if (shared_page) {
        check_errno("mmap", try_map(device, page_bytes, UDRV_MMAP_BAR(0)), EINVAL);
        check_throws("map_bar", EINVAL, [&] { (void)device.map_bar(0); });
        return failures == 0 ? 0 : 1;
    }
    check_eq("offset in its page", bar.page_offset, bar.start % page_bytes);
    BarMapping regs = device.map_bar(0);
    check_eq("length of the map", regs.len_bytes(), 0x100);
    check_eq("capabilities, in one load", regs.read32(0x40), 0x057834b4);
    check_eq("and in two", regs.read16(0x40) | regs.read16(0x42) << 16, 0x057834b4);
    check_errno("mmap: the next page", try_map(device, page_bytes, UDRV_MMAP_BAR(0) + page_bytes),
                EINVAL);
    return failures == 0 ? 0 : 1;
}

/// The memory of a driver goes by execve, while its file stays open: that is the session's end,
/// and nobody waits for it. Eight stop writes that the chip never obeys take eight seconds.
int exec(const PciAddress& address) {
    std::array<int, 2> line{};
    (void)!::pipe(line.data());
    const std::string state = fmt::format("/sys/bus/pci/devices/{}/udrv/state", address.str());
    std::fflush(stdout);
    const pid_t child = ::fork();
    if (child == 0) {
        const Device device(address);
        for (unsigned n = 0; n < UDRV_MAX_STOP_WRITES; n++) {
            // Bit 0 of edu's identification, which is always set.
            udrv_stop_write never = stop_write(0, 0, 4, 0, 1);
            (void)udrv::call(device.fd(), UDRV_IOC_STOP_WRITE, never);
        }
        ::fcntl(device.fd(), F_SETFD, 0);
        ::dup2(line[1], STDOUT_FILENO);
        ::execl("/bin/cat", "cat", state.c_str(), nullptr);
        ::_exit(1);
    }
    ::close(line[1]);
    std::array<char, 16> text{};
    (void)!::read(line[0], text.data(), text.size() - 1);
    ::waitpid(child, nullptr, 0);
    check_eq("the state that the new program reads", std::string(text.data()), "ending\n");
    return failures == 0 ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
    try {
        const std::string_view what = argc == 3 ? argv[2] : "";
        if (what == "intx" || what == "msi") {
            return session(PciAddress::parse(argv[1]), what == "msi");
        }
        if (what == "bus-error") {
            return bus_error(PciAddress::parse(argv[1]));
        }
        if (what == "outlived") {
            return outlived(PciAddress::parse(argv[1]));
        }
        if (what == "stopped") {
            return stopped(PciAddress::parse(argv[1]));
        }
        if (what == "exec") {
            return exec(PciAddress::parse(argv[1]));
        }
        if (what == "ports") {
            return ports(PciAddress::parse(argv[1]));
        }
        if (what == "small-bar" || what == "shared-page") {
            return small_bar(PciAddress::parse(argv[1]), what == "shared-page");
        }
        std::fprintf(stderr, "usage: core_probe BDF intx|msi|bus-error|outlived|stopped|exec|ports|"
                             "small-bar|shared-page\n");
        return 2;
    } catch (const std::exception& error) {
        fmt::print("FAIL: {}\n", error.what());
        return 1;
    }
}
