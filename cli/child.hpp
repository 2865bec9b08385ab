// SPDX-License-Identifier: MIT
//
// Child: a driver's process, as its supervisor sees it.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include <sys/types.h>

#include "libudrv/file.hpp"
#include "libudrv/process/heartbeat.hpp"

namespace udrv::cli {

/// A program's file, which may be replaced or deleted meanwhile: this stays what it was.
class Program {
  public:
    Program() = default;
    /// The file of that path as it is now; without one if it cannot be opened, and errno says
    /// why.
    explicit Program(const std::filesystem::path& path);

    [[nodiscard]] int file() const { return file_.value(); }
    explicit operator bool() const { return static_cast<bool>(file_); }

  private:
    FileDescriptor file_;
};

/// A process that executes a driver's program and takes part in the protocol of
/// docs/driver-protocol.md. It gets ready at once, and waits for its turn with no file of the
/// device's. Move-only; a process that is neither taken nor dismissed ends with its
/// supervisor.
class Child {
  public:
    Child() = default;
    /// Throws Error. `argv` as for execve(2). A program that cannot be executed is a process
    /// that ends at once.
    Child(const Program& program, char* const* argv, std::chrono::milliseconds deadline);
    Child(Child&& other) noexcept { *this = std::move(other); }
    Child& operator=(Child&& other) noexcept;
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;
    ~Child() { dismiss(); }

    explicit operator bool() const { return pid_ > 0; }
    [[nodiscard]] pid_t pid() const { return pid_; }
    /// Readable when it has said something, or ended.
    [[nodiscard]] int status_file() const { return status_.value(); }

    void give_turn();
    void signal(int number) const;
    /// Reads what it has said. What was said stays said.
    void listen();
    [[nodiscard]] bool ready() const { return said("ready\n"); }
    [[nodiscard]] bool serving() const { return said("serving\n"); }
    [[nodiscard]] std::uint64_t beats() const;
    /// Its status if it has ended; then there is no process any more. `wait`: until then.
    [[nodiscard]] std::optional<int> ended(bool wait = false);
    /// Ends it now. Nothing if there is none.
    void dismiss();

  private:
    [[nodiscard]] bool said(const char* line) const {
        return words_.find(line) != std::string::npos;
    }

    pid_t pid_ = 0;
    FileDescriptor turn_;
    FileDescriptor status_;
    MemoryMap page_;
    std::string words_;
};

} // namespace udrv::cli
