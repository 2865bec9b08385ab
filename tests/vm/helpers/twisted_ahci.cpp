// SPDX-License-Identifier: MIT
//
// twisted_ahci BDF page|poison|late SECTOR: the honest driver of an AHCI controller, but for
// one thing.
//   page     a request of one block at SECTOR becomes one of the whole page that the
//            block's memory lies on: eight blocks are read or written there
//   poison   a request that touches SECTOR kills it, as soon as it comes
//   late     it does not say how its chip is stopped when it is gone
#include <cstdlib>
#include <string_view>

#include "blkloop/blk_serve.hpp"
#include "drivers/ahci/ahci.hpp"
#include "libudrv/error.hpp"

namespace {

constexpr std::uint64_t page_bytes = 4096;
constexpr std::uint32_t page_sectors = 8;

class Twisted {
  public:
    static constexpr bool completes_in_memory = udrv::ahci::Ahci::completes_in_memory;

    Twisted(udrv::ahci::Ahci& chip, bool poison, std::uint64_t sector)
        : chip_(chip), poison_(poison), sector_(sector) {}

    [[nodiscard]] std::span<const udrv_blk_disk> disks() const { return chip_.disks(); }
    [[nodiscard]] bool interrupt() { return chip_.interrupt(); }
    void submit(std::uint32_t disk, std::span<const udrv::BlkSubmission> submissions) {
        for (const udrv::BlkSubmission& submission : submissions) {
            twist(*const_cast<udrv_blk_request*>(submission.request)); // the slot is ours, too
        }
        chip_.submit(disk, submissions);
    }
    [[nodiscard]] std::size_t reap(std::span<udrv::BlkCompletion> completions) {
        return chip_.reap(completions);
    }
    [[nodiscard]] udrv::BlkClock::time_point tick(udrv::BlkClock::time_point now) {
        return chip_.tick(now);
    }
    void stop() { chip_.stop(); }

  private:
    void twist(udrv_blk_request& request) const {
        if (request.op > UDRV_BLK_WRITE) {
            return;
        }
        if (poison_) {
            if (sector_ >= request.sector && sector_ < request.sector + request.nr_sectors) {
                ::_exit(7);
            }
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

    udrv::ahci::Ahci& chip_;
    bool poison_;
    std::uint64_t sector_;
};

} // namespace

int main(int argc, char** argv) {
    const std::string_view what = argc == 4 ? argv[2] : "";
    if (what != "page" && what != "poison" && what != "late") {
        std::fprintf(stderr, "usage: twisted_ahci BDF page|poison|late SECTOR\n");
        return 2;
    }
    try {
        udrv::Device device(udrv::PciAddress::parse(argv[1]));
        auto registers = device.map_bar(udrv::ahci::abar_number);
        udrv::ahci::reset_hba(registers);
        device.dma_bits(udrv::ahci::dma_bits(registers));
        if (what != "late") {
            device.stop_by(udrv::ahci::end_of_transfers);
        }
        device.bus_master(true);
        udrv::ahci::Ahci chip(registers, device);
        const std::uint64_t sector = what == "late" ? ~0ULL : std::strtoull(argv[3], nullptr, 0);
        Twisted twisted(chip, what == "poison", sector);
        const udrv::Driver driver{"twisted", "", {}, nullptr};
        udrv::RunOptions options;
        options.sandbox = false;
        udrv::DriverContext context{driver, device, options, {}};
        return udrv::serve_blk(context, twisted);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "twisted_ahci: %s\n", error.what());
        return 1;
    }
}
