// SPDX-License-Identifier: MIT
//
// Ahci: driver of any AHCI 1.x controller (PCI class 01:06:01), a BlkChip with a disk
// a port. Registers are in BAR 5. Reading order: ahci_registers.hpp, fis.hpp, this,
// port.hpp, port_setup.cpp, port.cpp, port_recovery.cpp.
//
// Source documents: "AHCI", see ahci_registers.hpp; "ACS-3", see drivers/ata.
//
// Command completion coalescing (AHCI 11) is not used: its timer counts in whole
// milliseconds, longer than a solid state disk needs for a whole batch, and one
// interrupt already reports all that is done by then.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "drivers/ahci/ahci_registers.hpp"
#include "drivers/ahci/port.hpp"
#include "libudrv/blk/blk_chip.hpp"
#include "libudrv/device/call.hpp"
#include "libudrv/device/dma.hpp"
#include "libudrv/device/registers.hpp"
#include <udrv/udrv.h>

namespace udrv::ahci {

inline constexpr unsigned abar_number = 5; ///< AHCI 2.1.11

/// For Device::stop_by(): the HBA's reset ends all transfers (AHCI 10.4.3).
inline constexpr udrv_stop_write end_of_transfers[] = {
    stop_write(abar_number, reg::ghc.offset, sizeof(std::uint32_t), ghc::ae | ghc::hr, ghc::hr),
};

/// For Device::mask_intx_by(): an HBA without the INTx-disable bit is masked by GHC.IE
/// (AHCI 3.1.2).
inline constexpr udrv_intx_mask intx_mask{.size = sizeof(udrv_intx_mask),
                                          .bar = abar_number,
                                          .mask_offset = reg::ghc.offset,
                                          .mask_value = ghc::ae,
                                          .unmask_offset = reg::ghc.offset,
                                          .unmask_value = ghc::ae | ghc::ie};

/// Stops whatever a predecessor left under way: takes the HBA from the BIOS and
/// resets it (AHCI 10.6.3, 10.4.3). Bus mastering may be switched on only after that,
/// and has to be on before an Ahci is made, which reads from the disks by DMA. Returns
/// which ports had a device before the reset, for Config::occupied. Throws Error.
std::uint32_t reset_hba(RegisterIo& abar);

/// Bits of addresses that the HBA can use (CAP.S64A): for the device's DMA mask,
/// before an Ahci is made.
[[nodiscard]] unsigned dma_bits(RegisterIo& abar);

class Ahci {
  public:
    static constexpr bool completes_in_memory = true; // the received FISes
    /// Finds and identifies the disks of an HBA after reset_hba(). Throws Error, also if
    /// there is no disk at all.
    Ahci(RegisterIo& abar, DmaAllocator& dma, const Config& config = {});

    [[nodiscard]] std::span<const udrv_blk_disk> disks() const { return disks_; }
    void start(BlkCompletions& done);
    [[nodiscard]] bool interrupt();
    void submit(std::uint32_t disk, std::span<const BlkSubmission> submissions);
    void reap();
    [[nodiscard]] BlkClock::time_point tick(BlkClock::time_point now);
    void stop();
    [[nodiscard]] BlkTroubles troubles() const {
        BlkTroubles sum;
        for (const auto& port : ports_) {
            sum.timeouts += port->counters().timeouts;
            sum.resets += port->counters().resets;
            sum.lost += port->counters().lost;
            sum.returned += port->counters().returned;
            sum.strangers += port->counters().strangers;
        }
        for (const auto& port : empty_) {
            sum.arrivals += port->counters().arrivals;
        }
        return sum;
    }

    /// Why it cannot be served any longer, and its driver should end; nullptr: it can.
    [[nodiscard]] const char* failure() const { return failure_; }

    /// What set-up found on the ports that have no usable disk, a sentence each.
    [[nodiscard]] std::span<const std::string> notes() const { return notes_; }
    [[nodiscard]] const PortCounters& counters(std::uint32_t disk) const {
        return ports_[disk]->counters();
    }
    [[nodiscard]] unsigned dma_bits() const { return hba_.addresses64 ? 64 : 32; }

  private:
    void read_capabilities();
    [[nodiscard]] std::vector<std::unique_ptr<Port>> quiet_ports();
    void set_up_ports(std::vector<std::unique_ptr<Port>>& ports, DmaAllocator& dma);
    void sort_ports(std::vector<std::unique_ptr<Port>> ports);
    void add_note(std::uint32_t number, const std::string& text);
    [[nodiscard]] BlkClock::time_point reset_step(BlkClock::time_point now);

    RegisterIo& regs_;
    const Config config_;
    Hba hba_;
    std::uint32_t implemented_ = 0;            ///< PI
    std::vector<std::unique_ptr<Port>> ports_; ///< one a disk, after set-up
    std::vector<std::unique_ptr<Port>> empty_; ///< where a device may be plugged in
    std::vector<udrv_blk_disk> disks_;
    std::array<Port*, max_ports> port_of_bit_{}; ///< of IS; nullptr: no disk there
    std::vector<std::string> notes_;
    bool resetting_ = false; ///< GHC.HR is 1, because a port would not stop
    BlkClock::time_point reset_deadline_;
    bool stopped_ = false;
    const char* failure_ = nullptr;
};

static_assert(BlkChip<Ahci>);

} // namespace udrv::ahci
