// SPDX-License-Identifier: MIT
//
// IrqFile: one interrupt of a device as a file (udrv/udrv.h, "Interrupts").
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "libudrv/file.hpp"
#include <udrv/udrv.h>

namespace udrv {

/// While it is open the handler is installed. The interrupt is masked when it
/// fires and stays so until the next wait. Move-only. Also works on stand-ins (a
/// pipe that carries struct udrv_irq_events) in tests.
class IrqFile {
  public:
    IrqFile() = default;
    explicit IrqFile(FileDescriptor fd) : fd_(std::move(fd)) {}

    /// Opens /proc/irq/<line>/irq, for a driver that has the path but no device
    /// file. Throws Error.
    [[nodiscard]] static IrqFile open_line(std::uint32_t line);

    /// Publishes what was produced on the rings, then returns the counts since the
    /// last read, or unmasks and sleeps until there are some. Empty: a signal came
    /// first. Throws Error (ENODEV) when the session is over.
    [[nodiscard]] std::optional<udrv_irq_events> wait() const;

    /// The same without sleeping. Empty: no counts.
    [[nodiscard]] std::optional<udrv_irq_events> try_read() const;

    /// Only publishes; for a driver that is busy and will not wait. Never blocks.
    /// Returns false when the session is over.
    bool publish() const noexcept;

    [[nodiscard]] int fd() const { return fd_.value(); }

  private:
    FileDescriptor fd_;
};

} // namespace udrv
