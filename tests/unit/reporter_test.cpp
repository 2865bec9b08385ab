// SPDX-License-Identifier: MIT
#include "libudrv/process/reporter.hpp"

#include <cstdio>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <spdlog/sinks/ringbuffer_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

namespace udrv {
namespace {

/// Takes the default logger's records for as long as it lives.
class Capture {
  public:
    Capture() : old_(spdlog::default_logger()) {
        spdlog::set_default_logger(std::make_shared<spdlog::logger>("test", sink));
    }
    Capture(const Capture&) = delete;
    Capture& operator=(const Capture&) = delete;
    ~Capture() { spdlog::set_default_logger(old_); }

    std::shared_ptr<spdlog::sinks::ringbuffer_sink_mt> sink =
        std::make_shared<spdlog::sinks::ringbuffer_sink_mt>(10'000);

  private:
    std::shared_ptr<spdlog::logger> old_;
};

TEST(Reporter, WritesEverythingBeforeItEnds) {
    const Capture capture;
    std::uint64_t dropped = 0;
    {
        Reporter reporter({"fake", "0000:00:10.0", "udn0"}, "");
        reporter.start();
        for (int n = 0; n < 200; ++n) {
            reporter.log(spdlog::level::info, "record {}", n);
        }
        reporter.log(spdlog::level::info, "{}", std::string(1000, 'x')); // cut
        dropped = reporter.dropped();
    }
    EXPECT_EQ(dropped, 0U);
    EXPECT_EQ(capture.sink->last_raw().size(), 201U);
}

TEST(Reporter, WritesWithoutItsThread) {
    const Capture capture;
    {
        Reporter reporter({"fake", "0000:00:10.0", "udn0"}, "");
        reporter.log(spdlog::level::info, "a start that failed before the thread's");
    }
    EXPECT_EQ(capture.sink->last_raw().size(), 1U);
}

TEST(Reporter, DropsRatherThanWaits) {
    const Capture capture;
    std::uint64_t dropped = 0;
    {
        Reporter reporter({"fake", "0000:00:10.0", "udn0"}, "");
        reporter.start();
        for (int n = 0; n < 9'000; ++n) {
            reporter.log(spdlog::level::info, "record {}", n);
        }
        dropped = reporter.dropped();
    }
    EXPECT_EQ(capture.sink->last_raw().size() + dropped, 9'000U);
}

TEST(Reporter, StatsFile) {
    const auto path =
        std::filesystem::temp_directory_path() / ("udrv-stats-" + std::to_string(::getpid()));
    {
        Reporter reporter({"fake", "0000:00:10.0", "udn0"}, path.string());
        reporter.start();
        DriverCounters counters;
        counters.rx_packets = 300;
        counters.tx_packets = 100;
        counters.waits = 30;
        counters.publishes = 10;
        reporter.snapshot(counters);
    }
    std::ifstream file(path);
    const auto json = nlohmann::json::parse(file);
    EXPECT_EQ(json["name"], "udn0");
    EXPECT_EQ(json["packets"], 400);
    EXPECT_EQ(json["system_calls"], 40);
    EXPECT_DOUBLE_EQ(json["system_calls_per_packet"].get<double>(), 0.1);
    EXPECT_TRUE(json.contains("context_switches_voluntary"));
    std::filesystem::remove(path);
}

} // namespace
} // namespace udrv
