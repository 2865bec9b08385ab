// SPDX-License-Identifier: MIT
//
// Registers and descriptors of the 82540EM and 82545EM, as far as this driver
// uses them. Names and sections are those of "SDM", Intel's "PCI/PCI-X Family of
// Gigabit Ethernet Controllers Software Developer's Manual" (8254x).
//
// reg::<mnemonic> is the place of a register, <mnemonic>::<field> its bits. All
// registers are 32 bits wide and little endian (SDM 13).
#pragma once

#include <cstdint>

#include "libudrv/device/registers.hpp"

namespace udrv::e1000 {

namespace pci { // configuration space: PCI Local Bus Specification 6.7, PCI-X 7.2
inline constexpr Register<std::uint16_t> status{0x06};
inline constexpr std::uint16_t has_capabilities = 1u << 4;
inline constexpr Register<std::uint8_t> capabilities{0x34}; // first of the list
inline constexpr std::uint32_t first_capability = 0x40;
inline constexpr unsigned most_capabilities = 48; // more is a circle
inline constexpr std::uint8_t pcix_id = 0x07;
inline constexpr std::uint32_t pcix_command = 2;        // offset in the capability
inline constexpr std::uint8_t pcix_read_mask = 3u << 2; // maximum memory read byte count
inline constexpr std::uint8_t pcix_read_2048 = 2u << 2; // 512 << n
} // namespace pci

namespace reg {
using R32 = Register<std::uint32_t>;

inline constexpr R32 ctrl{0x0000};   // device control
inline constexpr R32 status{0x0008}; // device status
inline constexpr R32 eerd{0x0014};   // EEPROM read
inline constexpr R32 mdic{0x0020};   // MDI control: the PHY's registers
inline constexpr R32 fcal{0x0028};   // flow control address, low and high
inline constexpr R32 fcah{0x002c};
inline constexpr R32 fct{0x0030};   // flow control type
inline constexpr R32 vet{0x0038};   // VLAN EtherType
inline constexpr R32 icr{0x00c0};   // interrupt cause, cleared by reading
inline constexpr R32 itr{0x00c4};   // interrupt throttling, 256 ns
inline constexpr R32 ims{0x00d0};   // interrupt mask set
inline constexpr R32 imc{0x00d8};   // interrupt mask clear
inline constexpr R32 rctl{0x0100};  // receive control
inline constexpr R32 fcttv{0x0170}; // flow control transmit timer
inline constexpr R32 tctl{0x0400};  // transmit control
inline constexpr R32 tipg{0x0410};  // transmit inter-packet gap
inline constexpr R32 pba{0x1000};   // packet buffer allocation

inline constexpr R32 rdbal{0x2800}; // receive descriptors: base, length, head, tail
inline constexpr R32 rdbah{0x2804};
inline constexpr R32 rdlen{0x2808};
inline constexpr R32 rdh{0x2810};
inline constexpr R32 rdt{0x2818};
inline constexpr R32 rdtr{0x2820}; // receive interrupt delay, 1.024 us
inline constexpr R32 radv{0x282c}; // receive interrupt absolute delay

inline constexpr R32 tdbal{0x3800}; // transmit descriptors: base, length, head, tail
inline constexpr R32 tdbah{0x3804};
inline constexpr R32 tdlen{0x3808};
inline constexpr R32 tdh{0x3810};
inline constexpr R32 tdt{0x3818};
inline constexpr R32 tidv{0x3820}; // transmit interrupt delay, 1.024 us
inline constexpr R32 tadv{0x382c}; // transmit interrupt absolute delay

inline constexpr R32 rxcsum{0x5000}; // receive checksum control
inline constexpr R32 mta{0x5200};    // multicast table, 128 words
inline constexpr R32 ral{0x5400};    // receive address 0 to 15, low and high,
inline constexpr R32 rah{0x5404};    //   ra_stride apart
inline constexpr R32 manc{0x5820};   // management control

// Statistics (SDM 13.7), cleared by reading.
inline constexpr R32 crcerrs{0x4000};
inline constexpr R32 algnerrc{0x4004};
inline constexpr R32 rxerrc{0x400c};
inline constexpr R32 mpc{0x4010};
inline constexpr R32 ecol{0x4018};
inline constexpr R32 latecol{0x4020};
inline constexpr R32 colc{0x4028};
inline constexpr R32 tncrs{0x4034};
inline constexpr R32 cexterr{0x403c};
inline constexpr R32 rlec{0x4040};
inline constexpr R32 gprc{0x4074};
inline constexpr R32 bprc{0x4078};
inline constexpr R32 mprc{0x407c};
inline constexpr R32 gptc{0x4080};
inline constexpr R32 rnbc{0x40a0};
inline constexpr R32 ruc{0x40a4};
inline constexpr R32 roc{0x40ac};
} // namespace reg

/// The chip's window of I/O ports: any register by its offset (SDM 13.2.2, I/O-mapped
/// internal registers). Both are accessed 32 bits at a time.
namespace io {
inline constexpr reg::R32 ioaddr{0};
inline constexpr reg::R32 iodata{4};
inline constexpr std::uint16_t nr_ports = 8; // of them
} // namespace io

inline constexpr std::uint32_t mta_words = 128;
inline constexpr std::uint32_t ra_entries = 16;
inline constexpr std::uint32_t ra_stride = 8; // bytes from one RAL to the next

namespace ctrl { // SDM 13.4.1
inline constexpr std::uint32_t fd = 1u << 0;
inline constexpr std::uint32_t lrst = 1u << 3; // link reset, fibre only
inline constexpr std::uint32_t asde = 1u << 5; // the MAC measures the speed by itself
inline constexpr std::uint32_t slu = 1u << 6;  // set link up
inline constexpr std::uint32_t ilos = 1u << 7; // invert loss of signal
inline constexpr std::uint32_t frcspd = 1u << 11;
inline constexpr std::uint32_t frcdplx = 1u << 12;
inline constexpr std::uint32_t rst = 1u << 26; // clears itself
inline constexpr std::uint32_t rfce = 1u << 27;
inline constexpr std::uint32_t tfce = 1u << 28;
inline constexpr std::uint32_t vme = 1u << 30; // VLAN tags: strip and insert
inline constexpr std::uint32_t phy_rst = 1u << 31;
} // namespace ctrl

namespace status { // SDM 13.4.2
inline constexpr std::uint32_t fd = 1u << 0;
inline constexpr std::uint32_t lu = 1u << 1;
inline constexpr unsigned speed_shift = 6; // 0: 10, 1: 100, 2 and 3: 1000 Mb/s
inline constexpr std::uint32_t speed_mask = 3u << speed_shift;
inline constexpr std::uint32_t pcix_mode = 1u << 13; // 82545EM and 82546; else reserved
} // namespace status

namespace manc {                                  // SDM 13, Management Control register
inline constexpr std::uint32_t arp_en = 1u << 13; // the chip answers ARP requests
} // namespace manc

namespace eerd { // SDM 5.3.1
inline constexpr std::uint32_t start = 1u << 0;
inline constexpr std::uint32_t done = 1u << 4;
inline constexpr unsigned addr_shift = 8; // in 16-bit words
inline constexpr unsigned data_shift = 16;
} // namespace eerd

namespace mdic { // SDM 13.4: MDI control
inline constexpr unsigned regadd_shift = 16;
inline constexpr std::uint32_t phy = 1u << 21; // the internal PHY's address is 1
inline constexpr std::uint32_t op_write = 1u << 26;
inline constexpr std::uint32_t op_read = 2u << 26;
inline constexpr std::uint32_t r = 1u << 28; // ready
inline constexpr std::uint32_t e = 1u << 30; // error
inline constexpr std::uint32_t data_mask = 0xffff;
} // namespace mdic

/// The internal PHY's registers, read and written through MDIC. 0 to 10 are those of
/// IEEE 802.3 22.2.4, 16 and up the maker's own; the names are the SDM's (13, MII
/// registers).
namespace phy {
inline constexpr std::uint32_t pctrl = 0;
inline constexpr std::uint32_t pid = 2; // identifier, high half
inline constexpr std::uint32_t ana = 4;
inline constexpr std::uint32_t gcon = 9;
inline constexpr std::uint32_t pscon = 16;
inline constexpr std::uint32_t epscon = 20;
inline constexpr std::uint32_t pid_marvell = 0x0141; // whose 16 and 20 are as below
} // namespace phy

namespace pctrl { // control, IEEE 802.3 22.2.4.1
inline constexpr std::uint32_t restart_an = 1u << 9;
inline constexpr std::uint32_t isolate = 1u << 10;
inline constexpr std::uint32_t power_down = 1u << 11;
inline constexpr std::uint32_t an_enable = 1u << 12;
inline constexpr std::uint32_t loopback = 1u << 14;
inline constexpr std::uint32_t reset = 1u << 15; // clears itself, within 0.5 s
inline constexpr std::uint32_t off_the_wire = isolate | power_down | loopback;
} // namespace pctrl

namespace ana { // what is advertised, IEEE 802.3 28.2.4.1.3 and annex 28B
/// 10 and 100 Mb/s, half and full duplex; selector 1 is 802.3. No pause: the MAC's
/// flow control is off.
inline constexpr std::uint32_t wanted = 1u | 0xfu << 5;
inline constexpr std::uint32_t mask = 0x1fu | 0xfu << 5 | 3u << 10;
} // namespace ana

namespace gcon { // 1000BASE-T control, IEEE 802.3 40.5.1.1
/// Full duplex only: the MAC has no half duplex at this speed (SDM 8.6).
inline constexpr std::uint32_t wanted = 1u << 9;
inline constexpr std::uint32_t mask = 3u << 8;
} // namespace gcon

namespace pscon { // PHY specific control
/// Polarity is corrected, crossover is found, CRS follows transmission, which half
/// duplex needs.
inline constexpr std::uint32_t wanted = 3u << 5 | 1u << 11;
inline constexpr std::uint32_t mask = 1u << 1 | 3u << 5 | 1u << 11;
} // namespace pscon

namespace epscon { // extended PHY specific control
/// The clock towards the MAC is 25 MHz while there is no link; after one failed try
/// at 1000 Mb/s over a bad cable it is 100 Mb/s.
inline constexpr std::uint32_t wanted = 7u << 4 | 0u << 10 | 1u << 8;
inline constexpr std::uint32_t mask = 7u << 4 | 3u << 10 | 3u << 8;
} // namespace epscon

namespace icr {                                  // SDM 13.4.17; the same bits in IMS and IMC
inline constexpr std::uint32_t txdw = 1u << 0;   // a transmit descriptor was written back
inline constexpr std::uint32_t lsc = 1u << 2;    // link status change
inline constexpr std::uint32_t rxdmt0 = 1u << 4; // few receive descriptors left
inline constexpr std::uint32_t rxo = 1u << 6;    // receiver overrun
inline constexpr std::uint32_t rxt0 = 1u << 7;   // receive timer: packets are there
} // namespace icr

namespace rctl { // SDM 13.4.22
inline constexpr std::uint32_t en = 1u << 1;
inline constexpr std::uint32_t upe = 1u << 3;          // unicast promiscuous
inline constexpr std::uint32_t mpe = 1u << 4;          // multicast promiscuous
inline constexpr std::uint32_t lpe = 1u << 5;          // long packets: over 1,522 bytes
inline constexpr std::uint32_t rdmts_eighth = 2u << 8; // RXDMT0 at RDLEN / 8
inline constexpr std::uint32_t mo_47_36 = 0u << 12;    // multicast hash: address bits 47:36
inline constexpr std::uint32_t bam = 1u << 15;         // accept broadcast
inline constexpr std::uint32_t bsize_2048 = 0u << 16;
inline constexpr std::uint32_t secrc = 1u << 26; // strip the FCS
} // namespace rctl

namespace tctl { // SDM 13.4.33
inline constexpr std::uint32_t en = 1u << 1;
inline constexpr std::uint32_t psp = 1u << 3; // pad short packets
inline constexpr std::uint32_t ct_recommended = 0x0fu << 4;
inline constexpr std::uint32_t cold_full_duplex = 0x040u << 12;
inline constexpr std::uint32_t cold_half_duplex = 0x200u << 12;
} // namespace tctl

namespace tipg { // SDM 13.4.34: IPGT 10, IPGR1 8, IPGR2 6 for copper
inline constexpr std::uint32_t copper = 10u | 8u << 10 | 6u << 20;
} // namespace tipg

namespace rxcsum {                              // SDM 13.4
inline constexpr std::uint32_t ipofl = 1u << 8; // check IPv4 header checksums
inline constexpr std::uint32_t tuofl = 1u << 9; // check TCP and UDP checksums
} // namespace rxcsum

namespace rah {                               // SDM 13.5.3
inline constexpr std::uint32_t av = 1u << 31; // address valid
} // namespace rah

/// Legacy receive descriptor, SDM 3.2.3.
struct RxDescriptor {
    std::uint64_t address;
    std::uint16_t length;
    std::uint16_t checksum;
    std::uint8_t status;
    std::uint8_t errors;
    std::uint16_t special; // the stripped VLAN tag
};
static_assert(sizeof(RxDescriptor) == 16);

namespace rx_status {                          // SDM 3.2.3.1
inline constexpr std::uint8_t dd = 1u << 0;    // done
inline constexpr std::uint8_t eop = 1u << 1;   // end of packet
inline constexpr std::uint8_t ixsm = 1u << 2;  // ignore the checksum indications
inline constexpr std::uint8_t vp = 1u << 3;    // was an 802.1Q packet
inline constexpr std::uint8_t tcpcs = 1u << 5; // TCP or UDP checksum was calculated
} // namespace rx_status

namespace rx_errors {                       // SDM 3.2.3.2; valid with EOP
inline constexpr std::uint8_t ce = 1u << 0; // CRC or alignment
inline constexpr std::uint8_t se = 1u << 1;
inline constexpr std::uint8_t seq = 1u << 2;
inline constexpr std::uint8_t cxe = 1u << 4;
inline constexpr std::uint8_t tcpe = 1u << 5; // TCP or UDP checksum is wrong
inline constexpr std::uint8_t rxe = 1u << 7;
inline constexpr std::uint8_t frame = ce | se | seq | cxe | rxe; // not a good frame
} // namespace rx_errors

/// Transmit descriptor: 16 bytes whose meaning depends on DEXT and DTYP. The
/// last four bytes of `command` and the first of `status` stand in both types
/// at the same place.
struct TxDescriptor {
    std::uint64_t address; // data: of the buffer. context: IPCSS to TUCSE
    std::uint32_t command; // DTALEN or PAYLEN, DTYP, DCMD or TUCMD
    std::uint8_t status;
    std::uint8_t options;  // data: POPTS. context: HDRLEN
    std::uint16_t special; // data: VLAN tag. context: MSS
};
static_assert(sizeof(TxDescriptor) == 16);

namespace tx_command { // DCMD of SDM 3.3.7.1 and TUCMD of SDM 3.3.6.1
inline constexpr std::uint32_t length_mask = 0xfffff;
inline constexpr std::uint32_t dtyp_context = 0u << 20;
inline constexpr std::uint32_t dtyp_data = 1u << 20;
inline constexpr std::uint32_t eop = 1u << 24;  // data: last of the packet
inline constexpr std::uint32_t ifcs = 1u << 25; // data: insert the FCS
inline constexpr std::uint32_t tcp = 1u << 24;  // context: TCP, else UDP
inline constexpr std::uint32_t ip = 1u << 25;   // context: IPv4, else IPv6
inline constexpr std::uint32_t tse = 1u << 26;  // segmentation
inline constexpr std::uint32_t rs = 1u << 27;   // report status: write DD back
inline constexpr std::uint32_t dext = 1u << 29; // not a legacy descriptor
inline constexpr std::uint32_t vle = 1u << 30;  // data: insert the VLAN tag
inline constexpr std::uint32_t ide = 1u << 31;  // the interrupt may be delayed
} // namespace tx_command

namespace tx_options {                        // POPTS, SDM 3.3.7.3
inline constexpr std::uint8_t ixsm = 1u << 0; // insert the IPv4 header checksum
inline constexpr std::uint8_t txsm = 1u << 1; // insert the TCP or UDP checksum
} // namespace tx_options

namespace tx_status { // SDM 3.3.7.2
inline constexpr std::uint8_t dd = 1u << 0;
} // namespace tx_status

} // namespace udrv::e1000
