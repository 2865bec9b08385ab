// SPDX-License-Identifier: MIT
#include "cli/system.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <set>
#include <sstream>
#include <string_view>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "libudrv/error.hpp"
#include "libudrv/file.hpp"

namespace udrv::cli {

namespace {

/// Is this folder of sysfs a device of that class ("block", "net")? The kernel puts a
/// folder of the class's name around it, unless its parent is of a class itself.
bool is_of_class(const fs::path& folder, const std::string& name) {
    std::error_code error;
    return folder.parent_path().filename() == name ||
           fs::read_symlink(folder / "subsystem", error).filename() == name;
}

/// Everything below the device that is of this class: its disks and their partitions
/// ("block") or its interfaces ("net").
std::vector<fs::path> children_in(const fs::path& device, const std::string& name) {
    std::vector<fs::path> found;
    std::error_code error;
    fs::recursive_directory_iterator it(device, fs::directory_options::skip_permission_denied,
                                        error);
    for (; !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
        if (it->is_directory() && !it->is_symlink() && is_of_class(it->path(), name)) {
            found.push_back(it->path());
        }
    }
    return found;
}

/// "8:1" of a disk, of its partitions, and of what device mapper or md made of them.
void add_block_numbers(const System& system, const fs::path& block,
                       std::set<std::string>& numbers) {
    const std::string number = read_line(block / "dev");
    if (number.empty() || !numbers.insert(number).second) {
        return;
    }
    for (const std::string& name : list(block)) {
        if (fs::exists(block / name / "partition")) {
            add_block_numbers(system, block / name, numbers);
        }
    }
    for (const std::string& holder : list(block / "holders")) {
        add_block_numbers(system, system.sys / "class/block" / holder, numbers);
    }
}

std::string device_number(const std::string& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0 || !S_ISBLK(status.st_mode)) {
        return {};
    }
    return fmt::format("{}:{}", ::major(status.st_rdev), ::minor(status.st_rdev));
}

std::string mounted_on(const System& system, const std::set<std::string>& numbers) {
    std::ifstream mounts(system.proc / "self/mountinfo");
    for (std::string line; std::getline(mounts, line);) {
        // 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw
        std::istringstream fields(line);
        std::string skip;
        std::string number;
        std::string place;
        fields >> skip >> skip >> number >> skip >> place;
        const auto dash = line.find(" - ");
        std::string source;
        if (dash != std::string::npos) {
            std::istringstream(line.substr(dash + 3)) >> skip >> source;
        }
        if (numbers.contains(number) ||
            (!source.empty() && source.front() == '/' && numbers.contains(device_number(source)))) {
            return place;
        }
    }
    return {};
}

std::string swap_on(const System& system, const std::set<std::string>& numbers) {
    std::ifstream swaps(system.proc / "swaps");
    std::string line;
    std::getline(swaps, line); // the heading
    while (std::getline(swaps, line)) {
        std::string path = line.substr(0, line.find_first_of(" \t"));
        if (numbers.contains(device_number(path))) {
            return path;
        }
    }
    return {};
}

/// An interface and what stands on it: bridges, bonds, VLANs.
void add_interfaces(const System& system, const std::string& name, std::set<std::string>& names) {
    if (!names.insert(name).second) {
        return;
    }
    for (const std::string& entry : list(system.sys / "class/net" / name)) {
        if (entry.starts_with("upper_")) {
            add_interfaces(system, entry.substr(6), names);
        }
    }
}

std::string default_route_over(const System& system, const std::set<std::string>& names) {
    std::ifstream routes(system.proc / "net/route");
    std::string line;
    std::getline(routes, line); // the heading
    while (std::getline(routes, line)) {
        // Iface Destination Gateway Flags RefCnt Use Metric Mask ...
        std::istringstream fields(line);
        std::string name;
        std::string destination;
        std::string skip;
        std::string mask;
        fields >> name >> destination >> skip >> skip >> skip >> skip >> skip >> mask;
        if (destination == "00000000" && mask == "00000000" && names.contains(name)) {
            return name;
        }
    }
    std::ifstream routes6(system.proc / "net/ipv6_route");
    while (std::getline(routes6, line)) {
        // destination length source length next-hop metric refs use flags device
        std::istringstream fields(line);
        std::string destination;
        std::string length;
        std::string name;
        fields >> destination >> length;
        for (std::string field; fields >> field;) {
            name = field;
        }
        if (destination.find_first_not_of('0') == std::string::npos && length == "00" &&
            names.contains(name)) {
            return name;
        }
    }
    return {};
}

/// A debugfs of our own, which no other process sees: nobody needs to have mounted one.
FileDescriptor private_debugfs() {
    const FileDescriptor context(::fsopen("debugfs", FSOPEN_CLOEXEC));
    if (!context || ::fsconfig(context.value(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
        return {};
    }
    return FileDescriptor(::fsmount(context.value(), FSMOUNT_CLOEXEC, 0));
}

} // namespace

std::string System::bound_driver(const PciAddress& address) const {
    std::error_code error;
    const fs::path target = fs::read_symlink(device(address) / "driver", error);
    return error ? std::string() : target.filename().string();
}

std::string read_line(const fs::path& path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    return line;
}

std::int64_t read_number(const fs::path& path) {
    const std::string text = read_line(path);
    std::int64_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

int write_text(const fs::path& path, const std::string& text) {
    const FileDescriptor fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd) {
        return errno;
    }
    return ::write(fd.value(), text.data(), text.size()) < 0 ? errno : 0;
}

std::vector<std::string> list(const fs::path& folder) {
    std::vector<std::string> names;
    std::error_code error;
    for (fs::directory_iterator it(folder, error); !error && it != fs::directory_iterator();
         it.increment(error)) {
        names.push_back(it->path().filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
}

std::vector<PciAddress> list_functions(const fs::path& folder) {
    std::vector<PciAddress> functions;
    for (const std::string& name : list(folder)) {
        if (name.find(':') == std::string::npos) {
            continue;
        }
        try {
            functions.push_back(PciAddress::parse(name));
        } catch (const Error&) {
            continue;
        }
    }
    return functions;
}

std::optional<PciId> pci_id(const System& system, const PciAddress& address) {
    const auto number = [&](const char* name) -> std::optional<std::uint32_t> {
        const std::string text = read_line(system.device(address) / name); // "0x8086"
        std::uint32_t value = 0;
        if (text.size() < 3 ||
            std::from_chars(text.data() + 2, text.data() + text.size(), value, 16).ec !=
                std::errc{}) {
            return std::nullopt;
        }
        return value;
    };
    const auto vendor = number("vendor");
    const auto device = number("device");
    if (!vendor || !device) {
        return std::nullopt;
    }
    return PciId{static_cast<std::uint16_t>(*vendor), static_cast<std::uint16_t>(*device),
                 number("class").value_or(0)};
}

namespace {

/// The innermost PCI function above a device of sysfs.
std::optional<PciAddress> pci_function_of(const fs::path& device) {
    std::error_code error;
    fs::path at = fs::canonical(device, error);
    for (; !error && at.has_relative_path(); at = at.parent_path()) {
        try {
            return PciAddress::parse(at.filename().string());
        } catch (const Error&) {
            continue;
        }
    }
    return std::nullopt;
}

std::optional<PciAddress> find_by_name(const System& system, std::string name) {
    constexpr std::string_view folder = "/dev/";
    if (name.starts_with(folder)) {
        name.erase(0, folder.size());
    }
    if (name.empty() || name.find('/') != std::string::npos || name.starts_with('.')) {
        return std::nullopt;
    }
    for (const char* kind : {"net", "block"}) {
        if (const auto found = pci_function_of(system.sys / "class" / kind / name)) {
            return found;
        }
    }
    return std::nullopt;
}

} // namespace

PciAddress find_device(const System& system, const std::string& word) {
    if (const auto found = find_by_name(system, word)) {
        return *found;
    }
    for (const char* kind : {"net", "block"}) {
        std::error_code error;
        if (!word.empty() && word.find('/') == std::string::npos && !word.starts_with('.') &&
            fs::exists(system.sys / "class" / kind / word, error)) {
            throw_error(ENODEV, fmt::format("find the device of '{}'", word),
                        "it is not on a PCI function", "`lspci -D` lists those of this machine");
        }
    }
    return PciAddress::parse(word);
}

bool names_device(const System& system, const std::string& word) {
    return find_by_name(system, word).has_value();
}

std::string in_use(const System& system, const PciAddress& address) {
    const fs::path device = system.device(address);
    std::error_code error;
    const fs::path real = fs::canonical(device, error);
    std::set<std::string> numbers;
    for (const fs::path& block : children_in(error ? device : real, "block")) {
        add_block_numbers(system, block, numbers);
    }
    if (!numbers.empty()) {
        if (const std::string place = mounted_on(system, numbers); !place.empty()) {
            return fmt::format("it carries the mounted file system {}", place);
        }
        if (const std::string path = swap_on(system, numbers); !path.empty()) {
            return fmt::format("it carries the swap space {}", path);
        }
    }
    std::set<std::string> names;
    for (const fs::path& interface : children_in(error ? device : real, "net")) {
        add_interfaces(system, interface.filename().string(), names);
    }
    if (const std::string name = default_route_over(system, names); !name.empty()) {
        return fmt::format("the default route goes over its interface {}", name);
    }
    return {};
}

std::optional<bool> bounce_buffers(const System& system) {
    fs::path debug = system.sys / "kernel/debug";
    FileDescriptor mounted;
    std::error_code error;
    if (!fs::exists(debug / "swiotlb", error) && system.sys == System().sys) {
        mounted = private_debugfs();
        if (mounted) {
            debug = fmt::format("/proc/self/fd/{}", mounted.value());
        }
    }
    if (!fs::exists(debug / "swiotlb", error)) {
        return std::nullopt;
    }
    // The kernel makes the file only if it has some. A locked down kernel shows that it
    // is there, but does not let us read it.
    const fs::path slots = debug / "swiotlb/io_tlb_nslabs";
    return fs::exists(slots, error) && read_line(slots) != "0";
}

} // namespace udrv::cli
