// SPDX-License-Identifier: MIT
//
// One load/store interface for memory-mapped registers, I/O ports and the fake
// register files of the unit tests, and typed names for the registers on it.
#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>

namespace udrv {

/// A window of device registers. Offsets are in bytes from the window's start
/// and aligned to the access. A store is ordered after all earlier stores to
/// memory (so that descriptors are in place before a tail write); a load is
/// ordered before all later loads.
class RegisterIo {
  public:
    RegisterIo() = default;
    RegisterIo(const RegisterIo&) = delete;
    RegisterIo& operator=(const RegisterIo&) = delete;
    virtual ~RegisterIo() = default;

    [[nodiscard]] virtual std::uint8_t read8(std::uint32_t offset) = 0;
    [[nodiscard]] virtual std::uint16_t read16(std::uint32_t offset) = 0;
    [[nodiscard]] virtual std::uint32_t read32(std::uint32_t offset) = 0;
    virtual void write8(std::uint32_t offset, std::uint8_t value) = 0;
    virtual void write16(std::uint32_t offset, std::uint16_t value) = 0;
    virtual void write32(std::uint32_t offset, std::uint32_t value) = 0;
};

/// A register's place and width, for example
/// `inline constexpr Register<std::uint32_t> ctrl{0x0000};`.
/// `ctrl.read(io)` and `ctrl.write(io, value)` pick the access by the width.
template <typename Word>
struct Register {
    static_assert(sizeof(Word) == 1 || sizeof(Word) == 2 || sizeof(Word) == 4);
    std::uint32_t offset;

    [[nodiscard]] Word read(RegisterIo& io) const {
        if constexpr (sizeof(Word) == 1) {
            return io.read8(offset);
        } else if constexpr (sizeof(Word) == 2) {
            return io.read16(offset);
        } else {
            return io.read32(offset);
        }
    }

    void write(RegisterIo& io, Word value) const {
        if constexpr (sizeof(Word) == 1) {
            io.write8(offset, value);
        } else if constexpr (sizeof(Word) == 2) {
            io.write16(offset, value);
        } else {
            io.write32(offset, value);
        }
    }

    /// The same register of the n-th of several equal blocks, `stride` bytes apart.
    [[nodiscard]] constexpr Register at(std::uint32_t n, std::uint32_t stride) const {
        return Register{offset + n * stride};
    }
};

/// The halves of an address for the two registers, or the two words of a descriptor,
/// that take it.
[[nodiscard]] constexpr std::uint32_t low_half(std::uint64_t address) {
    return static_cast<std::uint32_t>(address);
}
[[nodiscard]] constexpr std::uint32_t high_half(std::uint64_t address) {
    return static_cast<std::uint32_t>(address >> 32);
}

/// How often and for how long wait_until() looks.
struct WaitTime {
    std::chrono::milliseconds timeout;
    std::chrono::microseconds pause;
};

/// Returns when (register & mask) == value. Throws Error (ETIMEDOUT) that begins with
/// `who` ("e1000", "ahci: port 2") and names the register and its last value. A register
/// that reads as all ones is one of a device that is gone: never what was waited for.
/// For the time before a driver serves; the data path does not wait.
void wait_until(RegisterIo& io, Register<std::uint32_t> place, std::string_view who,
                std::string_view name, std::uint32_t mask, std::uint32_t value, WaitTime time);

} // namespace udrv
