// SPDX-License-Identifier: MIT
//
// udrv-ide: from a bound device to served disks.
//
// The registers are I/O ports, reached by IN and OUT (libudrv/device/port_io.hpp): the right to
// them is taken here, on the data thread, while there still are privileges.
#include <array>
#include <cerrno>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>

#include <fmt/format.h>

#include "driver_ids.hpp" // made of ide.ids
#include "drivers/ide/ide.hpp"
#include "libudrv/blk/blk_serve.hpp"
#include "libudrv/device/config_space.hpp"
#include "libudrv/device/port_io.hpp"
#include "libudrv/error.hpp"
#include "libudrv/process/bring_up.hpp"
#include "libudrv/process/driver.hpp"
#include "libudrv/process/memory_lock.hpp"

namespace udrv::ide {

namespace {

constexpr unsigned bus_master_bar = 4;

/// Programming interface of the class code: channel 0 or 1 is in native PCI mode, with
/// its ports in BARs 0 to 3 and INTx. The PIIX has no such mode.
constexpr std::uint32_t native_channels = 1u << 0 | 1u << 2;

constexpr std::uint16_t device_piix4 = 0x7111;

/// SSBM off (PIIX4 5.2.1), on both channels.
constexpr udrv_stop_write end_of_transfers[] = {
    stop_write(bus_master_bar, bus_master::bmicom.offset, sizeof(std::uint8_t), 0),
    stop_write(bus_master_bar, bus_master::bmicom.offset + bus_master::stride, sizeof(std::uint8_t),
               0),
};

/// The ports of one channel.
struct Windows {
    Windows(const LegacyPorts& legacy, std::uint16_t bus_master_port)
        : command_block(legacy.command_block, 8), control_block(legacy.control_block, 1),
          bus_master(bus_master_port, bus_master::stride) {}
    [[nodiscard]] ChannelPorts ports(RegisterIo& timing) {
        return {command_block, control_block, bus_master, timing};
    }

    DirectPortIo command_block;
    DirectPortIo control_block;
    DirectPortIo bus_master;
};

/// First port of the bus master's block. Throws Error.
std::uint16_t bus_master_port(const Device& device) {
    const udrv_info& info = device.info();
    const std::string tried = fmt::format("ide: find the registers of {}", device.address().str());
    if ((info.class_code & native_channels) != 0) {
        throw_error(ENOTSUP, tried, "the controller is in native mode",
                    "switch it to compatibility mode in the firmware's set-up");
    }
    const udrv_bar_info& bar = info.bars[bus_master_bar];
    if ((bar.flags & UDRV_BAR_IO) == 0 || bar.len_bytes < nr_channels * bus_master::stride ||
        bar.start > 0xffff - nr_channels * bus_master::stride) {
        throw_error(ENODEV, tried,
                    fmt::format("BAR {} is not a block of {} I/O ports", bus_master_bar,
                                nr_channels * bus_master::stride));
    }
    return static_cast<std::uint16_t>(bar.start);
}

class Board {
  public:
    explicit Board(Device& device) : Board(device, bus_master_port(device)) {}

    void quiet() {
        quiet_channel(primary_.ports(timing_));
        quiet_channel(secondary_.ports(timing_));
    }

    [[nodiscard]] static ChipNeeds needs() {
        return {.dma_bits = 32, // a descriptor has 32 bits of address
                .stop_writes = {std::begin(end_of_transfers), std::end(end_of_transfers)},
                .interrupts = {UDRV_IRQ_INTX}, // IRQ 14 and 15
                .nr_vectors = nr_channels,
                .least_vectors = nr_channels};
    }

    Ide& make(const ChipInterrupts& /*interrupts*/) {
        Config config;
        config.controller =
            device_.info().device == device_piix4 ? Controller::piix4 : Controller::piix3;
        const std::array<ChannelPorts, nr_channels> ports{primary_.ports(timing_),
                                                          secondary_.ports(timing_)};
        return chip_.emplace(ports, device_, config);
    }

  private:
    Board(Device& device, std::uint16_t first)
        : device_(device), primary_(legacy_ports[0], first),
          secondary_(legacy_ports[1], static_cast<std::uint16_t>(first + bus_master::stride)),
          timing_(device) {}

    Device& device_;
    Windows primary_;
    Windows secondary_;
    ConfigSpace timing_;
    std::optional<Ide> chip_;
};

} // namespace
} // namespace udrv::ide

int main(int argc, char** argv) {
    return udrv::driver_main({.name = "ide",
                              .description = "PIIX3 and PIIX4 bus-master IDE",
                              .ids = udrv::driver_ids,
                              .run = udrv::run_blk<udrv::ide::Board>,
                              .prepare = udrv::lock_memory,
                              .version = udrv::driver_version},
                             argc, argv);
}
