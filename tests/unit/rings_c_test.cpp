// SPDX-License-Identifier: MIT
//
// <udrv/rings.h>, in C, against the ends in C++.
#include "tests/unit/programs/rings_c.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <numeric>
#include <span>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "libudrv/rings/need_wakeup.hpp"
#include "libudrv/rings/ring.hpp"
#include "libudrv/rings/state_page.hpp"

namespace udrv {
namespace {

constexpr std::uint32_t depth = 8;

/// As the kernel lays it out: the header, then the entries.
struct Memory {
    explicit Memory(std::uint32_t index = 0) {
        header.producer.value = index;
        header.consumer.value = index;
    }
    alignas(128) udrv_ring_header header{};
    std::array<std::uint64_t, depth> entries{};

    RingProducer<std::uint64_t> producer() { return {&header, entries.data(), depth}; }
    RingConsumer<std::uint64_t> consumer() { return {&header, entries.data(), depth}; }
};
static_assert(offsetof(Memory, entries) == sizeof(udrv_ring_header));

TEST(RingsC, Depths) {
    Memory memory;
    for (const std::uint32_t good : {1U, 2U, 64U, 0x80000000U}) {
        EXPECT_TRUE(c_ring_depth_is_good(&memory, good)) << good;
    }
    for (const std::uint32_t bad : {0U, 3U, 12U, 0xffffffffU}) {
        EXPECT_FALSE(c_ring_depth_is_good(&memory, bad)) << bad;
    }
}

TEST(RingsC, FullAndEmptyRoundTheWrapOfTheIndices) {
    Memory memory(0xfffffffaU);
    std::array<std::uint64_t, depth + 2> in{};
    std::iota(in.begin(), in.end(), 100);
    std::uint64_t violations = 0;
    auto consumer = memory.consumer();
    for (int round = 0; round < 5; ++round) {
        EXPECT_EQ(c_push(&memory, depth, in.data(), 10, &violations), depth);
        EXPECT_EQ(c_push(&memory, depth, in.data(), 1, &violations), 0U) << "full";
        std::array<std::uint64_t, depth> out{};
        EXPECT_EQ(consumer.pop(out), depth);
        EXPECT_TRUE(std::equal(out.begin(), out.end(), in.begin()));
    }
    auto producer = memory.producer();
    for (int round = 0; round < 5; ++round) {
        std::array<std::uint64_t, depth> out{};
        EXPECT_EQ(c_pop(&memory, depth, out.data(), depth, &violations), 0U) << "empty";
        EXPECT_EQ(producer.push(std::span(in).first(5)), 5U);
        EXPECT_EQ(c_pop(&memory, depth, out.data(), 3, &violations), 3U);
        EXPECT_EQ(c_pop(&memory, depth, out.data() + 3, depth, &violations), 2U);
        EXPECT_TRUE(std::equal(out.begin(), out.begin() + 5, in.begin()));
    }
    EXPECT_EQ(violations, 0U);
}

TEST(RingsC, ALyingNeighbourIsNothingToDo) {
    for (const std::uint32_t lie : {depth + 1, 0x7fffffffU, 0xffffffffU}) {
        Memory memory(1000);
        memory.header.producer.value = 1000 + lie;
        std::array<std::uint64_t, depth> numbers{};
        std::uint64_t violations = 0;
        EXPECT_EQ(c_pop(&memory, depth, numbers.data(), depth, &violations), 0U);
        EXPECT_EQ(violations, 1U) << lie;
        memory.header.producer.value = 1000;
        memory.header.consumer.value = 1000 - lie;
        EXPECT_EQ(c_push(&memory, depth, numbers.data(), depth, &violations), 0U);
        EXPECT_EQ(violations, 1U) << lie;
    }
}

TEST(RingsC, EachAgainstTheOther) {
    constexpr std::uint64_t last = 20'000;
    {
        Memory memory(0xffffff00U);
        std::thread in_c([&] { c_produce(&memory, depth, 1, last); });
        auto consumer = memory.consumer();
        for (std::uint64_t expected = 1, got = 0; expected <= last;) {
            if (!consumer.pop(got)) {
                std::this_thread::yield();
                continue;
            }
            ASSERT_EQ(got, expected++);
        }
        in_c.join();
    }
    Memory memory(0xffffff00U);
    bool good = false;
    std::thread in_c([&] { good = c_consume(&memory, depth, 1, last); });
    auto producer = memory.producer();
    for (std::uint64_t next = 1; next <= last;) {
        if (producer.push(next)) {
            ++next;
        } else {
            std::this_thread::yield();
        }
    }
    in_c.join();
    EXPECT_TRUE(good);
}

TEST(RingsC, SleepAndWake) {
    std::uint32_t flag = 0;
    const SleepFlag sleeper(&flag);
    const WakeFlag waker(&flag);
    EXPECT_FALSE(c_must_wake(&flag));
    sleeper.announce();
    EXPECT_TRUE(c_must_wake(&flag));
    sleeper.withdraw();
    c_announce_sleep(&flag);
    EXPECT_TRUE(waker.is_set());
    EXPECT_EQ(flag, UDRV_WAKE_WORK);
    c_withdraw_sleep(&flag);
    EXPECT_FALSE(waker.is_set());
}

struct Page {
    std::uint32_t generation;
    std::array<std::uint32_t, 15> words;
};

TEST(RingsC, StatePages) {
    alignas(64) Page page{};
    Page content{};
    std::iota(content.words.begin(), content.words.end(), 1);
    c_state_write(&page, &content, sizeof(page));
    StatePageReader<Page> reader(&page);
    Page copy{};
    ASSERT_TRUE(reader.read(copy));
    EXPECT_EQ(copy.words, content.words);
    EXPECT_EQ(page.generation, 2U);
    page.generation = 7; // whose writer died
    EXPECT_FALSE(reader.read(copy));
    std::uint32_t seen = 1;
    EXPECT_FALSE(c_state_read(&page, &copy, sizeof(page), &seen));
    EXPECT_EQ(seen, 1U);
    c_state_write(&page, &content, sizeof(page));
    EXPECT_TRUE(reader.read(copy));
    EXPECT_EQ(page.generation, 10U);

    StatePageWriter<Page> writer(&page);
    content.words.fill(77);
    writer.write(content);
    EXPECT_TRUE(c_state_changed(&page, seen));
    ASSERT_TRUE(c_state_read(&page, &copy, sizeof(page), &seen));
    EXPECT_EQ(copy.words, content.words);
    EXPECT_EQ(copy.generation, seen);
    EXPECT_FALSE(c_state_changed(&page, seen));
}

TEST(RingsC, AStatePageIsReadWhole) {
    alignas(64) Page page{};
    std::atomic<bool> stop{false};
    std::thread thread([&] {
        StatePageWriter<Page> writer(&page);
        Page content{};
        for (std::uint32_t n = 0; !stop; ++n) {
            content.words.fill(n);
            writer.write(content);
        }
    });
    int whole = 0;
    for (int n = 0; n < 2000; ++n) {
        Page copy{};
        std::uint32_t seen = 0;
        if (c_state_read(&page, &copy, sizeof(page), &seen)) {
            ++whole;
            ASSERT_EQ(std::count(copy.words.begin(), copy.words.end(), copy.words[0]), 15);
        }
    }
    stop = true;
    thread.join();
    EXPECT_GT(whole, 0);
}

} // namespace
} // namespace udrv
