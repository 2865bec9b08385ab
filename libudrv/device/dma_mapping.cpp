// SPDX-License-Identifier: MIT
#include "libudrv/device/dma_mapping.hpp"

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include "libudrv/device/call.hpp"
#include "libudrv/error.hpp"

namespace udrv {

namespace {

constexpr std::size_t huge_page_bytes = std::size_t{2} << 20;

std::size_t round_up(std::size_t len_bytes, std::size_t unit_bytes) {
    return (len_bytes + unit_bytes - 1) / unit_bytes * unit_bytes;
}

std::size_t page_bytes() {
    static const auto size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    return size;
}

/// Anonymous memory aligned to huge pages: maps more, and gives the ends back.
MemoryMap map_aligned(std::size_t len_bytes) {
    const std::size_t with_room = len_bytes + huge_page_bytes;
    void* address =
        ::mmap(nullptr, with_room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (address == MAP_FAILED) {
        throw_errno(errno, fmt::format("allocate {} bytes for DMA", len_bytes));
    }
    auto* start = static_cast<std::byte*>(address);
    const std::size_t before =
        (huge_page_bytes - reinterpret_cast<std::uintptr_t>(start) % huge_page_bytes) %
        huge_page_bytes;
    if (before != 0) {
        ::munmap(start, before);
    }
    ::munmap(start + before + len_bytes, huge_page_bytes - before);
    ::madvise(start + before, len_bytes, MADV_HUGEPAGE); // a wish
    return {start + before, len_bytes};
}

MemoryMap map_buffer(std::size_t len_bytes) {
    if (len_bytes < huge_page_bytes) {
        return map_aligned(round_up(std::max<std::size_t>(len_bytes, 1), page_bytes()));
    }
    const std::size_t huge = round_up(len_bytes, huge_page_bytes);
    void* address = ::mmap(nullptr, huge, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
    if (address != MAP_FAILED) {
        return {address, huge};
    }
    return map_aligned(huge);
}

int exchange_regions(int fd, udrv_dma_region* regions, std::size_t count) {
    udrv_dma_exchange request{};
    request.regions = reinterpret_cast<std::uintptr_t>(regions);
    request.nr_regions = static_cast<std::uint32_t>(count);
    return call(fd, UDRV_IOC_DMA_EXCHANGE, request);
}

[[noreturn]] void throw_map_error(int error, const Device& device, std::size_t len_bytes) {
    const std::string tried =
        fmt::format("map {} bytes of memory for {}", len_bytes, device.address().str());
    switch (error) {
    case ENOMEM:
        throw_errno(error, tried, memlock_advice(len_bytes));
    case EOPNOTSUPP:
        throw_error(error, tried, "the device cannot reach it without bounce buffers",
                    "set the chip's real dma_bits(), or switch the IOMMU on");
    default:
        throw_errno(error, tried);
    }
}

} // namespace

DmaBuffer::DmaBuffer(std::size_t len_bytes) : map_(map_buffer(len_bytes)) {
}

DmaMapping::DmaMapping(Device& device, std::span<std::byte> memory)
    : fd_(device.fd()), memory_(memory),
      segments_(std::max<std::size_t>(memory.size() / page_bytes(), 1)) {
} // the worst case

DmaMapping::DmaMapping(Device& device, std::span<std::byte> memory, std::uint32_t flags) {
    *this = std::move(exchange(device, {}, {&memory, 1}, flags).front());
}

DmaMapping::DmaMapping(DmaMapping&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), handle_(other.handle_), memory_(other.memory_),
      segments_(std::move(other.segments_)) {
}

DmaMapping& DmaMapping::operator=(DmaMapping&& other) noexcept {
    if (this != &other) {
        unmap();
        fd_ = std::exchange(other.fd_, -1);
        handle_ = other.handle_;
        memory_ = other.memory_;
        segments_ = std::move(other.segments_);
    }
    return *this;
}

DmaMapping::~DmaMapping() {
    unmap();
}

udrv_dma_region DmaMapping::unmap_request() const {
    udrv_dma_region region{};
    region.handle = handle_;
    return region;
}

void DmaMapping::unmap() noexcept {
    if (fd_ >= 0) {
        udrv_dma_region region = unmap_request();
        // Fails only when the session is over, and then it is unmapped already.
        (void)exchange_regions(fd_, &region, 1);
        fd_ = -1;
    }
    segments_.clear();
}

std::vector<DmaMapping> DmaMapping::exchange(Device& device, std::span<DmaMapping> old,
                                             std::span<const std::span<std::byte>> next,
                                             std::uint32_t flags) {
    std::vector<DmaMapping> mappings;
    std::vector<udrv_dma_region> regions;
    std::vector<DmaMapping*> owners; // of each region, in the same order
    mappings.reserve(next.size());
    for (DmaMapping& mapping : old) {
        if (mapping.fd_ >= 0) {
            regions.push_back(mapping.unmap_request());
            owners.push_back(&mapping);
        }
    }
    const std::size_t nr_unmap = regions.size();
    for (const std::span<std::byte> memory : next) {
        DmaMapping& mapping = mappings.emplace_back(DmaMapping(device, memory));
        udrv_dma_region region{};
        region.vaddr = reinterpret_cast<std::uintptr_t>(memory.data());
        region.len_bytes = memory.size();
        region.segments = reinterpret_cast<std::uintptr_t>(mapping.segments_.data());
        region.nr_segments = static_cast<std::uint32_t>(mapping.segments_.size());
        region.flags = flags;
        regions.push_back(region);
        owners.push_back(&mapping);
    }

    std::size_t done = 0;
    int error = 0;
    while (done < regions.size() && error == 0) {
        const std::size_t count = std::min<std::size_t>(regions.size() - done, UDRV_MAX_DMA_BATCH);
        const int result = exchange_regions(device.fd(), &regions[done], count);
        error = result < 0 ? errno : (result == 0 ? EIO : 0);
        done += result < 0 ? 0 : static_cast<std::size_t>(result);
    }
    for (std::size_t n = 0; n < regions.size(); ++n) {
        DmaMapping& owner = *owners[n];
        if (n < nr_unmap ? n < done : n >= done) {
            owner.fd_ = -1; // unmapped, or never mapped
        } else if (n >= nr_unmap) {
            owner.handle_ = regions[n].handle;
            owner.segments_.resize(regions[n].nr_segments);
        }
    }
    if (error != 0) {
        throw_map_error(error, device, regions[done].len_bytes);
    }
    return mappings;
}

} // namespace udrv
