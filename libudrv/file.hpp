// SPDX-License-Identifier: MIT
//
// Owners of what the kernel hands out: descriptors and memory maps.
#pragma once

#include <cstddef>
#include <utility>

#include <sys/mman.h>
#include <unistd.h>

namespace udrv {

/// A file descriptor that closes itself. Move-only.
class FileDescriptor {
  public:
    FileDescriptor() = default;
    explicit FileDescriptor(int fd) : fd_(fd) {}
    FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    FileDescriptor& operator=(FileDescriptor&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    FileDescriptor(const FileDescriptor&) = delete;
    FileDescriptor& operator=(const FileDescriptor&) = delete;
    ~FileDescriptor() { reset(); }

    void reset() {
        if (fd_ >= 0) {
            ::close(std::exchange(fd_, -1));
        }
    }
    [[nodiscard]] int value() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }

  private:
    int fd_ = -1;
};

/// A memory map that unmaps itself. Move-only.
class MemoryMap {
  public:
    MemoryMap() = default;
    MemoryMap(void* address, std::size_t len_bytes) : address_(address), len_bytes_(len_bytes) {}
    MemoryMap(MemoryMap&& other) noexcept
        : address_(std::exchange(other.address_, nullptr)),
          len_bytes_(std::exchange(other.len_bytes_, 0)) {}
    MemoryMap& operator=(MemoryMap&& other) noexcept {
        std::swap(address_, other.address_);
        std::swap(len_bytes_, other.len_bytes_);
        return *this;
    }
    MemoryMap(const MemoryMap&) = delete;
    MemoryMap& operator=(const MemoryMap&) = delete;
    ~MemoryMap() {
        if (address_ != nullptr) {
            ::munmap(address_, len_bytes_);
        }
    }

    [[nodiscard]] std::byte* data() const { return static_cast<std::byte*>(address_); }
    [[nodiscard]] std::size_t len_bytes() const { return len_bytes_; }

  private:
    void* address_ = nullptr;
    std::size_t len_bytes_ = 0;
};

} // namespace udrv
