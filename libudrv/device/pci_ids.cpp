// SPDX-License-Identifier: MIT
#include "libudrv/device/pci_ids.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>

#include <fmt/format.h>

#include "libudrv/error.hpp"

namespace udrv {

namespace {

constexpr std::string_view blanks = " \t\r";
constexpr std::size_t class_digits = 6;

/// Takes the text up to `end` off the front, and `end` itself.
std::string_view take_until(std::string_view& text, std::string_view end) {
    const std::size_t length = std::min(text.find_first_of(end), text.size());
    const std::string_view taken = text.substr(0, length);
    text.remove_prefix(std::min(length + 1, text.size()));
    return taken;
}

std::string_view trimmed(std::string_view text) {
    const std::size_t first = text.find_first_not_of(blanks);
    if (first == std::string_view::npos) {
        return {};
    }
    return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

std::optional<std::uint32_t> hexadecimal(std::string_view digits) {
    std::uint32_t value = 0;
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    if (error != std::errc{} || end != digits.data() + digits.size()) {
        return std::nullopt;
    }
    return value;
}

/// A vendor or a device. False: it is neither four digits nor a star.
bool read_number(std::string_view text, std::optional<std::uint16_t>& number) {
    if (text == "*") {
        number = std::nullopt;
        return true;
    }
    const auto value = text.size() == 4 ? hexadecimal(text) : std::nullopt;
    if (value) {
        number = static_cast<std::uint16_t>(*value);
    }
    return value.has_value();
}

bool read_class(std::string_view text, ServedId& id) {
    const bool whole_bytes = text.size() == 2 || text.size() == 4 || text.size() == class_digits;
    const auto value = whole_bytes ? hexadecimal(text) : std::nullopt;
    if (!value) {
        return false;
    }
    const auto missing_bits = static_cast<unsigned>(4 * (class_digits - text.size()));
    id.class_code = *value << missing_bits;
    id.class_mask = (0xffffffU << missing_bits) & 0xffffffU;
    return true;
}

bool read_id(std::string_view text, ServedId& id) {
    if (!read_number(take_until(text, ":"), id.vendor) ||
        !read_number(take_until(text, ":"), id.device)) {
        return false;
    }
    const bool all_devices = !id.vendor && !id.device;
    return text.empty() ? !all_devices : read_class(text, id);
}

} // namespace

bool ServedId::matches(const PciId& id) const {
    return (!vendor || *vendor == id.vendor) && (!device || *device == id.device) &&
           (id.class_code & class_mask) == class_code;
}

std::string ServedId::str() const {
    const auto number = [](const std::optional<std::uint16_t>& value) {
        return value ? fmt::format("{:04x}", *value) : std::string("*");
    };
    std::string text = number(vendor) + ":" + number(device);
    if (class_mask == 0xffffffU) {
        text += fmt::format(":{:06x}", class_code);
    } else if (class_mask == 0xffff00U) {
        text += fmt::format(":{:04x}", class_code >> 8);
    } else if (class_mask != 0) {
        text += fmt::format(":{:02x}", class_code >> 16);
    }
    return text;
}

std::vector<ServedId> parse_ids(std::string_view text, std::string_view file) {
    std::vector<ServedId> ids;
    for (unsigned number = 1; !text.empty(); ++number) {
        std::string_view line = trimmed(take_until(text, "\n"));
        if (line.empty() || line.front() == '#') {
            continue;
        }
        const std::string_view word = take_until(line, blanks);
        ServedId id;
        if (!read_id(word, id)) {
            throw_error(EINVAL, fmt::format("read {}, line {}", file, number),
                        fmt::format("'{}' is no PCI id", word),
                        "write VENDOR:DEVICE or VENDOR:DEVICE:CLASS, as in 8086:100e or "
                        "*:*:010802");
        }
        id.description = trimmed(line);
        ids.push_back(std::move(id));
    }
    return ids;
}

const ServedId* find_id(const std::vector<ServedId>& ids, const PciId& id) {
    const auto found =
        std::find_if(ids.begin(), ids.end(), [&](const ServedId& one) { return one.matches(id); });
    return found == ids.end() ? nullptr : &*found;
}

void require_served(const std::vector<ServedId>& ids, const PciId& id, std::string_view driver,
                    const PciAddress& address) {
    if (find_id(ids, id) != nullptr) {
        return;
    }
    std::string served;
    for (const ServedId& one : ids) {
        served += " " + one.str();
    }
    throw_error(ENODEV, fmt::format("run {} on {}", driver, address.str()),
                fmt::format("the device is {:04x}:{:04x}, which this driver does not serve",
                            id.vendor, id.device),
                fmt::format("it serves{}", served));
}

} // namespace udrv
