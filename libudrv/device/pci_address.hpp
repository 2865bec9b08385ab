// SPDX-License-Identifier: MIT
//
// Where a PCI function is, and where the kernel shows it.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace udrv {

/// domain:bus:device.function, for example 0000:00:10.0.
struct PciAddress {
    std::uint32_t domain = 0;
    std::uint8_t bus = 0;
    std::uint8_t device = 0;   ///< 0 to 31
    std::uint8_t function = 0; ///< 0 to 7

    /// Accepts "0000:00:10.0" and "00:10.0" (hexadecimal, as lspci prints them).
    /// Throws Error (EINVAL) that shows the two forms.
    [[nodiscard]] static PciAddress parse(std::string_view text);

    /// The kernel's spelling, always with the domain.
    [[nodiscard]] std::string str() const;

    friend auto operator<=>(const PciAddress&, const PciAddress&) = default;
};

/// What a PCI function says that it is.
struct PciId {
    std::uint16_t vendor = 0;
    std::uint16_t device = 0;
    std::uint32_t class_code = 0; ///< base class << 16 | sub class << 8 | interface
    friend bool operator==(const PciId&, const PciId&) = default;
};

} // namespace udrv
