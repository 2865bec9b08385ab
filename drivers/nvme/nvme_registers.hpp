// SPDX-License-Identifier: MIT
//
// Registers, commands and memory structures of an NVM Express controller, as far as this
// driver uses them. Names and sections are those of "NVMe", NVM Express Base
// Specification 1.4; limits of commands also from technical proposal 4040, which 2.0 has.
//
// reg::<mnemonic> is the place of a register. Those of 64 bits are two of 32, low half
// first, which a host may always do (NVMe 3.1). Everything is little endian.
#pragma once

#include <cstddef>
#include <cstdint>

#include "libudrv/device/registers.hpp"

namespace udrv::nvme {

using R32 = Register<std::uint32_t>;

namespace reg { // NVMe 3.1
inline constexpr R32 cap{0x00};
inline constexpr R32 cap_high{0x04};
inline constexpr R32 vs{0x08};
inline constexpr R32 cc{0x14};
inline constexpr R32 csts{0x1c};
inline constexpr R32 aqa{0x24};
inline constexpr R32 asq{0x28};
inline constexpr R32 asq_high{0x2c};
inline constexpr R32 acq{0x30};
inline constexpr R32 acq_high{0x34};
/// Doorbells (NVMe 3.1.24, 3.1.25): of queue n, submission and then completion, each
/// 4 << CAP.DSTRD bytes after the one before.
inline constexpr std::uint32_t doorbells = 0x1000;
} // namespace reg

namespace cap {                                                 // NVMe 3.1.1
[[nodiscard]] constexpr std::uint32_t mqes(std::uint32_t low) { // entries of a queue, 0's based
    return low & 0xffff;
}
[[nodiscard]] constexpr std::uint32_t to(std::uint32_t low) { // in units of 500 ms
    return low >> 24;
}
[[nodiscard]] constexpr std::uint32_t dstrd(std::uint32_t high) {
    return high & 15;
}
inline constexpr std::uint32_t css_nvm = 1u << 5; // of the high half: NVM command set
[[nodiscard]] constexpr std::uint32_t mpsmin(std::uint32_t high) {
    return high >> 16 & 15;
}
} // namespace cap

inline constexpr std::uint32_t version_1_1 = 0x00010100; // VS (NVMe 3.1.2)
inline constexpr std::uint32_t version_1_4 = 0x00010400;

namespace cc { // NVMe 3.1.5
inline constexpr std::uint32_t en = 1u << 0;
inline constexpr std::uint32_t shn_normal = 1u << 14;
inline constexpr std::uint32_t shn_mask = 3u << 14;
inline constexpr std::uint32_t iosqes = 6u << 16; // I/O submission entries of 64 bytes
inline constexpr std::uint32_t iocqes = 4u << 20; // completion entries of 16 bytes
/// CSS 0 (NVM command set), MPS 0 (pages of 4 KiB), AMS 0 (round robin).
inline constexpr std::uint32_t wanted = iosqes | iocqes;
} // namespace cc

namespace csts { // NVMe 3.1.6
inline constexpr std::uint32_t rdy = 1u << 0;
inline constexpr std::uint32_t cfs = 1u << 1; // controller fatal status
inline constexpr std::uint32_t shst_mask = 3u << 2;
inline constexpr std::uint32_t shst_complete = 2u << 2;
inline constexpr std::uint32_t gone = 0xffffffff; // nobody answers
} // namespace csts

inline constexpr std::uint32_t page_bytes = 4096; ///< CC.MPS 0

// ---- Entries of the queues (NVMe 4.2, 4.6) ----------------------------------------

struct SubmissionEntry {
    std::uint8_t opc;
    std::uint8_t flags; // PSDT 0: PRPs; FUSE 0
    std::uint16_t cid;
    std::uint32_t nsid;
    std::uint32_t cdw2;
    std::uint32_t cdw3;
    std::uint64_t mptr;
    std::uint64_t prp1;
    std::uint64_t prp2;
    std::uint32_t cdw10;
    std::uint32_t cdw11;
    std::uint32_t cdw12;
    std::uint32_t cdw13;
    std::uint32_t cdw14;
    std::uint32_t cdw15;
};
static_assert(sizeof(SubmissionEntry) == 64);

struct CompletionEntry {
    std::uint32_t dw0; // the command's own
    std::uint32_t dw1;
    std::uint16_t sqhd; // submission queue head, as it was when this was made
    std::uint16_t sqid;
    std::uint16_t cid;
    std::uint16_t status; // phase tag and status field
};
static_assert(sizeof(CompletionEntry) == 16);

// One range of a Dataset Management command (NVMe 6.7.1.1).
struct DsmRange {
    std::uint32_t cattr;
    std::uint32_t nlb;
    std::uint64_t slba;
};
static_assert(sizeof(DsmRange) == 16);

inline constexpr std::uint32_t max_dsm_ranges = 256;

// ---- Status (NVMe 4.6.1) -----------------------------------------------------------

namespace status {
inline constexpr std::uint16_t phase = 1u << 0;
inline constexpr unsigned crd_shift = 12; // command retry delay: which CRDT, 0: none
inline constexpr std::uint16_t crd_mask = 3;
inline constexpr std::uint16_t dnr = 1u << 15; // do not retry
/// Status code type << 8 | status code.
[[nodiscard]] constexpr std::uint16_t code(std::uint16_t status) {
    return static_cast<std::uint16_t>(status >> 1 & 0x7ff);
}
// Generic (SCT 0).
inline constexpr std::uint16_t invalid_opcode = 0x001;
inline constexpr std::uint16_t invalid_field = 0x002;
inline constexpr std::uint16_t abort_requested = 0x007;
// Media and data integrity (SCT 2).
inline constexpr std::uint16_t write_fault = 0x280;
inline constexpr std::uint16_t unrecovered_read = 0x281;
inline constexpr std::uint16_t unwritten_block = 0x287;
} // namespace status

// ---- Commands ----------------------------------------------------------------------

namespace admin { // NVMe 5
inline constexpr std::uint8_t delete_sq = 0x00;
inline constexpr std::uint8_t create_sq = 0x01;
inline constexpr std::uint8_t get_log_page = 0x02;
inline constexpr std::uint8_t delete_cq = 0x04;
inline constexpr std::uint8_t create_cq = 0x05;
inline constexpr std::uint8_t identify = 0x06;
inline constexpr std::uint8_t abort = 0x08;
inline constexpr std::uint8_t set_features = 0x09;
inline constexpr std::uint8_t async_event = 0x0c;
} // namespace admin

namespace io { // NVMe 6
inline constexpr std::uint8_t flush = 0x00;
inline constexpr std::uint8_t write = 0x01;
inline constexpr std::uint8_t read = 0x02;
inline constexpr std::uint8_t write_zeroes = 0x08;
inline constexpr std::uint8_t dataset_management = 0x09;

inline constexpr std::uint32_t fua = 1u << 30;           // of cdw12
inline constexpr std::uint32_t deallocate = 1u << 25;    // of Write Zeroes' cdw12 (DEAC)
inline constexpr std::uint32_t dsm_deallocate = 1u << 2; // of cdw11 (AD)
} // namespace io

namespace cns { // of Identify (NVMe 5.15.1)
inline constexpr std::uint32_t nvm_namespace = 0x00;
inline constexpr std::uint32_t controller = 0x01;
inline constexpr std::uint32_t active_namespaces = 0x02;
inline constexpr std::uint32_t nvm_limits = 0x06; // of the NVM command set, CSI 0
} // namespace cns

namespace feature { // NVMe 5.21.1
inline constexpr std::uint32_t number_of_queues = 0x07;
inline constexpr std::uint32_t async_events = 0x0b;
inline constexpr std::uint32_t host_behavior = 0x16;
inline constexpr std::uint32_t event_critical_warnings = 0x1f; // of async_events
inline constexpr std::uint32_t event_namespaces = 1u << 8;     // also a bit of OAES
} // namespace feature

/// Host Behavior Support, 512 bytes (NVMe 5.21.1, of that title). The first says whether the
/// host keeps to the delays of retries (ACRE); without it no status asks for one.
inline constexpr std::size_t host_behavior_acre = 0;

namespace queue { // of Create I/O Submission and Completion Queue (NVMe 5.3, 5.4)
inline constexpr std::uint32_t contiguous = 1u << 0;
inline constexpr std::uint32_t interrupts = 1u << 1;
} // namespace queue

namespace log { // NVMe 5.14.1
inline constexpr std::uint8_t errors = 0x01;
inline constexpr std::uint8_t health = 0x02;
inline constexpr std::uint8_t changed_namespaces = 0x04;
inline constexpr std::uint32_t max_changed = 1024;        // namespaces in its list
inline constexpr std::uint32_t more_changed = 0xffffffff; // alone in the list: they are more
} // namespace log

namespace event { // of an asynchronous event's dw0 (NVMe 5.2.1)
[[nodiscard]] constexpr std::uint32_t type(std::uint32_t dw0) {
    return dw0 & 7;
}
[[nodiscard]] constexpr std::uint8_t page(std::uint32_t dw0) {
    return static_cast<std::uint8_t>(dw0 >> 16);
}
inline constexpr std::uint32_t health = 1;
inline constexpr std::uint32_t notice = 2;
} // namespace event

} // namespace udrv::nvme
