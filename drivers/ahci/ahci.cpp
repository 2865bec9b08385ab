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
constexpr auto link_timeout = 1000ms;      // from a device's first sign to a link

} // namespace

// ---- Reset -----------------------------------------------------------------------

void reset_hba(RegisterIo& abar) {
    if ((reg::cap2.read(abar) & cap2::boh) != 0) {
        // AHCI 10.6.3: ask, and give a BIOS that is busy the time it may take. One that
        // has not let go by then is passed over.
        reg::bohc.write(abar, reg::bohc.read(abar) | bohc::oos);
        const auto deadline = BlkClock::now() + handoff_timeout;
        while ((reg::bohc.read(abar) & bohc::bos) != 0 && BlkClock::now() < deadline) {
            std::this_thread::sleep_for(1ms);
        }
    }
    // HR works in AHCI mode only, and its end may leave AHCI mode (AHCI 10.4.3).
    reg::ghc.write(abar, reg::ghc.read(abar) | ghc::ae);
    reg::ghc.write(abar, ghc::ae | ghc::hr);
    wait_until(abar, reg::ghc, "ahci", "GHC", ghc::hr, 0, {hba_reset_timeout, 100us});
    reg::ghc.write(abar, ghc::ae);
}

unsigned dma_bits(RegisterIo& abar) {
    return (reg::cap.read(abar) & cap::s64a) != 0 ? 64 : 32;
}

Ahci::Ahci(RegisterIo& abar, DmaAllocator& dma, const Config& config)
    : regs_(abar), config_(config) {
    reset_hba(regs_);
    read_capabilities();
    find_links();
    attach_disks(dma);
    // AHCI 10.1.2: each port's PxIE before GHC.IE. What has been pending until now is
    // of no interest.
    for (auto& port : ports_) {
        port->enable();
    }
    reg::is.write(regs_, reg::is.read(regs_));
    reg::ghc.write(regs_, ghc::ae | ghc::ie);
}

void Ahci::read_capabilities() {
    const std::uint32_t cap = reg::cap.read(regs_);
    hba_.slots = (cap >> cap::ncs_shift & cap::ncs_mask) + 1;
    hba_.ncq = (cap & cap::sncq) != 0;
    hba_.addresses64 = (cap & cap::s64a) != 0;
    implemented_ = reg::pi.read(regs_);
}

// ---- Finding the disks ------------------------------------------------------------

/// Makes a Port for each link that comes up. They come up all at the same time.
void Ahci::find_links() {
    std::vector<std::unique_ptr<Port>> candidates;
    for (std::uint32_t number = 0; number < max_ports; number++) {
        if ((implemented_ >> number & 1) == 0) {
            continue;
        }
        auto port = std::make_unique<Port>(regs_, number, hba_, config_);
        try {
            port->quiet();
            candidates.push_back(std::move(port));
        } catch (const Error& error) {
            notes_.emplace_back(error.what());
        }
    }
    const auto begin = BlkClock::now();
    for (;;) {
        const auto waited = BlkClock::now() - begin;
        std::size_t ready = 0;
        bool silent = false;  // no sign of a device: there may be none
        bool pending = false; // a sign, but no link yet
        for (const auto& port : candidates) {
            const std::uint32_t det = port->link();
            ready += det == px_ssts::det_ready ? 1U : 0U;
            silent |= det == px_ssts::det_none;
            pending |= det != px_ssts::det_none && det != px_ssts::det_ready;
        }
        const bool all = config_.expected_disks != 0 && ready >= config_.expected_disks;
        if ((!silent || all || waited >= config_.detect) && (!pending || waited >= link_timeout)) {
            break;
        }
        std::this_thread::sleep_for(1ms);
    }
    for (auto& port : candidates) {
        const std::uint32_t det = port->link();
        if (det == px_ssts::det_ready) {
            ports_.push_back(std::move(port));
        } else if (det != px_ssts::det_none) {
            add_note(port->number(), fmt::format("a device whose link does not come up "
                                                 "(PxSSTS.DET is {})",
                                                 det));
        }
    }
}

void Ahci::attach_disks(DmaAllocator& dma) {
    std::erase_if(ports_, [&](const std::unique_ptr<Port>& port) {
        std::string problem;
        try {
            problem = port->attach(dma);
        } catch (const Error& error) {
            problem = error.what();
        }
        if (problem.empty()) {
            return false;
        }
        if (!port->stop()) {
            problem += "; and its port does not stop";
        }
        add_note(port->number(), problem);
        return true;
    });
    for (const auto& port : ports_) {
        disks_.push_back(port->disk());
        port_of_bit_[port->number()] = port.get();
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

bool Ahci::interrupt() {
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

std::size_t Ahci::reap(std::span<BlkCompletion> completions) {
    std::size_t count = 0;
    for (std::uint32_t disk = 0; disk < ports_.size(); disk++) {
        count += ports_[disk]->reap(disk, completions.subspan(count));
    }
    return count;
}

BlkClock::time_point Ahci::tick(BlkClock::time_point now) {
    if (stopped_) {
        return BlkClock::time_point::max();
    }
    if (resetting_) {
        return reset_step(now);
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
        resetting_ = false;
        for (auto& port : ports_) {
            port->lose();
        }
        return now;
    }
    resetting_ = false;
    reg::ghc.write(regs_, ghc::ae);
    for (auto& port : ports_) {
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
    try {
        reset_hba(regs_);
    } catch (const Error&) {
        // It does not answer. The kernel takes bus mastering away in any case.
    }
}

} // namespace udrv::ahci
