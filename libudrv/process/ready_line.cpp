// SPDX-License-Identifier: MIT
#include "libudrv/process/ready_line.hpp"

#include <algorithm>
#include <chrono>

#include <unistd.h>

#include "libudrv/process/helper_thread.hpp"
#include "libudrv/process/output.hpp"

namespace udrv {

ReadyLine::ReadyLine(std::vector<std::string> files, std::string line)
    : files_(std::move(files)), line_(std::move(line)) {
    if (all_there()) { // a successor's: they outlive the driver
        print();
    } else {
        thread_ = start_helper_thread([this] { run(); });
    }
}

ReadyLine::~ReadyLine() {
    stopping_.store(true, std::memory_order_relaxed);
    if (thread_.joinable()) {
        thread_.join();
    }
}

bool ReadyLine::all_there() const {
    return std::all_of(files_.begin(), files_.end(),
                       [](const std::string& file) { return ::access(file.c_str(), F_OK) == 0; });
}

void ReadyLine::print() const {
    say(STDOUT_FILENO, line_ + '\n');
}

void ReadyLine::run() {
    while (!all_there()) {
        if (stopping_.load(std::memory_order_relaxed)) {
            return;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    print();
}

} // namespace udrv
