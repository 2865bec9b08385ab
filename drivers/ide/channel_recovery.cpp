// SPDX-License-Identifier: MIT
//
// Commands that do not end, and the way back: stop the bus master, reset both drives,
// wait for each, tell it its transfer mode, and go on. Every wait is a step of tick().
// The interrupted request is tried once more; what has not started just waits.
//
// A drive that does not come back is lost: its requests fail at once, so that the channel
// can serve the other. From time to time the same way is gone once more to look for it.
// If it then says that it is the drive it was, it is served again.
#include "drivers/ide/channel.hpp"

#include <algorithm>

namespace udrv::ide {

namespace {

using namespace std::chrono_literals;

namespace cb = command_block;

constexpr std::uint8_t max_timeouts = 2; // of one request; the last is reported

/// The kernel takes a driver for dead that has a request for 120 s (disk.c): at a recovery,
/// a request of this age fails, as the next may take a flush's 30 s and the drives' resets.
constexpr auto give_up_age = 60s;

constexpr auto srst_hold = 5us;     // ATA, Software reset protocol
constexpr auto srst_settle = 2ms;   // likewise
constexpr auto poll_interval = 5ms; // of a drive that recovers
constexpr auto never = BlkClock::time_point::max();

bool is_ready(std::uint8_t status) {
    constexpr std::uint8_t floating = 0xff;
    return status != floating &&
           (status & (ata::status::bsy | ata::status::drdy)) == ata::status::drdy;
}

} // namespace

BlkClock::time_point Channel::tick(BlkClock::time_point now) {
    stamp(now);
    if (state_ == State::running) {
        hold_ = now >= revive_at_;
        if (hold_ && active_ == nobody) {
            state_ = State::failed;
            wake_ = BlkClock::time_point::min();
        }
    }
    if (state_ == State::running) {
        const BlkClock::time_point next = watch(now);
        if (state_ == State::running) {
            return hold_ ? next : std::min(next, revive_at_);
        }
    }
    while (state_ != State::running && state_ != State::stopped) {
        if (!step(now)) {
            return wake_;
        }
    }
    return state_ == State::running ? std::min(watch(now), revive_at_) : never;
}

/// Requests come without a time, so that submit() needs no clock.
void Channel::stamp(BlkClock::time_point now) {
    for (Unit& unit : units_) {
        for (; unit.stamped != unit.queue.producer; unit.stamped++) {
            unit.queue.at(unit.stamped).arrived = now;
        }
    }
}

/// Those behind commands that did not end have waited as long; they came in this order.
void Channel::give_up_old(BlkClock::time_point now) {
    for (unsigned number = 0; number < drives_a_channel; number++) {
        auto& queue = units_[number].queue;
        while (!queue.empty() && queue.front().arrived != unstamped &&
               now - queue.front().arrived >= give_up_age) {
            complete(number, UDRV_BLK_TIMEOUT);
        }
    }
}

/// The time limit of the command under way. It runs from the first look at it, so that
/// issue() needs no clock.
BlkClock::time_point Channel::watch(BlkClock::time_point now) {
    if (active_ == nobody) {
        return never;
    }
    if (!timed_) {
        timed_ = true;
        deadline_ = now + (command_.slow ? config_.flush_timeout : config_.command_timeout);
    }
    if (now < deadline_) {
        return deadline_;
    }
    // Perhaps it ended and the interrupt was lost: these lines are edge triggered.
    if (interrupt() && !timed_) {
        counters_.lost_interrupts++;
    } else if (active_ != nobody) {
        const std::uint8_t bm_status = bus_master::bmidesta.read(ports_.bus_master);
        units_[active_].queue.front().bus_error = (bm_status & bmidesta::error) != 0;
        give_up();
    }
    return state_ == State::running ? watch(now) : now;
}

/// From issue(), or when the time is over. tick() does the rest.
void Channel::give_up() {
    units_[active_].queue.front().timeouts++;
    counters_.timeouts++;
    state_ = State::failed;
    wake_ = BlkClock::time_point::min();
}

/// One step of recovery. False: nothing more to do until wake_.
bool Channel::step(BlkClock::time_point now) {
    if (now < wake_) {
        return false;
    }
    switch (state_) {
    case State::failed:
        bus_master::bmicom.write(ports_.bus_master, direction_);
        control(device_control::nien | device_control::srst);
        counters_.resets++;
        wake_ = now + srst_hold;
        state_ = State::holding;
        return false;
    case State::holding:
        control(device_control::nien);
        selected_ = nobody;
        wake_ = now + srst_settle;
        start_unit(0, now);
        return false;
    case State::waiting:
        return wait_ready(now);
    case State::identifying:
        return wait_identity(now);
    case State::setting_mode:
        return wait_mode(now);
    case State::running:
    case State::stopped:
        break;
    }
    return true;
}

bool Channel::wait_ready(BlkClock::time_point now) {
    if (unit_ == drives_a_channel) {
        resume(now);
        return true;
    }
    Unit& unit = units_[unit_];
    if (!unit.present) {
        start_unit(unit_ + 1, now);
        return true;
    }
    cb::device.write(ports_.command_block, unit.drive.device);
    settle_400ns();
    if (is_ready(alternate_status())) {
        if (unit.lost) {
            Taskfile task;
            task.command = ata::cmd::identify_device;
            write_taskfile(task);
            deadline_ = now + config_.set_up_timeout;
            wake_ = now + poll_interval;
            state_ = State::identifying;
        } else {
            start_mode(now);
        }
        return false;
    }
    if (now >= deadline_) {
        unit.lost = true;
        start_unit(unit_ + 1, now);
        return true;
    }
    wake_ = now + poll_interval;
    return false;
}

/// Another drive in its place is not served: its data are not those that the kernel and
/// its filesystems know.
bool Channel::wait_identity(BlkClock::time_point now) {
    const std::uint8_t status = alternate_status();
    if (!is_ready(status) && now < deadline_) {
        wake_ = now + poll_interval;
        return false;
    }
    if (is_ready(status) && (status & ata::status::drq) != 0 && (status & ata::status::bad) == 0) {
        std::array<std::uint16_t, ata::identify_words> words{};
        for (auto& word : words) {
            word = cb::data.read(ports_.command_block);
        }
        (void)cb::status.read(ports_.command_block);
        if (ata::same_disk(words, units_[unit_].words)) {
            start_mode(now);
            return false;
        }
    }
    start_unit(unit_ + 1, now);
    return true;
}

/// The reset may have brought back the drive's default (ATA, SET FEATURES), while the
/// controller's timing is that of the mode before. It stays so: set-up saw the drive take
/// this mode, and configuration space is out of reach by now.
void Channel::start_mode(BlkClock::time_point now) {
    write_taskfile(encode_transfer_mode(units_[unit_].drive));
    deadline_ = now + config_.set_up_timeout;
    wake_ = now + poll_interval;
    state_ = State::setting_mode;
}

/// A drive that does not take its mode gets no work: with the two ends in different modes
/// no command would end.
bool Channel::wait_mode(BlkClock::time_point now) {
    const std::uint8_t status = alternate_status();
    if (!is_ready(status) && now < deadline_) {
        wake_ = now + poll_interval;
        return false;
    }
    units_[unit_].lost = !is_ready(status) || (status & ata::status::bad) != 0;
    start_unit(unit_ + 1, now);
    return true;
}

void Channel::start_unit(unsigned number, BlkClock::time_point now) {
    unit_ = number;
    const bool lost = number < drives_a_channel && units_[number].lost;
    deadline_ = now + (lost ? config_.revive_wait : config_.reset_timeout);
    state_ = State::waiting;
}

/// Back to work. Requests of a lost drive fail, the others' are as if nothing had been.
void Channel::resume(BlkClock::time_point now) {
    (void)cb::status.read(ports_.command_block); // lowers INTRQ of the last SET FEATURES
    clear_interrupt(bus_master::bmidesta.read(ports_.bus_master));
    const bool anybody =
        (units_[0].present && !units_[0].lost) || (units_[1].present && !units_[1].lost);
    control(anybody ? 0 : device_control::nien);
    revive_at_ = never;
    revive_interval_ = std::clamp(2 * revive_interval_, config_.revive_first, config_.revive_last);
    if (units_[0].lost || units_[1].lost) {
        revive_at_ = now + revive_interval_;
    } else {
        revive_interval_ = std::chrono::milliseconds{0};
    }
    hold_ = false;
    const unsigned interrupted = active_;
    active_ = nobody;
    state_ = State::running;
    for (unsigned number = 0; number < drives_a_channel; number++) {
        while (units_[number].lost && !units_[number].queue.empty()) {
            complete(number, UDRV_BLK_IOERR);
        }
    }
    if (interrupted != nobody && !units_[interrupted].lost) {
        const Pending& pending = units_[interrupted].queue.front();
        if (pending.bus_error) {
            complete(interrupted, UDRV_BLK_IOERR);
        } else if (pending.timeouts >= max_timeouts) {
            complete(interrupted, UDRV_BLK_TIMEOUT);
        } else {
            turn_ = interrupted;
        }
    }
    give_up_old(now);
    start_next();
}

} // namespace udrv::ide
