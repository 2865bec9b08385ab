// SPDX-License-Identifier: MIT
#include "libudrv/ready_line.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>

#include <unistd.h>

#include "libudrv/helper_thread.hpp"

namespace udrv {

ReadyLine::ReadyLine(std::vector<std::string> files, std::string line)
    : files_(std::move(files)), line_(std::move(line)) {
    thread_ = start_helper_thread([this] { run(); });
}

ReadyLine::~ReadyLine() {
    stopping_.store(true, std::memory_order_relaxed);
    thread_.join();
}

void ReadyLine::run() {
    const auto is_there = [](const std::string& file) { return ::access(file.c_str(), F_OK) == 0; };
    while (!std::all_of(files_.begin(), files_.end(), is_there)) {
        if (stopping_.load(std::memory_order_relaxed)) {
            return;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    std::puts(line_.c_str());
    std::fflush(stdout);
}

} // namespace udrv
