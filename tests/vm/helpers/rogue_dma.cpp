// SPDX-License-Identifier: MIT
//
// rogue_dma BDF TRIES [SEED]: a driver of an e1000 that points the chip at memory it
// was not given: descriptors for sending (the chip reads) and for receiving (the chip
// writes; the chip's loopback makes what it sends arrive). The targets: canaries,
// which are locked pages of another process with a pattern, found by their physical
// addresses; all of the machine's memory; neighbours of what it was given; memory it
// had and gave back; any address at all. An IOMMU has to stop each of them: the canaries
// stay as they are, and nothing of them arrives.
//
// Not 0xfee00000, where interrupts go: QEMU's IOMMU lets messages of the old format
// through, which a real one with interrupt remapping blocks, and one that says INIT ends
// the machine.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <vector>

#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "hostile_e1000.hpp"
#include "libudrv/device/dma_mapping.hpp"
#include "libudrv/error.hpp"

namespace {

using namespace hostile;
using Chip = LoopbackChip;

constexpr std::size_t canary_pages = 1024;
constexpr std::uint32_t frame_bytes = Chip::frame_bytes;

std::uint64_t canary_word(std::size_t n) {
    return Random(n).next();
}

// ---- Canaries ------------------------------------------------------------------------

/// Another process with pages full of a pattern, locked in memory. It looks at them
/// when it is told to and answers with the number of words that changed.
class Canaries {
  public:
    Canaries() {
        if (::pipe(to_) != 0 || ::pipe(from_) != 0) {
            throw std::runtime_error("no pipe");
        }
        child_ = ::fork();
        if (child_ == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            live();
        }
        std::uint64_t size = 0;
        if (::read(from_[0], &size, sizeof(size)) != sizeof(size)) {
            throw std::runtime_error("no canaries");
        }
        frames_.resize(size);
        for (std::uint64_t& frame : frames_) {
            (void)!::read(from_[0], &frame, sizeof(frame));
        }
    }
    ~Canaries() {
        ::kill(child_, SIGKILL);
        ::waitpid(child_, nullptr, 0);
    }
    Canaries(const Canaries&) = delete;
    Canaries& operator=(const Canaries&) = delete;

    /// Physical addresses of the pages.
    [[nodiscard]] const std::vector<std::uint64_t>& frames() const { return frames_; }
    [[nodiscard]] std::uint64_t changed() const {
        std::uint64_t words = ~0ULL;
        (void)!::write(to_[1], &words, sizeof(words));
        (void)!::read(from_[0], &words, sizeof(words));
        return words;
    }

  private:
    [[noreturn]] void live() const {
        constexpr std::size_t bytes = canary_pages * page_bytes;
        void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        auto* words = static_cast<std::uint64_t*>(at);
        if (at == MAP_FAILED || ::mlock(at, bytes) != 0) {
            ::_exit(1);
        }
        for (std::size_t n = 0; n < bytes / 8; n++) {
            words[n] = canary_word(n);
        }
        std::uint64_t size = canary_pages;
        (void)!::write(from_[1], &size, sizeof(size));
        const int pagemap = ::open("/proc/self/pagemap", O_RDONLY);
        for (std::size_t n = 0; n < canary_pages; n++) {
            std::uint64_t entry = 0;
            const auto page = reinterpret_cast<std::uintptr_t>(at) / page_bytes + n;
            (void)!::pread(pagemap, &entry, 8, static_cast<off_t>(page * 8));
            entry = (entry & ((1ULL << 55) - 1)) * page_bytes;
            (void)!::write(from_[1], &entry, sizeof(entry));
        }
        for (std::uint64_t word = 0; ::read(to_[0], &word, sizeof(word)) == sizeof(word);) {
            std::uint64_t changed = 0;
            for (std::size_t n = 0; n < bytes / 8; n++) {
                changed += words[n] != canary_word(n) ? 1U : 0U;
            }
            (void)!::write(from_[1], &changed, sizeof(changed));
        }
        ::_exit(0);
    }

    int to_[2]{};
    int from_[2]{};
    pid_t child_ = -1;
    std::vector<std::uint64_t> frames_;
};

/// How many words of what arrived are a canary's.
std::size_t arrived(const Chip& chip, const std::vector<std::uint64_t>& known) {
    std::size_t found = 0;
    for (std::size_t n = 0; n + 8 <= frame_bytes; n += 8) {
        std::uint64_t word = 0;
        std::memcpy(&word, chip.landing() + n, sizeof(word));
        found += std::binary_search(known.begin(), known.end(), word) ? 1U : 0U;
    }
    return found;
}

int run(const udrv::PciAddress& address, std::uint64_t tries, std::uint64_t seed) {
    const Canaries canaries;
    check_eq("canaries with an address",
             std::count_if(canaries.frames().begin(), canaries.frames().end(),
                           [](std::uint64_t frame) { return frame != 0; }),
             canary_pages);
    std::vector<std::uint64_t> known(canary_pages * page_bytes / 8);
    for (std::size_t n = 0; n < known.size(); n++) {
        known[n] = canary_word(n);
    }
    std::sort(known.begin(), known.end());

    udrv::Device device(address);
    report((device.info().flags & UDRV_DEV_IOMMU) != 0, "an IOMMU confines the device");
    if (failures != 0) {
        return 1; // it would write to the machine's memory
    }
    Chip chip(device);
    Random random(seed);
    for (std::size_t n = 0; n < page_bytes; n++) {
        chip.frame()[n] = static_cast<std::byte>(random.word());
    }
    // Memory that it had, and gave back.
    const udrv::DmaBuffer once(16 * page_bytes);
    std::vector<std::uint64_t> returned;
    {
        const udrv::DmaMapping mapping(device, once.bytes(),
                                       UDRV_DMA_TO_DEVICE | UDRV_DMA_FROM_DEVICE);
        for (const udrv_dma_segment& segment : mapping.segments()) {
            returned.push_back(segment.dma_addr);
        }
    }
    std::memset(once.bytes().data(), 0x77, once.bytes().size());

    check_eq("an honest transfer", chip.transfer(chip.frame_addr(), chip.landing_addr()), true);
    check_eq("arrives", std::memcmp(chip.frame(), chip.landing(), frame_bytes), 0);

    std::uint64_t reads = 0, writes = 0, stolen = 0, stuck = 0;
    const auto target = [&]() -> std::uint64_t {
        while (true) {
            std::uint64_t place = 0;
            switch (random.below(8)) {
            case 0:
                place = random.next() % (2ULL << 30);
                break; // all memory, and behind it
            case 1:
                place = chip.blocks()[random.below(3)] + page_bytes * random.below(64);
                break;
            case 2:
                place = chip.blocks()[random.below(3)] - page_bytes * random.below(64);
                break;
            case 3:
                place = returned[random.below(static_cast<std::uint32_t>(returned.size()))];
                break;
            case 4:
                place = random.next() >> random.below(32);
                break;
            default:
                place = canaries.frames()[random.below(canary_pages)] + random.below(page_bytes);
                break;
            }
            const bool interrupt = place >> 20 == 0xfee || (place + 2 * page_bytes) >> 20 == 0xfee;
            if (!interrupt && !chip.given(place)) {
                return place;
            }
        }
    };
    for (std::uint64_t n = 0; n < tries; n++) {
        if (random.one_in(2)) {
            std::memset(chip.landing(), 0, frame_bytes);
            stuck += chip.transfer(target(), chip.landing_addr()) ? 0U : 1U;
            stolen += arrived(chip, known);
            reads++;
        } else {
            stuck += chip.transfer(chip.frame_addr(), target()) ? 0U : 1U;
            writes++;
        }
    }
    check_eq("an honest transfer afterwards", chip.transfer(chip.frame_addr(), chip.landing_addr()),
             true);
    check_eq("arrives afterwards", std::memcmp(chip.frame(), chip.landing(), frame_bytes), 0);
    check_eq("words of canaries changed", canaries.changed(), 0);
    check_eq("words of canaries that arrived", stolen, 0);
    const auto bytes = once.bytes();
    check_eq(
        "bytes changed in memory that was given back",
        std::count_if(bytes.begin(), bytes.end(), [](std::byte b) { return b != std::byte{0x77}; }),
        0);
    fmt::print("total: {} reads {} writes {} not finished\n", reads, writes, stuck);
    return failures == 0 ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
    if (argc < 3) {
        std::fprintf(stderr, "usage: rogue_dma BDF TRIES [SEED]\n");
        return 2;
    }
    try {
        const Arguments arguments(argc, argv);
        fmt::print("seed {}\n", arguments.seed);
        return run(arguments.address, arguments.wanted, arguments.seed);
    } catch (const std::exception& error) {
        fmt::print("FAIL: {}\n", error.what());
        return 1;
    }
}
