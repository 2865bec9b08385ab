// SPDX-License-Identifier: MIT
//
// The e1000 chip class with packet buffers of the process itself, pinned and translated
// by udrv.ko, and no udrv_net.ko: what e1000_tap and e1000_reflect have in common.
#pragma once

#include <array>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <unistd.h>

#include "drivers/e1000/e1000.hpp"
#include "libudrv/device/device.hpp"
#include "libudrv/device/dma_mapping.hpp"
#include "libudrv/error.hpp"

namespace udrv::bench {

inline volatile std::sig_atomic_t stop_wanted = 0;
inline volatile std::sig_atomic_t stats_wanted = 0;

/// Equal buffers that both the process and the chip know; an index names one.
class Buffers {
  public:
    static constexpr std::uint32_t size = e1000::rx_buffer_bytes;

    Buffers(Device& device, std::uint32_t count)
        : memory_(std::size_t{count} * size),
          mapping_(device, memory_.bytes(), UDRV_DMA_TO_DEVICE | UDRV_DMA_FROM_DEVICE) {
        for (const udrv_dma_segment& segment : mapping_.segments()) {
            for (std::uint64_t at = 0; at < segment.len_bytes && dma_addr_.size() < count;
                 at += size) {
                dma_addr_.push_back(segment.dma_addr + at);
            }
        }
    }

    [[nodiscard]] std::uint64_t dma_addr(std::uint32_t id) const { return dma_addr_[id]; }
    [[nodiscard]] std::span<std::byte> bytes(std::uint32_t id) const {
        return memory_.bytes().subspan(std::size_t{id} * size, size);
    }
    [[nodiscard]] udrv_net_fill fill(std::uint32_t id) const {
        return {.dma_addr = dma_addr(id), .len_bytes = size, .id = id};
    }
    /// A whole packet in one segment.
    [[nodiscard]] udrv_net_tx packet(std::uint32_t id, std::uint32_t len_bytes) const {
        udrv_net_tx tx{};
        tx.dma_addr = dma_addr(id);
        tx.len_bytes = len_bytes;
        tx.id = id;
        tx.flags = UDRV_NET_TX_EOP;
        return tx;
    }

  private:
    DmaBuffer memory_;
    DmaMapping mapping_;
    std::vector<std::uint64_t> dma_addr_;
};

/// A chip that runs, its interrupt, and the signals that end or query the process.
class OwnE1000 {
  public:
    static constexpr std::size_t batch = 64;

    OwnE1000(const std::string& address, std::string stats_path)
        : stats_path_(std::move(stats_path)), device_(PciAddress::parse(address)),
          registers_(open()), chip(registers_, device_), irq_(device_.open_irq(0)) {
        chip.quiet();
        chip.init();
        device_.stop_by(e1000::end_of_transfers(e1000::no_io_bar, chip.found_manc()));
        device_.bus_master(true);
        struct sigaction action {};
        action.sa_handler = [](int) { stop_wanted = 1; };
        ::sigaction(SIGTERM, &action, nullptr);
        ::sigaction(SIGINT, &action, nullptr);
        action.sa_handler = [](int) { stats_wanted = 1; };
        ::sigaction(SIGUSR1, &action, nullptr);
        ::signal(SIGPIPE, SIG_IGN);
    }

    [[nodiscard]] Device& device() { return device_; }

    void start() {
        udrv_net_desired desired{};
        desired.up = 1;
        desired.mtu = 1500;
        const MacAddress& mac = chip.capabilities().mac;
        std::copy(mac.begin(), mac.end(), desired.mac);
        chip.apply(desired);
    }
    void ready(const char* name) const {
        fmt::print("{}: ready, pid {}\n", name, ::getpid());
        std::fflush(stdout);
    }

    /// Sleeps until the chip interrupts or `other` (-1: nothing) is readable.
    void wait(int other) {
        std::array<pollfd, 2> waiting{{{irq_.fd(), POLLIN, 0}, {other, POLLIN, 0}}};
        ++system_calls;
        (void)chip.arm();
        if (::poll(waiting.data(), waiting.size(), 1000) > 0 && waiting[0].revents != 0) {
            ++system_calls;
            if (irq_.try_read()) {
                (void)chip.interrupt();
            }
        }
        look_at_signals();
    }

    /// A busy loop calls it now and then.
    void look_at_signals() {
        if (stats_wanted != 0 || stop_wanted != 0) {
            stats_wanted = 0;
            write_stats();
        }
    }
    [[nodiscard]] static bool stopping() { return stop_wanted != 0; }

  private:
    BarMapping open() {
        device_.dma_bits(32);
        return device_.map_bar(0);
    }
    void write_stats() const {
        if (stats_path_.empty()) {
            return;
        }
        const std::string text =
            nlohmann::json{{"packets", packets}, {"system_calls", system_calls}}.dump(2) + "\n";
        const std::string part = stats_path_ + ".part";
        if (std::FILE* file = std::fopen(part.c_str(), "w")) {
            std::fputs(text.c_str(), file);
            std::fclose(file);
            (void)std::rename(part.c_str(), stats_path_.c_str());
        }
    }

    std::string stats_path_;
    Device device_;
    BarMapping registers_;

  public:
    e1000::E1000 chip;
    std::uint64_t packets = 0;
    std::uint64_t system_calls = 0;

  private:
    IrqFile irq_;
};

} // namespace udrv::bench
