// SPDX-License-Identifier: MIT
//
// What the e1000 tests share: the model, the driver on it, and a stand-in for the
// kernel that keeps the books of buffers and packets.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "drivers/e1000/e1000.hpp"
#include "tests/unit/fake_e1000.hpp"

namespace udrv::test {

inline e1000::Config quick() {
    e1000::Config config;
    config.settle = std::chrono::microseconds{0};
    return config;
}

/// Small rings, so that they wrap often.
inline e1000::Config tiny() {
    e1000::Config config = quick();
    config.rx_depth = 8;
    config.rx_ring = 16;
    config.tx_depth = 8;
    config.tx_ring = 32;
    return config;
}

inline udrv_net_desired up_state() {
    udrv_net_desired desired{};
    desired.up = 1;
    desired.mtu = 1500;
    constexpr std::array<std::uint8_t, 6> mac{0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
    std::copy(mac.begin(), mac.end(), desired.mac);
    return desired;
}

/// A frame to the chip's own address whose bytes follow from `seed`.
inline Bytes frame_of(std::size_t len_bytes, std::uint32_t seed) {
    Bytes frame(len_bytes);
    std::uint32_t state = seed * 2654435761u + 1;
    for (auto& byte : frame) {
        state = state * 1664525u + 1013904223u;
        byte = static_cast<std::uint8_t>(state >> 24);
    }
    constexpr std::array<std::uint8_t, 6> mac{0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
    std::copy(mac.begin(), mac.end(), frame.begin());
    return frame;
}

/// An 82545EM, for a rig in PCI-X mode.
inline e1000::Config on_pcix(e1000::Config config = quick()) {
    config.model = e1000::Model::i82545em;
    return config;
}

struct Rig {
    explicit Rig(const e1000::Config& with = quick(), bool pcix = false)
        : config(with), memory(pcix ? FakeMemory::high : FakeMemory::low), chip(memory, pcix),
          driver(chip, memory, with, &chip.io()) {
        driver.quiet();
        driver.init();
    }

    e1000::Config config;
    FakeMemory memory;
    FakeE1000 chip;
    e1000::E1000 driver;
    bool runs = true; ///< the chip works on what it has after each send(); else on run_transmit()

    /// Memory with these contents; its address for the device.
    std::uint64_t hold(const Bytes& bytes) {
        const DmaBlock block = memory.allocate(std::max<std::size_t>(bytes.size(), 1));
        std::memcpy(block.vaddr, bytes.data(), bytes.size());
        return block.dma_addr;
    }

    std::vector<udrv_net_fill> buffers(std::uint32_t count, std::uint32_t first_id = 100) {
        std::vector<udrv_net_fill> fill;
        for (std::uint32_t i = 0; i < count; i++) {
            fill.push_back({memory.allocate(2048).dma_addr, 2048, first_id + i});
        }
        return fill;
    }

    void give(std::uint32_t count, std::uint32_t first_id = 100) {
        EXPECT_EQ(driver.rx_provide(buffers(count, first_id)), count);
    }

    udrv_net_tx segment(const Bytes& bytes, std::uint32_t id, bool last = true) {
        udrv_net_tx tx{};
        tx.dma_addr = hold(bytes);
        tx.len_bytes = static_cast<std::uint32_t>(bytes.size());
        tx.id = id;
        tx.flags = last ? UDRV_NET_TX_EOP : 0;
        return tx;
    }

    std::vector<udrv_net_rx> take_rx(std::size_t room = 64) {
        std::vector<udrv_net_rx> rx(room);
        rx.resize(driver.rx_return(rx));
        return rx;
    }

    std::vector<udrv_net_completion> take_completions(std::size_t room = 64) {
        std::vector<udrv_net_completion> done(room);
        done.resize(driver.tx_return(done));
        return done;
    }

    std::size_t send(std::span<const udrv_net_tx> many) {
        const std::size_t taken = driver.tx_provide(many);
        if (runs) {
            chip.run_transmit();
        }
        return taken;
    }
    std::size_t send(const udrv_net_tx& one) { return send({&one, 1}); }
    std::size_t send(const std::vector<udrv_net_tx>& many) { return send(std::span(many)); }

    /// Bytes of descriptor i of the ring whose base is at `base_low`.
    std::array<std::uint8_t, 16> descriptor(std::uint32_t base_low, std::uint32_t i) {
        const std::uint64_t base = std::uint64_t{chip.at(base_low + 4)} << 32 | chip.at(base_low);
        std::array<std::uint8_t, 16> bytes{};
        std::memcpy(bytes.data(), memory.translate(base + i * 16, 16), 16);
        return bytes;
    }

    std::uint64_t stat(std::string_view name) {
        const auto names = e1000::E1000::stat_names();
        std::vector<std::uint64_t> values(names.size());
        driver.read_stats(values);
        const auto place = std::find(names.begin(), names.end(), name);
        EXPECT_NE(place, names.end()) << name;
        return values.at(static_cast<std::size_t>(place - names.begin()));
    }
};

} // namespace udrv::test
