// SPDX-License-Identifier: MIT
#include "libudrv/rings/ring.hpp"

#include <array>
#include <deque>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

#include <boost/lockfree/spsc_queue.hpp>
#include <gtest/gtest.h>

#include "libudrv/testing/ring_memory.hpp"

namespace udrv {
namespace {

using test::RingMemory;

TEST(Ring, DepthMustBeAPowerOfTwo) {
    udrv_ring_header header{};
    std::array<std::uint32_t, 12> entries{};
    EXPECT_THROW((RingProducer<std::uint32_t>(&header, entries.data(), 12)), Error);
    EXPECT_THROW((RingConsumer<std::uint32_t>(&header, entries.data(), 0)), Error);
}

TEST(Ring, FullAndEmpty) {
    RingMemory<std::uint32_t> memory(4);
    auto producer = memory.producer();
    auto consumer = memory.consumer();
    std::uint32_t value = 0;
    EXPECT_FALSE(consumer.pop(value));
    for (std::uint32_t n = 0; n < 4; ++n) {
        EXPECT_TRUE(producer.push(n));
    }
    EXPECT_FALSE(producer.push(99)); // all entries are used: full is depth
    for (std::uint32_t n = 0; n < 4; ++n) {
        ASSERT_TRUE(consumer.pop(value));
        EXPECT_EQ(value, n);
    }
    EXPECT_FALSE(consumer.pop(value));
    EXPECT_TRUE(producer.push(4));
}

TEST(Ring, IndicesWrapAround32Bits) {
    RingMemory<std::uint32_t> memory(8, 0xfffffffdU);
    auto producer = memory.producer();
    auto consumer = memory.consumer();
    for (std::uint32_t n = 0; n < 100; ++n) {
        ASSERT_TRUE(producer.push(n));
        ASSERT_TRUE(producer.push(n + 1000));
        std::uint32_t value = 0;
        ASSERT_TRUE(consumer.pop(value));
        EXPECT_EQ(value, n);
        ASSERT_TRUE(consumer.pop(value));
        EXPECT_EQ(value, n + 1000);
    }
    EXPECT_EQ(memory.header.producer.value, 0xfffffffdU + 200);
    EXPECT_EQ(producer.violations() + consumer.violations(), 0U);
}

TEST(Ring, ReserveAndPeekStopAtTheEnd) {
    RingMemory<std::uint32_t> memory(8, 6);
    auto producer = memory.producer();
    auto consumer = memory.consumer();
    auto room = producer.reserve(5);
    ASSERT_EQ(room.size(), 2U);
    room[0] = 10;
    room[1] = 11;
    producer.commit(2);
    room = producer.reserve(5);
    ASSERT_EQ(room.size(), 5U);
    room[0] = 12;
    producer.commit(1);

    std::array<std::uint32_t, 8> copied{};
    EXPECT_EQ(consumer.copy(copied), 3U);
    EXPECT_EQ(copied[2], 12U);
    auto seen = consumer.peek(8);
    ASSERT_EQ(seen.size(), 2U);
    EXPECT_EQ(seen[1], 11U);
    consumer.release(2);
    seen = consumer.peek(8);
    ASSERT_EQ(seen.size(), 1U);
    EXPECT_EQ(seen[0], 12U);
    consumer.release(1);
    EXPECT_TRUE(consumer.peek(8).empty());
}

// A peer that lies about its index: nothing outside is touched, nothing is gained.
TEST(Ring, LyingConsumer) {
    RingMemory<std::uint32_t> memory(4);
    auto producer = memory.producer();
    ASSERT_EQ(producer.push(std::array<std::uint32_t, 4>{1, 2, 3, 4}), 4U);
    for (const std::uint32_t lie : {5U, 0x80000000U, 0xffffffffU}) {
        memory.header.consumer.value = lie;
        EXPECT_FALSE(producer.push(9));
    }
    EXPECT_EQ(producer.violations(), 3U);
    memory.header.consumer.value = 1;
    EXPECT_TRUE(producer.push(9));
}

TEST(Ring, LyingProducer) {
    RingMemory<std::uint32_t> memory(4);
    auto consumer = memory.consumer();
    std::array<std::uint32_t, 16> out{};
    for (const std::uint32_t lie : {5U, 0x80000000U, 0xffffffffU}) {
        memory.header.producer.value = lie;
        EXPECT_EQ(consumer.pop(out), 0U);
        EXPECT_TRUE(consumer.peek(16).empty());
    }
    EXPECT_EQ(consumer.violations(), 6U);
    memory.header.producer.value = 4;
    EXPECT_EQ(consumer.pop(out), 4U);
}

// Property: any mix of calls behaves as the reference, Boost's queue.
TEST(RingProperty, SameAsBoost) {
    std::mt19937 random(20240501);
    for (int round = 0; round < 200; ++round) {
        const std::uint32_t depth = 1U << (random() % 8);
        RingMemory<std::uint32_t> memory(depth, static_cast<std::uint32_t>(random()));
        auto producer = memory.producer();
        auto consumer = memory.consumer();
        boost::lockfree::spsc_queue<std::uint32_t> reference(depth);
        std::uint32_t next = 0;
        for (int step = 0; step < 500; ++step) {
            std::vector<std::uint32_t> batch(random() % (2 * depth + 1));
            switch (random() % 6) {
            case 0:
                ASSERT_EQ(producer.push(next), reference.push(next));
                ++next;
                break;
            case 1: {
                std::iota(batch.begin(), batch.end(), next);
                ASSERT_EQ(producer.push(batch), reference.push(batch.data(), batch.size()));
                next += static_cast<std::uint32_t>(batch.size());
                break;
            }
            case 2: {
                const auto room =
                    producer.reserve(static_cast<std::uint32_t>(random()) % depth + 1);
                for (std::uint32_t& entry : room) {
                    entry = next++;
                    ASSERT_TRUE(reference.push(entry));
                }
                producer.commit(static_cast<std::uint32_t>(room.size()));
                break;
            }
            case 3: {
                std::uint32_t ours = 0;
                std::uint32_t theirs = 0;
                ASSERT_EQ(consumer.pop(ours), reference.pop(theirs));
                ASSERT_EQ(ours, theirs);
                break;
            }
            case 4: {
                std::vector<std::uint32_t> expected(batch.size());
                const std::uint32_t count = consumer.pop(batch);
                ASSERT_EQ(count, reference.pop(expected.data(), expected.size()));
                batch.resize(count);
                expected.resize(count);
                ASSERT_EQ(batch, expected);
                break;
            }
            default: {
                const auto seen = consumer.peek(static_cast<std::uint32_t>(random()) % depth + 1);
                for (const std::uint32_t entry : seen) {
                    std::uint32_t expected = 0;
                    ASSERT_TRUE(reference.pop(expected));
                    ASSERT_EQ(entry, expected);
                }
                consumer.release(static_cast<std::uint32_t>(seen.size()));
                break;
            }
            }
            ASSERT_EQ(consumer.available(depth), reference.read_available());
            ASSERT_EQ(producer.room(depth), reference.write_available());
        }
        ASSERT_EQ(producer.violations() + consumer.violations(), 0U);
    }
}

struct Wide {
    std::uint64_t value = 0;
    std::uint64_t inverse = 0;
};

// Two threads, batches of all sizes: everything arrives once, whole, in order.
TEST(RingThreads, OrderAndWholeness) {
    constexpr std::uint64_t total = 200'000;
    RingMemory<Wide> memory(64, 0xffffff00U);
    std::thread writer([&memory] {
        auto producer = memory.producer();
        std::mt19937 random(1);
        std::uint64_t next = 0;
        while (next < total) {
            auto room = producer.reserve(static_cast<std::uint32_t>(random() % 40 + 1));
            const auto count = std::min<std::uint64_t>(room.size(), total - next);
            for (Wide& entry : room.first(count)) {
                entry = {next, ~next};
                ++next;
            }
            producer.commit(static_cast<std::uint32_t>(count));
            if (count == 0) {
                std::this_thread::yield();
            }
        }
    });
    auto consumer = memory.consumer();
    std::mt19937 random(2);
    std::array<Wide, 40> batch;
    std::uint64_t expected = 0;
    std::uint64_t wrong = 0;
    while (expected < total) {
        const std::uint32_t count =
            consumer.pop(std::span(batch).first(random() % batch.size() + 1));
        for (const Wide& entry : std::span(batch).first(count)) {
            wrong += entry.value != expected || entry.inverse != ~expected ? 1 : 0;
            ++expected;
        }
        if (count == 0) {
            std::this_thread::yield();
        }
    }
    writer.join();
    EXPECT_EQ(wrong, 0U);
    EXPECT_EQ(consumer.violations(), 0U);
}

} // namespace
} // namespace udrv
