// SPDX-License-Identifier: MIT
//
// I/O ports (x86) as a register window.
#pragma once

#include <cstdint>

#include "libudrv/device/registers.hpp"

namespace udrv {

/// Ports `first` to `first + count - 1` by IN and OUT instructions: no system call.
///
/// The right to them is the *thread's* (ioperm(2)): construct it on the data thread,
/// or before that thread is started, and before privileges are dropped; it needs
/// CAP_SYS_RAWIO and a kernel that is not locked down. Threads and children started
/// later inherit the right (start_helper_thread()'s do not keep it). The destructor gives
/// it back, on the thread that it runs on: windows must not overlap. Throws Error.
///
/// The kernel ends a session by killing each thread of its owner that still has a right to
/// ports, any port. So windows go before the Device does; after an unbind or a violation
/// a driver with ports is killed, where another one would see ENODEV.
class DirectPortIo final : public RegisterIo {
  public:
    DirectPortIo(std::uint16_t first, std::uint16_t count);
    ~DirectPortIo() override;

    [[nodiscard]] std::uint8_t read8(std::uint32_t offset) override;
    [[nodiscard]] std::uint16_t read16(std::uint32_t offset) override;
    [[nodiscard]] std::uint32_t read32(std::uint32_t offset) override;
    void write8(std::uint32_t offset, std::uint8_t value) override;
    void write16(std::uint32_t offset, std::uint16_t value) override;
    void write32(std::uint32_t offset, std::uint32_t value) override;

  private:
    [[nodiscard]] std::uint16_t port(std::uint32_t offset) const;

    std::uint16_t first_;
    std::uint16_t count_;
};

/// The calling thread has no right to any port from here on.
void drop_port_rights();

} // namespace udrv
