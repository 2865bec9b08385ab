// SPDX-License-Identifier: MIT
//
// fake_driver RECORD [--as NAME] [FAULT]: a driver without a device, for tests of its
// supervisor. Writes what it does into the file RECORD, a line each: "NAME serving PID".
// FAULT: die-at-once, never-ready, die-in-turn, hang-in-turn, die-soon, slow.
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "libudrv/process/supervised.hpp"

namespace {

using namespace std::chrono_literals;

volatile std::sig_atomic_t stop = 0;
volatile std::sig_atomic_t report = 0;

void handle(int number, void (*handler)(int)) {
    struct sigaction action {};
    action.sa_handler = handler;
    ::sigaction(number, &action, nullptr);
}

/// Appends a line in one write.
void record(const char* path, const std::string& line) {
    const int file = ::open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    (void)!::write(file, line.data(), line.size());
    ::close(file);
}

[[noreturn]] void hang() {
    for (;;) {
        ::pause();
    }
}

} // namespace

int main(int argc, char** argv) {
    if (argc < 2) {
        fmt::print(stderr, "usage: fake_driver RECORD [--as NAME] [FAULT]\n");
        return 2;
    }
    std::string name = "old";
    std::string_view fault;
    for (int n = 2; n < argc; ++n) {
        if (std::string_view(argv[n]) == "--as" && n + 1 < argc) {
            name = argv[++n];
        } else {
            fault = argv[n];
        }
    }
    if (fault == "die-at-once") {
        return 3;
    }
    if (fault == "never-ready") {
        hang();
    }
    auto supervised = udrv::Supervised::from_environment();
    if (!supervised) {
        fmt::print(stderr, "fake_driver: nobody supervises it\n");
        return 2;
    }
    handle(SIGTERM, [](int) { ::_exit(0); });
    if (!supervised->wait_for_turn()) {
        return 0;
    }
    record(argv[1], fmt::format("{} turn {}\n", name, ::getpid()));
    if (fault == "die-in-turn") {
        ::raise(SIGKILL);
    }
    if (fault == "hang-in-turn") {
        hang();
    }
    if (fault == "slow") {
        std::this_thread::sleep_for(300ms);
    }
    handle(SIGTERM, [](int) { stop = 1; });
    handle(SIGUSR1, [](int) { report = 1; });
    udrv::Heartbeat heartbeat = supervised->heartbeat();
    heartbeat.serving();
    record(argv[1], fmt::format("{} serving {}\n", name, ::getpid()));
    while (stop == 0) {
        heartbeat.beat();
        std::this_thread::sleep_for(10ms);
        if (report != 0) {
            report = 0;
            record(argv[1], fmt::format("{} report {}\n", name, ::getpid()));
        }
        if (fault == "die-soon") {
            ::raise(SIGKILL);
        }
    }
    record(argv[1], fmt::format("{} left {}\n", name, ::getpid()));
    return 0;
}
