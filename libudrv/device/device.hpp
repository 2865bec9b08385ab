// SPDX-License-Identifier: MIT
//
// Device: a session with one PCI function that is bound to udrv.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "libudrv/device/call.hpp"
#include "libudrv/device/dma.hpp"
#include "libudrv/device/irq.hpp"
#include "libudrv/device/pci_address.hpp"
#include "libudrv/device/registers.hpp"
#include "libudrv/file.hpp"
#include <udrv/udrv.h>

namespace udrv {

/// A memory BAR, mapped uncached; it may begin inside a page. Accesses are exactly one load or
/// store of the width named. When the device goes (unbind, hot-unplug) an access raises SIGBUS.
class BarMapping final : public RegisterIo {
  public:
    /// `map`: whole pages, in which the BAR begins at `page_offset`.
    BarMapping(MemoryMap map, std::size_t page_offset, std::size_t len_bytes)
        : map_(std::move(map)), first_(map_.data() + page_offset), len_bytes_(len_bytes) {}
    BarMapping(BarMapping&& other) noexcept
        : RegisterIo(), map_(std::move(other.map_)), first_(other.first_),
          len_bytes_(other.len_bytes_) {}

    [[nodiscard]] std::size_t len_bytes() const { return len_bytes_; }

    [[nodiscard]] std::uint8_t read8(std::uint32_t offset) override {
        return load<std::uint8_t>(offset);
    }
    [[nodiscard]] std::uint16_t read16(std::uint32_t offset) override {
        return load<std::uint16_t>(offset);
    }
    [[nodiscard]] std::uint32_t read32(std::uint32_t offset) override {
        return load<std::uint32_t>(offset);
    }
    void write8(std::uint32_t offset, std::uint8_t value) override { store(offset, value); }
    void write16(std::uint32_t offset, std::uint16_t value) override { store(offset, value); }
    void write32(std::uint32_t offset, std::uint32_t value) override { store(offset, value); }

  private:
    // On x86 uncached accesses are strongly ordered against each other and against
    // ordinary stores before them, so that stopping the compiler is enough.
    // Elsewhere a barrier orders memory against the device.
    static void barrier_before_store() {
#if defined(__x86_64__) || defined(__i386__)
        asm volatile("" ::: "memory");
#elif defined(__aarch64__)
        asm volatile("dmb oshst" ::: "memory");
#else
        __sync_synchronize();
#endif
    }
    static void barrier_after_load() {
#if defined(__x86_64__) || defined(__i386__)
        asm volatile("" ::: "memory");
#elif defined(__aarch64__)
        asm volatile("dmb oshld" ::: "memory");
#else
        __sync_synchronize();
#endif
    }

    template <typename Word>
    [[nodiscard]] volatile Word* at(std::uint32_t offset) const {
        void* address = first_ + offset;
        return static_cast<volatile Word*>(address);
    }
    template <typename Word>
    [[nodiscard]] Word load(std::uint32_t offset) const {
        const Word value = *at<Word>(offset);
        barrier_after_load();
        return value;
    }
    template <typename Word>
    void store(std::uint32_t offset, Word value) const {
        barrier_before_store();
        *at<Word>(offset) = value;
    }

    MemoryMap map_;
    std::byte* first_;
    std::size_t len_bytes_;
};

/// One process's exclusive session with /dev/udrv/<bdf>. Closing it (or dying)
/// quiets the device and takes back everything that was handed out. Every failure
/// throws Error. Move-only; blocks from allocate() live as long as the Device.
class Device final : public DmaAllocator {
  public:
    /// Opens the device. The error says whether the module is missing, the device
    /// is not bound, not permitted, or held by another process (and by which).
    explicit Device(const PciAddress& address);
    Device(Device&& other) noexcept;

    [[nodiscard]] const PciAddress& address() const { return address_; }
    [[nodiscard]] const udrv_info& info() const { return info_; }
    /// An IOMMU keeps it from all memory but what it is given.
    [[nodiscard]] bool confined() const { return (info_.flags & UDRV_DEV_IOMMU) != 0; }
    /// The administrator does not trust what its driver says (`bind --untrusted`).
    [[nodiscard]] bool untrusted() const;
    [[nodiscard]] int fd() const { return fd_.value(); }

    /// Configuration space; `width_bytes` is 1, 2 or 4 and `offset` aligned to it.
    [[nodiscard]] std::uint32_t config_read(std::uint32_t offset, std::uint32_t width_bytes) const;
    /// Only what the kernel's allow-list permits (udrv/udrv.h), else EPERM.
    void config_write(std::uint32_t offset, std::uint32_t width_bytes, std::uint32_t value);

    /// How many address bits the chip has, 24 to 64. Before any DMA memory is taken.
    void dma_bits(unsigned bits);
    /// Lets the chip reach memory. Reset it first.
    void bus_master(bool on);
    /// Register writes by which the kernel stops the chip when this process is gone,
    /// however it went; UDRV_MAX_STOP_WRITES at most. For a chip that cannot be reset
    /// alone, before bus mastering goes on.
    void stop_by(std::span<const udrv_stop_write> writes);

    /// Coherent memory for descriptor rings; see DmaAllocator.
    [[nodiscard]] DmaBlock allocate(std::size_t len_bytes) override;

    /// Maps memory BAR n (0 to 5), whole.
    [[nodiscard]] BarMapping map_bar(unsigned n) const;

    /// Before irq_setup() and open_irq(): how a chip without the INTx-disable bit is masked,
    /// so that it can share its line. Nothing where the bit is there.
    void mask_intx_by(udrv_intx_mask mask);
    /// Chooses INTx, MSI or MSI-X (UDRV_IRQ_*), once; `wanted` vectors, may grant fewer.
    /// Returns the Linux interrupt number of each vector granted. MSI and MSI-X are
    /// writes to memory: none comes before bus_master(true).
    std::vector<std::uint32_t> irq_setup(std::uint32_t mode, std::uint32_t wanted);
    /// The IRQ file of a vector; one opener a vector. If nothing was chosen: INTx.
    [[nodiscard]] IrqFile open_irq(std::uint32_t vector);

    /// Attaches the session to the device's network interface or disks.
    /// `attach` is the kind's structure, of `len_bytes`, which it begins with; written back.
    void attach(std::uint32_t kind, void* attach, std::size_t len_bytes);
    /// Maps the shared rings of the attached port.
    [[nodiscard]] MemoryMap map_port(std::size_t len_bytes) const;

  private:
    [[nodiscard]] MemoryMap map(std::uint64_t offset, std::size_t len_bytes,
                                const std::string& what) const;
    void choose_intx();
    void check_config(std::uint32_t offset, std::uint32_t width_bytes) const;
    [[nodiscard]] std::string tried(const std::string& what) const;

    PciAddress address_;
    FileDescriptor fd_;
    udrv_info info_{};
    bool irq_chosen_ = false;
    std::vector<MemoryMap> blocks_; ///< coherent memory handed out
};

/// Advice for ENOMEM when pinning `needed_bytes` (0: not known how many): the limit
/// of locked memory and how to raise it.
[[nodiscard]] std::string memlock_advice(std::size_t needed_bytes);

} // namespace udrv
