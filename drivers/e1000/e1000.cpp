// SPDX-License-Identifier: MIT
//
// 82540EM and 82545EM: reset, initialisation, configuration, interrupt causes,
// statistics and stop. The rings are in e1000_rings.cpp.
#include "drivers/e1000/e1000.hpp"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <thread>

#include <fmt/format.h>

#include "libudrv/device/call.hpp"
#include "libudrv/error.hpp"

namespace udrv::e1000 {

namespace {

using namespace std::chrono_literals;

// No wait below takes longer than about 10 ms on a healthy chip.
constexpr auto hardware_timeout = 1s;     // far more than any takes: a busy host delays the looks
constexpr auto phy_reset_timeout = 500ms; // IEEE 802.3 22.2.4.1.1

// Unmasked from the start; TXDW only once arm() finds a use for it.
constexpr std::uint32_t interrupt_causes = icr::lsc | icr::rxdmt0 | icr::rxo | icr::rxt0;
constexpr std::uint32_t data_causes = icr::txdw | icr::rxdmt0 | icr::rxo | icr::rxt0;
constexpr std::uint32_t all_ones = 0xffffffff; // what reads return when the device is gone

// The names a person sees, the chip's counters first, in the order of chip_stats.
constexpr std::array<std::string_view, 20> names{
    "rx_packets",      "tx_packets",       "rx_multicast",     "rx_broadcast",  "rx_missed",
    "rx_no_buffer",    "rx_crc_errors",    "rx_length_errors", "rx_undersize",  "rx_oversize",
    "rx_align_errors", "rx_symbol_errors", "rx_carrier_ext",   "tx_collisions", "tx_excess_coll",
    "tx_late_coll",    "tx_no_carrier",    "rx_overruns",      "rx_dropped",    "tx_dropped"};
/// Where each stands in stats_.
enum ChipStat : std::size_t {
    gprc,
    gptc,
    mprc,
    bprc,
    mpc,
    rnbc,
    crcerrs,
    rlec,
    ruc,
    roc,
    algnerrc,
    rxerrc,
    cexterr,
    colc,
    ecol,
    latecol,
    tncrs
};
constexpr std::array chip_stats{reg::gprc,     reg::gptc,    reg::mprc,    reg::bprc, reg::mpc,
                                reg::rnbc,     reg::crcerrs, reg::rlec,    reg::ruc,  reg::roc,
                                reg::algnerrc, reg::rxerrc,  reg::cexterr, reg::colc, reg::ecol,
                                reg::latecol,  reg::tncrs};

// Both parts are for copper; 1000 Mb/s is full duplex only, as the kernel's own driver has it.
constexpr LinkModes copper_modes =
    link_modes({ETHTOOL_LINK_MODE_10baseT_Half_BIT, ETHTOOL_LINK_MODE_10baseT_Full_BIT,
                ETHTOOL_LINK_MODE_100baseT_Half_BIT, ETHTOOL_LINK_MODE_100baseT_Full_BIT,
                ETHTOOL_LINK_MODE_1000baseT_Full_BIT, ETHTOOL_LINK_MODE_Autoneg_BIT,
                ETHTOOL_LINK_MODE_TP_BIT});
constexpr NetPhy copper{.port = PORT_TP,
                        .phy_address = 0,
                        .mdix = ETH_TP_MDI,
                        .mdix_ctrl = ETH_TP_MDI_AUTO,
                        .autoneg = true,
                        .supported = copper_modes,
                        .advertising = copper_modes};

// What `ethtool -d` shows: nothing that reading clears.
constexpr std::array shown_registers{
    reg::ctrl,  reg::status, reg::itr,   reg::ims,  reg::rctl, reg::rdbal, reg::rdbah,
    reg::rdlen, reg::rdh,    reg::rdt,   reg::rdtr, reg::radv, reg::tctl,  reg::tipg,
    reg::tdbal, reg::tdbah,  reg::tdlen, reg::tdh,  reg::tdt,  reg::tidv,  reg::tadv,
    reg::pba,   reg::rxcsum, reg::vet,   reg::ral,  reg::rah};

bool usable(const MacAddress& mac) {
    const bool multicast = (mac[0] & 1) != 0;
    return !multicast && std::any_of(mac.begin(), mac.end(), [](auto byte) { return byte != 0; });
}

std::uint32_t receive_control(const udrv_net_desired& desired) {
    std::uint32_t value = rctl::en | rctl::bam | rctl::mo_47_36 | rctl::bsize_2048 | rctl::secrc;
    // RXDMT0 when an eighth of the ring is left. As only rx_depth buffers, half
    // of the ring, are ever there, a larger share would interrupt for nothing.
    value |= rctl::rdmts_eighth;
    if ((desired.rx_mode & UDRV_NET_PROMISC) != 0) {
        value |= rctl::upe | rctl::mpe;
    }
    if ((desired.rx_mode & UDRV_NET_ALLMULTI) != 0) {
        value |= rctl::mpe;
    }
    // Without LPE the chip takes frames of up to 1,522 bytes with FCS (SDM
    // 13.7.15): an MTU of 1,500, a header and a VLAN tag.
    if (desired.mtu > 1500) {
        value |= rctl::lpe;
    }
    return value;
}

} // namespace

std::uint32_t multicast_hash(std::span<const std::uint8_t, 6> address) {
    // Bits 47:36 as the chip numbers them: byte 5 is the highest.
    return (std::uint32_t{address[5]} << 4 | std::uint32_t{address[4]} >> 4) & 0xfff;
}

bool in_pcix_mode(RegisterIo& regs, Model model) {
    const std::uint32_t value = reg::status.read(regs);
    return model == Model::i82545em && value != all_ones && (value & status::pcix_mode) != 0;
}

unsigned dma_bits(RegisterIo& regs, Model model) {
    return in_pcix_mode(regs, model) ? 64 : 32;
}

udrv_intx_mask intx_mask() {
    return {.size = sizeof(udrv_intx_mask),
            .bar = 0,
            .mask_offset = reg::imc.offset,
            .mask_value = all_ones,
            .unmask_offset = reg::ims.offset,
            .unmask_value = interrupt_causes | icr::txdw};
}

void limit_memory_reads(RegisterIo& space) {
    if ((pci::status.read(space) & pci::has_capabilities) == 0) {
        return;
    }
    std::uint32_t at = pci::capabilities.read(space);
    for (unsigned n = 0; at >= pci::first_capability && n < pci::most_capabilities; n++) {
        at &= ~3u;
        if (space.read8(at) == pci::pcix_id) {
            const std::uint32_t command = at + pci::pcix_command;
            const std::uint8_t value = space.read8(command);
            if ((value & pci::pcix_read_mask) > pci::pcix_read_2048) {
                space.write8(command, static_cast<std::uint8_t>((value & ~pci::pcix_read_mask) |
                                                                pci::pcix_read_2048));
            }
            return;
        }
        at = space.read8(at + 1);
    }
}

std::vector<udrv_stop_write> end_of_transfers(std::uint32_t io_bar, std::uint32_t manc) {
    constexpr auto word = static_cast<std::uint32_t>(sizeof(std::uint32_t));
    std::vector<udrv_stop_write> writes{stop_write(0, reg::rctl.offset, word, 0),
                                        stop_write(0, reg::tctl.offset, word, tctl::psp)};
    if (io_bar == no_io_bar) {
        writes.push_back(stop_write(0, reg::ctrl.offset, word, ctrl::rst, ctrl::rst));
    } else {
        writes.push_back(stop_write(io_bar, io::ioaddr.offset, word, reg::ctrl.offset));
        writes.push_back(stop_write(io_bar, io::iodata.offset, word, ctrl::rst, ctrl::rst));
    }
    if ((manc & manc::arp_en) != 0) {
        writes.push_back(stop_write(0, reg::manc.offset, word, manc));
    }
    return writes;
}

// ---- Reset -------------------------------------------------------------------

E1000::E1000(RegisterIo& regs, DmaAllocator& dma, const Config& config, RegisterIo* io)
    : regs_(regs), dma_(dma), config_(config), io_(io) {
    assert(std::has_single_bit(config.rx_ring) && config.rx_ring > config.rx_depth);
    assert(std::has_single_bit(config.tx_ring) && config.tx_ring > config.tx_depth);
    assert(std::has_single_bit(config.rx_depth) && std::has_single_bit(config.tx_depth));
    // RDLEN and TDLEN count in 128 bytes, eight descriptors (SDM 13.4.27, 13.4.38).
    assert(config.rx_ring % 8 == 0 && config.tx_ring % 8 == 0);
}

void E1000::quiet() {
    found_manc_ = reg::manc.read(regs_);
    pcix_ = in_pcix_mode(regs_, config_.model);
    reset();
}

void E1000::init() {
    set_up_phy();
    capabilities_.mac = read_mac();
    capabilities_.tx_depth = config_.tx_depth;
    capabilities_.rx_depth = config_.rx_depth;
    capabilities_.rx_buf_bytes = rx_buffer_bytes;
    // A quarter of the ring: MAX_SKB_FRAGS and more, and never the whole of it.
    capabilities_.tx_max_segments = std::min(config_.tx_depth / 4, 64u);
    capabilities_.max_mtu = max_mtu;
    capabilities_.max_csum_field = max_csum_field;
    capabilities_.max_tso_hdr_bytes = max_tso_hdr_bytes;
    capabilities_.max_rx_usecs = max_rx_usecs;
    capabilities_.max_unicast = ra_entries - 1; // the first is the chip's own
    capabilities_.phy = copper;
    capabilities_.features = config_.features & supported_features;
    allocate();
    // What a predecessor left in the counters is not ours.
    collect_stats();
    stats_ = {};
}

void E1000::allocate() {
    // Page aligned, and so aligned to 16 bytes as RDBAL and TDBAL must be.
    const DmaBlock rx = dma_.allocate(config_.rx_ring * sizeof(RxDescriptor));
    const DmaBlock tx = dma_.allocate(config_.tx_ring * sizeof(TxDescriptor));
    for (const DmaBlock& block : {rx, tx}) {
        if (!pcix_ && high_half(block.dma_addr + block.len_bytes - 1) != 0) {
            throw_error(EIO, "e1000: allocate memory for descriptors",
                        fmt::format("it is at {:#x}, above 4 GiB, which the chip cannot reach on "
                                    "a conventional PCI bus",
                                    block.dma_addr),
                        "set the device's DMA mask to 32 bits first");
        }
    }
    rx_ring_ = reinterpret_cast<RxDescriptor*>(rx.vaddr);
    tx_ring_ = reinterpret_cast<TxDescriptor*>(tx.vaddr);
    rx_ring_dma_addr_ = rx.dma_addr;
    tx_ring_dma_addr_ = tx.dma_addr;
    rx_mask_ = config_.rx_ring - 1;
    tx_mask_ = config_.tx_ring - 1;
    rx_buffers_.resize(config_.rx_ring);
    tx_packets_.resize(config_.tx_depth);
}

/// Leaves the chip quiet: no interrupts, no transfers, all registers at their
/// defaults, SDM 14.3. Nothing relies on the reset having cleared a register:
/// emulated chips may keep them all.
void E1000::reset() {
    reg::imc.write(regs_, all_ones);
    reg::rctl.write(regs_, 0);
    reg::tctl.write(regs_, tctl::psp);
    // 40 KB for receive and the other 24 KB for transmit (SDM 13.4.16), so that
    // one jumbo frame can be sent while the next is fetched. The split survives
    // the reset, which makes it effective.
    reg::pba.write(regs_, 40);
    // A read pushes the writes out; then transfers in flight may end.
    (void)reg::status.read(regs_);
    std::this_thread::sleep_for(config_.settle);

    write_reset();
    // The chip may not be accessed for 1 us after the reset (SDM 13.4.1), and
    // then reloads its EEPROM.
    std::this_thread::sleep_for(std::max(config_.settle, 2us));
    wait_until(reg::ctrl, "CTRL", ctrl::rst, 0);

    // The reset unmasks nothing, but a cause may be pending from before.
    reg::imc.write(regs_, all_ones);
    (void)reg::icr.read(regs_);
    set_arp(false);
    rctl_ = 0;
    tctl_ = tctl::psp;
}

/// Through the I/O ports: the 82540, 82545 and 82546 cannot acknowledge the memory
/// write that resets them when a bridge made it one of 64 bits (so Linux's e1000 driver;
/// the SDM says nothing of it). Without I/O ports there is only the memory write.
void E1000::write_reset() {
    const std::uint32_t value = reg::ctrl.read(regs_) | ctrl::rst;
    if (io_ != nullptr) {
        io::ioaddr.write(*io_, reg::ctrl.offset);
        io::iodata.write(*io_, value);
    } else {
        reg::ctrl.write(regs_, value);
    }
}

/// While the chip is ours the stack answers ARP requests. Firmware that let the chip do
/// so for a management controller finds it as it was when we stop.
void E1000::set_arp(bool on) {
    const std::uint32_t value = reg::manc.read(regs_);
    const std::uint32_t wanted = on ? value | manc::arp_en : value & ~manc::arp_en;
    if (wanted != value) {
        reg::manc.write(regs_, wanted);
    }
}

void E1000::wait_until(const reg::R32& place, const char* name, std::uint32_t mask,
                       std::uint32_t value) {
    udrv::wait_until(regs_, place, "e1000", name, mask, value, {hardware_timeout, 10us});
}

// ---- Init --------------------------------------------------------------------

std::uint16_t E1000::eeprom_word(std::uint32_t index) {
    reg::eerd.write(regs_, eerd::start | index << eerd::addr_shift);
    wait_until(reg::eerd, "EERD", eerd::done, eerd::done);
    return static_cast<std::uint16_t>(reg::eerd.read(regs_) >> eerd::data_shift);
}

/// The chip's own address: words 0 to 2 of the EEPROM (SDM 5.6). The reset
/// copied them to RAL and RAH, but these may hold the address that an
/// administrator gave to a predecessor, where the reset did not reach them.
MacAddress E1000::read_mac() {
    MacAddress mac{};
    for (std::size_t i = 0; i < 3; i++) {
        const std::uint16_t word = eeprom_word(static_cast<std::uint32_t>(i));
        mac[2 * i] = static_cast<std::uint8_t>(word);
        mac[2 * i + 1] = static_cast<std::uint8_t>(word >> 8);
    }
    if (usable(mac)) {
        return mac;
    }
    const std::uint64_t address = std::uint64_t{reg::rah.read(regs_)} << 32 | reg::ral.read(regs_);
    for (std::size_t i = 0; i < mac.size(); i++) {
        mac[i] = static_cast<std::uint8_t>(address >> (8 * i));
    }
    if (!usable(mac)) {
        throw_error(
            EIO, "e1000: read the chip's Ethernet address",
            fmt::format("neither the EEPROM nor RAL and RAH hold one (they say {:#x})", address));
    }
    return mac;
}

std::uint32_t E1000::phy_access(std::uint32_t command) {
    reg::mdic.write(regs_, command | mdic::phy);
    wait_until(reg::mdic, "MDIC", mdic::r, mdic::r);
    const std::uint32_t answer = reg::mdic.read(regs_);
    if ((answer & mdic::e) != 0) {
        throw_error(EIO, "e1000: access the PHY",
                    fmt::format("it reports an error (MDIC is {:#010x})", answer));
    }
    return answer & mdic::data_mask;
}

std::uint32_t E1000::phy_read(std::uint32_t number) {
    return phy_access(mdic::op_read | number << mdic::regadd_shift);
}

void E1000::phy_write(std::uint32_t number, std::uint32_t value) {
    (void)phy_access(mdic::op_write | number << mdic::regadd_shift | value);
}

/// True if it was something else.
bool E1000::phy_set(std::uint32_t number, std::uint32_t mask, std::uint32_t wanted) {
    const std::uint32_t found = phy_read(number);
    if ((found & mask) == wanted) {
        return false;
    }
    phy_write(number, (found & ~mask) | wanted);
    return true;
}

/// The reset of the chip does not change its PHY, and drivers that shut it down may have
/// powered it off. Only what is not as it should be is written: a PHY that was set up by
/// a predecessor keeps the link that it negotiated, which takes seconds to get again.
void E1000::set_up_phy() {
    bool negotiate = phy_set(phy::ana, ana::mask, ana::wanted);
    negotiate |= phy_set(phy::gcon, gcon::mask, gcon::wanted);
    if (phy_read(phy::pid) == phy::pid_marvell) {
        // These two take effect with a reset of the PHY (SDM 13, PSCON).
        bool commit = phy_set(phy::pscon, pscon::mask, pscon::wanted);
        commit |= phy_set(phy::epscon, epscon::mask, epscon::wanted);
        if (commit) {
            phy_write(phy::pctrl, phy_read(phy::pctrl) | pctrl::reset);
            const auto deadline = std::chrono::steady_clock::now() + phy_reset_timeout;
            for (;;) {
                const bool late = std::chrono::steady_clock::now() >= deadline;
                if ((phy_read(phy::pctrl) & pctrl::reset) == 0) {
                    break;
                }
                if (late) {
                    throw_error(ETIMEDOUT, "e1000: reset the PHY",
                                fmt::format("PCTRL.RESET is still set after {} ms",
                                            phy_reset_timeout.count()),
                                "power the machine off and on");
                }
                std::this_thread::sleep_for(10us);
            }
            negotiate = true;
        }
    }
    const std::uint32_t control = phy_read(phy::pctrl);
    if ((control & pctrl::off_the_wire) != 0 || (control & pctrl::an_enable) == 0 || negotiate) {
        phy_write(phy::pctrl,
                  (control & ~pctrl::off_the_wire) | pctrl::an_enable | pctrl::restart_an);
    }
}

/// The link goes down and comes back with what both ends agree on now.
void E1000::restart_autoneg() {
    phy_write(phy::pctrl, phy_read(phy::pctrl) | pctrl::an_enable | pctrl::restart_an);
}

/// From quiet to running: SDM 14.3 (general), 14.4 (receive), 14.5 (transmit),
/// interrupts last.
void E1000::start(const udrv_net_desired& desired) {
    // Link: the PHY negotiates, and tells the MAC speed and duplex directly. For that the
    // speed is neither forced nor measured by the MAC: FRCSPD and ASDE are 0 (SDM
    // 8.6.2.2.3; ASDE is for chips whose PHY does not tell, SDM 8.6.2.2.2).
    ctrl_ = reg::ctrl.read(regs_);
    ctrl_ |= ctrl::slu;
    ctrl_ &= ~(ctrl::asde | ctrl::lrst | ctrl::ilos | ctrl::frcspd | ctrl::frcdplx | ctrl::rst |
               ctrl::rfce | ctrl::tfce | ctrl::vme | ctrl::phy_rst);
    reg::ctrl.write(regs_, ctrl_);
    // No flow control: without the two enables above, these are to be zero.
    reg::fcal.write(regs_, 0);
    reg::fcah.write(regs_, 0);
    reg::fct.write(regs_, 0);
    reg::fcttv.write(regs_, 0);
    reg::vet.write(regs_, 0x8100); // 802.1Q

    set_arp(false);
    state_ = desired;
    set_features(desired.features);
    start_receive(desired);
    start_transmit();

    running_ = true;
    // Interrupts: one hold-off for all causes; none for receive on its own, so
    // that the first packet after a pause is not delayed.
    set_holdoff(desired.rx_usecs);
    reg::rdtr.write(regs_, 0);
    reg::radv.write(regs_, 0);
    // Transmit completions can wait a little, to ride along with a receive
    // interrupt: 33 us after the last, 66 us after the first (1.024 us units).
    reg::tidv.write(regs_, 32);
    reg::tadv.write(regs_, 64);
    (void)reg::icr.read(regs_);
    reg::ims.write(regs_, interrupt_causes);
    txdw_unmasked_ = false;
}

/// Completions give memory back to senders and drive BQL, so what is under way when the
/// driver goes to sleep has to wake it. A chip that has always sent everything by then
/// never interrupts for it. If it did so since the last look at the ring, the cause
/// stands, and this asserts the interrupt.
bool E1000::arm() {
    if (running_ && !txdw_unmasked_ && tx_consumer_ != tx_producer_) {
        reg::ims.write(regs_, icr::txdw);
        txdw_unmasked_ = true;
    }
    return true;
}

// ---- Start queues ------------------------------------------------------------

/// SDM 14.4. Buffers from before a stop are posted again, in their order, from
/// the first descriptor on.
void E1000::start_receive(const udrv_net_desired& desired) {
    set_receive_address(0, desired.mac);
    set_unicast(desired);
    for (std::uint32_t i = 0; i < mta_words; i++) {
        reg::mta.at(i, 4).write(regs_, 0);
    }
    mta_ = {};
    set_multicast(desired);

    std::rotate(rx_buffers_.begin(), rx_buffers_.begin() + (rx_consumer_ & rx_mask_),
                rx_buffers_.end());
    rx_producer_ -= rx_consumer_;
    rx_consumer_ = 0;
    std::memset(rx_ring_, 0, config_.rx_ring * sizeof(RxDescriptor));
    for (std::uint32_t i = 0; i < rx_producer_; i++) {
        write_rx_descriptor(i);
    }
    reg::rdbal.write(regs_, low_half(rx_ring_dma_addr_));
    reg::rdbah.write(regs_, high_half(rx_ring_dma_addr_));
    reg::rdlen.write(regs_, config_.rx_ring * static_cast<std::uint32_t>(sizeof(RxDescriptor)));
    reg::rdh.write(regs_, 0);
    rx_tail_ = rx_producer_;
    reg::rdt.write(regs_, rx_tail_ & rx_mask_);
    rctl_ = receive_control(desired);
    reg::rctl.write(regs_, rctl_);
}

/// SDM 14.5. The ring is empty: cut_transmit() finished what was in it.
void E1000::start_transmit() {
    assert(tx_producer_ == 0 && tx_consumer_ == 0);
    std::memset(tx_ring_, 0, config_.tx_ring * sizeof(TxDescriptor));
    context_loaded_ = false;
    after_tso_ = false;
    reg::tdbal.write(regs_, low_half(tx_ring_dma_addr_));
    reg::tdbah.write(regs_, high_half(tx_ring_dma_addr_));
    reg::tdlen.write(regs_, config_.tx_ring * static_cast<std::uint32_t>(sizeof(TxDescriptor)));
    reg::tdh.write(regs_, 0);
    reg::tdt.write(regs_, 0);
    reg::tipg.write(regs_, tipg::copper);
    tctl_ = tctl::en | tctl::psp | tctl::ct_recommended | tctl::cold_full_duplex;
    reg::tctl.write(regs_, tctl_);
}

// ---- What the administrator wants ---------------------------------------------

void E1000::apply(const udrv_net_desired& desired) {
    if (desired.up == 0) {
        stop();
    } else if (!running_) {
        start(desired);
    } else {
        update(desired);
    }
}

/// Changes that need no stop. Only what differs is written: a register costs a
/// bus transaction, and in a virtual machine an exit. (QEMU's model also stops
/// receiving for a second after each write of RCTL.)
void E1000::update(const udrv_net_desired& desired) {
    if (std::memcmp(desired.mac, state_.mac, sizeof(desired.mac)) != 0) {
        set_receive_address(0, desired.mac);
    }
    if (desired.nr_unicast != state_.nr_unicast ||
        std::memcmp(desired.unicast, state_.unicast, sizeof(desired.unicast)) != 0) {
        set_unicast(desired);
    }
    set_multicast(desired);
    if (const std::uint32_t wanted = receive_control(desired); wanted != rctl_) {
        rctl_ = wanted;
        reg::rctl.write(regs_, rctl_);
    }
    if (desired.features != state_.features) {
        set_features(desired.features);
    }
    if (desired.rx_usecs != state_.rx_usecs) {
        set_holdoff(desired.rx_usecs);
    }
    if (desired.restart_autoneg != state_.restart_autoneg) {
        restart_autoneg();
    }
    state_ = desired;
}

/// SDM 13.5.2: invalid while it is changed, high to low when clearing, low to high
/// when setting.
void E1000::set_receive_address(std::uint32_t index, const std::uint8_t (&mac)[6]) {
    std::uint32_t low_word = 0;
    for (unsigned i = 0; i < 4; i++) {
        low_word |= std::uint32_t{mac[i]} << (8 * i);
    }
    reg::rah.at(index, ra_stride).write(regs_, 0);
    reg::ral.at(index, ra_stride).write(regs_, low_word);
    reg::rah.at(index, ra_stride).write(regs_, rah::av | std::uint32_t{mac[5]} << 8 | mac[4]);
}

/// The other receive addresses; the kernel asks for no more than there are. Those that
/// are not used are cleared.
void E1000::set_unicast(const udrv_net_desired& desired) {
    for (std::uint32_t i = 1; i < ra_entries; i++) {
        if (i <= desired.nr_unicast) {
            set_receive_address(i, desired.unicast[i - 1]);
        } else {
            reg::rah.at(i, ra_stride).write(regs_, 0);
            reg::ral.at(i, ra_stride).write(regs_, 0);
        }
    }
}

/// The hash table lets some other groups through; the stack sorts them out.
void E1000::set_multicast(const udrv_net_desired& desired) {
    std::array<std::uint32_t, mta_words> wanted{};
    const auto count = std::min<std::size_t>(desired.nr_multicast, UDRV_NET_MAX_MULTICAST);
    for (std::size_t i = 0; i < count; i++) {
        const std::uint32_t hash = multicast_hash(desired.multicast[i]);
        wanted[hash >> 5] |= 1u << (hash & 31);
    }
    for (std::uint32_t i = 0; i < mta_words; i++) {
        if (wanted[i] != mta_[i]) {
            reg::mta.at(i, 4).write(regs_, wanted[i]);
        }
    }
    mta_ = wanted;
}

/// One bit switches VLAN stripping and insertion (SDM 3.3.7): with either of
/// them wanted, received tags come in the descriptor.
void E1000::set_features(std::uint32_t features) {
    const bool vlan = (features & (UDRV_NET_F_VLAN_TX | UDRV_NET_F_VLAN_RX)) != 0;
    const std::uint32_t wanted = vlan ? ctrl_ | ctrl::vme : ctrl_ & ~ctrl::vme;
    if (wanted != ctrl_) {
        ctrl_ = wanted;
        reg::ctrl.write(regs_, ctrl_);
    }
    const bool checksum = (features & UDRV_NET_F_RX_CSUM) != 0;
    reg::rxcsum.write(regs_, checksum ? rxcsum::ipofl | rxcsum::tuofl : 0);
}

void E1000::set_holdoff(std::uint32_t usecs) {
    const std::uint64_t wanted_us = usecs != 0 ? usecs : config_.holdoff_us;
    const std::uint64_t interval = wanted_us * 1000 / 256; // ITR counts 256 ns, in 16 bits
    reg::itr.write(regs_, static_cast<std::uint32_t>(std::min<std::uint64_t>(interval, itr_max)));
}

// ---- Interrupt, link and statistics -------------------------------------------

/// Reading ICR clears it and lowers the line (SDM 13.4.17). It may be nothing:
/// the line can be shared, and packets of an earlier interrupt may be done.
NetCause E1000::interrupt() {
    const std::uint32_t causes = reg::icr.read(regs_);
    if (causes == all_ones) {
        return {.data = false, .link = true}; // gone: let link() say that it is down
    }
    if ((causes & icr::rxo) != 0) {
        stats_[nr_chip_stats]++;
    }
    return {.data = (causes & data_causes) != 0, .link = (causes & icr::lsc) != 0};
}

NetLink E1000::link() {
    const std::uint32_t value = reg::status.read(regs_);
    if (value == all_ones) {
        return {};
    }
    if ((value & status::lu) == 0) {
        flush_transmit();
        return {};
    }
    static constexpr std::array<std::uint32_t, 4> speeds{10, 100, 1000, 1000};
    const NetLink link{.up = true,
                       .full_duplex = (value & status::fd) != 0,
                       .speed_mbps = speeds[(value & status::speed_mask) >> status::speed_shift]};
    if (running_) {
        // The collision distance depends on the duplex that was negotiated (SDM 13.4.33).
        constexpr std::uint32_t cold = tctl::cold_full_duplex | tctl::cold_half_duplex;
        const std::uint32_t wanted =
            (tctl_ & ~cold) | (link.full_duplex ? tctl::cold_full_duplex : tctl::cold_half_duplex);
        if (wanted != tctl_) {
            tctl_ = wanted;
            reg::tctl.write(regs_, tctl_);
        }
    }
    return link;
}

/// Without a link the chip fetches nothing (SDM 8.6.5.2), so that what is in the ring would
/// stay there, with its senders' memory, until the link comes back, and go out stale.
/// Only a reset takes it back.
void E1000::flush_transmit() {
    if (running_ && transmit_pending()) {
        const udrv_net_desired state = state_;
        stop();
        start(state);
    }
}

std::span<const std::string_view> E1000::stat_names() {
    return names;
}

/// Counters clear when read (SDM 13.7), but those of an emulated chip may not. A
/// second read tells: a counter that clears is then zero, or counted anew.
void E1000::collect_stats() {
    static_assert(chip_stats.size() == nr_chip_stats && names.size() == nr_stats);
    for (std::size_t i = 0; i < chip_stats.size(); i++) {
        const std::uint32_t first = chip_stats[i].read(regs_);
        if (first == 0 || first == all_ones) {
            continue;
        }
        const std::uint32_t second = chip_stats[i].read(regs_);
        if (second < first) {
            stats_[i] += std::uint64_t{first} + second;
            stats_seen_[i] = 0;
        } else {
            stats_[i] += second >= stats_seen_[i] ? second - stats_seen_[i] : second;
            stats_seen_[i] = second;
        }
    }
}

void E1000::read_stats(std::span<std::uint64_t> stats) {
    collect_stats();
    std::copy_n(stats_.begin(), std::min(stats.size(), stats_.size()), stats.begin());
}

/// As the kernel's own driver of the chip has them. The receive errors are sums: RLEC
/// does not count alike on all chips of the family, so lengths are RUC and ROC.
void E1000::read_counters(udrv_net_counters& counters) const {
    counters = {};
    counters.rx_length_errors = stats_[ruc] + stats_[roc];
    counters.rx_crc_errors = stats_[crcerrs];
    counters.rx_frame_errors = stats_[algnerrc];
    counters.rx_errors = counters.rx_length_errors + counters.rx_crc_errors +
                         counters.rx_frame_errors + stats_[rxerrc] + stats_[cexterr];
    counters.rx_missed_errors = stats_[mpc];
    counters.multicast = stats_[mprc];
    counters.tx_errors = stats_[ecol] + stats_[latecol];
    counters.tx_aborted_errors = stats_[ecol];
    counters.tx_window_errors = stats_[latecol];
    counters.tx_carrier_errors = stats_[tncrs];
    counters.collisions = stats_[colc];
}

void E1000::read_registers(std::span<udrv_net_register> registers) {
    const std::size_t count = std::min(registers.size(), shown_registers.size());
    for (std::size_t i = 0; i < count; i++) {
        registers[i] = {shown_registers[i].offset, shown_registers[i].read(regs_)};
    }
}

// ---- Stop --------------------------------------------------------------------

/// Off means reset: clearing the enables stops the chip after the packet in
/// progress and leaves others in its FIFO (SDM 13.4.33), and packets that are
/// completed below must not be read any more. Receive buffers stay ours.
void E1000::stop() {
    if (!running_) {
        return;
    }
    running_ = false;
    collect_stats(); // the reset clears the counters
    reset();
    set_arp((found_manc_ & manc::arp_en) != 0);
    cut_transmit();
    // The stack has the start of a packet whose end will never come. The next
    // packet to end closes it, and is dropped with it.
    rx_dropping_ = rx_dropping_ || rx_partial_;
}

} // namespace udrv::e1000
