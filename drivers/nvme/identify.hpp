// SPDX-License-Identifier: MIT
//
// What a controller and its namespaces say of themselves (NVMe 5.15.2). Nothing of it is
// trusted.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "drivers/nvme/nvme_registers.hpp"
#include <udrv/blk.h>

namespace udrv::nvme {

using IdentifyPage = std::span<const std::byte, page_bytes>;

struct ControllerIdentity {
    std::string model; ///< trailing blanks removed
    std::string serial;
    std::string firmware;
    std::uint32_t max_transfer_bytes = 0;       ///< MDTS, at most max_transfer_bytes
    std::uint32_t shutdown_us = 0;              ///< RTD3E, 0: not said
    std::uint32_t events = 0;                   ///< OAES
    std::uint32_t nr_namespaces = 0;            ///< NN
    std::array<std::uint16_t, 3> retry_delay{}; ///< CRDT1 to 3, in units of 100 ms
    std::uint16_t awupf = 0;                    ///< atomic write unit at a power failure, 0's based
    std::uint8_t aborts = 0;                    ///< ACL, 0's based
    std::uint8_t event_requests = 0;            ///< AERL, 0's based
    std::uint64_t max_discard_blocks = ~0ull;   ///< of one range and of all together: DMRSL, DMSL
    std::uint32_t max_discard_ranges = max_dsm_ranges; ///< DMRL
    std::uint32_t max_zeroes_bytes = 0;                ///< WZSL, 0: not said
    bool write_cache = false;                          ///< VWC: volatile, flushes are needed
    bool dataset_management = false;                   ///< ONCS
    bool write_zeroes = false;                         ///< ONCS
    std::string error; ///< why it cannot be used; empty: all is well
};

/// Why a namespace cannot be used.
enum class Problem : std::uint8_t { none, format, metadata, block_size, capacity };

/// Also looked at after a reset, while nothing may be allocated.
struct NamespaceIdentity {
    std::uint64_t nr_blocks = 0; ///< 0: not an active namespace
    std::uint32_t block_bytes = 512;
    std::uint32_t physical_block_bytes = 512;
    bool read_only = false;
    std::array<std::byte, 24> id{}; ///< NGUID and EUI64; 0: not said
    bool zeroes_deallocate = false; ///< Write Zeroes may deallocate, and zeroes are read then
    Problem problem = Problem::none;
    std::uint32_t value = 0; ///< that is the problem

    [[nodiscard]] bool same(const NamespaceIdentity& other) const {
        return nr_blocks == other.nr_blocks && block_bytes == other.block_bytes &&
               problem == other.problem && id == other.id;
    }
};

/// One sentence.
[[nodiscard]] std::string problem_text(const NamespaceIdentity& id);

[[nodiscard]] ControllerIdentity parse_controller(IdentifyPage page);
/// What the controller says of the NVM command set's limits, into `controller`.
void parse_limits(IdentifyPage page, ControllerIdentity& controller);
[[nodiscard]] NamespaceIdentity parse_namespace(IdentifyPage page,
                                                const ControllerIdentity& controller);

/// The disk of a namespace, whose unit is its identifier. `depth` is that of the queue.
[[nodiscard]] udrv_blk_disk describe(const ControllerIdentity& controller,
                                     const NamespaceIdentity& ns, std::uint32_t nsid,
                                     std::uint32_t depth);

} // namespace udrv::nvme
