// SPDX-License-Identifier: MIT
//
// When a command fails, hangs or is lost, and what the controller says by itself. No step
// waits; tick() takes the next when its time has come.
//
//   an error status    again at once, or after the delay that the controller asks for (CRD),
//                      unless it says that this is no use (DNR)
//   no end in time     Abort (NVMe 5.1); then, if it still does not end, a controller reset
//   CSTS.CFS, a lie    a controller reset (NVMe 9.5)
//   no way back        the driver ends, and the kernel resets the function for the next one
//
// While CC.EN is on its way to 0 the controller may use memory: what it had is given to it
// again, or completed with an error, only when CSTS.RDY is 0.
#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "drivers/nvme/nvme.hpp"

namespace udrv::nvme {

namespace {

using namespace std::chrono_literals;

constexpr std::uint8_t max_retries = 5;  // after an error status, as Linux
constexpr std::uint8_t max_timeouts = 2; // of one request
constexpr std::uint8_t max_resets = 5;   // which hit a request that was not late
constexpr auto longest_delay = 10'000ms; // of a retry: the kernel does not wait for ever
constexpr auto event_interval = 60s;     // of looks at events that are masked or held back
constexpr unsigned max_events_each = 16; // in that time; then their requests are held back

} // namespace

// ---- Error status --------------------------------------------------------------------

void Nvme::ended_with_error(Ref ref, std::uint16_t status, bool overdue) {
    counters_.errors++;
    Request& place = request(ref);
    const std::uint16_t code = status::code(status);
    if (overdue && code == status::abort_requested) {
        if (++place.timeouts >= max_timeouts) {
            complete(ref, UDRV_BLK_TIMEOUT);
        } else {
            counters_.reissued++;
            waiting_.push_front(ref);
        }
        return;
    }
    if ((status & status::dnr) != 0 || place.retries >= max_retries) {
        complete(ref, status_of(code, place.request->op));
        return;
    }
    place.retries++;
    counters_.retries++;
    const unsigned crd = status >> status::crd_shift & status::crd_mask;
    const auto delay = crd == 0 ? 0ms : identity_.retry_delay[crd - 1] * 100ms;
    if (delay == 0ms) {
        waiting_.push_front(ref);
        return;
    }
    place.delay = std::min<std::chrono::milliseconds>(delay, longest_delay);
    place.delayed = true;
    place.stamped = false;
    nr_delayed_++;
}

/// Those whose time has come. Returns when the next one's will.
BlkClock::time_point Nvme::reissue_delayed(BlkClock::time_point now) {
    auto next = BlkClock::time_point::max();
    for (std::size_t n = 0; nr_delayed_ != 0 && n < requests_.size(); n++) {
        Request& place = requests_[n];
        if (!place.delayed) {
            continue;
        }
        if (!place.stamped) {
            place.stamped = true;
            place.due = now + place.delay;
        }
        if (now < place.due) {
            next = std::min(next, place.due);
            continue;
        }
        place.delayed = false;
        nr_delayed_--;
        waiting_.push(
            {static_cast<std::uint16_t>(n / tags_), static_cast<std::uint16_t>(n % tags_)});
    }
    issue();
    return next;
}

// ---- Time ------------------------------------------------------------------------------

BlkClock::time_point Nvme::tick(BlkClock::time_point now) {
    if (state_ == State::stopped || failure() != nullptr) {
        return BlkClock::time_point::max();
    }
    if (state_ != State::running) {
        const auto next = step(now);
        if (state_ != State::running) {
            return failure() == nullptr ? next : now;
        }
    }
    const auto delayed = nr_delayed_ != 0 ? reissue_delayed(now) : BlkClock::time_point::max();
    if (outstanding_ == 0) {
        look_ = BlkClock::time_point::max();
    } else if (look_ == BlkClock::time_point::max()) {
        look_ = now + look_interval;
    } else if (now >= look_) {
        look_ = now + look_interval;
        look();
    }
    if (state_ != State::running || failure() != nullptr) {
        return now;
    }
    return std::min({look_, delayed, look_at_events(now)});
}

/// Is the controller well, and has any command been under way for too long?
void Nvme::look() {
    const std::uint32_t csts = reg::csts.read(regs_);
    if (csts == csts::gone) {
        failure_ = "the controller does not answer: CSTS reads as all ones";
        return;
    }
    if ((csts & (csts::cfs | csts::rdy)) != csts::rdy) { // not ready: reset from elsewhere
        if ((csts & csts::cfs) != 0) {
            counters_.fatal++;
        }
        begin_reset();
        return;
    }
    for (std::uint16_t& looks : abort_looks_) {
        looks++;
    }
    for (std::uint32_t n = 0; n < slots_.size(); n++) {
        Slot& slot = slots_[n];
        if (!slot.busy || ++slot.looks < slot.limit) {
            continue;
        }
        if (slot.aborted) {
            begin_reset();
            return;
        }
        if (!slot.overdue) {
            slot.overdue = true;
            counters_.timeouts++;
        }
        if (!abort(n)) {
            begin_reset();
            return;
        }
    }
}

/// As many at the same time as the controller takes (ACL, NVMe 5.1); the others' turn comes.
/// False: it will not, for none of those under way is answered.
bool Nvme::abort(std::uint32_t number) {
    const std::uint32_t limit = std::min(identity_.aborts + 1u, max_aborts);
    bool answers = false;
    for (std::uint32_t n = 0; n < limit; n++) {
        const auto id = static_cast<std::uint16_t>(AdminId::first_abort + n);
        if (admin_busy(id)) {
            answers = answers || abort_looks_[n] < looks_in(config_.abort_timeout);
            continue;
        }
        abort_looks_[n] = 0;
        Slot& slot = slots_[number];
        SubmissionEntry entry{};
        entry.opc = admin::abort;
        entry.cdw10 = identifier(number) << 16 | 1; // of submission queue 1
        submit_admin(entry, id);
        counters_.aborts++;
        slot.aborted = true;
        slot.looks = 0;
        slot.limit = looks_in(config_.abort_timeout);
        return true;
    }
    return answers;
}

// ---- Controller reset (NVMe 7.3.2) -------------------------------------------------------

/// `blame`: it may be the fault of any request that is under way.
void Nvme::begin_reset(bool blame) {
    counters_.resets++;
    blame_ = blame;
    reg::cc.write(regs_, cc::wanted); // EN is 0
    state_ = State::disabling;
    timed_ = false;
    recovering_ = false;
    not_before_ = BlkClock::time_point::min();
}

/// The controller has nothing any more.
void Nvme::take_back() {
    for (std::uint32_t n = 0; n < slots_.size(); n++) {
        if (!slots_[n].busy) {
            continue;
        }
        const Ref ref = slots_[n].ref;
        const bool overdue = slots_[n].overdue;
        Request& place = request(ref);
        free_slot(n);
        if (overdue && ++place.timeouts >= max_timeouts) {
            complete(ref, UDRV_BLK_TIMEOUT);
        } else if (!overdue && blame_ && ++place.resets >= max_resets) {
            complete(ref, UDRV_BLK_IOERR);
        } else {
            counters_.reissued++;
            waiting_.push_front(ref);
        }
    }
}

// ---- Admin commands while it serves ------------------------------------------------------

/// Until there is nothing more, or the queue is no more.
void Nvme::harvest_admin() {
    const State before = state_;
    CompletionEntry entry;
    while (state_ == before && admin_.take(entry)) {
        if (finish_admin(entry)) {
            continue;
        }
        counters_.lies++;
        if (state_ == State::running) {
            begin_reset();
        } else {
            failed("it completed an admin command that it does not have, identifier", entry.cid);
        }
    }
    if (state_ == before) {
        admin_.release(regs_);
    }
}

bool Nvme::finish_admin(const CompletionEntry& entry) {
    if (entry.sqid != 0 || entry.cid >= nr_admin_ids || !admin_busy(entry.cid) ||
        entry.sqhd >= admin_.depth()) {
        return false;
    }
    admin_busy_ &= ~(1u << entry.cid);
    if (entry.cid == AdminId::setup) {
        answer_ = entry;
        answered_ = true;
    } else if (entry.cid == AdminId::log_page) {
        log_came(status::code(entry.status) == 0);
    } else if (entry.cid == AdminId::event_mask) {
        mask_events();
    } else if (entry.cid >= AdminId::first_event) {
        event_came(entry);
    }
    return true; // of an Abort, what counts is the aborted command's own end
}

// ---- Asynchronous events (NVMe 5.2) ------------------------------------------------------
//
// An event may come again at once, for ever: a disk that is worn out stays so. A warning of its
// health is masked until a look at the page, once a minute, says that it is over. Of whatever
// else there may be some in a minute; then the next is not asked for until that is over.

void Nvme::request_event(std::uint16_t id) {
    SubmissionEntry entry{};
    entry.opc = admin::async_event;
    submit_admin(entry, id);
}

/// No further event of its kind comes until its log page has been read.
void Nvme::event_came(const CompletionEntry& entry) {
    if (status::code(entry.status) != 0) {
        return; // it takes fewer of these commands than it said
    }
    const std::uint8_t page = event::page(entry.dw0);
    const std::uint32_t type = event::type(entry.dw0);
    if (page == log::changed_namespaces) {
        counters_.changes++;
    } else if (type == event::health && page == log::health) {
        health_event_ = true; // whether it is news, the page says
    } else if (type != event::notice) {
        counters_.warnings++;
    }
    if (page != 0 && page < 32) {
        log_pages_ |= 1u << page;
        read_next_log();
    }
    if (++events_ > max_events_each) {
        held_events_ |= 1u << entry.cid;
    } else {
        request_event(entry.cid);
    }
}

/// Once a minute, as long as there is anything to look for.
BlkClock::time_point Nvme::look_at_events(BlkClock::time_point now) {
    if (events_ == 0 && warned_ == 0) {
        event_look_ = BlkClock::time_point::max();
    } else if (event_look_ == BlkClock::time_point::max()) {
        event_look_ = now + event_interval;
    } else if (now >= event_look_) {
        event_look_ = now + event_interval;
        events_ = 0;
        for (std::uint32_t held = std::exchange(held_events_, 0); held != 0; held &= held - 1) {
            request_event(static_cast<std::uint16_t>(std::countr_zero(held)));
        }
        if (warned_ != 0) {
            log_pages_ |= 1u << log::health;
            read_next_log();
        }
    }
    return event_look_;
}

void Nvme::read_next_log() {
    if (log_pages_ == 0 || admin_busy(AdminId::log_page)) {
        return;
    }
    const auto page = static_cast<std::uint32_t>(std::countr_zero(log_pages_));
    log_pages_ &= log_pages_ - 1;
    log_page_ = static_cast<std::uint8_t>(page);
    const std::uint32_t bytes = page == log::changed_namespaces ? page_bytes : 512;
    SubmissionEntry entry{};
    entry.opc = admin::get_log_page;
    entry.nsid = 0xffffffff; // of the controller
    entry.prp1 = data_.dma_addr;
    entry.cdw10 = (bytes / 4 - 1) << 16 | page; // NUMDL, 0's based
    submit_admin(entry, AdminId::log_page);
}

void Nvme::log_came(bool good) {
    if (log_page_ == log::health) {
        health_came(good);
    } else if (log_page_ == log::changed_namespaces &&
               (!good || serves_one_of({data_.vaddr, std::size_t{page_bytes}}))) {
        // It may have other blocks now, or other data. Nothing more is done with it until all
        // are identified again, as after each reset, which also ends what is under way.
        begin_reset(false);
        return;
    }
    read_next_log();
}

/// Is any namespace that is served in a list of those that changed (NVMe 5.14.1.4)?
bool Nvme::serves_one_of(std::span<const std::byte> changed) const {
    for (std::uint32_t n = 0; n < log::max_changed; n++) {
        std::uint32_t nsid = 0;
        std::memcpy(&nsid, changed.data() + n * sizeof nsid, sizeof nsid);
        if (nsid == 0) {
            break;
        }
        if (nsid == log::more_changed ||
            std::find(nsids_.begin(), nsids_.end(), nsid) != nsids_.end()) {
            return true;
        }
    }
    return false;
}

/// Critical Warning is the page's first byte (NVMe 5.14.1.2). What was known before is no news.
void Nvme::health_came(bool good) {
    const bool event = std::exchange(health_event_, false);
    if (!good) {
        counters_.warnings += event ? 1 : 0;
        return;
    }
    const std::uint32_t warnings =
        std::to_integer<std::uint32_t>(data_.vaddr[0]) & feature::event_critical_warnings;
    const bool over = event && warnings == 0; // already
    counters_.warnings += over || (warnings & ~warned_) != 0 ? 1 : 0;
    warned_ = warnings;
    mask_events();
}

/// Of Asynchronous Event Configuration (NVMe 5.21.1.11).
std::uint32_t Nvme::wanted_events() const {
    return (feature::event_critical_warnings & ~warned_) |
           (identity_.events & feature::event_namespaces);
}

void Nvme::mask_events() {
    if (admin_busy(AdminId::event_mask) || masks_asked_ == wanted_events()) {
        return;
    }
    masks_asked_ = wanted_events();
    SubmissionEntry entry{};
    entry.opc = admin::set_features;
    entry.cdw10 = feature::async_events;
    entry.cdw11 = masks_asked_;
    submit_admin(entry, AdminId::event_mask);
}

BlkTroubles Nvme::troubles() const {
    BlkTroubles sum;
    sum.timeouts = counters_.timeouts;
    sum.resets = counters_.resets;
    sum.lost = counters_.lost;
    sum.returned = counters_.returned;
    sum.warnings = counters_.warnings;
    sum.changes = counters_.changes;
    return sum;
}

} // namespace udrv::nvme
