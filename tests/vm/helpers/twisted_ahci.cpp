// SPDX-License-Identifier: MIT
//
// twisted_ahci BDF page|poison|late SECTOR: the honest driver of an AHCI controller, but for
// one thing.
//   page     a request of one block at SECTOR becomes one of the whole page that the
//            block's memory lies on: eight blocks are read or written there
//   poison   a request that touches SECTOR kills it, as soon as it comes
//   late     behind a write that touches SECTOR it switches bus mastering off, and
//            looks whether the chip ends the write in its memory all the same
#include <chrono>
#include <cstdlib>
#include <string_view>

#include <fmt/format.h>

#include "drivers/ahci/board.hpp"
#include "libudrv/blk/blk_serve.hpp"
#include "libudrv/error.hpp"
#include "libudrv/process/memory_lock.hpp"

namespace {

constexpr std::uint64_t page_bytes = 4096;
constexpr std::uint32_t page_sectors = 8;

class Twisted {
  public:
    static constexpr bool completes_in_memory = udrv::ahci::Ahci::completes_in_memory;

    Twisted(udrv::Device& device, udrv::ahci::Ahci& chip, std::string_view what,
            std::uint64_t sector)
        : device_(device), chip_(chip), what_(what), sector_(sector) {}

    [[nodiscard]] std::span<const udrv_blk_disk> disks() const { return chip_.disks(); }
    void start(udrv::BlkCompletions& done) {
        done_ = &done;
        chip_.start(done);
    }
    [[nodiscard]] bool interrupt() { return chip_.interrupt(); }
    void submit(std::uint32_t disk, std::span<const udrv::BlkSubmission> submissions) {
        for (const udrv::BlkSubmission& submission : submissions) {
            twist(*const_cast<udrv_blk_request*>(submission.request)); // the slot is ours, too
        }
        chip_.submit(disk, submissions);
        if (late_) {
            late_ = false;
            wait_without_bus_mastering();
        }
    }
    void reap() { chip_.reap(); }
    [[nodiscard]] udrv::BlkClock::time_point tick(udrv::BlkClock::time_point now) {
        return chip_.tick(now);
    }
    void stop() { chip_.stop(); }

  private:
    void wait_without_bus_mastering() {
        device_.bus_master(false);
        const auto begun = udrv::BlkClock::now();
        const auto ms = [&] {
            return std::chrono::duration_cast<std::chrono::milliseconds>(udrv::BlkClock::now() -
                                                                         begun)
                .count();
        };
        const std::uint64_t before = done_->added();
        while (done_->added() == before && ms() < 20'000) {
            ::usleep(1000);
            chip_.reap();
        }
        device_.bus_master(true);
        fmt::print("{} ended in {} ms without bus mastering\n", done_->added() - before, ms());
        std::fflush(stdout);
    }

    void twist(udrv_blk_request& request) {
        if (request.op > UDRV_BLK_WRITE) {
            return;
        }
        if (what_ != "page") {
            const bool touches =
                sector_ >= request.sector && sector_ < request.sector + request.nr_sectors;
            if (touches && what_ == "poison") {
                ::_exit(7);
            }
            late_ |= touches && request.op == UDRV_BLK_WRITE;
            return;
        }
        if (request.sector != sector_ || request.nr_sectors != 1 || request.nr_segments != 1) {
            return;
        }
        void* behind = &request + 1;
        auto* segment = static_cast<udrv_blk_segment*>(behind);
        segment->dma_addr &= ~(page_bytes - 1);
        segment->len_bytes = page_bytes;
        request.nr_sectors = page_sectors;
    }

    udrv::Device& device_;
    udrv::ahci::Ahci& chip_;
    std::string_view what_;
    std::uint64_t sector_;
    bool late_ = false;
    udrv::BlkCompletions* done_ = nullptr;
};

} // namespace

int main(int argc, char** argv) {
    const std::string_view what = argc == 4 ? argv[2] : "";
    if (what != "page" && what != "poison" && what != "late") {
        std::fprintf(stderr, "usage: twisted_ahci BDF page|poison|late SECTOR\n");
        return 2;
    }
    try {
        udrv::lock_memory();
        udrv::Device device(udrv::PciAddress::parse(argv[1]));
        udrv::ahci::Board board(device);
        udrv::ahci::Ahci& chip = udrv::bring_up(device, board);
        Twisted twisted(device, chip, what, std::strtoull(argv[3], nullptr, 0));
        const udrv::Driver driver{"twisted", "", {}, nullptr, udrv::lock_memory};
        udrv::RunOptions options;
        options.sandbox = false;
        udrv::DriverContext context{driver, device, options, {}};
        return udrv::serve_blk(context, twisted);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "twisted_ahci: %s\n", error.what());
        return 1;
    }
}
