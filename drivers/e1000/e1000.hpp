// SPDX-License-Identifier: MIT
//
// E1000: driver of the Intel 82540EM (8086:100e) and 82545EM (8086:100f), a
// NetChip. It knows registers and descriptors only: where they are (a device or
// a test's model of one) and whose the packets are is not its business.
//
// Source document: "SDM", see e1000_registers.hpp.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "drivers/e1000/e1000_registers.hpp"
#include "libudrv/device/dma.hpp"
#include "libudrv/device/registers.hpp"
#include "libudrv/net/net_chip.hpp"
#include <udrv/udrv.h>

namespace udrv::e1000 {

/// Not UDRV_NET_F_TSO6: the chip writes an IPv6 payload length of MSS + HDRLEN -
/// IPCSS (SDM 3.5.9.1), which counts the IPv6 header itself, and no receiver
/// takes such a packet. Later chips of the family subtract the 40 bytes.
inline constexpr std::uint32_t supported_features = UDRV_NET_F_TX_CSUM | UDRV_NET_F_TSO4 |
                                                    UDRV_NET_F_RX_CSUM | UDRV_NET_F_VLAN_TX |
                                                    UDRV_NET_F_VLAN_RX;

enum class Model : std::uint8_t {
    i82540em, ///< conventional PCI only
    i82545em  ///< PCI or PCI-X
};

/// Whether the chip runs in PCI-X mode (SDM 13.4.2, STATUS.PCIX_MODE).
[[nodiscard]] bool in_pcix_mode(RegisterIo& regs, Model model);

/// Address bits for Device::dma_bits(). On a conventional bus these parts stop
/// transmitting when a descriptor points above 4 GiB, although their registers have
/// 64 bits of address; Linux's e1000 driver has the same limit.
[[nodiscard]] unsigned dma_bits(RegisterIo& regs, Model model);

/// In PCI-X mode the chip must not ask for more than 2,048 bytes of memory at once, whatever
/// the firmware allows it (as Linux's e1000 driver has it for the 82545 and 82546). `space` is
/// configuration space.
void limit_memory_reads(RegisterIo& space);

/// For Device::mask_intx_by(): chips of PCI 2.2 have no INTx-disable bit. IMC masks all
/// causes (SDM 13.4.21); IMS unmasks those that E1000 uses, transmit completions among them,
/// which it else asks for only while it needs them: that costs some interrupts. IMC reads as
/// 0, and reading it does nothing.
[[nodiscard]] udrv_intx_mask intx_mask();

/// For Device::stop_by(): the rings are left, and forgotten (SDM 13.4.1). `io_bar` is
/// that of the I/O ports, by which the reset has to go (see E1000::write_reset()), or
/// no_io_bar. `manc`: E1000::found_manc(); a chip that answered ARP requests is to again.
inline constexpr std::uint32_t no_io_bar = 0xffffffff;
[[nodiscard]] std::vector<udrv_stop_write> end_of_transfers(std::uint32_t io_bar,
                                                            std::uint32_t manc);

/// Sizes in entries, all powers of two. A hardware ring is larger than what is
/// given to it (`depth`), since head == tail means empty to the chip (SDM 3.2.6,
/// 3.4) and since a packet may need more descriptors than it has segments: a
/// context, or the pieces of a segment over tx_descriptor_bytes.
struct Config {
    Model model = Model::i82540em;
    std::uint32_t rx_depth = 256;
    std::uint32_t rx_ring = 512;
    std::uint32_t tx_depth = 256;
    std::uint32_t tx_ring = 1024;
    std::uint32_t features = supported_features; ///< those to advertise
    /// Interrupt hold-off when the administrator leaves it to the driver
    /// (rx_usecs 0). 50 us is 20,000 interrupts a second at most: a packet that
    /// comes alone interrupts at once, as the throttle measures from the last
    /// interrupt (SDM 13.4.18), and a stream at line rate arrives four full-size
    /// frames at a time.
    std::uint32_t holdoff_us = 50;
    /// After a stop, for transfers in flight to end; after a reset, for the chip
    /// to reload its EEPROM.
    std::chrono::microseconds settle{10'000};
};

/// Receive buffers that the chip is told of at once, while it has half of its depth.
inline constexpr std::uint32_t rx_tail_batch = 16;
inline constexpr std::uint32_t rx_buffer_bytes = 2048; ///< RCTL.BSIZE
/// Bytes of one frame with its FCS. The chip receives 16,384 (SDM 13.7.15) and
/// transmits 16,288 (SDM 3.3.3); 16,128 is under both with a VLAN tag to spare.
inline constexpr std::uint32_t max_frame_bytes = 16128;
inline constexpr std::uint32_t max_mtu = max_frame_bytes - 14 - 4; ///< Ethernet header, FCS
/// Where a checksum can be put: TUCSS and TUCSO are bytes (SDM 3.3.6).
inline constexpr std::uint32_t max_csum_field = 0xff;
/// Headers of a packet to segment: the chip's header buffer (SDM 3.5.9).
inline constexpr std::uint32_t max_tso_hdr_bytes = 240;
/// ITR is 16 bits of 256 ns (SDM 13.4.18).
inline constexpr std::uint32_t itr_max = 0xffff;
inline constexpr std::uint32_t max_rx_usecs = itr_max * 256 / 1000;
/// Bytes of one data descriptor. SDM 3.3.3 allows 16,288; but when segmenting, the chip
/// makes room in its FIFO for four segments a descriptor, and a longer one overruns it:
/// the limit is then 4 x MSS (as in Linux's e1000 driver), and never over this.
inline constexpr std::uint32_t tx_descriptor_bytes = 4096;
/// Of the first descriptor of a packet in PCI-X mode: under 2,016 (erratum 10, as Linux's
/// e1000 driver has it for all chips of the family).
inline constexpr std::uint32_t tx_first_bytes_pcix = 2015;

/// Bit of the 4,096-bit multicast table for an address, with RCTL.MO = 0, that
/// is address bits 47:36 (SDM 13.5.1): word index in bits 11:5, bit in 4:0.
[[nodiscard]] std::uint32_t multicast_hash(std::span<const std::uint8_t, 6> address);

class E1000 {
  public:
    /// Touches nothing. `io` is the chip's window of I/O ports (namespace io), or nullptr
    /// where there is none; it is used from the thread that calls quiet() and the rest.
    E1000(RegisterIo& regs, DmaAllocator& dma, const Config& config = {}, RegisterIo* io = nullptr);

    /// Resets the chip: before bus mastering is on, and before anything else. Throws Error.
    void quiet();
    /// Reads its address, takes its memory and leaves it quiet. Once. Throws Error.
    void init();
    /// MANC as quiet() found it.
    [[nodiscard]] std::uint32_t found_manc() const { return found_manc_; }

    [[nodiscard]] const NetCapabilities& capabilities() const { return capabilities_; }
    void apply(const udrv_net_desired& desired);
    [[nodiscard]] NetCause interrupt();
    [[nodiscard]] std::size_t rx_provide(std::span<const udrv_net_fill> fill);
    [[nodiscard]] std::size_t rx_return(std::span<udrv_net_rx> rx);
    [[nodiscard]] std::size_t tx_provide(std::span<const udrv_net_tx> tx);
    [[nodiscard]] std::size_t tx_return(std::span<udrv_net_completion> completion);
    [[nodiscard]] bool arm();
    [[nodiscard]] NetLink link();
    [[nodiscard]] static std::span<const std::string_view> stat_names();
    void read_stats(std::span<std::uint64_t> stats);
    void read_counters(udrv_net_counters& counters) const;
    void read_registers(std::span<udrv_net_register> registers);
    void stop();

  private:
    /// A packet on its way; they complete in the order given.
    struct TxPacket {
        enum class State : std::uint8_t {
            posted, ///< in the hardware ring; done when the last descriptor says so
            sent,
            dropped
        };
        std::uint32_t id = 0;
        std::uint32_t end = 0; ///< posted: free-running index after its last descriptor
        State state = State::dropped;
    };
    /// What a packet asks of the chip, worked out before a descriptor is written.
    struct TxPlan {
        std::uint32_t bytes = 0;
        std::uint32_t limit = tx_descriptor_bytes; ///< bytes of a descriptor
        std::uint32_t descriptors = 0;             ///< upper bound, with the context
        std::uint32_t command = 0;                 ///< DCMD bits of all its data descriptors
        std::uint8_t options = 0;                  ///< POPTS
        bool valid = false;
        bool needs_context = false;
        bool needs_tail = false; ///< see write_tx_descriptors()
        TxDescriptor context{};
    };

    // e1000.cpp: reset and init
    void reset();
    void write_reset();
    void set_arp(bool on);
    void allocate();
    void wait_until(const reg::R32& place, const char* name, std::uint32_t mask,
                    std::uint32_t value);
    [[nodiscard]] std::uint16_t eeprom_word(std::uint32_t index);
    [[nodiscard]] MacAddress read_mac();
    [[nodiscard]] std::uint32_t phy_access(std::uint32_t command);
    void restart_autoneg();
    [[nodiscard]] std::uint32_t phy_read(std::uint32_t number);
    void phy_write(std::uint32_t number, std::uint32_t value);
    [[nodiscard]] bool phy_set(std::uint32_t number, std::uint32_t mask, std::uint32_t wanted);
    void set_up_phy();
    void start(const udrv_net_desired& desired);
    void start_receive(const udrv_net_desired& desired);
    void start_transmit();
    // e1000.cpp: what the administrator may change while the chip runs
    void update(const udrv_net_desired& desired);
    void set_receive_address(std::uint32_t index, const std::uint8_t (&mac)[6]);
    void set_unicast(const udrv_net_desired& desired);
    void set_multicast(const udrv_net_desired& desired);
    void set_features(std::uint32_t features);
    void set_holdoff(std::uint32_t usecs);
    void collect_stats();
    void flush_transmit();
    // e1000_rings.cpp
    void write_rx_descriptor(std::uint32_t index);
    void write_rx_tail();
    [[nodiscard]] udrv_net_rx received(const RxDescriptor& descriptor, std::uint8_t status,
                                       std::uint32_t id);
    [[nodiscard]] TxPlan plan(std::span<const udrv_net_tx> packet) const;
    [[nodiscard]] bool plan_offload(const udrv_net_tx& first, TxPlan& plan) const;
    [[nodiscard]] bool tx_packet(std::span<const udrv_net_tx> packet);
    void write_tx_descriptors(std::span<const udrv_net_tx> packet, const TxPlan& plan);
    [[nodiscard]] bool transmit_pending() const;
    void cut_transmit();

    RegisterIo& regs_;
    DmaAllocator& dma_;
    const Config config_;
    RegisterIo* const io_;
    NetCapabilities capabilities_;
    bool pcix_ = false;
    std::uint32_t found_manc_ = 0;

    bool running_ = false;
    udrv_net_desired state_{}; ///< what the chip agrees with while it runs
    std::uint32_t ctrl_ = 0;   ///< last written to CTRL, RCTL, TCTL
    std::uint32_t rctl_ = 0;
    std::uint32_t tctl_ = 0;
    bool txdw_unmasked_ = false;                 ///< transmit completions interrupt
    std::array<std::uint32_t, mta_words> mta_{}; ///< what the multicast table holds

    // Receive. Descriptor i points to buffer rx_buffers_[i]; the chip has those
    // from rx_consumer_ up to rx_producer_ (free-running), in that order.
    RxDescriptor* rx_ring_ = nullptr;
    std::uint64_t rx_ring_dma_addr_ = 0;
    std::uint32_t rx_mask_ = 0;
    std::vector<udrv_net_fill> rx_buffers_;
    std::uint32_t rx_producer_ = 0;
    std::uint32_t rx_consumer_ = 0;
    std::uint32_t rx_tail_ = 0; ///< the chip knows of those before it
    bool rx_partial_ = false;   ///< handed up buffers of a packet, not yet its last
    bool rx_dropping_ = false;  ///< drop up to and with the next end of packet

    // Transmit. Free-running indices of descriptors and of packets.
    TxDescriptor* tx_ring_ = nullptr;
    std::uint64_t tx_ring_dma_addr_ = 0;
    std::uint32_t tx_mask_ = 0;
    std::uint32_t tx_producer_ = 0;
    std::uint32_t tx_consumer_ = 0; ///< the chip is done with those before it
    std::vector<TxPacket> tx_packets_;
    std::uint32_t tx_packet_producer_ = 0;
    std::uint32_t tx_packet_consumer_ = 0;
    bool context_loaded_ = false; ///< the chip holds the checksum context below
    std::uint16_t context_start_ = 0;
    std::uint16_t context_offset_ = 0;
    bool after_tso_ = false; ///< no packet of one segment was sent since the last TSO

    static constexpr std::size_t nr_chip_stats = 17;
    static constexpr std::size_t nr_stats = nr_chip_stats + 3;
    std::array<std::uint64_t, nr_stats> stats_{};
    std::array<std::uint32_t, nr_chip_stats> stats_seen_{}; ///< of counters that do not clear
};

static_assert(NetChip<E1000>);

} // namespace udrv::e1000
