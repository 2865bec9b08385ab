// SPDX-License-Identifier: MIT
//
// The way out: NVMe 7.6.2, "Shutdown". It may wait, since nothing is served any more.
#include <algorithm>
#include <chrono>
#include <thread>

#include "drivers/nvme/nvme.hpp"
#include "libudrv/error.hpp"

namespace udrv::nvme {

namespace {

using namespace std::chrono_literals;

constexpr auto shutdown_default = 5'000ms; // where RTD3E does not say
constexpr auto shutdown_limit = 20'000ms;
constexpr auto delete_timeout = 1'000ms; // of a queue, at the end
constexpr auto look_pause = 50us;

} // namespace

bool Nvme::wait_for_answer(std::chrono::milliseconds timeout) {
    answered_ = false;
    for (const auto deadline = BlkClock::now() + timeout; BlkClock::now() < deadline;) {
        CompletionEntry entry;
        while (admin_.take(entry)) {
            answered_ |= entry.cid == AdminId::setup;
        }
        admin_.release(regs_);
        const std::uint32_t csts = reg::csts.read(regs_);
        if (answered_ || csts == csts::gone || (csts & csts::cfs) != 0) {
            break;
        }
        std::this_thread::sleep_for(look_pause);
    }
    return answered_;
}

/// The submission queue before its completion queue (NVMe 5.5). False: not in time.
bool Nvme::delete_queues() {
    for (const std::uint8_t opc : {admin::delete_sq, admin::delete_cq}) {
        SubmissionEntry entry{};
        entry.opc = opc;
        entry.cdw10 = 1;
        submit_admin(entry, AdminId::setup);
        if (!wait_for_answer(delete_timeout)) {
            return false;
        }
    }
    return true;
}

/// In the middle of a reset, or of what follows it: enabled again, without queues. All that it
/// had stays with the kernel.
void Nvme::bring_back() {
    disable(regs_);
    configure();
    wait_until(regs_, reg::csts, "nvme", "CSTS", csts::rdy, csts::rdy, {ready_timeout_, 100us});
}

/// What the disk has in its cache goes to the medium.
void Nvme::wait_for_shutdown() {
    const std::uint32_t csts = reg::csts.read(regs_);
    if ((csts & (csts::rdy | csts::cfs)) != csts::rdy) { // also where nobody answers
        return;
    }
    auto time = std::chrono::ceil<std::chrono::milliseconds>(
        std::chrono::microseconds(identity_.shutdown_us));
    if (time == 0ms) {
        time = shutdown_default;
    }
    time = std::clamp<std::chrono::milliseconds>(time, 1'000ms, shutdown_limit);
    reg::cc.write(regs_, cc::wanted | cc::en | cc::shn_normal);
    wait_until(regs_, reg::csts, "nvme", "CSTS", csts::shst_mask, csts::shst_complete,
               {time, 100us});
}

void Nvme::stop() {
    if (state_ == State::stopped) {
        return;
    }
    const bool running = state_ == State::running;
    state_ = State::stopped;
    try {
        // The notification does not depend on the deletion, which may take as long as what is
        // under way.
        if (running) {
            (void)delete_queues();
        } else {
            bring_back();
        }
        wait_for_shutdown();
        disable(regs_);
    } catch (const Error&) {
        // It does not answer. The kernel takes bus mastering away in any case.
    }
}

} // namespace udrv::nvme
