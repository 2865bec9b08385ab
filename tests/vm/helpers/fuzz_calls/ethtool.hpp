// SPDX-License-Identifier: MIT
//
// What ethtool's ioctl takes: requests with which an interface could do something.
#pragma once

#include <array>

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>

#include "../hostile.hpp"

namespace fuzz {

/// The command, and the words behind it. The longest of those below fits, without its answer.
using EthtoolRequest = std::array<std::uint32_t, 24>;

// ethtool -i, -d, -c, -C, -g, -G, -S, -k, -K and without an option.
inline constexpr std::array<std::uint32_t, 13> ethtool_commands{
    ETHTOOL_GDRVINFO,     ETHTOOL_GREGS,      ETHTOOL_GCOALESCE, ETHTOOL_SCOALESCE,
    ETHTOOL_GRINGPARAM,   ETHTOOL_SRINGPARAM, ETHTOOL_GSTATS,    ETHTOOL_GSTRINGS,
    ETHTOOL_GSSET_INFO,   ETHTOOL_GFEATURES,  ETHTOOL_SFEATURES, ETHTOOL_GLINK,
    ETHTOOL_GLINKSETTINGS};

template <typename T>
EthtoolRequest as_request(const T& structure) {
    static_assert(sizeof(T) <= sizeof(EthtoolRequest));
    EthtoolRequest request{};
    std::memcpy(request.data(), &structure, sizeof(T));
    return request;
}

inline EthtoolRequest ethtool_request(hostile::Random& random) {
    const std::uint32_t command = ethtool_commands.at(random.below(ethtool_commands.size()));
    switch (command) {
    case ETHTOOL_GREGS: // of any length, odd ones too
        return {command, 0, random.below(600)};
    case ETHTOOL_SCOALESCE: {
        ethtool_coalesce coalesce{};
        coalesce.cmd = command;
        coalesce.rx_coalesce_usecs = random.below(5000);
        return as_request(coalesce);
    }
    case ETHTOOL_SRINGPARAM: {
        ethtool_ringparam rings{};
        rings.cmd = command;
        rings.rx_pending = 32U << random.below(6);
        rings.tx_pending = 32U << random.below(6);
        return as_request(rings);
    }
    default: // a count, a set or a size, or nothing
        return {command, random.below(40), random.below(40)};
    }
}

} // namespace fuzz
