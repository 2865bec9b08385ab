// SPDX-License-Identifier: MIT
//
// Nvme: driver of any NVM Express 1.x controller (PCI class 01:08:02), a BlkChip with a disk
// a namespace. Registers are in BAR 0. Reading order: nvme_registers.hpp, queue_pair.hpp,
// prp.hpp, identify.hpp, this, nvme_setup.cpp, nvme.cpp, nvme_recovery.cpp, nvme_stop.cpp.
//
// Source document: "NVMe", see nvme_registers.hpp.
//
// One pair of I/O queues serves all namespaces. Commands are carried out in any order, so
// none waits for another: a flush is about what has been completed before it (NVMe 6.8). A
// request waits only while the queue is full, or the controller is being reset. A command's
// identifier is the number of its slot, with a count in the upper half that tells this use
// of the slot from older ones.
//
// Everything that the controller says is checked. One that says what is impossible (a command
// that it does not have, a head outside the queue) is reset.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "drivers/nvme/identify.hpp"
#include "drivers/nvme/nvme_registers.hpp"
#include "drivers/nvme/prp.hpp"
#include "drivers/nvme/queue_pair.hpp"
#include "libudrv/blk/blk_chip.hpp"
#include "libudrv/blk/waiting.hpp"
#include "libudrv/device/call.hpp"
#include "libudrv/device/dma.hpp"
#include "libudrv/device/registers.hpp"
#include <udrv/udrv.h>

namespace udrv::nvme {

inline constexpr unsigned bar_number = 0; // NVMe 2.1.10

/// For Device::stop_by(): a controller reset ends all transfers (NVMe 7.3.2). The second
/// one changes nothing and waits until it is over.
inline constexpr udrv_stop_write end_of_transfers[] = {
    stop_write(bar_number, reg::cc.offset, sizeof(std::uint32_t), 0),
    stop_write(bar_number, reg::csts.offset, sizeof(std::uint32_t), 0, csts::rdy),
};

/// Stops whatever a predecessor left under way, by a controller reset (NVMe 7.3.2). Bus
/// mastering may be switched on only after that, and has to be on before an Nvme is made.
/// Throws Error.
void disable(RegisterIo& regs);

struct Config {
    /// For a command to complete. A disk that tries a bad sector again and again may be
    /// silent for many seconds.
    std::chrono::milliseconds command_timeout{15'000};
    /// The same for all but reads and writes, which may take a disk much longer.
    std::chrono::milliseconds flush_timeout{30'000};
    /// From Abort to the end of the aborted command; then the controller is reset.
    std::chrono::milliseconds abort_timeout{5'000};
    /// For commands of our own.
    std::chrono::milliseconds admin_timeout{10'000};
    /// A controller that is not back by then is the kernel's to reset.
    std::chrono::milliseconds recovery_timeout{50'000};
    std::uint32_t depth = 256; ///< entries of the I/O queues, at most
};

/// Between two looks at a controller that has commands.
inline constexpr std::chrono::milliseconds look_interval{500};

/// What happened, for people and tests.
struct NvmeCounters {
    std::uint64_t errors = 0;   ///< commands that ended with an error status
    std::uint64_t retries = 0;  ///< of these, given to the controller again
    std::uint64_t timeouts = 0; ///< commands that did not complete in time
    std::uint64_t aborts = 0;   ///< Abort commands
    std::uint64_t resets = 0;   ///< of the controller, after set-up
    std::uint64_t fatal = 0;    ///< of these, because of CSTS.CFS
    std::uint64_t lies = 0;     ///< of these, because of an impossible completion
    std::uint64_t reissued = 0; ///< commands given to the controller again after a reset
    std::uint64_t lost = 0;     ///< namespaces that were not there after a reset, or other ones
    std::uint64_t returned = 0; ///< of these, those that came back later
    std::uint64_t warnings = 0; ///< of its health, each once, and errors that it reported
    std::uint64_t changes = 0;  ///< namespaces changed
};

class Nvme {
  public:
    static constexpr bool completes_in_memory = true; // the completion queue
    /// Finds the namespaces of a controller after disable(). Throws Error, also if there is
    /// no namespace that can be used.
    Nvme(RegisterIo& regs, DmaAllocator& dma, const Config& config = {});
    Nvme(const Nvme&) = delete;
    Nvme& operator=(const Nvme&) = delete;
    ~Nvme() = default;

    [[nodiscard]] std::span<const udrv_blk_disk> disks() const { return disks_; }
    void start(BlkCompletions& done) { done_ = &done; }
    [[nodiscard]] bool interrupt();
    void submit(std::uint32_t disk, std::span<const BlkSubmission> submissions);
    void reap();
    [[nodiscard]] BlkClock::time_point tick(BlkClock::time_point now);
    void stop();
    [[nodiscard]] BlkTroubles troubles() const;
    /// Why it cannot be served any longer, and its driver should end; nullptr: it can.
    [[nodiscard]] const char* failure() const {
        return failure_.empty() ? nullptr : failure_.c_str();
    }

    /// What set-up found of namespaces that cannot be used, a sentence each.
    [[nodiscard]] std::span<const std::string> notes() const { return notes_; }
    [[nodiscard]] const NvmeCounters& counters() const { return counters_; }

  private:
    /// From a controller reset to service, in this order.
    enum class State : std::uint8_t {
        disabling, ///< CC.EN is 0, until CSTS.RDY is
        enabling,  ///< CC.EN is 1, until CSTS.RDY is
        asking,    ///< an admin command of the set-up is under way: question_
        running,
        stopped
    };
    enum class Question : std::uint8_t {
        controller,
        limits,
        host_behavior, ///< if its statuses may ask for delays
        number_of_queues,
        completion_queue,
        submission_queue,
        active_namespaces,
        nvm_namespace, ///< number ask_
        async_events
    };
    /// Identifiers of admin commands: one command each at a time.
    enum AdminId : std::uint16_t {
        setup = 0,
        log_page = 1,
        first_abort = 2,
        first_event = 6,
        event_mask = 10
    };
    static constexpr std::uint32_t nr_admin_ids = event_mask + 1;
    static constexpr std::uint32_t max_aborts = first_event - first_abort;
    static constexpr std::uint32_t max_events = event_mask - first_event;
    static constexpr std::uint32_t admin_depth = 32;

    struct Namespace {
        std::uint32_t nsid = 0;
        NamespaceIdentity identity;
        std::uint32_t block_sectors = 1; ///< of a logical block, in units of 512 bytes
        bool lost = false;               ///< requests fail at once
    };
    /// Which request: index in disks(), tag.
    struct Ref {
        std::uint16_t disk = 0;
        std::uint16_t tag = 0;
    };
    struct Request {
        const udrv_blk_request* request = nullptr;
        std::uint32_t generation = 0;
        std::uint8_t timeouts = 0;
        std::uint8_t retries = 0; ///< after an error status
        std::uint8_t resets = 0;  ///< of the controller, while it had the request
        bool delayed = false;     ///< waits for `due`
        bool stamped = false;     ///< `due` counts from the next tick() otherwise
        std::chrono::milliseconds delay{0};
        BlkClock::time_point due;
    };
    /// A command that the controller may have.
    struct Slot {
        Ref ref;
        std::uint8_t use = 0; ///< upper half of the identifier
        bool busy = false;
        bool overdue = false;
        bool aborted = false; ///< Abort was sent
        std::uint16_t looks = 0;
        std::uint16_t limit = 0; ///< looks until it is overdue
    };

    // nvme_setup.cpp
    void read_capabilities();
    void allocate(DmaAllocator& dma);
    [[nodiscard]] BlkClock::time_point step(BlkClock::time_point now);
    [[nodiscard]] bool step_once();
    [[nodiscard]] bool disabled();
    [[nodiscard]] bool enabled();
    void configure();
    void ask(Question question);
    [[nodiscard]] bool answered();
    [[nodiscard]] bool evaluate(std::uint16_t status);
    [[nodiscard]] bool meet_controller();
    void ask_for_delays();
    void list_namespaces(bool listed);
    void ask_next_namespace();
    void meet_namespace(std::uint16_t status);
    void serve();
    void failed(const char* what, std::uint32_t value);
    void submit_admin(SubmissionEntry entry, std::uint16_t id);
    [[nodiscard]] IdentifyPage page() const {
        return IdentifyPage(data_.vaddr, std::size_t{page_bytes});
    }
    // nvme_stop.cpp
    [[nodiscard]] bool wait_for_answer(std::chrono::milliseconds timeout);
    [[nodiscard]] bool delete_queues();
    void bring_back();
    void wait_for_shutdown();
    // nvme.cpp
    [[nodiscard]] Request& request(Ref ref) { return requests_[ref.disk * tags_ + ref.tag]; }
    [[nodiscard]] PrpList list(std::uint32_t slot) const;
    [[nodiscard]] std::uint32_t identifier(std::uint32_t slot) const {
        return slot | std::uint32_t{slots_[slot].use} << 8;
    }
    [[nodiscard]] static std::uint16_t looks_in(std::chrono::milliseconds time) {
        return static_cast<std::uint16_t>(time / look_interval + 1);
    }
    [[nodiscard]] bool encode(Ref ref, std::uint32_t slot, SubmissionEntry& entry);
    [[nodiscard]] bool encode_range(const Namespace& ns, std::uint64_t sector,
                                    std::uint64_t nr_sectors, SubmissionEntry& entry) const;
    [[nodiscard]] bool encode_discard(const Namespace& ns, const udrv_blk_request& request,
                                      std::uint32_t slot, SubmissionEntry& entry);
    void issue();
    void complete(Ref ref, std::uint32_t status);
    void harvest();
    [[nodiscard]] bool finish(const CompletionEntry& entry);
    void free_slot(std::uint32_t slot);
    [[nodiscard]] static std::uint32_t status_of(std::uint16_t code, std::uint8_t op);
    // nvme_recovery.cpp
    void ended_with_error(Ref ref, std::uint16_t status, bool overdue);
    void look();
    [[nodiscard]] bool abort(std::uint32_t slot);
    [[nodiscard]] BlkClock::time_point reissue_delayed(BlkClock::time_point now);
    void begin_reset(bool blame = true);
    void take_back();
    void harvest_admin();
    [[nodiscard]] bool finish_admin(const CompletionEntry& entry);
    void event_came(const CompletionEntry& entry);
    void read_next_log();
    void log_came(bool good);
    void health_came(bool good);
    [[nodiscard]] bool serves_one_of(std::span<const std::byte> changed) const;
    [[nodiscard]] std::uint32_t wanted_events() const;
    void mask_events();
    [[nodiscard]] BlkClock::time_point look_at_events(BlkClock::time_point now);
    void request_event(std::uint16_t id);
    [[nodiscard]] bool admin_busy(std::uint32_t id) const { return (admin_busy_ >> id & 1) != 0; }

    RegisterIo& regs_;
    const Config config_;
    std::uint32_t max_entries_ = 2;              ///< CAP.MQES
    std::uint32_t stride_ = 4;                   ///< CAP.DSTRD
    std::chrono::milliseconds ready_timeout_{0}; ///< CAP.TO
    ControllerIdentity identity_;
    std::vector<Namespace> namespaces_;
    std::vector<udrv_blk_disk> disks_;
    std::vector<std::string> notes_;

    // Memory that the controller reads and writes.
    QueuePair admin_;
    QueuePair io_;
    DmaBlock data_; ///< of admin commands
    static constexpr std::uint32_t lists_a_block = 16;
    std::vector<DmaBlock> lists_; ///< a page a slot: PRP list, or ranges of a deallocation

    std::uint32_t tags_ = 0; ///< of each disk
    std::vector<Request> requests_;
    std::vector<Slot> slots_;
    std::vector<std::uint16_t> free_; ///< slots
    std::uint32_t outstanding_ = 0;
    Waiting<Ref> waiting_;
    BlkCompletions* done_ = nullptr;

    // Set-up, and again after each reset.
    State state_ = State::disabling;
    Question question_ = Question::controller;
    bool first_ = true;   ///< nothing has been served yet
    std::size_t ask_ = 0; ///< which namespace
    std::vector<std::uint32_t> nsids_;
    bool answered_ = false; ///< to the set-up's command:
    CompletionEntry answer_{};
    bool timed_ = false; ///< deadline_ is set
    BlkClock::time_point deadline_;
    BlkClock::time_point not_before_ = BlkClock::time_point::min(); ///< of the next attempt
    BlkClock::time_point now_;                                      ///< of the step
    std::array<std::byte, 60> names_{}; ///< serial and model number, as they came

    // Recovery.
    bool recovering_ = false; ///< recovery_deadline_ is set
    BlkClock::time_point recovery_deadline_;
    BlkClock::time_point look_ = BlkClock::time_point::max();
    std::uint32_t nr_delayed_ = 0;
    std::uint32_t admin_busy_ = 0; ///< bit n: admin command n is under way
    bool blame_ = true;            ///< a reset is held against the requests that are under way
    std::array<std::uint16_t, max_aborts> abort_looks_{}; ///< for how long each is under way
    // Events.
    std::uint32_t log_pages_ = 0;   ///< bit n: page n has to be read, after an event
    std::uint8_t log_page_ = 0;     ///< that is being read
    bool health_event_ = false;     ///< page log::health is read because of one
    std::uint32_t warned_ = 0;      ///< critical warnings that are known, and masked
    std::uint32_t masks_asked_ = 0; ///< wanted_events() of the last command
    std::uint32_t held_events_ = 0; ///< bit n: request n was not sent again, for a while
    unsigned events_ = 0;           ///< that came since `event_look_` was set
    BlkClock::time_point event_look_ = BlkClock::time_point::max();
    std::string failure_;
    NvmeCounters counters_;
};

static_assert(BlkChip<Nvme>);

} // namespace udrv::nvme
