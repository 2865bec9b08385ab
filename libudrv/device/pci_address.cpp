// SPDX-License-Identifier: MIT
#include "libudrv/device/pci_address.hpp"

#include <cerrno>
#include <charconv>
#include <optional>

#include <fmt/format.h>

#include "libudrv/error.hpp"

namespace udrv {

namespace {

/// Takes 1 to `max_digits` hexadecimal digits of at most `max_value` off the front.
std::optional<std::uint32_t> take_hex(std::string_view& text, std::size_t max_digits,
                                      std::uint32_t max_value) {
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
    const auto digits = static_cast<std::size_t>(end - text.data());
    if (error != std::errc{} || digits > max_digits || value > max_value) {
        return std::nullopt;
    }
    text.remove_prefix(digits);
    return value;
}

bool take(std::string_view& text, char expected) {
    if (text.empty() || text.front() != expected) {
        return false;
    }
    text.remove_prefix(1);
    return true;
}

std::optional<PciAddress> parse_parts(std::string_view text) {
    PciAddress address;
    std::string_view without_domain = text;
    const auto colon = text.find(':');
    if (colon != std::string_view::npos && text.find(':', colon + 1) != std::string_view::npos) {
        const auto domain = take_hex(without_domain, 8, 0xffffffff);
        if (!domain || !take(without_domain, ':')) {
            return std::nullopt;
        }
        address.domain = *domain;
    }
    const auto bus = take_hex(without_domain, 2, 0xff);
    if (!bus || !take(without_domain, ':')) {
        return std::nullopt;
    }
    const auto device = take_hex(without_domain, 2, 0x1f);
    if (!device || !take(without_domain, '.')) {
        return std::nullopt;
    }
    const auto function = take_hex(without_domain, 1, 7);
    if (!function || !without_domain.empty()) {
        return std::nullopt;
    }
    address.bus = static_cast<std::uint8_t>(*bus);
    address.device = static_cast<std::uint8_t>(*device);
    address.function = static_cast<std::uint8_t>(*function);
    return address;
}

} // namespace

PciAddress PciAddress::parse(std::string_view text) {
    if (const auto address = parse_parts(text)) {
        return *address;
    }
    throw_error(EINVAL, fmt::format("read the PCI address '{}'", text),
                "it is not of the form 0000:00:10.0 or 00:10.0",
                "`lspci -D` lists the addresses of this machine");
}

std::string PciAddress::str() const {
    return fmt::format("{:04x}:{:02x}:{:02x}.{:x}", domain, bus, device, function);
}

} // namespace udrv
