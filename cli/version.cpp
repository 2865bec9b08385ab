// SPDX-License-Identifier: MIT
#include "cli/version.hpp"

#include <fmt/format.h>

#include <udrv/udrv.h>

namespace udrv::cli {

std::string version_text(const System& system, std::string_view version, std::string_view library) {
    std::string modules;
    for (const char* name : {"udrv", "udrv_net", "udrv_blk"}) {
        const fs::path folder = system.sys / "module" / name;
        std::string loaded = read_line(folder / "version");
        if (loaded.empty()) {
            loaded = fs::exists(folder) ? "of an unknown version" : "not loaded";
        }
        modules += fmt::format("{}{} {}", modules.empty() ? "" : ", ", name, loaded);
    }
    return fmt::format("udrv {}\nlibrary: {}\nABI: {}\nmodules: {}", version, library,
                       UDRV_ABI_VERSION, modules);
}

} // namespace udrv::cli
