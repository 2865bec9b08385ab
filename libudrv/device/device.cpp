// SPDX-License-Identifier: MIT
#include "libudrv/device/device.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <string_view>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "libudrv/error.hpp"

namespace udrv {

namespace {

constexpr const char* device_dir = "/dev/udrv";

std::string first_line(const std::string& path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    return line;
}

bool exists(const std::string& path) {
    struct stat status {};
    return ::stat(path.c_str(), &status) == 0;
}

[[noreturn]] void throw_open_error(int error, const PciAddress& address) {
    const std::string bdf = address.str();
    const std::string tried = "open " + bdf;
    const std::string sysfs = "/sys/bus/pci/devices/" + bdf;
    switch (error) {
    case ENOENT:
    case ENXIO:
        if (!exists(sysfs)) {
            throw_error(ENODEV, tried, "there is no such PCI device",
                        "`lspci -D` lists those of this machine");
        }
        if (!exists("/sys/bus/pci/drivers/udrv")) {
            throw_error(error, tried, "the kernel module udrv is not loaded",
                        "load it with `modprobe udrv` (or insmod build/modules/udrv.ko)");
        }
        throw_error(error, tried, "the device is not bound to udrv",
                    fmt::format("bind it with `udrv bind {}`", bdf));
    case EPERM:
        throw_error(error, tried, "no IOMMU confines it, and that needs a permission",
                    "`udrv bind --unsafe-no-iommu` it, and run as root (CAP_SYS_RAWIO); `dmesg` "
                    "may say more");
    case EAGAIN:
        throw_error(error, tried, "it is being reset, or the machine goes to sleep",
                    "try again in a moment");
    case EACCES:
        throw_error(error, tried, fmt::format("no permission for {}/{}", device_dir, bdf),
                    "run as root, or give your user the device file with chown");
    case EBUSY: {
        const std::string owner = first_line(sysfs + "/udrv/owner");
        const bool known = !owner.empty() && owner != "0";
        throw_error(error, tried,
                    known ? fmt::format("process {} ({}) has it open", owner,
                                        first_line(sysfs + "/udrv/driver"))
                          : std::string("another process has it open"),
                    known ? fmt::format("one process at a time drives a device: stop that one "
                                        "first (kill {})",
                                        owner)
                          : std::string("try again in a moment"));
    }
    default:
        throw_errno(error, tried);
    }
}

/// Waits until the session that is ending is over, or the device is back from a reset or
/// from sleep; false if neither is the case. Either may take as long as the chip takes.
bool wait_until_free(const FileDescriptor& state, int patience_ms) {
    std::array<char, 16> text{};
    (void)!::pread(state.value(), text.data(), text.size() - 1, 0);
    const std::string_view now(text.data());
    if (now.starts_with("ending") || now.starts_with("closed")) {
        pollfd file{state.value(), POLLPRI, 0};
        return ::poll(&file, 1, patience_ms) != 0; // a signal: look again
    }
    return now.starts_with("idle"); // since we tried
}

/// Invalid, with errno, if it cannot be opened.
FileDescriptor open_device(const PciAddress& address) {
    using namespace std::chrono;
    constexpr milliseconds patience{20'000}; // a bridge's reset and a chip's end take seconds
    const std::string path = fmt::format("{}/{}", device_dir, address.str());
    const std::string state_path = fmt::format("/sys/bus/pci/devices/{}/udrv/state", address.str());
    const FileDescriptor state(::open(state_path.c_str(), O_RDONLY | O_CLOEXEC));
    const auto end = steady_clock::now() + patience;
    while (true) {
        FileDescriptor fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
        const int error = errno;
        const auto left = duration_cast<milliseconds>(end - steady_clock::now());
        const bool passes = error == EBUSY || error == EAGAIN || error == EINTR;
        if (fd || !passes || left.count() <= 0 ||
            (error != EINTR && !wait_until_free(state, static_cast<int>(left.count())))) {
            errno = error;
            return fd;
        }
    }
}

} // namespace

std::string memlock_advice(std::size_t needed_bytes) {
    rlimit limit{};
    ::getrlimit(RLIMIT_MEMLOCK, &limit);
    if (limit.rlim_cur == RLIM_INFINITY) {
        return "locked memory is not limited: is the machine short of memory?";
    }
    const std::string needed =
        needed_bytes == 0 ? std::string("more is needed")
                          : fmt::format("{} KiB more are needed", (needed_bytes + 1023) / 1024);
    return fmt::format("the limit of locked memory is {} KiB and {}: raise it with `ulimit -l` or "
                       "LimitMEMLOCK= of the service",
                       limit.rlim_cur / 1024, needed);
}

Device::Device(const PciAddress& address) : address_(address) {
    fd_ = open_device(address);
    if (!fd_) {
        throw_open_error(errno, address);
    }
    info_.abi_version = UDRV_ABI_VERSION;
    if (call(fd_.value(), UDRV_IOC_INFO, info_) < 0) {
        const int error = errno;
        if (error == EPROTO || error == ENOTTY) { // ENOTTY: from before version 4
            throw_error(EPROTO, tried("open"),
                        fmt::format("the kernel module speaks {} of the ABI and this program "
                                    "version {}",
                                    error == EPROTO ? fmt::format("version {}", info_.abi_version)
                                                    : std::string("an older version"),
                                    UDRV_ABI_VERSION),
                        "build and load both from the same release");
        }
        throw_errno(error, tried("ask about"));
    }
}

Device::Device(Device&& other) noexcept
    : DmaAllocator(), address_(other.address_), fd_(std::move(other.fd_)), info_(other.info_),
      irq_chosen_(other.irq_chosen_), blocks_(std::move(other.blocks_)) {
}

std::string Device::tried(const std::string& what) const {
    return fmt::format("{} {}", what, address_.str());
}

void Device::check_config(std::uint32_t offset, std::uint32_t width_bytes) const {
    if ((width_bytes != 1 && width_bytes != 2 && width_bytes != 4) || offset % width_bytes != 0) {
        throw_error(EINVAL,
                    tried(fmt::format("reach {} bytes at configuration register {:#x} of",
                                      width_bytes, offset)),
                    "they are 1, 2 or 4 bytes, aligned", "");
    }
}

bool Device::untrusted() const {
    std::ifstream file("/sys/bus/pci/devices/" + address_.str() + "/udrv/untrusted");
    std::string line;
    return std::getline(file, line) && line != "0";
}

std::uint32_t Device::config_read(std::uint32_t offset, std::uint32_t width_bytes) const {
    check_config(offset, width_bytes);
    udrv_config config{};
    config.offset = offset & ~3U;
    if (call(fd_.value(), UDRV_IOC_CONFIG, config) < 0) {
        throw_errno(errno, tried(fmt::format("read configuration register {:#x} of", offset)));
    }
    const std::uint32_t value = config.value >> 8 * (offset & 3U);
    return width_bytes >= 4 ? value : value & ((1U << 8 * width_bytes) - 1);
}

void Device::config_write(std::uint32_t offset, std::uint32_t width_bytes, std::uint32_t value) {
    check_config(offset, width_bytes);
    for (std::uint32_t n = 0; n < width_bytes; ++n) {
        udrv_config config{};
        config.offset = offset + n;
        config.value = value >> 8 * n & 0xff;
        config.write = 1;
        if (call(fd_.value(), UDRV_IOC_CONFIG, config) < 0) {
            throw_errno(errno, tried(fmt::format("write configuration register {:#x} of", offset)),
                        errno == EPERM ? "the kernel lets a driver write few of them (udrv/udrv.h)"
                                       : "");
        }
    }
}

void Device::dma_bits(unsigned bits) {
    if (::ioctl(fd_.value(), UDRV_IOC_DMA_BITS, static_cast<unsigned long>(bits)) < 0) {
        throw_errno(errno, tried(fmt::format("set {} DMA address bits on", bits)),
                    errno == EBUSY ? "set them before any DMA memory is taken" : "");
    }
}

void Device::bus_master(bool on) {
    if (::ioctl(fd_.value(), UDRV_IOC_BUS_MASTER, on ? 1UL : 0UL) < 0) {
        throw_errno(errno,
                    tried(on ? "switch on bus mastering of" : "switch off bus mastering of"));
    }
}

void Device::stop_by(std::span<const udrv_stop_write> writes) {
    for (udrv_stop_write write : writes) {
        if (call(fd_.value(), UDRV_IOC_STOP_WRITE, write) < 0) {
            throw_errno(
                errno, tried("tell the kernel how to stop"),
                errno == ENOSPC
                    ? fmt::format("it takes {} register writes", UDRV_MAX_STOP_WRITES)
                    : "a register is in a BAR, 1, 2, 4 or (in memory) 8 bytes wide, and aligned");
        }
    }
}

DmaBlock Device::allocate(std::size_t len_bytes) {
    udrv_coherent request{};
    request.len_bytes = len_bytes;
    const std::string what = fmt::format("allocate {} bytes of DMA memory for", len_bytes);
    if (call(fd_.value(), UDRV_IOC_COHERENT, request) < 0) {
        throw_errno(errno, tried(what), errno == ENOMEM ? memlock_advice(len_bytes) : "");
    }
    blocks_.push_back(map(UDRV_MMAP_COHERENT(request.handle), request.len_bytes, what));
    return DmaBlock{blocks_.back().data(), request.dma_addr, request.len_bytes};
}

BarMapping Device::map_bar(unsigned n) const {
    const std::string what = fmt::format("map BAR {} of", n);
    if (n >= UDRV_NR_BARS || (info_.bars[n].flags & UDRV_BAR_MEM) == 0 ||
        info_.bars[n].len_bytes == 0) {
        throw_error(ENXIO, tried(what), "the device has no such memory BAR");
    }
    const udrv_bar_info& bar = info_.bars[n];
    if ((bar.flags & UDRV_BAR_MMAP) == 0) {
        throw_error(
            EINVAL, tried(what), "another device's registers are on the same page",
            fmt::format("start the kernel with pci=resource_alignment=12@{}", address_.str()));
    }
    // The kernel maps whole pages, from the one in which the BAR begins.
    return {map(UDRV_MMAP_BAR(n), bar.page_offset + bar.len_bytes, what), bar.page_offset,
            bar.len_bytes};
}

void Device::mask_intx_by(udrv_intx_mask mask) {
    if (call(fd_.value(), UDRV_IOC_INTX_MASK, mask) < 0) {
        throw_errno(errno, tried("tell the kernel how to mask the interrupt of"),
                    errno == EBUSY ? "before the interrupts are set up, and once" : "");
    }
}

std::vector<std::uint32_t> Device::irq_setup(std::uint32_t mode, std::uint32_t wanted) {
    udrv_irq_setup setup{};
    setup.mode = mode;
    setup.nr_vectors = wanted;
    if (call(fd_.value(), UDRV_IOC_IRQ_SETUP, setup) < 0) {
        throw_errno(errno, tried("set up the interrupts of"),
                    errno == EBUSY ? "that can be chosen once a session" : "");
    }
    irq_chosen_ = true;
    return {setup.line, setup.line + setup.nr_vectors};
}

void Device::choose_intx() {
    if (!irq_chosen_) {
        irq_setup(UDRV_IRQ_INTX, 1);
    }
}

IrqFile Device::open_irq(std::uint32_t vector) {
    choose_intx();
    FileDescriptor fd(::ioctl(fd_.value(), UDRV_IOC_IRQ_OPEN, static_cast<unsigned long>(vector)));
    if (!fd) {
        throw_errno(errno, tried(fmt::format("open interrupt {} of", vector)),
                    errno == EBUSY ? "another device on the same line cannot share it, or the "
                                     "file is open already"
                                   : "");
    }
    return IrqFile(std::move(fd));
}

void Device::attach(std::uint32_t kind, void* attach, std::size_t len_bytes) {
    choose_intx(); // a port's doorbells need a vector
    udrv_attach request{};
    request.kind = kind;
    request.arg = reinterpret_cast<std::uintptr_t>(attach);
    *static_cast<std::uint32_t*>(attach) = static_cast<std::uint32_t>(len_bytes);
    if (call(fd_.value(), UDRV_IOC_ATTACH, request) == 0) {
        return;
    }
    const bool net = kind == UDRV_PORT_NET;
    const std::string what = net ? "attach a network interface to" : "attach disks to";
    switch (errno) {
    case EPROTONOSUPPORT:
        throw_error(
            errno, tried(what),
            fmt::format("the kernel module {} is not loaded", net ? "udrv_net" : "udrv_blk"),
            fmt::format("load it with `modprobe {0}` (or insmod build/modules/{0}.ko)",
                        net ? "udrv_net" : "udrv_blk"));
    case EEXIST:
        throw_error(errno, tried(what), "the name is taken", "choose another with --name");
    case ESTALE:
        throw_error(errno, tried(what),
                    "another disk (model, serial or size) is there than the one that its block "
                    "device stands for",
                    fmt::format("put the old disk back, or give it up with `udrv unbind {0}` and "
                                "`udrv bind {0}`",
                                address_.str()));
    case ENOMEM:
        throw_errno(errno, tried(what), memlock_advice(0));
    default:
        throw_errno(errno, tried(what));
    }
}

MemoryMap Device::map_port(std::size_t len_bytes) const {
    return map(UDRV_MMAP_PORT, len_bytes, "map the shared rings of");
}

MemoryMap Device::map(std::uint64_t offset, std::size_t len_bytes, const std::string& what) const {
    void* address = ::mmap(nullptr, len_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.value(),
                           static_cast<off_t>(offset));
    if (address == MAP_FAILED) {
        throw_errno(errno, tried(what));
    }
    return {address, len_bytes};
}

} // namespace udrv
