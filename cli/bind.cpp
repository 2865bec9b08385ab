// SPDX-License-Identifier: MIT
#include "cli/bind.hpp"

#include <filesystem>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <string_view>
#include <thread>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include "libudrv/error.hpp"
#include "libudrv/file.hpp"
#include "libudrv/process/output.hpp"

namespace udrv::cli {

namespace {

const char* const no_override = "\n";

/// Writes, or throws "tried: problem; advice".
void write_or_throw(const fs::path& path, const std::string& text, const std::string& tried) {
    const int error = write_text(path, text);
    if (error != 0) {
        throw_errno(
            error, tried,
            error == EACCES || error == EPERM || error == EROFS
                ? std::string("run as root")
                : fmt::format("it happened when writing {}; `dmesg` may say why", path.string()));
    }
}

void require_device(const System& system, const PciAddress& address, const std::string& tried) {
    if (!fs::exists(system.device(address))) {
        throw_error(ENODEV, tried, "there is no such PCI device",
                    "`lspci -D` lists those of this machine");
    }
}

void refuse_in_use(const System& system, const PciAddress& address, const std::string& tried) {
    if (const std::string reason = in_use(system, address); !reason.empty()) {
        throw_error(EBUSY, tried, reason, "use --force if the machine can do without");
    }
}

/// A bridge, or a chip that nobody wrote a driver for: it would serve nobody any more.
void refuse_unserved(const System& system, const PciAddress& address,
                     const std::function<bool(const PciId&)>& served, const std::string& tried) {
    const auto id = pci_id(system, address);
    if (id && served && !served(*id)) {
        throw_error(ENODEV, tried,
                    fmt::format("no driver here serves a {:04x}:{:04x}", id->vendor, id->device),
                    "use --force if you have one for it");
    }
}

/// On the way out without commit(): back to the driver it had, none if none.
class Rollback {
  public:
    Rollback(const System& system, const PciAddress& address, std::string old_driver,
             std::string old_override)
        : system_(system), address_(address), old_driver_(std::move(old_driver)),
          old_override_(std::move(old_override)) {}
    Rollback(const Rollback&) = delete;
    Rollback& operator=(const Rollback&) = delete;
    ~Rollback() {
        if (committed_) {
            return;
        }
        if (system_.bound_driver(address_) == "udrv") {
            (void)write_text(system_.pci_driver("udrv") / "unbind", address_.str());
        }
        const bool had_override = !old_override_.empty() && old_override_ != "(null)";
        // Best effort: the error that brought us here is the one to report.
        (void)write_text(system_.device(address_) / "driver_override",
                         had_override ? old_override_ : no_override);
        if (!old_driver_.empty() && system_.bound_driver(address_) != old_driver_) {
            (void)write_text(system_.pci_driver(old_driver_) / "bind", address_.str());
        }
    }
    void commit() { committed_ = true; }

  private:
    const System& system_;
    PciAddress address_;
    std::string old_driver_;
    std::string old_override_;
    bool committed_ = false;
};

void refuse_unconfined(const std::string& reason, const std::string& tried,
                       const std::string& undone = {}) {
    if (!reason.empty()) {
        throw_error(EPERM, tried, reason + ", so its driver could reach all memory",
                    undone + "--unsafe-no-iommu if you trust the driver like the kernel");
    }
}

/// An IOMMU maps whole pages. For an untrusted device the kernel copies what is less,
/// into bounce buffers; without those it maps no such memory at all: no packet would be
/// sent. A device that is not behind an IOMMU does without.
void refuse_without_bounce_buffers(const System& system, const PciAddress& address,
                                   const std::string& tried) {
    const std::string type = read_line(system.device(address) / "iommu_group/type");
    if (type.starts_with("DMA") && bounce_buffers(system) == false) {
        throw_error(EOPNOTSUPP, tried,
                    "the kernel has no bounce buffers, without which an untrusted device gets "
                    "no data",
                    "boot with swiotlb=force on the kernel's command line, or with memory above "
                    "4 GiB");
    }
}

/// The driver of a function that would share its memory with ours: not if it is ours too,
/// or a bridge. The kernel has the same rule (kmod/confine.c).
std::string stranger(const System& system, const std::string& member) {
    const fs::path device = system.sys / "bus/pci/devices" / member;
    const std::string kind = read_line(device / "class").substr(0, 6); // 0x060400: a bridge
    std::error_code error;
    const fs::path driver = fs::read_symlink(device / "driver", error);
    if (error || driver.filename() == "udrv" || kind == "0x0604" || kind == "0x0607") {
        return {};
    }
    return driver.filename().string();
}

/// Has the kernel allow what no IOMMU confines; for all devices, until it is told otherwise.
void allow_unconfined(const System& system, const std::string& tried) {
    write_or_throw(system.sys / "module/udrv/parameters/allow_unsafe_no_iommu", "1", tried);
}

void require_taken(const System& system, const PciAddress& address, int error,
                   const std::string& tried) {
    if (error == EPERM) {
        throw_error(error, tried, "the kernel refuses a device that no IOMMU confines",
                    "it always does when it is locked down (`dmesg` says so); it has its old "
                    "driver again");
    }
    if (error != 0 || system.bound_driver(address) != "udrv") {
        throw_error(error != 0 ? error : EIO, tried, "the kernel module did not take the device",
                    "`dmesg` says why; it has its old driver again");
    }
}

/// At boot udev's rule and the service may both bind it: the second one finds it bound. The
/// lock lasts as long as the file is open.
FileDescriptor wait_for_turn(const System& system, const PciAddress& address) {
    FileDescriptor folder(
        ::open(system.device(address).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (folder) {
        (void)::flock(folder.value(), LOCK_EX);
    }
    return folder;
}

void wait_for_node(const System& system, const PciAddress& address) {
    using namespace std::chrono_literals;
    for (int attempt = 0; attempt < 200; ++attempt) {
        if (fs::exists(system.dev / "udrv" / address.str())) {
            return;
        }
        std::this_thread::sleep_for(10ms);
    }
}

} // namespace

std::string unconfined(const System& system, const PciAddress& address) {
    const fs::path group = system.device(address) / "iommu_group";
    const std::string type = read_line(group / "type");
    if (type.empty()) {
        return "no IOMMU confines it";
    }
    if (type == "DMA-FQ") {
        return "its IOMMU forgets mappings late (iommu.strict=1 on the kernel's command line "
               "changes that)";
    }
    if (type != "DMA") {
        return fmt::format("its IOMMU lets it through (type {})", type);
    }
    for (const std::string& member : list(group / "devices")) {
        const std::string driver =
            member == address.str() ? std::string() : stranger(system, member);
        if (!driver.empty()) {
            return fmt::format("its IOMMU cannot tell it from {}, which has the driver {} "
                               "(unbinding that is another way)",
                               member, driver);
        }
    }
    return {};
}

void bind(const System& system, const PciAddress& address, const BindOptions& options) {
    const std::string tried =
        fmt::format("bind {}{}", options.untrusted ? "--untrusted " : "", address.str());
    require_device(system, address, tried);
    const FileDescriptor turn = wait_for_turn(system, address);
    if (!system.module_loaded()) {
        throw_error(ENOENT, tried, "the kernel module udrv is not loaded",
                    "load it with `modprobe udrv` (or insmod build/modules/udrv.ko)");
    }
    const std::string old_driver = system.bound_driver(address);
    if (options.untrusted) {
        refuse_without_bounce_buffers(system, address, tried);
    }
    if (old_driver == "udrv") {
        // Not from now on: its disks have the sizes of one that is trusted.
        if (options.untrusted && read_number(system.device(address) / "udrv/untrusted") == 0) {
            throw_error(EBUSY, tried, "it is bound already, and its driver is trusted",
                        "`udrv unbind` it first");
        }
        return;
    }
    if (!options.force) {
        refuse_unserved(system, address, options.served, tried);
        refuse_in_use(system, address, tried);
    }
    std::string reason = unconfined(system, address);
    if (!options.without_iommu) {
        refuse_unconfined(reason, tried);
    }
    const fs::path override_file = system.device(address) / "driver_override";
    Rollback rollback(system, address, old_driver, read_line(override_file));
    write_or_throw(override_file, "udrv", tried);
    if (!old_driver.empty()) {
        write_or_throw(system.pci_driver(old_driver) / "unbind", address.str(), tried);
    }
    if (!reason.empty()) {
        allow_unconfined(system, tried);
    }
    const fs::path take = system.pci_driver("udrv") / "bind";
    int error = write_text(take, address.str());
    if (error == EPERM && reason.empty()) { // what only the kernel knows
        reason = "its IOMMU does not remap interrupts";
        if (!options.without_iommu) {
            refuse_unconfined(reason, tried, "it has its old driver again; ");
        }
        allow_unconfined(system, tried);
        error = write_text(take, address.str());
    }
    require_taken(system, address, error, tried);
    if (options.untrusted) {
        write_or_throw(system.device(address) / "udrv/untrusted", "1", tried);
    }
    rollback.commit();
    wait_for_node(system, address);
    if (!reason.empty()) {
        say(STDERR_FILENO,
            fmt::format("udrv: warning: {}: {}; whoever drives it can read and write all memory "
                        "of this machine\n",
                        address.str(), reason));
    }
}

void unbind(const System& system, const PciAddress& address, bool force) {
    const std::string tried = "unbind " + address.str();
    require_device(system, address, tried);
    if (system.bound_driver(address) != "udrv") {
        throw_error(ENODEV, tried, "the device is not bound to udrv",
                    "`udrv status` lists those that are");
    }
    if (!force) {
        refuse_in_use(system, address, tried);
    }
    write_or_throw(system.pci_driver("udrv") / "unbind", address.str(), tried);
    write_or_throw(system.device(address) / "driver_override", no_override, tried);
    // A chip that nobody could reset may still hold the addresses of its last driver,
    // if that was killed. A kernel driver that switches bus mastering on before it
    // resets the chip would let it write there, so such a device is not handed on.
    const bool resettable = std::filesystem::exists(system.device(address) / "reset");
    if (resettable) {
        // No other driver may want it: that is not our failure.
        (void)write_text(system.sys / "bus/pci/drivers_probe", address.str());
    }
    if (system.bound_driver(address).empty()) {
        say(STDERR_FILENO,
            fmt::format("udrv: {} has no driver now: {}\n", address.str(),
                        resettable ? "none of the kernel's took it"
                                   : "it cannot be reset alone, and may still use memory of a "
                                     "driver that was killed; if its driver was stopped, write "
                                     "the address to /sys/bus/pci/drivers_probe"));
    }
}

} // namespace udrv::cli
