// SPDX-License-Identifier: MIT
//
// `udrv run e1000`: from a bound device to a served network interface.
#include "libudrv/process/driver.hpp"
#include "drivers/e1000/e1000.hpp"
#include "libudrv/net/net_serve.hpp"

namespace udrv::e1000 {

namespace {

constexpr PciId ids[] = {
    {0x8086, 0x100e}, // 82540EM
    {0x8086, 0x100f}, // 82545EM, copper
};

int run(DriverContext& context) {
    Device& device = context.device;
    device.dma_bits(64);
    auto registers = device.map_bar(0);
    E1000 chip(registers, device); // resets the chip, so that bus mastering is safe
    device.stop_by(end_of_transfers);
    device.bus_master(true);
    return serve_net(context, chip);
}

} // namespace

extern const Driver driver{"e1000", "Intel 82540EM and 82545EM", ids, run};

} // namespace udrv::e1000
