// SPDX-License-Identifier: MIT
//
// ReadyLine: one line on standard output, as soon as some files are there.
#pragma once

#include <atomic>
#include <string>
#include <thread>
#include <vector>

namespace udrv {

/// For what the kernel makes only while the driver is already serving: a disk's
/// partitions are read through the driver. A thread looks for the files (it never
/// opens them), prints and ends; the data thread has nothing to do with it.
class ReadyLine {
  public:
    ReadyLine(std::vector<std::string> files, std::string line);
    ReadyLine(const ReadyLine&) = delete;
    ReadyLine& operator=(const ReadyLine&) = delete;
    ~ReadyLine(); ///< gives up

  private:
    [[nodiscard]] bool all_there() const;
    void print() const;
    void run();

    std::vector<std::string> files_;
    std::string line_;
    std::atomic<bool> stopping_{false};
    std::thread thread_;
};

} // namespace udrv
