// SPDX-License-Identifier: MIT
//
// An e1000 in its own loopback: whoever has its descriptors reads and writes wherever
// the chip can. What it sends from one address arrives at another.
#pragma once

#include <array>

#include "drivers/e1000/e1000_registers.hpp"
#include "hostile.hpp"

namespace hostile {

inline constexpr std::uint32_t phy_loopback =
    0x4140; ///< register 0 of the PHY, IEEE 802.3 22.2.4.1

class LoopbackChip {
  public:
    static constexpr std::uint32_t frame_bytes = 1000;
    static constexpr std::uint32_t ring_entries = 64;

    explicit LoopbackChip(udrv::Device& device)
        : regs_(device.map_bar(0)), rx_block_(device.allocate(page_bytes)),
          tx_block_(device.allocate(page_bytes)), data_block_(device.allocate(4 * page_bytes)) {
        udrv::e1000::reg::imc.write(regs_, ~0U);
        udrv::e1000::reg::ctrl.write(regs_, udrv::e1000::ctrl::rst);
        ::usleep(20'000);
        udrv::e1000::reg::ctrl.write(regs_, udrv::e1000::ctrl::slu);
        device.bus_master(true);
        udrv::e1000::reg::mdic.write(regs_, udrv::e1000::mdic::op_write | udrv::e1000::mdic::phy |
                                                phy_loopback);
        ::usleep(20'000);
        udrv::e1000::reg::rdbal.write(regs_, static_cast<std::uint32_t>(rx_block_.dma_addr));
        udrv::e1000::reg::rdbah.write(regs_, static_cast<std::uint32_t>(rx_block_.dma_addr >> 32));
        udrv::e1000::reg::rdlen.write(regs_, ring_entries * 16);
        udrv::e1000::reg::rdh.write(regs_, 0);
        udrv::e1000::reg::rdt.write(regs_, 0);
        udrv::e1000::reg::tdbal.write(regs_, static_cast<std::uint32_t>(tx_block_.dma_addr));
        udrv::e1000::reg::tdbah.write(regs_, static_cast<std::uint32_t>(tx_block_.dma_addr >> 32));
        udrv::e1000::reg::tdlen.write(regs_, ring_entries * 16);
        udrv::e1000::reg::tdh.write(regs_, 0);
        udrv::e1000::reg::tdt.write(regs_, 0);
        udrv::e1000::reg::rctl.write(regs_,
                                     1U << 1 | 1U << 3 | 1U << 4 | 1U << 15); // on, promiscuous
        udrv::e1000::reg::tctl.write(regs_, 1U << 1 | 1U << 3);               // on, pad
        ::usleep(1'500'000); // the model receives nothing for a second after that
    }
    [[nodiscard]] std::byte* frame() const { return data_block_.vaddr; }
    [[nodiscard]] std::uint64_t frame_addr() const { return data_block_.dma_addr; }
    [[nodiscard]] std::byte* landing() const { return data_block_.vaddr + page_bytes; }
    [[nodiscard]] std::uint64_t landing_addr() const { return data_block_.dma_addr + page_bytes; }
    /// First and last+1 address of everything that the chip was given.
    [[nodiscard]] bool given(std::uint64_t address) const {
        for (const udrv::DmaBlock* block : {&rx_block_, &tx_block_, &data_block_}) {
            // A frame that starts this far before it would reach into it.
            if (address + 2 * page_bytes > block->dma_addr &&
                address < block->dma_addr + block->len_bytes) {
                return true;
            }
        }
        return false;
    }
    [[nodiscard]] std::array<std::uint64_t, 3> blocks() const {
        return {rx_block_.dma_addr, tx_block_.dma_addr, data_block_.dma_addr};
    }

    /// Sends a frame from `source` and has it received to `target`. True: the chip says
    /// that it is done with both.
    bool transfer(std::uint64_t source, std::uint64_t target, std::uint32_t bytes = frame_bytes) {
        volatile std::uint64_t* rx = descriptor(rx_block_);
        volatile std::uint64_t* tx = descriptor(tx_block_);
        rx[0] = target;
        rx[1] = 0;
        tx[0] = source;
        tx[1] = bytes | 0x0bULL << 24; // end of packet, FCS, report status
        index_ = (index_ + 1) % ring_entries;
        udrv::e1000::reg::rdt.write(regs_, index_);
        udrv::e1000::reg::tdt.write(regs_, index_);
        return wait_until(200, [&] { return (tx[1] >> 32 & 1) != 0 && (rx[1] >> 32 & 1) != 0; });
    }

    /// Reads a page at any address of the chip, as it lies there; what cannot be read
    /// is zero.
    void read_page(std::uint64_t page, std::byte* into) {
        for (std::uint32_t at = 0; at < page_bytes; at += 512) {
            std::memset(landing(), 0, 512);
            (void)transfer(page + at, landing_addr(), 512);
            std::memcpy(into + at, landing(), 512);
        }
    }

  private:
    volatile std::uint64_t* descriptor(const udrv::DmaBlock& block) const {
        void* place = block.vaddr + std::size_t{index_} * 16;
        return static_cast<volatile std::uint64_t*>(place);
    }

    udrv::BarMapping regs_;
    udrv::DmaBlock rx_block_;
    udrv::DmaBlock tx_block_;
    udrv::DmaBlock data_block_;
    std::uint32_t index_ = 0;
};

} // namespace hostile
