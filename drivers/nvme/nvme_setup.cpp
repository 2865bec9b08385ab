// SPDX-License-Identifier: MIT
//
// From reset to service, NVMe 7.6.1, "Initialization", as a state machine: at start, and
// with the same steps after each controller reset.
#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <thread>

#include <fmt/format.h>

#include "drivers/nvme/nvme.hpp"
#include "libudrv/error.hpp"

namespace udrv::nvme {

namespace {

using namespace std::chrono_literals;

constexpr auto step_interval = 1ms;    // of looks at a controller that is being reset
constexpr auto set_up_interval = 50us; // the same at start, when nobody else needs us
constexpr auto retry_interval = 100ms; // of a reset that came to nothing
constexpr int steps_at_once = 16;
constexpr std::uint32_t max_namespaces = UDRV_BLK_MAX_DISKS;
constexpr std::size_t names_offset = 4; // SN and MN (NVMe 5.15.2.2)

/// Of the questions, in their order.
constexpr const char* question_names[] = {
    "Identify of the controller",
    "Identify of the NVM command set's limits",
    "Set Features (Host Behavior Support)",
    "Set Features (Number of Queues)",
    "Create I/O Completion Queue",
    "Create I/O Submission Queue",
    "Identify of the active namespaces",
    "Identify of a namespace",
    "Set Features (Asynchronous Event Configuration)",
};

/// CAP.TO: longest that CSTS.RDY may take to follow CC.EN (NVMe 3.1.1). A unit more, as Linux
/// does: some are late, and 0 is not meant.
std::chrono::milliseconds ready_timeout(RegisterIo& regs) {
    return (cap::to(reg::cap.read(regs)) + 1) * 500ms;
}

} // namespace

// ---- Before bus mastering --------------------------------------------------------------

void disable(RegisterIo& regs) {
    const WaitTime time{ready_timeout(regs), 100us};
    const std::uint32_t cc = reg::cc.read(regs);
    const std::uint32_t csts = reg::csts.read(regs);
    if ((cc & cc::en) != 0 && (csts & (csts::rdy | csts::cfs)) == 0) {
        // It is still on its way up: EN goes to 0 when it has come (NVMe 3.1.5).
        try {
            wait_until(regs, reg::csts, "nvme", "CSTS", csts::rdy, csts::rdy, time);
        } catch (const Error&) {
            // It will not. The reset is all that is left.
        }
    }
    reg::cc.write(regs, cc & ~(cc::en | cc::shn_mask));
    wait_until(regs, reg::csts, "nvme", "CSTS", csts::rdy, 0, time);
}

// ---- Construction ----------------------------------------------------------------------

Nvme::Nvme(RegisterIo& regs, DmaAllocator& dma, const Config& config)
    : regs_(regs), config_(config) {
    read_capabilities();
    allocate(dma);
    while (state_ != State::running) {
        (void)step(BlkClock::now());
        std::this_thread::sleep_for(set_up_interval);
    }
}

void Nvme::read_capabilities() {
    const std::uint32_t low = reg::cap.read(regs_);
    const std::uint32_t high = reg::cap_high.read(regs_);
    if ((high & cap::css_nvm) == 0) {
        throw_error(
            ENODEV, "nvme: use the controller",
            fmt::format("it does not have the NVM command set (CAP is {:#010x}{:08x})", high, low));
    }
    if (cap::mpsmin(high) != 0) {
        throw_error(ENODEV, "nvme: use the controller",
                    fmt::format("its smallest memory page is {} KiB (CAP.MPSMIN is {}), and this "
                                "driver's is 4 KiB",
                                4u << cap::mpsmin(high), cap::mpsmin(high)));
    }
    max_entries_ = cap::mqes(low) + 1;
    stride_ = 4u << cap::dstrd(high);
    ready_timeout_ = ready_timeout(regs_);
}

/// All that service needs, but for what depends on the number of namespaces.
void Nvme::allocate(DmaAllocator& dma) {
    admin_.allocate(dma, 0, admin_depth, stride_);
    const std::uint32_t depth = std::clamp(max_entries_, 2u, std::min(config_.depth, 256u));
    io_.allocate(dma, 1, depth, stride_);
    data_ = dma.allocate(page_bytes);
    tags_ = depth - 1;
    slots_.resize(tags_);
    for (std::uint32_t slot = tags_; slot > 0; slot--) {
        free_.push_back(static_cast<std::uint16_t>(slot - 1));
    }
    // In parts: a free run of pages this size is easier to find than one for all.
    for (std::uint32_t slot = 0; slot < tags_; slot += lists_a_block) {
        lists_.push_back(dma.allocate(std::size_t{lists_a_block} * page_bytes));
    }
}

// ---- Steps -----------------------------------------------------------------------------

/// As far as it goes now, within bounds. Returns when it wants to be called again.
BlkClock::time_point Nvme::step(BlkClock::time_point now) {
    now_ = now;
    if (!first_ && !recovering_) {
        recovering_ = true;
        recovery_deadline_ = now + config_.recovery_timeout;
    }
    for (int n = 0; n < steps_at_once && now >= not_before_; n++) {
        if (!timed_) {
            const bool asks = state_ == State::asking;
            deadline_ = now + (asks ? config_.admin_timeout : ready_timeout_);
            timed_ = true;
        }
        const bool late = now >= deadline_;
        if (!step_once()) {
            if (late) {
                failed("in time: CSTS", reg::csts.read(regs_));
            }
            break;
        }
        if (state_ == State::running) {
            break;
        }
    }
    return std::max(now + step_interval, not_before_);
}

/// False: it has to wait.
bool Nvme::step_once() {
    switch (state_) {
    case State::disabling:
        return disabled();
    case State::enabling:
        return enabled();
    case State::asking:
        return answered();
    case State::running:
    case State::stopped:
        break;
    }
    return false;
}

/// While CSTS.RDY is 1 the controller may still use memory.
bool Nvme::disabled() {
    const std::uint32_t csts = reg::csts.read(regs_);
    if (csts == csts::gone || (csts & csts::rdy) != 0) {
        return false;
    }
    take_back();
    configure();
    state_ = State::enabling;
    timed_ = false;
    return true;
}

/// Admin queues, then CC (NVMe 7.6.1, steps 2 to 4). Only while CSTS.RDY is 0.
void Nvme::configure() {
    admin_.clear();
    io_.clear();
    admin_busy_ = 0;
    log_pages_ = 0;
    health_event_ = false;
    held_events_ = 0;
    answered_ = false;
    reg::aqa.write(regs_, (admin_depth - 1) << 16 | (admin_depth - 1));
    reg::asq.write(regs_, low_half(admin_.submission_dma_addr()));
    reg::asq_high.write(regs_, high_half(admin_.submission_dma_addr()));
    reg::acq.write(regs_, low_half(admin_.completion_dma_addr()));
    reg::acq_high.write(regs_, high_half(admin_.completion_dma_addr()));
    reg::cc.write(regs_, cc::wanted | cc::en);
}

bool Nvme::enabled() {
    const std::uint32_t csts = reg::csts.read(regs_);
    if (csts == csts::gone || (csts & csts::cfs) != 0) {
        failed("the controller: CSTS", csts);
        return false;
    }
    if ((csts & csts::rdy) == 0) {
        return false;
    }
    ask(Question::controller);
    return true;
}

/// An attempt to get it going came to nothing. At set-up that is all; later it is tried
/// again for a while, and then it is the kernel's turn to reset it.
void Nvme::failed(const char* what, std::uint32_t value) {
    const bool enough = first_ || now_ >= recovery_deadline_;
    if (enough) {
        const char* step = "CC.EN to 0";
        if (state_ == State::enabling) {
            step = "CC.EN to 1";
        } else if (state_ == State::asking) {
            step = question_names[static_cast<std::size_t>(question_)];
        }
        failure_ =
            fmt::format("nvme: start the controller: {} is {:#x} after {}", what, value, step);
    }
    if (first_) {
        throw Error(std::error_code(EIO, std::system_category()),
                    failure_ + "; unbind and bind the device, or restart the machine");
    }
    reg::cc.write(regs_, cc::wanted);
    state_ = State::disabling;
    timed_ = false;
    not_before_ = now_ + retry_interval;
}

// ---- Questions, one at a time ------------------------------------------------------------

void Nvme::submit_admin(SubmissionEntry entry, std::uint16_t id) {
    entry.cid = id;
    admin_busy_ |= 1u << id;
    admin_.push(entry);
    admin_.ring(regs_);
}

void Nvme::ask(Question question) {
    SubmissionEntry entry{};
    const std::uint32_t size = (io_.depth() - 1) << 16 | 1; // of queue 1
    switch (question) {
    case Question::controller:
        entry.opc = admin::identify;
        entry.prp1 = data_.dma_addr;
        entry.cdw10 = cns::controller;
        break;
    case Question::limits:
        entry.opc = admin::identify;
        entry.prp1 = data_.dma_addr;
        entry.cdw10 = cns::nvm_limits;
        break;
    case Question::host_behavior:
        entry.opc = admin::set_features;
        entry.prp1 = data_.dma_addr;
        entry.cdw10 = feature::host_behavior;
        break;
    case Question::number_of_queues: // one of each, 0's based (NVMe 5.21.1.7)
        entry.opc = admin::set_features;
        entry.cdw10 = feature::number_of_queues;
        break;
    case Question::completion_queue: // on interrupt vector 0
        entry.opc = admin::create_cq;
        entry.prp1 = io_.completion_dma_addr();
        entry.cdw10 = size;
        entry.cdw11 = queue::interrupts | queue::contiguous;
        break;
    case Question::submission_queue: // of completion queue 1
        entry.opc = admin::create_sq;
        entry.prp1 = io_.submission_dma_addr();
        entry.cdw10 = size;
        entry.cdw11 = 1u << 16 | queue::contiguous;
        break;
    case Question::active_namespaces:
        entry.opc = admin::identify;
        entry.prp1 = data_.dma_addr;
        entry.cdw10 = cns::active_namespaces;
        break;
    case Question::nvm_namespace:
        entry.opc = admin::identify;
        entry.nsid = nsids_[ask_];
        entry.prp1 = data_.dma_addr;
        entry.cdw10 = cns::nvm_namespace;
        break;
    case Question::async_events:
        entry.opc = admin::set_features;
        entry.cdw10 = feature::async_events;
        entry.cdw11 = masks_asked_ = wanted_events();
        break;
    }
    std::memset(data_.vaddr, 0, page_bytes); // what does not come is not valid
    if (question == Question::host_behavior) {
        data_.vaddr[host_behavior_acre] = std::byte{1};
    }
    state_ = State::asking;
    question_ = question;
    answered_ = false;
    timed_ = false;
    submit_admin(entry, AdminId::setup);
}

bool Nvme::answered() {
    harvest_admin();
    if (state_ != State::asking) {
        return false; // it lied
    }
    if (!answered_) {
        const std::uint32_t csts = reg::csts.read(regs_);
        if (csts == csts::gone || (csts & csts::cfs) != 0) {
            failed("the controller: CSTS", csts);
        }
        return false;
    }
    answered_ = false;
    return evaluate(answer_.status);
}

/// What the answer means, and the next question.
bool Nvme::evaluate(std::uint16_t status) {
    const bool good = status::code(status) == 0;
    const bool may_fail = question_ == Question::limits || question_ == Question::host_behavior ||
                          question_ >= Question::active_namespaces;
    if (!good && !may_fail) {
        failed("the status", status::code(status));
        return false;
    }
    switch (question_) {
    case Question::controller:
        if (meet_controller()) {
            if (first_ && reg::vs.read(regs_) >= version_1_4) {
                ask(Question::limits);
            } else {
                ask_for_delays();
            }
        }
        break;
    case Question::limits:
        if (good) {
            parse_limits(page(), identity_);
        }
        ask_for_delays();
        break;
    case Question::host_behavior:
        ask(Question::number_of_queues);
        break;
    case Question::number_of_queues:
        ask(Question::completion_queue);
        break;
    case Question::completion_queue:
        ask(Question::submission_queue);
        break;
    case Question::submission_queue:
        // The list is of NVMe 1.1. Later, only what is served is of interest.
        if (first_ && reg::vs.read(regs_) >= version_1_1) {
            ask(Question::active_namespaces);
        } else {
            list_namespaces(false);
        }
        break;
    case Question::active_namespaces:
        list_namespaces(good);
        break;
    case Question::nvm_namespace:
        meet_namespace(status);
        ask_++;
        ask_next_namespace();
        break;
    case Question::async_events:
        serve();
        break;
    }
    return true;
}

/// False: it cannot be used, or is another one than before.
bool Nvme::meet_controller() {
    const std::byte* names = data_.vaddr + names_offset;
    if (!first_) {
        if (std::memcmp(names, names_.data(), names_.size()) == 0) {
            return true;
        }
        failure_ = "another controller is in the place of the one that is served";
        return false;
    }
    identity_ = parse_controller(page());
    if (!identity_.error.empty()) {
        throw_error(ENODEV, "nvme: use the controller", identity_.error);
    }
    std::memcpy(names_.data(), names, names_.size());
    return true;
}

/// CRD (NVMe 4.6.1) is used only after that was enabled, which a reset forgets.
void Nvme::ask_for_delays() {
    const auto& delays = identity_.retry_delay;
    const bool any =
        std::any_of(delays.begin(), delays.end(), [](std::uint16_t delay) { return delay != 0; });
    ask(any ? Question::host_behavior : Question::number_of_queues);
}

void Nvme::list_namespaces(bool listed) {
    ask_ = 0;
    if (first_) {
        nsids_.clear();
        for (std::uint32_t n = 0; n < max_namespaces; n++) {
            std::uint32_t nsid = n + 1;
            if (listed) {
                std::memcpy(&nsid, data_.vaddr + n * sizeof nsid, sizeof nsid);
            }
            const bool rising = nsids_.empty() || nsid > nsids_.back();
            if (nsid == 0 || nsid > identity_.nr_namespaces || !rising) {
                break;
            }
            nsids_.push_back(nsid);
        }
    }
    ask_next_namespace();
}

void Nvme::ask_next_namespace() {
    if (ask_ < nsids_.size()) {
        ask(Question::nvm_namespace);
        return;
    }
    if (first_ && namespaces_.empty()) {
        std::string found =
            fmt::format("none of its {} active namespaces can be used", nsids_.size());
        for (const std::string& note : notes_) {
            found += "; " + note;
        }
        throw_error(ENODEV, "nvme: find a namespace", found);
    }
    ask(Question::async_events);
}

void Nvme::meet_namespace(std::uint16_t status) {
    const std::uint32_t nsid = nsids_[ask_];
    const bool good = status::code(status) == 0;
    const NamespaceIdentity found = good ? parse_namespace(page(), identity_) : NamespaceIdentity{};
    if (!first_) {
        Namespace& ns = namespaces_[ask_];
        const bool there = ns.identity.same(found);
        counters_.lost += !there && !ns.lost ? 1 : 0;
        counters_.returned += there && ns.lost ? 1 : 0;
        ns.lost = !there;
        return;
    }
    if (!good) {
        notes_.push_back(fmt::format("namespace {}: Identify failed with status {:#x}", nsid,
                                     status::code(status)));
    } else if (found.problem != Problem::none) {
        notes_.push_back(fmt::format("namespace {}: {}", nsid, problem_text(found)));
    } else if (found.nr_blocks != 0) {
        namespaces_.push_back({nsid, found, found.block_bytes / 512, false});
        disks_.push_back(describe(identity_, found, nsid, tags_));
    }
}

/// It runs. From here on nothing is allocated.
void Nvme::serve() {
    if (first_) {
        const std::size_t all = disks_.size() * tags_;
        requests_.resize(all);
        waiting_.allocate(all);
        nsids_.clear();
        for (const Namespace& ns : namespaces_) {
            nsids_.push_back(ns.nsid);
        }
    }
    first_ = false;
    recovering_ = false;
    blame_ = true;
    state_ = State::running;
    const std::uint32_t events = std::min(identity_.event_requests + 1u, max_events);
    for (std::uint32_t n = 0; n < events; n++) {
        request_event(static_cast<std::uint16_t>(AdminId::first_event + n));
    }
    issue();
}

} // namespace udrv::nvme
