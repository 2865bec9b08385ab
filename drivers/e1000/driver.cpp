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
#include "libudrv/process/bring_up.hpp"
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

class Board {
  public:
    explicit Board(Device& device)
        : device_(device), registers_(device.map_bar(0)), io_bar_(find_io_bar(device.info())) {
        open_io(ports_, device, io_bar_);
        config_.model = device.info().device == device_82545em ? Model::i82545em : Model::i82540em;
        chip_.emplace(registers_, device, config_, ports_ ? &*ports_ : nullptr);
    }

    void quiet() { chip_->quiet(); }

    [[nodiscard]] ChipNeeds needs() {
        return {.dma_bits = dma_bits(registers_, config_.model),
                .stop_writes = end_of_transfers(io_bar_, chip_->found_manc()),
                .intx_mask = intx_mask()};
    }

    E1000& make(const ChipInterrupts& /*interrupts*/) {
        if (in_pcix_mode(registers_, config_.model)) {
            ConfigSpace space(device_);
            limit_memory_reads(space);
        }
        chip_->init();
        return *chip_;
    }

  private:
    Device& device_;
    BarMapping registers_;
    std::uint32_t io_bar_;
    std::optional<DirectPortIo> ports_;
    Config config_;
    std::optional<E1000> chip_;
};

} // namespace
} // namespace udrv::e1000

int main(int argc, char** argv) {
    return udrv::driver_main({.name = "e1000",
                              .description = "Intel 82540EM and 82545EM",
                              .ids = udrv::driver_ids,
                              .run = udrv::run_net<udrv::e1000::Board>,
                              .version = udrv::driver_version},
                             argc, argv);
}
