// SPDX-License-Identifier: MIT
//
// start_kill CYCLES SEED READY PROGRAM [ARG]...: starts a driver and kills it with
// SIGKILL, again and again: every other one when it has printed READY, the rest at some
// moment before that.
#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds longest{120'000};

/// Reads what the driver prints until it has said the word. False: it ended, or took too long.
bool wait_ready(int output, const char* word) {
    const auto end = Clock::now() + longest;
    std::string text;
    std::array<char, 512> piece{};
    while (Clock::now() < end) {
        pollfd wait{output, POLLIN, 0};
        if (::poll(&wait, 1, 1000) <= 0) {
            continue;
        }
        const ssize_t got = ::read(output, piece.data(), piece.size());
        if (got <= 0) {
            return false;
        }
        text.append(piece.data(), static_cast<std::size_t>(got));
        if (text.find(word) != std::string::npos) {
            return true;
        }
    }
    return false;
}

} // namespace

int main(int argc, char** argv) {
    if (argc < 5) {
        fmt::print(stderr, "usage: start_kill CYCLES SEED READY PROGRAM [ARG]...\n");
        return 2;
    }
    const long cycles = std::strtol(argv[1], nullptr, 0);
    std::minstd_rand random(static_cast<unsigned>(std::strtoul(argv[2], nullptr, 0)));
    milliseconds start{0}; // that the first one took
    long ready = 0;
    for (long n = 0; n < cycles; n++) {
        std::array<int, 2> output{};
        if (::pipe2(output.data(), O_CLOEXEC) < 0) {
            std::perror("pipe");
            return 1;
        }
        const auto begun = Clock::now();
        const pid_t child = ::fork();
        if (child == 0) {
            ::dup2(output[1], STDOUT_FILENO);
            ::execv(argv[4], argv + 4);
            ::_exit(127);
        }
        ::close(output[1]);
        const bool whole = n % 2 == 0;
        if (whole && !wait_ready(output[0], argv[3])) {
            int status = 0;
            ::kill(child, SIGKILL);
            ::waitpid(child, &status, 0);
            fmt::print("FAIL cycle {}: not ready, status {:#x}\n", n, status);
            return 1;
        }
        if (whole && n == 0) {
            start = std::chrono::duration_cast<milliseconds>(Clock::now() - begun);
        }
        if (!whole) {
            ::usleep(static_cast<useconds_t>(
                random() % (1 + static_cast<std::uint64_t>(start.count()) * 1000)));
        }
        ready += whole ? 1 : 0;
        ::kill(child, SIGKILL);
        ::waitpid(child, nullptr, 0);
        ::close(output[0]);
    }
    fmt::print("ok {} starts and kills, {} of them when ready; a start takes {} ms\n", cycles,
               ready, start.count());
    return 0;
}
