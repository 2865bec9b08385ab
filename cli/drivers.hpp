// SPDX-License-Identifier: MIT
//
// Finds drivers' programs, as git finds its subcommands: udrv-NAME in one of a few folders,
// with its PCI ids beside it in NAME.ids. None of them is run for that.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "libudrv/device/pci_ids.hpp"
#include "libudrv/error.hpp"

namespace udrv::cli {

/// There is no such driver: the command line is wrong.
class UnknownDriver : public Error {
  public:
    using Error::Error;
};

/// A driver's program.
struct DriverProgram {
    std::string name;
    std::filesystem::path path; ///< absolute
    std::vector<ServedId> ids;  ///< of NAME.ids
    std::string problem;        ///< why there are no ids, if there are none

    /// Throws Error unless it serves that; also if its ids cannot be read. A program without
    /// NAME.ids decides for itself.
    void require_served(const PciId& id, const PciAddress& address) const;
};

class Drivers {
  public:
    /// Of two programs with one name the one in the earlier folder counts.
    explicit Drivers(const std::vector<std::filesystem::path>& folders);

    /// `own`, seen from the folder of this program; then those that UDRV_DRIVER_PATH names,
    /// separated by colons.
    [[nodiscard]] static std::vector<std::filesystem::path>
    folders(const std::filesystem::path& own);

    [[nodiscard]] const std::vector<DriverProgram>& all() const { return drivers_; } ///< by name
    [[nodiscard]] std::string names() const; ///< "ahci, e1000", or "none"
    [[nodiscard]] std::vector<const DriverProgram*> serving(const PciId& id) const;

    /// By its name, or by the path of its program if there is a slash in it. Throws
    /// UnknownDriver, which lists what there is.
    [[nodiscard]] DriverProgram find(const std::string& name) const;
    /// The only one that serves it. Throws Error if there is none or more than one.
    [[nodiscard]] const DriverProgram& find(const PciId& id, const PciAddress& address) const;

  private:
    std::vector<std::filesystem::path> folders_;
    std::vector<DriverProgram> drivers_;
};

} // namespace udrv::cli
