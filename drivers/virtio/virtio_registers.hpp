// SPDX-License-Identifier: MIT
//
// What all virtio devices on PCI have in common: capabilities, registers and the rings in
// memory. Names are the specification's in lower case, and only those that are used.
//
// Source document: "Virtual I/O Device (VIRTIO) Version 1.2", OASIS committee
// specification 01. Section numbers in comments are its own.
#pragma once

#include <cstdint>

#include "libudrv/device/registers.hpp"

namespace udrv::virtio {

// ---- Configuration space (4.1.4, struct virtio_pci_cap) -----------------------------

namespace pci {
inline constexpr std::uint32_t status = 0x04; ///< in the upper half of the command word
inline constexpr std::uint32_t status_cap_list = 1u << 20;
inline constexpr std::uint32_t capabilities_pointer = 0x34;
inline constexpr std::uint32_t first_capability = 0x40;
inline constexpr std::uint8_t cap_vndr = 0x09; ///< PCI_CAP_ID_VNDR
} // namespace pci

namespace cap {
// Bytes from the start of the capability.
inline constexpr std::uint32_t bar = 4;
inline constexpr std::uint32_t offset = 8;
inline constexpr std::uint32_t length = 12;
inline constexpr std::uint32_t notify_off_multiplier = 16; ///< 4.1.4.4
// cfg_type
inline constexpr std::uint8_t common_cfg = 1;
inline constexpr std::uint8_t notify_cfg = 2;
inline constexpr std::uint8_t isr_cfg = 3;
inline constexpr std::uint8_t device_cfg = 4;
} // namespace cap

// ---- Registers ----------------------------------------------------------------------

/// Common configuration structure, 4.1.4.3. A field of 64 bits is written as two halves
/// (4.1.3.1).
namespace common {
inline constexpr Register<std::uint32_t> device_feature_select{0x00};
inline constexpr Register<std::uint32_t> device_feature{0x04};
inline constexpr Register<std::uint32_t> driver_feature_select{0x08};
inline constexpr Register<std::uint32_t> driver_feature{0x0c};
inline constexpr Register<std::uint16_t> config_msix_vector{0x10};
inline constexpr Register<std::uint16_t> num_queues{0x12};
inline constexpr Register<std::uint8_t> device_status{0x14};
inline constexpr Register<std::uint8_t> config_generation{0x15};
inline constexpr Register<std::uint16_t> queue_select{0x16};
inline constexpr Register<std::uint16_t> queue_size{0x18};
inline constexpr Register<std::uint16_t> queue_msix_vector{0x1a};
inline constexpr Register<std::uint16_t> queue_enable{0x1c};
inline constexpr Register<std::uint16_t> queue_notify_off{0x1e};
inline constexpr Register<std::uint32_t> queue_desc{0x20};
inline constexpr Register<std::uint32_t> queue_driver{0x28};
inline constexpr Register<std::uint32_t> queue_device{0x30};
inline constexpr std::uint32_t len_bytes = 0x38;
} // namespace common

inline constexpr std::uint16_t no_vector = 0xffff; ///< VIRTIO_MSI_NO_VECTOR, 4.1.5.1.2

/// ISR status, 4.1.4.5: cleared when read.
namespace isr {
inline constexpr Register<std::uint8_t> status{0x00};
inline constexpr std::uint8_t queue = 1u << 0;
inline constexpr std::uint8_t config = 1u << 1;
} // namespace isr

/// Device status, 2.1.
namespace device_status {
inline constexpr std::uint8_t acknowledge = 1;
inline constexpr std::uint8_t driver = 2;
inline constexpr std::uint8_t driver_ok = 4;
inline constexpr std::uint8_t features_ok = 8;
inline constexpr std::uint8_t device_needs_reset = 64;
inline constexpr std::uint8_t gone = 0xff; ///< what reads return when there is no device
} // namespace device_status

// ---- Feature bits that are not a device type's, 6 -----------------------------------

namespace feature {
inline constexpr std::uint64_t event_idx = 1ull << 29;
inline constexpr std::uint64_t version_1 = 1ull << 32;
inline constexpr std::uint64_t access_platform = 1ull << 33;
inline constexpr std::uint64_t order_platform = 1ull << 36;
} // namespace feature

// ---- Split virtqueues in memory, 2.7 ------------------------------------------------

/// Descriptor table, 2.7.5.
struct Descriptor {
    std::uint64_t addr;
    std::uint32_t len;
    std::uint16_t flags;
    std::uint16_t next;
};
static_assert(sizeof(Descriptor) == 16);

namespace descriptor_flags {
inline constexpr std::uint16_t next = 1;
inline constexpr std::uint16_t write = 2; ///< the device writes, else it reads
} // namespace descriptor_flags

/// Available ring, 2.7.6: flags, idx, ring[size], used_event; each of 16 bits.
namespace avail {
inline constexpr std::uint32_t ring = 2; ///< in words
inline constexpr std::uint16_t no_interrupt = 1;
} // namespace avail

/// Used ring, 2.7.8: flags and idx of 16 bits, ring[size] of these, avail_event of 16 bits.
struct UsedElement {
    std::uint32_t id;
    std::uint32_t len;
};
static_assert(sizeof(UsedElement) == 8);

namespace used {
inline constexpr std::uint32_t ring_bytes = 4; ///< where it begins
inline constexpr std::uint16_t no_notify = 1;
} // namespace used

} // namespace udrv::virtio
