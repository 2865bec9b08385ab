// SPDX-License-Identifier: MIT
#include "libudrv/device/port_io.hpp"

#include <cassert>
#include <cerrno>

#include <fmt/format.h>

#if defined(__x86_64__) || defined(__i386__)
#include <sys/io.h>
#endif

#include "libudrv/error.hpp"

namespace udrv {

namespace {

[[noreturn]] void throw_port_error(int error, std::uint16_t first, std::uint16_t count,
                                   const char* way) {
    const std::string tried = fmt::format("reach I/O ports {:#x}-{:#x} by {}", first,
                                          std::uint32_t{first} + count - 1, way);
    if (error == EPERM || error == EACCES) {
        throw_error(error, tried, "not permitted",
                    "it takes CAP_SYS_RAWIO (root), and a kernel that is not locked down");
    }
    throw_errno(error, tried);
}

} // namespace

// Ordering: the processor carries out all earlier stores before an OUT, and an IN
// before all that follows, so that stopping the compiler is enough (the functions of
// sys/io.h are volatile, but do not order memory against themselves).

#if defined(__x86_64__) || defined(__i386__)

namespace {

void compiler_barrier() {
    asm volatile("" ::: "memory");
}

} // namespace

DirectPortIo::DirectPortIo(std::uint16_t first, std::uint16_t count)
    : first_(first), count_(count) {
    if (::ioperm(first, count, 1) != 0) {
        throw_port_error(errno, first, count, "ioperm");
    }
}

DirectPortIo::~DirectPortIo() {
    (void)::ioperm(first_, count_, 0); // it can only fail where there is nothing to give back
}

void drop_port_rights() {
    (void)::ioperm(0, 0x10000, 0);
}

std::uint16_t DirectPortIo::port(std::uint32_t offset) const {
    assert(offset < count_);
    return static_cast<std::uint16_t>(first_ + offset);
}

std::uint8_t DirectPortIo::read8(std::uint32_t offset) {
    const std::uint8_t value = ::inb(port(offset));
    compiler_barrier();
    return value;
}
std::uint16_t DirectPortIo::read16(std::uint32_t offset) {
    const std::uint16_t value = ::inw(port(offset));
    compiler_barrier();
    return value;
}
std::uint32_t DirectPortIo::read32(std::uint32_t offset) {
    const std::uint32_t value = ::inl(port(offset));
    compiler_barrier();
    return value;
}
void DirectPortIo::write8(std::uint32_t offset, std::uint8_t value) {
    compiler_barrier();
    ::outb(value, port(offset));
}
void DirectPortIo::write16(std::uint32_t offset, std::uint16_t value) {
    compiler_barrier();
    ::outw(value, port(offset));
}
void DirectPortIo::write32(std::uint32_t offset, std::uint32_t value) {
    compiler_barrier();
    ::outl(value, port(offset));
}

#else // no such instructions, and so no such object

DirectPortIo::DirectPortIo(std::uint16_t first, std::uint16_t count)
    : first_(first), count_(count) {
    throw_port_error(ENOSYS, first, count, "IN and OUT");
}
DirectPortIo::~DirectPortIo() = default;
void drop_port_rights() {
}
std::uint16_t DirectPortIo::port(std::uint32_t offset) const {
    return static_cast<std::uint16_t>(first_ + offset % count_);
}
std::uint8_t DirectPortIo::read8(std::uint32_t /*offset*/) {
    return 0xff;
}
std::uint16_t DirectPortIo::read16(std::uint32_t /*offset*/) {
    return 0xffff;
}
std::uint32_t DirectPortIo::read32(std::uint32_t /*offset*/) {
    return 0xffffffff;
}
void DirectPortIo::write8(std::uint32_t /*offset*/, std::uint8_t /*value*/) {
}
void DirectPortIo::write16(std::uint32_t /*offset*/, std::uint16_t /*value*/) {
}
void DirectPortIo::write32(std::uint32_t /*offset*/, std::uint32_t /*value*/) {
}

#endif

} // namespace udrv
