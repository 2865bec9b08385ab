// SPDX-License-Identifier: MIT
//
// When a command fails, hangs or is lost: AHCI 6.2.2, "Software Error Recovery", as a
// state machine. No step waits; tick() takes the next when its time has come.
//
//   running -> stopping -> reading_log -> running        a queued command failed
//              stopping -> running                       any other command failed
//              stopping -> comreset -> coming_up -> identifying -> running
//                                                        timeout, broken link, or
//                                                        the log does not tell
//   coming_up or identifying -> comreset                 no answer: once more
//                            -> lost                     nor until ready_timeout, or
//                                                        another disk answers
//   lost -> comreset         a link is there (again)
//   stopping -> stuck        Ahci resets the whole HBA, then -> coming_up
//
// What was outstanding then are the `victims`. The one that is known to have failed
// completes with its error, the others are reissued. If it is not known which one,
// all are suspects and go to the disk one at a time: who fails alone, failed. So each
// recovery ends at least one request, counts up a bounded counter of one, or makes
// suspects of them all; it cannot go on for ever.
//
// A disk is lost only by not answering IDENTIFY DEVICE after resets, however many of its
// sectors are slow or bad. IDENTIFY also shows that the HBA can write to memory before
// requests are given to it again, and that nobody changed the disk meanwhile.
#include <algorithm>
#include <bit>
#include <cstring>

#include "drivers/ahci/port.hpp"

namespace udrv::ahci {

namespace {

using namespace std::chrono_literals;

constexpr auto poll_interval = 1ms;       // of a recovery under way
constexpr auto lost_poll_interval = 50ms; // nobody waits for it
constexpr auto stop_timeout = 500ms;      // for PxCMD.CR (AHCI 10.1.2)
/// At least 1 ms (AHCI 10.4.2); `now` may be older than the register write.
constexpr auto comreset_hold = 2ms;
constexpr auto log_timeout = 2s;
/// Between resets of a disk that did not answer: DET stays 1 for so long.
constexpr auto again_hold = 100ms;
/// How often a port is looked at that has lost its disk, should no interrupt tell; and
/// how often a reset is tried where a link is up.
constexpr auto lost_interval = 1s;
constexpr auto lost_reset_interval = 10s;
/// The kernel takes a driver for dead that has a request for 120 s (disk.c): at a timeout,
/// what waits for so long already fails, and does not wait for the next one.
constexpr auto give_up_age = 80s;
/// How old a command has to be before it is looked at without an interrupt.
constexpr auto look_interval = 250ms;

constexpr std::uint8_t max_timeouts = 2; // of one command
constexpr std::uint8_t max_failures = 3; // of one command on a bad link
constexpr std::uint32_t nobody = max_slots;

std::uint32_t bit_of(std::uint32_t tag) {
    return 1u << tag;
}
std::uint32_t first(std::uint32_t set) {
    return static_cast<std::uint32_t>(std::countr_zero(set));
}

} // namespace

// ---- Time ------------------------------------------------------------------------

BlkClock::time_point Port::tick(BlkClock::time_point now) {
    for (;;) {
        if (state_ == State::running) {
            const auto next = watch(now);
            if (state_ == State::running) {
                return next;
            }
        } else if (state_ == State::empty) {
            return BlkClock::time_point::max();
        } else if (state_ == State::lost) {
            look_for_disk(now);
            if (state_ == State::lost) {
                return look_;
            }
        } else if (!step(now)) {
            return now + (lost_ ? lost_poll_interval : poll_interval);
        }
    }
}

/// Stamps new commands, and looks at those that take long.
BlkClock::time_point Port::watch(BlkClock::time_point now) {
    if (outstanding_ != 0 && now >= look_) {
        look_ = BlkClock::time_point::max();
        harvest(); // an interrupt may have been lost
        if (state_ != State::running) {
            return now;
        }
    }
    for (std::uint32_t set = fresh_; set != 0; set &= set - 1) {
        slots_[first(set)].arrived = now;
    }
    fresh_ = 0;
    for (std::uint32_t set = unstamped_; set != 0; set &= set - 1) {
        Slot& slot = slots_[first(set)];
        const bool slow = slot.request->op >= UDRV_BLK_FLUSH;
        slot.issued = now;
        slot.deadline = now + (slow ? config_.flush_timeout : config_.command_timeout);
    }
    unstamped_ = 0;
    if (outstanding_ == 0) {
        look_ = BlkClock::time_point::max();
        return look_;
    }
    if (now < look_ && look_ != BlkClock::time_point::max()) {
        return look_;
    }
    std::uint32_t overdue = 0;
    bool old = false;
    look_ = now + look_interval;
    for (std::uint32_t set = outstanding_; set != 0; set &= set - 1) {
        const Slot& slot = slots_[first(set)];
        look_ = std::min(look_, slot.deadline);
        old |= now - slot.issued >= look_interval;
        if (now >= slot.deadline) {
            overdue |= bit_of(first(set));
        }
    }
    if (overdue != 0) {
        counters_.timeouts += static_cast<std::uint64_t>(std::popcount(overdue));
        // A queued command leaves PxCI when the disk has it. Where the HBA could not even
        // fetch it, because it had no access to memory, the command is not to blame.
        const bool queued = slots_[first(overdue)].queued;
        const std::uint32_t untaken = queued ? overdue & read(port::ci) : 0;
        recover(Cause::timeout);
        overdue_ = overdue;
        untaken_ = untaken;
    } else if (old && left_trace()) {
        // The error left a trace, but its interrupt or FIS was overwritten by the
        // success of another command. The log is of no use: the disk may still have a
        // queue that has not failed.
        recover(Cause::device);
        reset_ = true;
    } else if (old && link_left_trace()) {
        // That, too; or the link has made good an error by itself, which is no command's
        // fault. So nobody fails for it, and each is reissued for it once.
        recover(Cause::device);
        reset_ = true;
        unsure_ = true;
        for (std::uint32_t set = victims_; set != 0; set &= set - 1) {
            slots_[first(set)].traced = true;
        }
    }
    return look_;
}

/// PxTFD has the disk's last word, which is of an older command until the disk has taken a
/// new one (AHCI 3.3.8).
bool Port::left_trace() {
    const bool taken = (outstanding_ & ~read(port::ci)) != 0;
    const std::uint32_t status = read(port::tfd);
    return taken && (status & ata::status::bad) != 0 &&
           (status & (ata::status::bsy | ata::status::drq)) == 0;
}

/// PxSERR is set by errors that were recovered as well (AHCI 3.3.12, ERR.I, ERR.M, DIAG.B), and
/// stays.
bool Port::link_left_trace() {
    bool news = false;
    for (std::uint32_t set = outstanding_; set != 0; set &= set - 1) {
        news |= !slots_[first(set)].traced;
    }
    return news && read(port::serr) != 0;
}

// ---- Steps -----------------------------------------------------------------------

/// From running to stopping. What is outstanding becomes the victims.
void Port::recover(Cause cause) {
    cause_ = cause;
    victims_ = outstanding_;
    overdue_ = 0;
    untaken_ = 0;
    queue_failed_ = victims_ != 0 && slots_[first(victims_)].queued;
    log_valid_ = false;
    unsure_ = false;
    error_ = static_cast<std::uint8_t>(read(port::tfd) >> px_tfd::err_shift);
    // With nothing outstanding there is nothing to ask the disk about.
    reset_ = cause != Cause::device || victims_ == 0;
    outstanding_ = 0;
    unstamped_ = 0;
    exclusive_ = false;
    look_ = BlkClock::time_point::max();
    if (cause != Cause::timeout) {
        (cause == Cause::device ? counters_.device_errors : counters_.link_errors)++;
    }
    write(port::ie, 0);
    write(port::cmd, read(port::cmd) & ~px_cmd::st);
    state_ = State::stopping;
    timed_ = false; // the next tick() knows the time
}

void Port::enter(State state, BlkClock::time_point now, std::chrono::milliseconds timeout) {
    state_ = state;
    deadline_ = now + timeout;
    timed_ = true;
}

/// True: there may be more to do at once.
bool Port::step(BlkClock::time_point now) {
    switch (state_) {
    case State::stopping:
        return stopped(now);
    case State::comreset:
        if (now < deadline_) {
            return false;
        }
        write(port::sctl, px_sctl::ipm_none);
        if (back_deadline_ == BlkClock::time_point{}) { // the HBA was reset
            back_deadline_ = now + config_.ready_timeout;
        }
        state_ = State::coming_up;
        return true;
    case State::coming_up:
        return came_up(now);
    case State::identifying:
        return knows_disk(now);
    case State::reading_log:
        return log_read(now);
    case State::running:
    case State::stuck:
    case State::lost:
    case State::empty:
        break;
    }
    return false;
}

bool Port::stopped(BlkClock::time_point now) {
    if (!timed_) {
        enter(State::stopping, now, stop_timeout);
    }
    if ((read(port::cmd) & px_cmd::cr) != 0) {
        if (now >= deadline_) {
            state_ = State::stuck;
        }
        return false;
    }
    // AHCI 6.2.2.1: with PxCMD.CR at 0, PxSERR and PxIS are cleared; a disk that is
    // still busy needs a port reset (COMRESET).
    write(port::serr, read(port::serr));
    write(port::is, read(port::is));
    forget_fises();
    if (reset_ || (read(port::tfd) & (ata::status::bsy | ata::status::drq)) != 0) {
        begin_reset(now);
        return true;
    }
    start_engine();
    if (queue_failed_) {
        begin_log(now);
    } else {
        resume(now);
    }
    return true;
}

/// AHCI 10.4.2. The engine is stopped.
void Port::begin_reset(BlkClock::time_point now) {
    const bool again = back_deadline_ != BlkClock::time_point{};
    if (!again) {
        back_deadline_ = now + config_.ready_timeout;
    }
    counters_.resets++;
    write(port::sctl, px_sctl::ipm_none | px_sctl::det_comreset);
    (void)read(port::sctl); // the write may be posted: the time runs from here on
    enter(State::comreset, now, again ? again_hold : comreset_hold);
}

/// The disk did not answer: once more, or never.
void Port::reset_again(BlkClock::time_point now) {
    if (now >= back_deadline_) {
        lose();
        look_ = now + lost_reset_interval;
        return;
    }
    reset_ = true;
    write(port::cmd, read(port::cmd) & ~px_cmd::st);
    enter(State::stopping, now, stop_timeout);
}

bool Port::came_up(BlkClock::time_point now) {
    // The link's return sets PxSERR.DIAG.X (AHCI 3.3.12), and as long as that is set an
    // HBA may keep the disk's first FIS out of PxTFD.
    write(port::serr, read(port::serr));
    if (detection() == px_ssts::det_ready && !busy()) {
        forget_fises();
        start_engine();
        begin_identify(now);
        state_ = State::identifying;
        return true;
    }
    if (now >= back_deadline_) {
        const bool linked = detection() == px_ssts::det_ready;
        lose();
        look_ = now + (linked ? lost_reset_interval : lost_interval);
        return true;
    }
    return false;
}

bool Port::knows_disk(BlkClock::time_point now) {
    const Answer answer = identify_step(now);
    if (answer == Answer::pending) {
        return false;
    }
    // A page of zeros: the HBA could not write it, or the disk was not ready after all.
    const auto words = page_words();
    const bool said = answer == Answer::good && words[27] != 0;
    if (!said) {
        reset_again(now);
    } else if (ata::same_disk(words, identity_)) {
        stranger_ = false;
        resume(now);
    } else {
        counters_.strangers++;
        stranger_ = true;
        lose();
        look_ = BlkClock::time_point::max(); // until the link changes
    }
    return true;
}

void Port::start_engine() {
    write(port::is, read(port::is));
    write(port::cmd, read(port::cmd) | px_cmd::st);
}

/// AHCI 6.2.2.2: after the failure of a queued command the disk takes only READ LOG
/// EXT of the NCQ Command Error log, which names the command and ends that state.
/// The victims' slots are all free again, as PxCMD.ST was 0.
void Port::begin_log(BlkClock::time_point now) {
    begin_service(ahci::read_log(ata::log_ncq_error), now + log_timeout);
    state_ = State::reading_log;
}

bool Port::log_read(BlkClock::time_point now) {
    const Answer answer = service(now);
    if (answer == Answer::pending) {
        return false;
    }
    const ata::NcqError entry = ata::parse_ncq_error(
        std::span<const std::byte, ata::sector_bytes>(page_, ata::sector_bytes));
    if (answer == Answer::good && entry.valid && (victims_ & bit_of(entry.tag)) != 0) {
        log_valid_ = true;
        culprit_ = entry.tag;
        error_ = entry.error;
        resume(now);
        return true;
    }
    // Emulated disks do not know the log, and a disk that gave no answer is still in
    // its error state: a reset brings it out of that.
    reset_ = true;
    write(port::cmd, read(port::cmd) & ~px_cmd::st);
    enter(State::stopping, now, stop_timeout);
    return true;
}

/// The engine runs: settle with the victims and go on.
void Port::resume(BlkClock::time_point now) {
    settle();
    if (cause_ == Cause::timeout) {
        give_up_old(now);
    }
    if (lost_) {
        lost_ = false;
        counters_.returned++;
    }
    back_deadline_ = {};
    causes_ = 0;
    attention_ = false;
    state_ = State::running;
    write(port::is, read(port::is));
    write(port::ie, px_is::wanted);
    issue();
}

// ---- Victims ---------------------------------------------------------------------

/// ACS-3, ERROR field. A disk that gives up a TRIM does not know it that way.
std::uint32_t Port::status_of(std::uint8_t error, std::uint8_t op) {
    if ((error & ata::error::unc) != 0) {
        return UDRV_BLK_MEDIUM;
    }
    if (op == UDRV_BLK_DISCARD && (error & ata::error::abrt) != 0) {
        return UDRV_BLK_NOTSUPP;
    }
    return UDRV_BLK_IOERR;
}

void Port::settle() {
    std::uint32_t culprit = nobody;
    if (std::popcount(victims_) == 1 && !unsure_) {
        culprit = first(victims_);
    } else if (log_valid_) {
        culprit = culprit_;
    }
    // From the highest tag down, as each goes to the front: ahead of all that waits,
    // as it was before the error.
    while (victims_ != 0) {
        const std::uint32_t tag =
            max_slots - 1 - static_cast<std::uint32_t>(std::countl_zero(victims_));
        settle_one(tag, culprit);
        victims_ &= ~bit_of(tag);
    }
}

void Port::settle_one(std::uint32_t tag, std::uint32_t culprit) {
    Slot& slot = slots_[tag];
    switch (cause_) {
    case Cause::device:
        if (tag == culprit) {
            // Damaged on the way to or from the disk: worth another try.
            if ((error_ & ata::error::icrc) == 0 || ++slot.failures >= max_failures) {
                complete(tag, status_of(error_, slot.request->op));
                return;
            }
        } else if (culprit == nobody) {
            slot.alone = true;
        }
        break;
    case Cause::link:
        slot.alone = true;
        if (tag == culprit && ++slot.failures >= max_failures) {
            complete(tag, UDRV_BLK_IOERR);
            return;
        }
        break;
    case Cause::timeout:
        if ((overdue_ & bit_of(tag)) != 0) {
            slot.alone = true;
            const bool taken = (untaken_ & bit_of(tag)) == 0;
            if (taken && ++slot.timeouts >= max_timeouts) {
                complete(tag, UDRV_BLK_IOERR);
                return;
            }
        }
        break;
    }
    counters_.reissued++;
    waiting_.push_front(static_cast<std::uint8_t>(tag));
}

/// Of what waits, and is not with the disk.
void Port::give_up_old(BlkClock::time_point now) {
    for (std::uint32_t n = waiting_.size(); n != 0; n--) {
        const std::uint8_t tag = waiting_.front();
        waiting_.pop();
        const bool stamped = (fresh_ & bit_of(tag)) == 0;
        if (stamped && now - slots_[tag].arrived >= give_up_age) {
            complete(tag, UDRV_BLK_IOERR);
        } else {
            waiting_.push(tag);
        }
    }
}

void Port::lose() {
    write(port::cmd, read(port::cmd) & ~px_cmd::st);
    write(port::serr, read(port::serr));
    write(port::is, read(port::is));
    write(port::ie, px_is::plugged);
    give_up();
}

void Port::give_up() {
    counters_.lost += lost_ ? 0U : 1U;
    lost_ = true;
    state_ = State::lost;
    look_ = BlkClock::time_point::min();
    back_deadline_ = {};
    causes_ = 0;
    attention_ = false;
    for (std::uint32_t set = victims_ | outstanding_; set != 0; set &= set - 1) {
        complete(first(set), UDRV_BLK_IOERR);
    }
    victims_ = 0;
    outstanding_ = 0;
    unstamped_ = 0;
    exclusive_ = false;
    for (; !waiting_.empty(); waiting_.pop()) {
        complete(waiting_.front(), UDRV_BLK_IOERR);
    }
}

/// Has the disk come back? Requests fail until it has.
void Port::look_for_disk(BlkClock::time_point now) {
    const bool plugged = (causes_ & px_is::plugged) != 0;
    if (!plugged && now < look_) {
        return;
    }
    causes_ = 0;
    attention_ = false;
    stranger_ = stranger_ && !plugged;
    const bool running = (read(port::cmd) & px_cmd::cr) != 0;
    if (running || stranger_ || detection() != px_ssts::det_ready) {
        look_ = stranger_ ? BlkClock::time_point::max() : now + lost_interval;
        return;
    }
    write(port::ie, 0);
    cause_ = Cause::link;
    begin_reset(now);
}

/// All registers of the port are at their defaults, and its link was reset with the
/// HBA: on from where a reset of the port alone would be. A port that ran has
/// innocent victims.
void Port::hba_was_reset() {
    if (fis_ == nullptr) { // never had a disk
        write(port::sctl, px_sctl::ipm_none);
        write(port::cmd, read(port::cmd) | px_cmd::sud | px_cmd::pod);
        write(port::ie, px_is::plugged);
        return;
    }
    if (state_ == State::running) {
        recover(Cause::timeout);
    }
    write_addresses();
    write(port::sctl, px_sctl::ipm_none);
    write(port::cmd, read(port::cmd) | px_cmd::sud | px_cmd::pod | px_cmd::fre);
    if (state_ == State::lost) {
        write(port::ie, px_is::plugged);
        return;
    }
    counters_.resets++;
    reset_ = false;
    state_ = State::comreset; // its end, at the next tick(), starts the clock
    deadline_ = BlkClock::time_point::min();
}

} // namespace udrv::ahci
