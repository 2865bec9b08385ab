// SPDX-License-Identifier: MIT
//
// CHIP.ids: what a driver serves, as a text that the command, udev and people can read
// without running the driver. One line an id, and what it is:
//
//     # comment
//     8086:100e         Intel 82540EM
//     *:*:010802        any NVM Express controller
//
// that is VENDOR:DEVICE or VENDOR:DEVICE:CLASS in hexadecimal. A `*` stands for any; CLASS
// is the class code's first one, two or three bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libudrv/device/pci_address.hpp"

namespace udrv {

/// One line of a CHIP.ids.
struct ServedId {
    std::optional<std::uint16_t> vendor; ///< empty: any
    std::optional<std::uint16_t> device; ///< empty: any
    std::uint32_t class_code = 0;        ///< in the bits of class_mask
    std::uint32_t class_mask = 0;
    std::string description;

    [[nodiscard]] bool matches(const PciId& id) const;
    /// As it was written, without the description.
    [[nodiscard]] std::string str() const;
};

/// Reads such a text. Throws Error (EINVAL) that names `file` and the line.
[[nodiscard]] std::vector<ServedId> parse_ids(std::string_view text, std::string_view file);

/// The first that matches, or nullptr.
[[nodiscard]] const ServedId* find_id(const std::vector<ServedId>& ids, const PciId& id);

/// Throws Error (ENODEV) unless one of `ids` matches.
void require_served(const std::vector<ServedId>& ids, const PciId& id, std::string_view driver,
                    const PciAddress& address);

} // namespace udrv
