// SPDX-License-Identifier: MIT
//
// udrv-e1000: from a bound device to a served network interface.
#include <cstdint>
#include <optional>
#include <system_error>

#include <spdlog/spdlog.h>

#include "driver_ids.hpp" // made of e1000.ids
#include "drivers/e1000/e1000.hpp"
#include "libudrv/device/config_space.hpp"
#include "libudrv/device/port_io.hpp"
#include "libudrv/net/net_serve.hpp"
#include "libudrv/process/driver.hpp"

namespace udrv::e1000 {

namespace {

constexpr std::uint16_t device_82545em = 0x100f;

/// BAR of the I/O ports: 2, or 4 if the others have 64 bits (SDM 13.2.2); or no_io_bar.
std::uint32_t find_io_bar(const udrv_info& info) {
    for (std::uint32_t bar = 0; bar < UDRV_NR_BARS; bar++) {
        const udrv_bar_info& one = info.bars[bar];
        if ((one.flags & UDRV_BAR_IO) != 0 && one.start != 0 &&
            one.start <= 0xffff - io::nr_ports && one.len_bytes >= io::nr_ports) {
            return bar;
        }
    }
    return no_io_bar;
}

/// The right to the ports is taken here, on the data thread, while there still are
/// privileges. Without it (a locked down kernel) the chip is reset through memory.
void open_io(std::optional<DirectPortIo>& window, const Device& device, std::uint32_t& bar) {
    if (bar == no_io_bar) {
        return;
    }
    try {
        window.emplace(static_cast<std::uint16_t>(device.info().bars[bar].start), io::nr_ports);
    } catch (const std::system_error& error) {
        spdlog::warn("{}: resets go through memory, not through I/O ports: {}",
                     device.address().str(), error.what());
        bar = no_io_bar;
    }
}

int run(DriverContext& context) {
    Device& device = context.device;
    Config config;
    config.model = device.info().device == device_82545em ? Model::i82545em : Model::i82540em;
    auto registers = device.map_bar(0);
    std::uint32_t io_bar = find_io_bar(device.info());
    std::optional<DirectPortIo> ports;
    open_io(ports, device, io_bar);
    device.dma_bits(dma_bits(registers, config.model));
    if (in_pcix_mode(registers, config.model)) {
        ConfigSpace space(device);
        limit_memory_reads(space);
    }
    E1000 chip(registers, device, config, ports ? &*ports : nullptr);
    chip.init(); // resets the chip, so that bus mastering is safe
    device.stop_by(end_of_transfers(io_bar, chip.found_manc()));
    device.mask_intx_by(intx_mask());
    device.bus_master(true);
    return serve_net(context, chip);
}

} // namespace
} // namespace udrv::e1000

int main(int argc, char** argv) {
    return udrv::driver_main({.name = "e1000",
                              .description = "Intel 82540EM and 82545EM",
                              .ids = udrv::driver_ids,
                              .run = udrv::e1000::run,
                              .version = udrv::driver_version},
                             argc, argv);
}
