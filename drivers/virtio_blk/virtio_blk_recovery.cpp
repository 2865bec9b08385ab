// SPDX-License-Identifier: MIT
//
// When a request hangs, and what the device says by itself. No step waits; tick() takes the next
// when its time has come.
//
//   an error status           the request fails: the device has tried what there is to try
//   no end in time, a lie     a device reset (2.4): virtio has no way to take one request back
//   DEVICE_NEEDS_RESET        the same (2.1.2)
//   no way back               the driver ends, and the kernel resets the function for the next one
//
// Until the reset is over the device may use memory: what it had is given to it again, or
// completed with an error, only then.
#include <algorithm>

#include <fmt/format.h>

#include "drivers/virtio_blk/virtio_blk.hpp"
#include "libudrv/error.hpp"

namespace udrv::virtio_blk {

namespace {

using namespace std::chrono_literals;

constexpr std::uint8_t max_timeouts = 2; // of one request
// Which hit a request that was not late. At two looks a second that is 20 s for what is wrong
// with the device to pass (bus mastering that is off, for instance).
constexpr std::uint8_t max_resets = 40;
constexpr auto step_interval = 1ms; // of looks at a device that is being reset

} // namespace

BlkClock::time_point VirtioBlk::tick(BlkClock::time_point now) {
    if (state_ == State::stopped || failure() != nullptr) {
        return BlkClock::time_point::max();
    }
    if (state_ == State::resetting) {
        recover(now);
    }
    if (state_ == State::running && now >= look_) {
        // Also once after the last request: for a change that came together with its end.
        look_ = BlkClock::time_point::max();
        check_device();
        check_requests();
    }
    if (state_ == State::running && look_ == BlkClock::time_point::max() &&
        (outstanding_ != 0 || changed_)) {
        changed_ = false;
        look_ = now + look_interval;
    }
    if (failure() != nullptr) {
        return now;
    }
    return state_ == State::running ? look_ : now + step_interval;
}

/// Is it well, and as large as it was?
void VirtioBlk::check_device() {
    const std::uint8_t last = transport_.status();
    if (last == virtio::device_status::gone) {
        failure_ = "the device does not answer: device_status reads as all ones";
        return;
    }
    if ((last & virtio::device_status::device_needs_reset) != 0 ||
        (last & virtio::device_status::driver_ok) == 0) {
        counters_.asked++;
        begin_reset();
        return;
    }
    if (const std::uint64_t capacity = read_capacity(); capacity != capacity_) {
        capacity_ = capacity;
        counters_.changes++;
    }
}

/// Has any been under way for too long?
void VirtioBlk::check_requests() {
    if (state_ != State::running || failure() != nullptr) {
        return;
    }
    const auto limit = config_.request_timeout / look_interval + 1;
    bool late = false;
    for (Request& place : requests_) {
        if (place.out && ++place.looks >= limit) {
            place.overdue = true;
            late = true;
            counters_.timeouts++;
        }
    }
    if (late) {
        begin_reset();
    }
}

// ---- Device reset (2.4) --------------------------------------------------------------------

void VirtioBlk::begin_reset() {
    counters_.resets++;
    transport_.begin_reset();
    state_ = State::resetting;
    timed_ = false;
    look_ = BlkClock::time_point::max();
}

void VirtioBlk::recover(BlkClock::time_point now) {
    if (!timed_) {
        timed_ = true;
        deadline_ = now + config_.reset_timeout;
    }
    if (const std::uint8_t last = transport_.status(); last != 0) {
        if (last == virtio::device_status::gone) {
            failure_ = "the device does not answer: device_status reads as all ones";
        } else if (now >= deadline_) {
            failure_ =
                fmt::format("the device's reset does not end: device_status is {:#04x}", last);
        }
        return;
    }
    take_back();
    try {
        go_live();
    } catch (const Error& error) {
        failure_ = error.what();
        return;
    }
    state_ = State::running;
    changed_ = true;     // the configuration may be another one
    (void)queue_->arm(); // nothing is under way
    issue();
}

/// The device has nothing any more.
void VirtioBlk::take_back() {
    for (std::uint32_t tag = 0; tag < requests_.size(); tag++) {
        Request& place = requests_[tag];
        if (!place.out) {
            continue;
        }
        place.out = false;
        outstanding_--;
        if (place.overdue && ++place.timeouts >= max_timeouts) {
            complete(tag, UDRV_BLK_TIMEOUT);
        } else if (!place.overdue && ++place.resets >= max_resets) {
            complete(tag, UDRV_BLK_IOERR);
        } else {
            counters_.reissued++;
            waiting_.push_front(static_cast<std::uint16_t>(tag));
        }
    }
}

BlkTroubles VirtioBlk::troubles() const {
    BlkTroubles sum;
    sum.timeouts = counters_.timeouts;
    sum.resets = counters_.resets;
    sum.changes = counters_.changes;
    return sum;
}

} // namespace udrv::virtio_blk
