// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include <sys/ioctl.h>

#include <udrv/udrv.h>

namespace udrv {

/// A call of udrv/udrv.h that takes a structure, whose size it sets. As ioctl(2).
template <typename Structure>
int call(int fd, unsigned long command, Structure& structure) {
    structure.size = static_cast<std::uint32_t>(sizeof(Structure));
    return ::ioctl(fd, command, &structure);
}

/// For Device::stop_by().
[[nodiscard]] constexpr udrv_stop_write stop_write(std::uint32_t bar, std::uint32_t offset,
                                                   std::uint32_t len_bytes, std::uint64_t value,
                                                   std::uint64_t mask = 0) {
    return {
        static_cast<std::uint32_t>(sizeof(udrv_stop_write)), bar, offset, len_bytes, value, mask};
}

} // namespace udrv
