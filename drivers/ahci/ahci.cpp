// SPDX-License-Identifier: MIT
//
// The HBA: hand-over from the BIOS, reset, finding the disks; and what concerns all
// ports: interrupts, time, stop.
#include "drivers/ahci/ahci.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <thread>

#include <fmt/format.h>

#include "libudrv/error.hpp"

namespace udrv::ahci {

namespace {

using namespace std::chrono_literals;

constexpr auto hba_reset_timeout = 1000ms; // AHCI 10.4.3
constexpr auto handoff_timeout = 2000ms;   // AHCI 10.6.3, for a BIOS that is busy
constexpr auto set_up_interval = 500us;    // of looks at ports that come up

} // namespace

// ---- Reset -----------------------------------------------------------------------

std::uint32_t reset_hba(RegisterIo& abar) {
    // AHCI 3.1.2: AHCI mode before all else. HR works only in it (AHCI 10.4.3).
    reg::ghc.write(abar, reg::ghc.read(abar) | ghc::ae);
    if ((reg::cap2.read(abar) & cap2::boh) != 0) {
        // AHCI 10.6.3: ask, and give a BIOS that is busy the time it may take. One that
        // has not let go by then is passed over.
        reg::bohc.write(abar, reg::bohc.read(abar) | bohc::oos);
        const auto deadline = BlkClock::now() + handoff_timeout;
        while ((reg::bohc.read(abar) & bohc::bos) != 0 && BlkClock::now() < deadline) {
            std::this_thread::sleep_for(1ms);
        }
    }
    const std::uint32_t implemented = reg::pi.read(abar);
    std::uint32_t occupied = 0;
    for (std::uint32_t n = 0; n < max_ports; n++) {
        const auto det = [&] {
            return port::ssts.at(n, port::stride).read(abar) & px_ssts::det_mask;
        };
        if ((implemented >> n & 1) != 0 && det() == px_ssts::det_ready) {
            occupied |= 1u << n;
        }
    }
    reg::ghc.write(abar, ghc::ae | ghc::hr);
    wait_until(abar, reg::ghc, "ahci", "GHC", ghc::hr, 0, {hba_reset_timeout, 100us});
    // Its end may have left AHCI mode (AHCI 10.4.3).
    reg::ghc.write(abar, ghc::ae);
    return occupied;
}

unsigned dma_bits(RegisterIo& abar) {
    return (reg::cap.read(abar) & cap::s64a) != 0 ? 64 : 32;
}

Ahci::Ahci(RegisterIo& abar, DmaAllocator& dma, const Config& config)
    : regs_(abar), config_(config) {
    read_capabilities();
    auto ports = quiet_ports();
    set_up_ports(ports, dma);
    sort_ports(std::move(ports));
}

void Ahci::read_capabilities() {
    const std::uint32_t cap = reg::cap.read(regs_);
    hba_.slots = (cap >> cap::ncs_shift & cap::ncs_mask) + 1;
    hba_.ncq = (cap & cap::sncq) != 0;
    hba_.addresses64 = (cap & cap::s64a) != 0;
    hba_.staggered = (cap & cap::sss) != 0;
    implemented_ = reg::pi.read(regs_);
}

// ---- Finding the disks ------------------------------------------------------------

std::vector<std::unique_ptr<Port>> Ahci::quiet_ports() {
    std::vector<std::unique_ptr<Port>> ports;
    for (std::uint32_t number = 0; number < max_ports; number++) {
        if ((implemented_ >> number & 1) == 0) {
            continue;
        }
        auto port = std::make_unique<Port>(regs_, number, hba_, config_);
        try {
            port->quiet();
            ports.push_back(std::move(port));
        } catch (const Error& error) {
            notes_.emplace_back(error.what());
        }
    }
    return ports;
}

/// All ports at the same time, so that none waits for a sick one. Only where the HBA has
/// staggered spin-up, because its power supply cannot start all disks at once, does one
/// start after the other (AHCI 3.1.1, CAP.SSS).
void Ahci::set_up_ports(std::vector<std::unique_ptr<Port>>& ports, DmaAllocator& dma) {
    std::size_t powered = 0;
    for (;;) {
        const auto now = BlkClock::now();
        while (powered < ports.size() &&
               (!hba_.staggered || powered == 0 || ports[powered - 1]->let_next(now))) {
            ports[powered++]->power_on(now);
        }
        const auto linked = std::count_if(ports.begin(), ports.end(),
                                          [](const auto& port) { return port->linked(); });
        const bool missing = static_cast<std::size_t>(linked) < config_.expected_disks;
        const bool enough = config_.expected_disks != 0 && !missing;
        bool pending = powered < ports.size();
        for (std::size_t n = 0; n < powered; n++) {
            Port& port = *ports[n];
            const bool occupied = (config_.occupied >> port.number() & 1) != 0;
            try {
                const bool done = port.set_up(now, missing || occupied, dma);
                pending |= !done && (port.linked() || occupied || !enough);
            } catch (const Error& error) {
                port.fail(error.what());
            }
        }
        if (!pending) {
            return;
        }
        std::this_thread::sleep_for(set_up_interval);
    }
}

/// Into those with a disk, those without a device, and the rest, which is left alone.
void Ahci::sort_ports(std::vector<std::unique_ptr<Port>> ports) {
    for (auto& port : ports) {
        if (port->usable()) {
            disks_.push_back(port->disk());
            port_of_bit_[port->number()] = port.get();
            ports_.push_back(std::move(port));
        } else if (port->problem().empty()) {
            port_of_bit_[port->number()] = port.get();
            empty_.push_back(std::move(port));
        } else {
            const bool stopped = port->stop();
            add_note(port->number(),
                     port->problem() + (stopped ? "" : "; and its port does not stop"));
        }
    }
    if (ports_.empty()) {
        std::string found = fmt::format("none on its {} ports", std::popcount(implemented_));
        for (const std::string& note : notes_) {
            found += "; " + note;
        }
        throw_error(ENODEV, "ahci: find a disk", found);
    }
}

void Ahci::add_note(std::uint32_t number, const std::string& text) {
    notes_.push_back(fmt::format("port {}: {}", number, text));
}

// ---- Data path --------------------------------------------------------------------

/// AHCI 10.1.2: each port's PxIE before GHC.IE. What has been pending until now is of no
/// interest.
void Ahci::start(BlkCompletions& done) {
    for (std::uint32_t disk = 0; disk < ports_.size(); disk++) {
        ports_[disk]->start(disk, done);
    }
    for (auto& port : empty_) {
        port->enable();
    }
    reg::is.write(regs_, reg::is.read(regs_));
    reg::ghc.write(regs_, ghc::ae | ghc::ie);
}

bool Ahci::interrupt() {
    if (resetting_) {
        return false; // the HBA has GHC.IE at 0, and no other register may be touched
    }
    const std::uint32_t ports = reg::is.read(regs_);
    if (ports == 0) {
        return false;
    }
    if ((ports & ~implemented_) != 0) { // all ones: the device is gone
        for (auto& port : ports_) {
            port->lose();
        }
        return true;
    }
    for (std::uint32_t set = ports; set != 0; set &= set - 1) {
        if (Port* port = port_of_bit_[static_cast<std::size_t>(std::countr_zero(set))]) {
            port->interrupt();
        }
    }
    // After PxIS, see Port::interrupt(). Ports without a disk have PxIE 0.
    reg::is.write(regs_, ports);
    return true;
}

void Ahci::submit(std::uint32_t disk, std::span<const BlkSubmission> submissions) {
    ports_[disk]->submit(submissions);
}

void Ahci::reap() {
    for (auto& port : ports_) {
        port->reap();
    }
}

BlkClock::time_point Ahci::tick(BlkClock::time_point now) {
    if (stopped_ || failure_ != nullptr) {
        return BlkClock::time_point::max();
    }
    if (resetting_) {
        return reset_step(now);
    }
    const auto looks = [&](const auto& port) { return port->will_look(now); };
    if (std::any_of(ports_.begin(), ports_.end(), looks)) {
        // The HBA sends no message for what happens while a bit of IS is set: one that got
        // lost would be the last (AHCI 10.7.2.1).
        (void)interrupt();
    }
    auto next = BlkClock::time_point::max();
    bool stuck = false;
    for (auto& port : ports_) {
        next = std::min(next, port->tick(now));
        stuck |= port->wants_hba_reset();
    }
    if (stuck) {
        // AHCI 10.4.3: the last resort, for all ports at once. Nothing else can keep
        // the HBA from memory whose requests are to be given up.
        reg::ghc.write(regs_, ghc::ae | ghc::hr);
        resetting_ = true;
        reset_deadline_ = now + hba_reset_timeout;
        return now;
    }
    return next;
}

BlkClock::time_point Ahci::reset_step(BlkClock::time_point now) {
    const std::uint32_t ghc = reg::ghc.read(regs_);
    if ((ghc & ghc::hr) != 0) { // all ones too
        if (now < reset_deadline_) {
            return now + 1ms;
        }
        // No other register may be touched (AHCI 10.4.3), and the HBA may still move the data of
        // what it has: whose memory that is, the kernel keeps until it is quiet.
        failure_ = "the HBA's reset does not end: GHC.HR stays 1";
        return BlkClock::time_point::max();
    }
    resetting_ = false;
    reg::ghc.write(regs_, ghc::ae);
    for (auto& port : ports_) {
        port->hba_was_reset();
    }
    for (auto& port : empty_) {
        port->hba_was_reset();
    }
    reg::ghc.write(regs_, ghc::ae | ghc::ie);
    return now;
}

/// The reset at the end also ends commands that the disks still have: a port that was
/// stopped alone may leave an emulated disk to finish them.
void Ahci::stop() {
    stopped_ = true;
    reg::ghc.write(regs_, ghc::ae);
    for (auto& port : ports_) {
        (void)port->stop();
    }
    for (auto& port : empty_) {
        (void)port->stop();
    }
    try {
        (void)reset_hba(regs_);
    } catch (const Error&) {
        // It does not answer. The kernel takes bus mastering away in any case.
    }
}

} // namespace udrv::ahci
