// SPDX-License-Identifier: MIT
#include "drivers/virtio/transport.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <chrono>
#include <thread>

#include <fmt/format.h>

#include "libudrv/error.hpp"

namespace udrv::virtio {

namespace {

using namespace std::chrono_literals;

constexpr auto reset_timeout = 2s;
constexpr int max_capabilities = 48; ///< of four bytes or more, from 0x40 to 0xff

/// Whether the driver can reach it: in a memory BAR that can be mapped, whole, and aligned
/// to its widest register.
bool usable(const Structure& place, std::span<const udrv_bar_info, UDRV_NR_BARS> bars,
            std::uint32_t least_bytes) {
    if (place.bar >= UDRV_NR_BARS || place.len_bytes < least_bytes || place.offset % 4 != 0) {
        return false;
    }
    const udrv_bar_info& bar = bars[place.bar];
    return (bar.flags & UDRV_BAR_MEM) != 0 && (bar.flags & UDRV_BAR_MMAP) != 0 &&
           place.offset <= bar.len_bytes && place.len_bytes <= bar.len_bytes - place.offset;
}

} // namespace

Layout find_structures(const ConfigRead& read, std::span<const udrv_bar_info, UDRV_NR_BARS> bars) {
    Layout layout;
    const auto take = [&](Structure& place, const Structure& found, std::uint32_t least_bytes) {
        if (place.len_bytes == 0 && usable(found, bars, least_bytes)) {
            place = found;
            return true;
        }
        return false;
    };
    std::uint32_t at = 0;
    if ((read(pci::status) & pci::status_cap_list) != 0) {
        at = read(pci::capabilities_pointer) & 0xfc;
    }
    for (int n = 0; at >= pci::first_capability && n < max_capabilities; n++) {
        const std::uint32_t header = read(at);
        if ((header & 0xff) == pci::cap_vndr && at + cap::length + 4 <= 0x100) {
            const Structure found{.bar = static_cast<std::uint8_t>(read(at + cap::bar)),
                                  .offset = read(at + cap::offset),
                                  .len_bytes = read(at + cap::length)};
            switch (header >> 24) {
            case cap::common_cfg:
                take(layout.common, found, common::len_bytes);
                break;
            case cap::notify_cfg:
                if (at + cap::notify_off_multiplier + 4 <= 0x100 && take(layout.notify, found, 2)) {
                    layout.notify_off_multiplier = read(at + cap::notify_off_multiplier);
                }
                break;
            case cap::isr_cfg:
                take(layout.isr, found, 1);
                break;
            case cap::device_cfg:
                take(layout.device, found, 4);
                break;
            default:
                break;
            }
        }
        at = header >> 8 & 0xfc;
    }
    if (layout.common.len_bytes == 0 || layout.notify.len_bytes == 0 || layout.isr.len_bytes == 0 ||
        layout.device.len_bytes == 0) {
        throw_error(ENODEV, "virtio: find the device's registers",
                    "it lacks capabilities of virtio 1.x that point into its memory BARs",
                    "a legacy device is not supported (QEMU: disable-modern=off)");
    }
    return layout;
}

udrv_stop_write end_of_transfers(const Layout& layout) {
    udrv_stop_write write{};
    write.bar = layout.common.bar;
    write.offset = layout.common.offset + common::device_status.offset;
    write.len_bytes = 1;
    write.mask = 0xff;
    return write;
}

std::uint64_t choose_features(std::uint64_t offered, std::uint64_t wanted, bool iommu) {
    const std::uint64_t features = offered & wanted;
    if ((features & feature::version_1) == 0) {
        throw_error(
            ENODEV, "virtio: agree on features",
            fmt::format("the device does not offer VIRTIO_F_VERSION_1 (it offers {:#x})", offered),
            "only virtio 1.0 and later are supported");
    }
    // Without this the device uses addresses of the machine's memory, not the IOMMU's (6.1):
    // it would read and write memory that is not the driver's.
    if (iommu && (features & feature::access_platform) == 0) {
        throw_error(ENODEV, "virtio: agree on features",
                    "the device passes by the IOMMU: it does not offer VIRTIO_F_ACCESS_PLATFORM",
                    "have its maker switch that on (QEMU: iommu_platform=on)");
    }
    return features;
}

Transport::Transport(const std::function<RegisterIo&(unsigned n)>& bar, const Layout& layout,
                     bool msix)
    : common_(bar(layout.common.bar), layout.common),
      notify_(bar(layout.notify.bar), layout.notify), isr_(bar(layout.isr.bar), layout.isr),
      device_(bar(layout.device.bar), layout.device),
      notify_off_multiplier_(layout.notify_off_multiplier), msix_(msix) {
}

void Transport::begin_reset() {
    status_ = 0;
    common::device_status.write(common_, 0);
}

void Transport::reset() {
    begin_reset();
    // 4.1.4.3.2: nothing else until it reads 0.
    const auto deadline = std::chrono::steady_clock::now() + reset_timeout;
    for (;;) {
        const bool late = std::chrono::steady_clock::now() >= deadline;
        const std::uint8_t last = status();
        if (last == 0) {
            return;
        }
        if (late) {
            throw_error(ETIMEDOUT, "virtio: reset the device",
                        fmt::format("device_status is still {:#04x} after {} s", last,
                                    reset_timeout.count()),
                        last == device_status::gone
                            ? "the device does not answer: is it still there?"
                            : "unbind and bind the device, or restart the machine");
        }
        std::this_thread::sleep_for(10us);
    }
}

/// No bit is ever cleared but by a reset (2.1.1).
void Transport::set_status(std::uint8_t bits) {
    status_ = static_cast<std::uint8_t>(status_ | bits);
    common::device_status.write(common_, status_);
}

void Transport::greet() {
    set_status(device_status::acknowledge);
    set_status(device_status::driver);
}

std::uint64_t Transport::offered() {
    std::uint64_t features = 0;
    for (std::uint32_t half = 0; half < 2; half++) {
        common::device_feature_select.write(common_, half);
        features |= std::uint64_t{common::device_feature.read(common_)} << (32 * half);
    }
    return features;
}

void Transport::accept(std::uint64_t features) {
    for (std::uint32_t half = 0; half < 2; half++) {
        common::driver_feature_select.write(common_, half);
        common::driver_feature.write(common_, static_cast<std::uint32_t>(features >> (32 * half)));
    }
    set_status(device_status::features_ok);
    if (const std::uint8_t last = status(); (last & device_status::features_ok) == 0) {
        throw_error(
            EIO, "virtio: agree on features",
            fmt::format("the device refuses {:#x} (device_status is {:#04x})", features, last));
    }
    if (msix_) {
        common::config_msix_vector.write(common_, 0);
        if (common::config_msix_vector.read(common_) != 0) { // 4.1.5.1.2.2
            throw_error(EIO, "virtio: set the interrupt of configuration changes",
                        "the device has no resources for it");
        }
    }
    notify_offset_.assign(common::num_queues.read(common_), 0);
}

std::uint16_t Transport::max_size(std::uint16_t n) {
    if (n >= notify_offset_.size()) {
        return 0;
    }
    common::queue_select.write(common_, n);
    return common::queue_size.read(common_);
}

std::uint16_t Transport::queue_size(std::uint16_t n, std::uint16_t wanted, std::uint16_t least,
                                    std::string_view option) {
    const std::uint16_t most = max_size(n);
    const std::uint16_t size = std::bit_floor(std::min(most, wanted));
    if (size < least) {
        throw_error(
            EIO, fmt::format("virtio: set up queue {}", n),
            fmt::format("the device has room for {} entries in it, not for {}", most, least),
            fmt::format("make it larger (QEMU: {})", option));
    }
    return size;
}

void Transport::enable(std::uint16_t n, const Virtqueue& queue, bool interrupts) {
    const auto what = [n] { return fmt::format("virtio: set up queue {}", n); };
    if (const std::uint16_t most = max_size(n); queue.size() > most) {
        throw_error(EIO, what(),
                    fmt::format("it may have {} entries now, not {}", most, queue.size()));
    }
    // 4.1.4.4: where the device is notified of it.
    const std::uint64_t offset =
        std::uint64_t{common::queue_notify_off.read(common_)} * notify_off_multiplier_;
    if (offset + sizeof(std::uint16_t) > notify_.len_bytes() || offset % 2 != 0) {
        throw_error(EIO, what(),
                    fmt::format("its notification at {:#x} is not in the device's {} "
                                "bytes for that",
                                offset, notify_.len_bytes()));
    }
    notify_offset_[n] = static_cast<std::uint32_t>(offset);
    common::queue_size.write(common_, queue.size());
    if (msix_) {
        const std::uint16_t vector = interrupts ? std::uint16_t{0} : no_vector;
        common::queue_msix_vector.write(common_, vector);
        if (common::queue_msix_vector.read(common_) != vector) {
            throw_error(EIO, what(), "the device has no resources for its interrupt");
        }
    }
    const auto write64 = [this](const Register<std::uint32_t>& low, std::uint64_t address) {
        low.write(common_, low_half(address));
        low.at(1, sizeof(std::uint32_t)).write(common_, high_half(address));
    };
    write64(common::queue_desc, queue.desc());
    write64(common::queue_driver, queue.driver());
    write64(common::queue_device, queue.device());
    common::queue_enable.write(common_, 1);
}

void Transport::run() {
    set_status(device_status::driver_ok);
}

/// 4.1.5.2: its number, in 16 bits.
void Transport::notify(std::uint16_t n) {
    notify_.write16(notify_offset_[n], n);
}

} // namespace udrv::virtio
