// SPDX-License-Identifier: MIT
#include "libudrv/process/output.hpp"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <memory>
#include <mutex>
#include <string>

#include <fcntl.h>
#include <poll.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

namespace udrv {

namespace {

bool is_open(int fd) {
    return ::fcntl(fd, F_GETFD) != -1 || errno != EBADF;
}

/// Whether a write of up to PIPE_BUF bytes would not wait.
bool takes_more(int fd) {
    pollfd file{fd, POLLOUT, 0};
    int ready = 0;
    do {
        ready = ::poll(&file, 1, 0);
    } while (ready < 0 && errno == EINTR);
    return ready == 1 && (file.revents & POLLOUT) != 0;
}

class SaySink final : public spdlog::sinks::base_sink<std::mutex> {
  protected:
    void sink_it_(const spdlog::details::log_msg& message) override {
        spdlog::memory_buf_t line;
        formatter_->format(message, line);
        say(STDERR_FILENO, {line.data(), line.size()});
    }
    void flush_() override {}
};

} // namespace

void open_standard_files() noexcept {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
        // The lowest free number is this one: those before it are open by now. Not for writing:
        // a command whose output is lost still finds out.
        if (!is_open(fd) && ::open("/dev/null", O_RDONLY) < 0) {
            ::_exit(1); // there is nobody to tell
        }
    }
}

void survive_lost_output() noexcept {
    for (const int number : {SIGPIPE, SIGXFSZ, SIGTTOU}) {
        (void)std::signal(number, SIG_IGN); // fails for bad numbers only
    }
}

void say(int fd, std::string_view text) noexcept {
    while (!text.empty() && takes_more(fd)) {
        const ssize_t written =
            ::write(fd, text.data(), std::min<std::size_t>(text.size(), PIPE_BUF));
        if (written > 0) {
            text.remove_prefix(static_cast<std::size_t>(written));
        } else if (written == 0 || errno != EINTR) {
            return;
        }
    }
}

void log_to_stderr(bool verbose, std::string_view name) {
    auto logger = std::make_shared<spdlog::logger>("udrv", std::make_shared<SaySink>());
    logger->set_pattern(std::string(name) + ": %l: %v");
    logger->set_level(verbose ? spdlog::level::debug : spdlog::level::info);
    // What it cannot format or write is not worth an exception, nor a line of spdlog's own.
    logger->set_error_handler([](const std::string&) {});
    spdlog::set_default_logger(std::move(logger));
}

} // namespace udrv
