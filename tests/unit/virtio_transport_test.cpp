// SPDX-License-Identifier: MIT
//
// virtio: capabilities, reset, the order of initialization, and queues in memory that the
// device writes as it likes.
#include <array>
#include <random>

#include <gtest/gtest.h>

#include "libudrv/error.hpp"
#include "tests/unit/fake_virtio.hpp"

namespace udrv::test {
namespace {

/// Configuration space with the capabilities of QEMU's modern devices.
struct FakeConfig {
    FakeConfig() {
        space.fill(0);
        set(0x04, 0x00100000); // a list of capabilities
        set(0x34, 0x98);
        set(0x98, 0x80020011);           // MSI-X
        add(0x98, 0x84, 5, 0, 0x0, 0x0); // PCI configuration access: not used
        add(0x84, 0x70, 2, 4, 0x3000, 0x1000);
        set(0x70 + 16, 4); // notify_off_multiplier
        add(0x70, 0x60, 4, 4, 0x2000, 0x1000);
        add(0x60, 0x50, 3, 4, 0x1000, 0x1000);
        add(0x50, 0x40, 1, 4, 0x0000, 0x1000);
        set_next(0x40, 0);
        bars[4].len_bytes = 0x4000;
        bars[4].flags = UDRV_BAR_MEM | UDRV_BAR_MMAP | UDRV_BAR_PREFETCH;
    }
    void set(std::uint32_t at, std::uint32_t value) { std::memcpy(&space[at], &value, 4); }
    void set_next(std::uint32_t at, std::uint8_t next) { space[at + 1] = next; }
    void add(std::uint32_t before, std::uint8_t at, std::uint32_t type, std::uint32_t bar,
             std::uint32_t offset, std::uint32_t length) {
        set_next(before, at);
        set(at, type << 24 | 20u << 16 | 0x09);
        set(at + 4u, bar);
        set(at + 8u, offset);
        set(at + 12u, length);
    }
    virtio::Layout find() {
        return virtio::find_structures(
            [this](std::uint32_t at) { return load_le(std::span(space).subspan(at, 4)); }, bars);
    }
    std::array<std::uint8_t, 256> space{};
    std::array<udrv_bar_info, UDRV_NR_BARS> bars{};
};

TEST(VirtioCapabilities, PointToTheStructures) {
    FakeConfig config;
    const virtio::Layout layout = config.find();
    EXPECT_EQ(layout.common.bar, 4);
    EXPECT_EQ(layout.common.offset, 0u);
    EXPECT_EQ(layout.isr.offset, 0x1000u);
    EXPECT_EQ(layout.device.offset, 0x2000u);
    EXPECT_EQ(layout.notify.offset, 0x3000u);
    EXPECT_EQ(layout.notify_off_multiplier, 4u);
    const udrv_stop_write end = virtio::end_of_transfers(layout);
    EXPECT_EQ(end.bar, 4u);
    EXPECT_EQ(end.offset, 0x14u);
    EXPECT_EQ(end.len_bytes, 1u);
    EXPECT_EQ(end.value, 0u);
    EXPECT_EQ(end.mask, 0xffu);
}

// 4.1.4.1: the first that can be used, of several.
TEST(VirtioCapabilities, OnesThatCannotBeUsedArePassedOver) {
    FakeConfig config;
    config.add(0x40, 0xb0, 1, 4, 0x800, 0x100); // a second one, not the first
    config.set_next(0xb0, 0);
    config.set(0x40 + 4, 7); // no such BAR
    EXPECT_EQ(config.find().common.offset, 0x800u);
    config.set(0x40 + 4, 4);
    config.set(0x40 + 8, 0x3fe0); // over the BAR's end
    EXPECT_EQ(config.find().common.offset, 0x800u);
    config.set(0x40 + 8, 0xfffffff0); // and so that the sum wraps
    EXPECT_EQ(config.find().common.offset, 0x800u);
    config.set(0x40 + 8, 2); // not aligned
    EXPECT_EQ(config.find().common.offset, 0x800u);
    config.set(0x40 + 8, 0);
    config.set(0x40 + 12, 0x20); // too short for its registers
    EXPECT_EQ(config.find().common.offset, 0x800u);
    config.set(0x40 + 12, 0x1000);
    EXPECT_EQ(config.find().common.offset, 0u);
}

TEST(VirtioCapabilities, MissingOnesAreAnError) {
    const auto refused = [](FakeConfig& config) {
        try {
            (void)config.find();
            return false;
        } catch (const Error& error) {
            return error.code().value() == ENODEV;
        }
    };
    FakeConfig legacy;
    legacy.set_next(0x98, 0);
    EXPECT_TRUE(refused(legacy));
    FakeConfig none;
    none.set(0x04, 0);
    EXPECT_TRUE(refused(none));
    FakeConfig ports;
    ports.bars[4].flags = UDRV_BAR_IO;
    EXPECT_TRUE(refused(ports));
    FakeConfig circle; // the list bites its tail before the common configuration
    circle.set_next(0x50, 0x98);
    EXPECT_TRUE(refused(circle));
}

struct Rig {
    explicit Rig(bool msix = true)
        : transport([this](unsigned) -> RegisterIo& { return chip; }, chip.layout(), msix) {}
    FakeMemory memory{FakeMemory::high};
    FakeVirtio chip{memory, FakeVirtio::f_version_1 | FakeVirtio::f_event_idx, {64, 16}, 8};
    virtio::Transport transport;

    std::string error(const std::function<void()>& action) {
        try {
            action();
            return "no error";
        } catch (const Error& error) {
            return error.what();
        }
    }
};

TEST(VirtioTransport, ResetWaitsUntilTheStatusReadsZero) {
    Rig rig;
    rig.transport.reset();
    rig.transport.greet();
    EXPECT_EQ(rig.chip.resets, 1u);
    EXPECT_EQ(rig.transport.offered(), FakeVirtio::f_version_1 | FakeVirtio::f_event_idx);
}

TEST(VirtioTransport, ResetThatDoesNotEndIsAnError) {
    Rig rig;
    rig.transport.reset();
    rig.transport.greet();
    rig.transport.accept(FakeVirtio::f_version_1);
    rig.chip.reset_hangs = true;
    const std::string text = rig.error([&] { rig.transport.reset(); });
    EXPECT_NE(text.find("device_status is still 0x0b"), std::string::npos) << text;
}

TEST(VirtioTransport, RefusedFeaturesAndVectorsAreErrors) {
    Rig rig;
    rig.transport.reset();
    rig.transport.greet();
    rig.chip.refuses_features = true;
    EXPECT_NE(rig.error([&] { rig.transport.accept(FakeVirtio::f_version_1); }).find("refuses"),
              std::string::npos);
    rig.chip.refuses_features = false;
    rig.chip.refuses_vectors = true;
    rig.transport.reset();
    rig.transport.greet();
    EXPECT_NE(rig.error([&] { rig.transport.accept(FakeVirtio::f_version_1); }).find("interrupt"),
              std::string::npos);
    Rig intx(false); // no vector is written, so none can be refused
    intx.chip.refuses_vectors = true;
    intx.transport.reset();
    intx.transport.greet();
    intx.transport.accept(FakeVirtio::f_version_1);
}

TEST(VirtioTransport, AQueueLargerThanTheDevicesIsAnError) {
    Rig rig;
    rig.transport.reset();
    rig.transport.greet();
    rig.transport.accept(FakeVirtio::f_version_1);
    EXPECT_EQ(rig.transport.max_size(0), 64);
    EXPECT_EQ(rig.transport.max_size(1), 16);
    EXPECT_EQ(rig.transport.max_size(2), 0);
    virtio::Virtqueue queue(rig.memory, 32);
    EXPECT_NE(rig.error([&] { rig.transport.enable(1, queue, true); }).find("16 entries"),
              std::string::npos);
    EXPECT_NE(rig.error([&] { rig.transport.enable(2, queue, true); }).find("0 entries"),
              std::string::npos);
    rig.transport.enable(0, queue, true);
    rig.transport.run();
    EXPECT_TRUE(rig.chip.live());
}

/// A live queue 0 of 16 entries.
struct QueueRig : Rig {
    explicit QueueRig(bool event_idx) : queue(memory, 16) {
        transport.reset();
        transport.greet();
        transport.accept(FakeVirtio::f_version_1 | (event_idx ? FakeVirtio::f_event_idx : 0));
        queue.start(event_idx);
        transport.enable(0, queue, true);
        transport.run();
        block = memory.allocate(4096);
    }
    void post(std::uint16_t token, std::size_t readable, std::size_t writable) {
        std::vector<virtio::Segment> pieces(readable + writable, {block.dma_addr, 8});
        queue.post(std::span(pieces).first(readable), std::span(pieces).subspan(readable), token);
    }
    virtio::Virtqueue queue;
    DmaBlock block;
};

TEST(Virtqueue, ChainsComeBackInAnyOrderAndItsDescriptorsWithThem) {
    for (const bool event_idx : {false, true}) {
        QueueRig rig(event_idx);
        std::mt19937 engine(1);
        const auto random = [&engine] { return static_cast<std::uint32_t>(engine()); };
        std::vector<std::pair<std::uint16_t, FakeVirtio::Chain>> device;
        std::vector<std::uint16_t> expected;
        std::uint16_t token = 0;
        for (int step = 0; step < 200'000; step++) { // the 16 bit indices wrap
            const std::size_t pieces = 1 + random() % 4;
            if (rig.queue.room() >= pieces && random() % 2 == 0) {
                rig.post(token++, pieces / 2, pieces - pieces / 2);
                (void)rig.queue.publish();
                auto chain = rig.chip.pop(0);
                ASSERT_TRUE(chain);
                EXPECT_EQ(chain->pieces.size(), pieces);
                device.emplace_back(static_cast<std::uint16_t>(token - 1), *chain);
            } else if (!device.empty()) {
                const std::size_t n = random() % device.size();
                rig.chip.push(0, device[n].second, device[n].first);
                expected.push_back(device[n].first);
                device.erase(device.begin() + static_cast<std::ptrdiff_t>(n));
            }
            if (random() % 3 == 0) {
                for (const std::uint16_t want : expected) {
                    const auto used = rig.queue.take();
                    ASSERT_TRUE(used);
                    EXPECT_EQ(used->token, want);
                    EXPECT_EQ(used->len_bytes, want);
                }
                expected.clear();
                EXPECT_FALSE(rig.queue.take());
            }
            EXPECT_EQ(rig.queue.outstanding(), device.size() + expected.size());
            if (testing::Test::HasFailure()) {
                return;
            }
        }
    }
}

TEST(Virtqueue, NotifiesOnlyWhenTheDeviceWantsIt) {
    QueueRig rig(true);
    rig.post(0, 1, 0);
    EXPECT_TRUE(rig.queue.publish()); // avail_event is 0: with the first
    EXPECT_FALSE(rig.queue.publish()) << "nothing new";
    rig.post(1, 1, 0);
    EXPECT_FALSE(rig.queue.publish()); // the device has not looked yet
    (void)rig.chip.pop(0);
    (void)rig.chip.pop(0);
    rig.post(2, 1, 0);
    EXPECT_TRUE(rig.queue.publish());
}

TEST(Virtqueue, InterruptsOnlyWhenArmed) {
    for (const bool event_idx : {false, true}) {
        QueueRig rig(event_idx);
        const auto done = [&rig] {
            const auto chain = rig.chip.pop(0);
            rig.chip.push(0, *chain, 0);
        };
        for (std::uint16_t i = 0; i < 8; i++) {
            rig.post(i, 1, 0);
        }
        (void)rig.queue.publish();
        done();
        EXPECT_EQ(rig.chip.interrupts[0], 0u);
        EXPECT_FALSE(rig.queue.arm()) << "done already: no interrupt for that";
        EXPECT_TRUE(rig.queue.take());
        EXPECT_TRUE(rig.queue.arm());
        done();
        EXPECT_EQ(rig.chip.interrupts[0], 1u);
        EXPECT_TRUE(rig.queue.take());
        rig.queue.disarm();
        done();
        EXPECT_EQ(rig.chip.interrupts[0], 1u);
        EXPECT_TRUE(rig.queue.take());
        if (event_idx) {
            EXPECT_TRUE(rig.queue.arm(2)); // with the third from now
            done();
            done();
            EXPECT_EQ(rig.chip.interrupts[0], 1u);
            done();
            EXPECT_EQ(rig.chip.interrupts[0], 2u);
        }
    }
}

// Whatever the device writes: nothing out of bounds (the sanitizers look), nothing twice.
TEST(Virtqueue, LiesOfTheUsedRingAreNoticed) {
    const auto lies = [](const std::function<void(QueueRig&)>& lie) {
        QueueRig rig(true);
        rig.post(7, 1, 1);
        rig.post(8, 1, 0);
        (void)rig.queue.publish();
        lie(rig);
        const auto first = rig.queue.take();
        const auto second = rig.queue.take();
        EXPECT_FALSE(first && second);
        EXPECT_TRUE(rig.queue.broken());
        EXPECT_FALSE(rig.queue.pending()) << "no busy loop over nonsense";
        EXPECT_TRUE(rig.queue.arm());
        rig.queue.start(true);
        EXPECT_FALSE(rig.queue.broken());
        EXPECT_EQ(rig.queue.room(), 16u);
    };
    lies([](QueueRig& rig) { rig.chip.put_used(0, 16, 0); });
    lies([](QueueRig& rig) { rig.chip.put_used(0, 0xffffffff, 0); });
    lies([](QueueRig& rig) { rig.chip.put_used(0, 1, 0); });  // inside a chain
    lies([](QueueRig& rig) { rig.chip.put_used(0, 9, 0); });  // free
    lies([](QueueRig& rig) { rig.chip.set_used_idx(0, 3); }); // more than there are
    lies([](QueueRig& rig) { rig.chip.set_used_idx(0, 0xffff); });
    lies([](QueueRig& rig) { // the same twice
        rig.chip.put_used(0, 0, 0);
        rig.chip.put_used(0, 0, 0);
    });
    lies([](QueueRig& rig) { // and the table that it overwrote is not read back
        std::memset(rig.memory.translate(rig.queue.desc(), 256), 0xff, 256);
        rig.chip.put_used(0, 0, 0);
        rig.chip.put_used(0, 0, 0);
    });
}

} // namespace
} // namespace udrv::test
