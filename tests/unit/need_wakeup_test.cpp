// SPDX-License-Identifier: MIT
//
// A producer and a consumer that sleeps, with a semaphore for the doorbell: a lost
// wakeup shows as a timeout.
#include "libudrv/rings/need_wakeup.hpp"

#include <semaphore>
#include <thread>

#include <gtest/gtest.h>

#include "libudrv/testing/ring_memory.hpp"

namespace udrv {
namespace {

TEST(NeedWakeup, NoneIsLost) {
    constexpr std::uint32_t total = 50'000;
    test::RingMemory<std::uint32_t> memory(16);
    udrv_need_wakeup shared{};
    std::counting_semaphore<> doorbell(0);
    std::uint32_t doorbells = 0;

    std::thread waker([&] {
        auto producer = memory.producer();
        const WakeFlag flag(&shared.driver);
        for (std::uint32_t n = 0; n < total;) {
            if (!producer.push(n)) {
                std::this_thread::yield();
                continue;
            }
            ++n;
            if (flag.is_set()) {
                ++doorbells;
                doorbell.release();
            }
        }
    });

    auto consumer = memory.consumer();
    const SleepFlag flag(&shared.driver);
    std::uint32_t expected = 0;
    std::uint32_t sleeps = 0;
    bool lost = false;
    while (expected < total && !lost) {
        std::uint32_t value = 0;
        if (consumer.pop(value)) {
            ASSERT_EQ(value, expected);
            ++expected;
            continue;
        }
        flag.announce();
        if (consumer.available() == 0) { // look once more, then sleep
            ++sleeps;
            lost = !doorbell.try_acquire_for(std::chrono::seconds(20));
        }
        flag.withdraw();
        while (doorbell.try_acquire()) { // a doorbell too many is harmless
        }
    }
    if (lost) { // let the waker end
        std::uint32_t value = 0;
        while (expected < total) {
            expected += consumer.pop(value) ? 1U : 0U;
        }
    }
    waker.join();
    EXPECT_FALSE(lost) << "a wakeup was lost after " << expected << " entries";
    RecordProperty("sleeps", static_cast<int>(sleeps));
    RecordProperty("doorbells", static_cast<int>(doorbells));
}

} // namespace
} // namespace udrv
