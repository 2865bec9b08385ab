// SPDX-License-Identifier: MIT
#include "cli/saved.hpp"

#include <cerrno>
#include <fstream>
#include <sstream>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "libudrv/error.hpp"
#include "libudrv/file.hpp"

namespace udrv::cli {

namespace {

constexpr std::string_view key = "BIND_OPTIONS="; ///< the unit reads the file, too

/// An option's word, and where it is kept.
struct Option {
    const char* word;
    bool BindOptions::*value;
};
constexpr Option all_options[] = {{"--force", &BindOptions::force},
                                  {"--unsafe-no-iommu", &BindOptions::without_iommu},
                                  {"--untrusted", &BindOptions::untrusted}};

[[noreturn]] void fail(int error, const std::string& tried) {
    throw_errno(error, tried,
                error == EACCES || error == EPERM ? "run as root" : "nothing was changed");
}

BindOptions read_saved(const System& system, const PciAddress& address) {
    const fs::path file = saved_file(system, address);
    const std::string tried = fmt::format("bind {} as {} says", address.str(), file.string());
    std::ifstream stream(file);
    if (!stream) {
        throw_errno(errno, tried, fmt::format("`udrv bind --save {}` writes it", address.str()));
    }
    BindOptions options;
    for (std::string line; std::getline(stream, line);) {
        if (!line.starts_with(key)) {
            continue;
        }
        std::istringstream words(line.substr(key.size()));
        for (std::string word; words >> word;) {
            bool known = false;
            for (const Option& option : all_options) {
                if (word == option.word) {
                    options.*option.value = known = true;
                }
            }
            if (!known) {
                throw_error(EINVAL, tried, fmt::format("there is no option '{}'", word),
                            fmt::format("`udrv bind --save {}` writes it anew", address.str()));
            }
        }
    }
    return options;
}

} // namespace

fs::path saved_file(const System& system, const PciAddress& address) {
    return system.root / "etc/udrv" / (address.str() + ".bind");
}

bool saved(const System& system, const PciAddress& address) {
    std::error_code error;
    return fs::exists(saved_file(system, address), error);
}

void save_binding(const System& system, const PciAddress& address, const BindOptions& options) {
    const fs::path file = saved_file(system, address);
    const std::string tried = fmt::format("keep {} bound: write {}", address.str(), file.string());
    std::string text = fmt::format("# `udrv bind --save` wrote this; `udrv unbind --save {}` "
                                   "removes it.\n{}",
                                   address.str(), key);
    const char* separator = "";
    for (const Option& option : all_options) {
        if (options.*option.value) {
            text += separator;
            text += option.word;
            separator = " ";
        }
    }
    text += "\n";
    std::error_code error;
    fs::create_directories(file.parent_path(), error);
    if (error) {
        fail(error.value(), tried);
    }
    // A boot after a power cut finds the old file or the new one.
    const fs::path next = file.string() + ".new";
    int problem = 0;
    {
        std::ofstream stream(next, std::ios::trunc);
        stream << text << std::flush;
        problem = stream ? 0 : errno;
    }
    if (problem == 0) {
        const FileDescriptor written(::open(next.c_str(), O_RDONLY | O_CLOEXEC));
        if (!written || ::fsync(written.value()) != 0 ||
            ::rename(next.c_str(), file.c_str()) != 0) {
            problem = errno;
        }
    }
    if (problem != 0) {
        fs::remove(next, error);
        fail(problem, tried);
    }
}

void forget_binding(const System& system, const PciAddress& address) {
    std::error_code error;
    fs::remove(saved_file(system, address), error);
    if (error) {
        fail(error.value(), fmt::format("forget the binding of {}: remove {}", address.str(),
                                        saved_file(system, address).string()));
    }
}

void bind_saved(const System& system, const PciAddress& address,
                std::function<bool(const PciId&)> served) {
    try {
        BindOptions options = read_saved(system, address);
        options.served = std::move(served);
        bind(system, address, options);
    } catch (const Error&) {
        if (system.bound_driver(address).empty()) {
            (void)write_text(system.device(address) / "driver_override", "\n");
            (void)write_text(system.sys / "bus/pci/drivers_probe", address.str());
        }
        throw;
    }
}

} // namespace udrv::cli
