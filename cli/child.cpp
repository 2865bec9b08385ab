// SPDX-License-Identifier: MIT
#include "cli/child.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libudrv/error.hpp"
#include "libudrv/process/output.hpp"
#include "libudrv/process/supervised.hpp"

namespace udrv::cli {

namespace {

constexpr const char* tried = "start a driver's process";
constexpr std::size_t longest_words = 256; ///< of a driver that says too much
constexpr std::size_t page_bytes = 4096;

struct Pipe {
    explicit Pipe(int flags) {
        std::array<int, 2> ends{};
        if (::pipe2(ends.data(), O_CLOEXEC | flags) != 0) {
            throw_errno(errno, fmt::format("{}: make a pipe", tried));
        }
        out = FileDescriptor(ends[0]);
        in = FileDescriptor(ends[1]);
    }
    FileDescriptor out;
    FileDescriptor in;
};

/// A page that nobody can shrink under the other's feet.
FileDescriptor shared_page() {
    FileDescriptor file(::memfd_create("udrv-heartbeat", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!file || ::ftruncate(file.value(), page_bytes) != 0 ||
        ::fcntl(file.value(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        throw_errno(errno, fmt::format("{}: share memory", tried));
    }
    return file;
}

std::string_view name_of(std::string_view entry) {
    return entry.substr(0, entry.find('='));
}

/// This process's environment and `more`, as execve(2) wants it. What the two name alike is
/// as `more` has it: getenv(3) finds the first, which may be of a supervisor above us.
class Environment {
  public:
    explicit Environment(std::vector<std::string> more) : more_(std::move(more)) {
        for (char** entry = environ; *entry != nullptr; ++entry) {
            const bool replaced =
                std::any_of(more_.begin(), more_.end(), [&](const std::string& ours) {
                    return name_of(ours) == name_of(*entry);
                });
            if (!replaced) {
                entries_.push_back(*entry);
            }
        }
        for (std::string& entry : more_) {
            entries_.push_back(entry.data());
        }
        entries_.push_back(nullptr);
    }
    [[nodiscard]] char* const* entries() const { return entries_.data(); }

  private:
    std::vector<std::string> more_;
    std::vector<char*> entries_;
};

/// In the new process. A script's interpreter opens the file once more, by its number.
[[noreturn]] void execute(int program, char* const* argv, char* const* environment) {
    ::execveat(program, "", argv, environment, AT_EMPTY_PATH);
    if (errno == ENOENT && ::fcntl(program, F_SETFD, 0) == 0) {
        ::execveat(program, "", argv, environment, AT_EMPTY_PATH);
    }
    say(STDERR_FILENO,
        fmt::format("udrv: execute the driver's program: {}\n", std::strerror(errno)));
    ::_exit(127);
}

} // namespace

Program::Program(const std::filesystem::path& path)
    : file_(::open(path.c_str(), O_PATH | O_CLOEXEC)) {
}

Child::Child(const Program& program, char* const* argv, std::chrono::milliseconds deadline) {
    Pipe turn(0);
    Pipe status(O_NONBLOCK);
    const FileDescriptor page = shared_page();
    void* memory = ::mmap(nullptr, sizeof(HeartbeatPage), PROT_READ, MAP_SHARED, page.value(), 0);
    if (memory == MAP_FAILED) {
        throw_errno(errno, fmt::format("{}: share memory", tried));
    }
    page_ = MemoryMap(memory, sizeof(HeartbeatPage));
    namespace env = supervised_env;
    const auto entry = [](const char* name, auto value) {
        return fmt::format("{}={}", name, value);
    };
    const Environment environment({entry(env::protocol, 1), entry(env::turn_fd, turn.out.value()),
                                   entry(env::status_fd, status.in.value()),
                                   entry(env::heartbeat_fd, page.value()),
                                   entry(env::deadline_ms, deadline.count())});
    const pid_t parent = ::getpid();
    pid_ = ::fork();
    if (pid_ < 0) {
        throw_errno(errno, tried);
    }
    if (pid_ == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGTERM); // nobody would start it again, nor end it
        if (::getppid() != parent) {
            ::_exit(1);
        }
        for (const int file : {turn.out.value(), status.in.value(), page.value()}) {
            ::fcntl(file, F_SETFD, 0);
        }
        execute(program.file(), argv, environment.entries());
    }
    turn_ = std::move(turn.in);
    status_ = std::move(status.out);
}

Child& Child::operator=(Child&& other) noexcept {
    std::swap(pid_, other.pid_);
    std::swap(turn_, other.turn_);
    std::swap(status_, other.status_);
    std::swap(page_, other.page_);
    std::swap(words_, other.words_);
    return *this;
}

void Child::give_turn() {
    (void)!::write(turn_.value(), "!", 1); // else it has ended, which is seen elsewhere
    turn_.reset();
}

void Child::signal(int number) const {
    if (pid_ > 0) {
        ::kill(pid_, number);
    }
}

void Child::listen() {
    std::array<char, 64> piece{};
    ssize_t got = 0;
    while (status_ && (got = ::read(status_.value(), piece.data(), piece.size())) > 0) {
        if (words_.size() < longest_words) {
            words_.append(piece.data(), static_cast<std::size_t>(got));
        }
    }
    if (got == 0) {
        status_.reset(); // end of file: poll() would not wait any more
    }
}

std::uint64_t Child::beats() const {
    const auto* page = std::launder(reinterpret_cast<const HeartbeatPage*>(page_.data()));
    return page->beats.load(std::memory_order_relaxed);
}

std::optional<int> Child::ended(bool wait) {
    int status = 0;
    if (pid_ <= 0) {
        return std::nullopt;
    }
    pid_t got = 0;
    do {
        got = ::waitpid(pid_, &status, wait ? 0 : WNOHANG);
    } while (got < 0 && errno == EINTR);
    if (got != pid_) {
        return std::nullopt;
    }
    listen();
    pid_ = 0;
    return status;
}

void Child::dismiss() {
    if (pid_ > 0) {
        signal(SIGKILL);
        (void)ended(true);
    }
}

} // namespace udrv::cli
