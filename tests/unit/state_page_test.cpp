// SPDX-License-Identifier: MIT
#include "libudrv/rings/state_page.hpp"

#include <atomic>
#include <thread>

#include <gtest/gtest.h>

#include <udrv/net.h>

namespace udrv {
namespace {

struct Page {
    std::uint32_t generation;
    std::uint32_t words[63];
};

TEST(StatePage, ReadsWhatWasWritten) {
    Page shared{};
    StatePageWriter<Page> writer(&shared);
    StatePageReader<Page> reader(&shared);
    Page page{};
    EXPECT_TRUE(reader.changed()); // never read
    EXPECT_TRUE(reader.read(page));
    EXPECT_FALSE(reader.changed());
    page.words[62] = 7;
    writer.write(page);
    EXPECT_EQ(shared.generation, 2U);
    EXPECT_TRUE(reader.changed());
    Page seen{};
    EXPECT_TRUE(reader.read(seen));
    EXPECT_EQ(seen.words[62], 7U);
    EXPECT_EQ(seen.generation, 2U);
    EXPECT_FALSE(reader.changed());
}

TEST(StatePage, AWriterThatNeverFinishes) {
    Page shared{};
    shared.generation = 5;
    StatePageReader<Page> reader(&shared);
    Page page{};
    page.words[0] = 42;
    EXPECT_FALSE(reader.read(page));
    EXPECT_EQ(page.words[0], 42U); // unchanged
    EXPECT_TRUE(reader.changed());
    // Its successor starts from the odd number and leaves an even one.
    StatePageWriter<Page> writer(&shared);
    writer.write(Page{});
    EXPECT_EQ(shared.generation, 8U);
    EXPECT_TRUE(reader.read(page));
}

TEST(StatePage, NeverTorn) {
    Page shared{};
    std::atomic<bool> done{false};
    std::thread writing([&] {
        StatePageWriter<Page> writer(&shared);
        Page page{};
        for (std::uint32_t n = 1; n <= 20'000; ++n) {
            for (std::uint32_t& word : page.words) {
                word = n;
            }
            writer.write(page);
            if (n % 64 == 0) {
                std::this_thread::yield();
            }
        }
        done = true;
    });
    StatePageReader<Page> reader(&shared);
    std::uint32_t last = 0;
    std::uint32_t torn = 0;
    bool finished = false;
    while (!finished) {
        finished = done;
        Page page{};
        if (!reader.read(page)) {
            continue;
        }
        for (const std::uint32_t word : page.words) {
            torn += word != page.words[0] ? 1 : 0;
        }
        EXPECT_GE(page.words[0], last);
        last = page.words[0];
    }
    writing.join();
    EXPECT_EQ(torn, 0U);
    EXPECT_EQ(last, 20'000U);
}

} // namespace
} // namespace udrv
