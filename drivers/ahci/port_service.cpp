// SPDX-License-Identifier: MIT
//
// Commands of our own, one at a time in slot 0 while nothing else is with the disk and
// PxIE is 0: IDENTIFY DEVICE and SET FEATURES at set-up and after a reset of the port,
// READ LOG EXT after a queued command failed. All by polling, in steps.
#include <algorithm>
#include <cstring>

#include "drivers/ahci/port.hpp"

namespace udrv::ahci {

namespace {

using namespace std::chrono_literals;

/// Between two IDENTIFYs of a disk that is about to spin up.
constexpr auto again_interval = 100ms;

} // namespace

/// BSY or DRQ: takes no command. An HBA without a device has 7Fh there (AHCI 3.3.8).
bool Port::busy() {
    return (read(port::tfd) & (ata::status::bsy | ata::status::drq)) != 0;
}

/// The engine runs, started by start_engine(), which cleared PxIS. Its data, if any, go
/// to page_.
void Port::begin_service(const Taskfile& task, BlkClock::time_point deadline) {
    const bool data = task.command != ata::cmd::set_features;
    std::memset(page_, 0, ata::sector_bytes); // what does not come is not valid
    const H2dFis fis = encode(task);
    std::copy(fis.begin(), fis.end(), service_table_->cfis);
    write_header(0, header::cfl_h2d, data ? 1 : 0, service_table_dma_addr_);
    write(port::ci, 1);
    service_deadline_ = deadline;
    service_causes_ = 0;
}

/// PxTFD has what the disk said last, which until its answer comes is of another command
/// (AHCI 3.3.8): it is of no use before PxCI's bit clears. A failed command may keep that
/// bit, but sets PxIS.
Port::Answer Port::service(BlkClock::time_point now) {
    const bool late = now >= service_deadline_;
    service_causes_ = read(port::is);
    if ((service_causes_ & px_is::failed) != 0) {
        return Answer::failed;
    }
    if ((read(port::ci) & 1) == 0) {
        const bool error = (read(port::tfd) & ata::status::bad) != 0;
        return error ? Answer::failed : Answer::good;
    }
    return late ? Answer::failed : Answer::pending;
}

// ---- IDENTIFY DEVICE, of a disk that may be in standby ---------------------------------

void Port::begin_identify(BlkClock::time_point now) {
    waking_ = false;
    woken_ = false;
    resting_ = false;
    spin_deadline_ = now + config_.ready_timeout;
    begin_service(identify(), now + config_.identify_timeout);
}

std::span<const std::uint16_t, ata::identify_words> Port::page_words() const {
    return std::span<const std::uint16_t, ata::identify_words>(
        reinterpret_cast<const std::uint16_t*>(page_), ata::identify_words);
}

/// Good: page_ has the disk's whole answer, unless it does not wake up.
Port::Answer Port::identify_step(BlkClock::time_point now) {
    if (resting_) {
        if (now >= service_deadline_) {
            resting_ = false;
            begin_service(identify(), now + config_.identify_timeout);
        }
        return Answer::pending;
    }
    const Answer answer = service(now);
    if (answer != Answer::good) {
        return answer;
    }
    if (waking_) { // it ends when the platters turn (ACS-3, PUIS)
        waking_ = false;
        begin_service(identify(), now + config_.identify_timeout);
        return Answer::pending;
    }
    const ata::Standby standby = ata::standby(page_words());
    if (standby == ata::Standby::wake && !woken_) {
        waking_ = true;
        woken_ = true;
        begin_service(spin_up(), now + config_.ready_timeout);
        return Answer::pending;
    }
    if (standby == ata::Standby::partial && now < spin_deadline_) {
        resting_ = true;
        service_deadline_ = now + again_interval;
        return Answer::pending;
    }
    return Answer::good;
}

} // namespace udrv::ahci
