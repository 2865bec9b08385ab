// SPDX-License-Identifier: MIT
//
// One port of the HBA with one disk on it: set-up, the path of a request, and error
// recovery. A request's tag is its slot in the command list.
//
// Queued (NCQ) and other commands are never with the disk together, since a
// non-queued command makes the disk give up its queue. So requests wait in arrival
// order: a flush until the queue has drained, what came after the flush until it is
// done. Without NCQ, all commands are issued one at a time.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "drivers/ahci/ahci_registers.hpp"
#include "drivers/ahci/fis.hpp"
#include "drivers/ata/identify.hpp"
#include "libudrv/blk/blk_chip.hpp"
#include "libudrv/blk/waiting.hpp"
#include "libudrv/device/dma.hpp"

namespace udrv::ahci {

struct Config {
    /// For a command to complete, from the first tick() after its issue. A disk that
    /// tries a bad sector again and again may be silent for many seconds.
    std::chrono::milliseconds command_timeout{15'000};
    /// The same for flushes and TRIM, which may take a disk much longer.
    std::chrono::milliseconds flush_timeout{30'000};
    /// From a reset to a disk that takes commands: platters spin up in that time.
    std::chrono::milliseconds ready_timeout{20'000};
    /// The same at set-up; also for a disk to show that the kernel knows.
    std::chrono::milliseconds spin_up_timeout{20'000};
    /// For IDENTIFY DEVICE and SET FEATURES of a disk that says it is ready.
    std::chrono::milliseconds identify_timeout{3'000};
    /// At set-up, for a device to show on a port. A device answers a reset of the
    /// link within 10 ms, or is not there.
    std::chrono::milliseconds detect{50};
    /// Disks that the kernel keeps for us: they are waited for, and once they are there
    /// no silent port is. A successor finds what its predecessor had without that delay.
    std::size_t expected_disks = 0;
    /// Bit n: port n had a device before the reset (reset_hba()), and is waited for.
    std::uint32_t occupied = 0;
    bool ncq = true; ///< use it where HBA and disk have it
};

/// What the port needs to know of its HBA.
struct Hba {
    std::uint32_t slots = 1;
    bool ncq = false;
    bool addresses64 = false;
    bool staggered = false; ///< a port's disk spins up when PxCMD.SUD says so
};

/// What happened, for people and tests.
struct PortCounters {
    std::uint64_t device_errors = 0; ///< the disk reported an error
    std::uint64_t link_errors = 0;   ///< the transfer or the link broke
    std::uint64_t timeouts = 0;      ///< commands that did not complete in time
    std::uint64_t resets = 0;        ///< of the port, after set-up
    std::uint64_t reissued = 0;      ///< commands given to the disk again
    std::uint64_t lost = 0;          ///< the disk did not come back
    std::uint64_t returned = 0;      ///< ... and then did
    std::uint64_t strangers = 0;     ///< another disk came in its place
    std::uint64_t arrivals = 0;      ///< a device came to a port that had none
};

class Port {
  public:
    Port(RegisterIo& regs, std::uint32_t number, const Hba& hba, const Config& config);
    Port(const Port&) = delete;
    Port& operator=(const Port&) = delete;
    ~Port() = default;

    // ---- Set-up: may block, allocate and throw. In this order.

    /// Neither processes commands nor receives FISes.
    void quiet();
    /// The link on its way up, and the disk spinning up (AHCI 3.3.7, SUD).
    void power_on(BlkClock::time_point now);
    /// One step towards a disk; again and again until it returns true. `awaited`: a
    /// disk is known to be there. Does not wait: all ports come up at the same time.
    [[nodiscard]] bool set_up(BlkClock::time_point now, bool awaited, DmaAllocator& dma);
    /// Its disk is up, or there is none, or it takes too long to wait for: the next
    /// port's disk may spin up.
    [[nodiscard]] bool let_next(BlkClock::time_point now) const;
    /// It has shown a device.
    [[nodiscard]] bool linked() const {
        return set_up_ > SetUp::linking && (set_up_ != SetUp::no_disk || !problem_.empty());
    }
    [[nodiscard]] bool usable() const { return set_up_ == SetUp::disk; }
    /// After set-up, why there is no disk; empty: no sign of a device.
    [[nodiscard]] const std::string& problem() const { return problem_; }
    void fail(const std::string& problem);
    /// From now on it interrupts; without a disk, when one is plugged in.
    void enable();

    [[nodiscard]] const udrv_blk_disk& disk() const { return disk_; }
    [[nodiscard]] std::uint32_t number() const { return number_; }

    // ---- Data path: BlkChip of one disk.

    /// It interrupts, and completes as `disk`.
    void start(std::uint32_t disk, BlkCompletions& done) {
        disk_index_ = disk;
        done_ = &done;
        enable();
    }
    void interrupt();
    void submit(std::span<const BlkSubmission> submissions);
    void reap();
    [[nodiscard]] BlkClock::time_point tick(BlkClock::time_point now);
    /// The next tick() looks at commands that have taken long: their interrupt may be lost.
    [[nodiscard]] bool will_look(BlkClock::time_point now) const {
        return outstanding_ != 0 && now >= look_;
    }
    /// No command under way. False: the port does not stop.
    bool stop();

    // ---- When the port itself cannot be stopped, the HBA is reset.

    [[nodiscard]] bool wants_hba_reset() const { return state_ == State::stuck; }
    void hba_was_reset();
    /// All its requests fail, until its disk is back.
    void lose();
    /// The same while no register may be touched.
    void give_up();

    [[nodiscard]] const PortCounters& counters() const { return counters_; }

  private:
    enum class State : std::uint8_t {
        running,
        stopping,    ///< PxCMD.ST is 0, until CR is
        stuck,       ///< CR stays 1
        comreset,    ///< PxSCTL.DET is 1
        coming_up,   ///< link and disk come back
        identifying, ///< is it the same disk?
        reading_log, ///< which queued command failed?
        lost,        ///< no disk; looks for it now and then
        empty        ///< there never was one: looks for nothing but a device
    };
    enum class SetUp : std::uint8_t { off, linking, spinning, identifying, disk, no_disk };
    enum class Answer : std::uint8_t { pending, good, failed };
    enum class Cause : std::uint8_t { device, link, timeout };

    struct Slot {
        const udrv_blk_request* request = nullptr;
        BlkClock::time_point arrived; ///< by tick()'s clock
        BlkClock::time_point issued;
        BlkClock::time_point deadline;
        std::uint32_t generation = 0;
        std::uint16_t flags = 0; ///< of the command header
        std::uint16_t prdtl = 0;
        std::uint8_t timeouts = 0;
        std::uint8_t failures = 0; ///< when alone with the disk
        bool queued = false;
        bool alone = false;  ///< suspect: nothing else is issued beside it
        bool traced = false; ///< was reissued because of PxSERR alone
    };

    // port_setup.cpp
    [[nodiscard]] std::uint32_t detection(); ///< PxSSTS.DET
    void wait_until(const R32& place, const char* name, std::uint32_t mask, std::uint32_t value,
                    std::chrono::milliseconds timeout);
    void allocate(DmaAllocator& dma);
    [[nodiscard]] std::uint64_t checked(const DmaBlock& block) const;
    void write_addresses();
    [[nodiscard]] bool link_came(BlkClock::time_point now, bool awaited, DmaAllocator& dma);
    [[nodiscard]] bool disk_ready(BlkClock::time_point now);
    [[nodiscard]] bool identified(BlkClock::time_point now, DmaAllocator& dma);
    void fill_disk(const ata::Identity& identity, DmaAllocator& dma);
    // port_service.cpp
    void begin_service(const Taskfile& task, BlkClock::time_point deadline);
    [[nodiscard]] Answer service(BlkClock::time_point now);
    void begin_identify(BlkClock::time_point now);
    [[nodiscard]] Answer identify_step(BlkClock::time_point now);
    [[nodiscard]] bool busy();
    [[nodiscard]] std::span<const std::uint16_t, ata::identify_words> page_words() const;
    // port.cpp
    [[nodiscard]] std::uint32_t read(const R32& place) {
        return place.at(number_, port::stride).read(regs_);
    }
    void write(const R32& place, std::uint32_t value) {
        place.at(number_, port::stride).write(regs_, value);
    }
    [[nodiscard]] CommandTable& table(std::uint32_t tag) const;
    void write_header(std::uint32_t slot, std::uint16_t flags, std::uint16_t prdtl,
                      std::uint64_t table_dma_addr);
    [[nodiscard]] bool encode_request(std::uint32_t tag);
    [[nodiscard]] bool encode_transfer(std::uint32_t tag, const udrv_blk_request& request,
                                       Taskfile& task);
    [[nodiscard]] bool encode_discard(std::uint32_t tag, const udrv_blk_request& request,
                                      Taskfile& task);
    [[nodiscard]] bool encode_ata(std::uint32_t tag, const udrv_blk_ata& command, Taskfile& task);
    void answer_ata(std::uint32_t tag);
    void issue();
    [[nodiscard]] bool fis_arrived();
    [[nodiscard]] bool fis_says_error() const;
    void forget_fises();
    void harvest();
    void complete(std::uint32_t tag, std::uint32_t status);
    // port_recovery.cpp
    [[nodiscard]] BlkClock::time_point watch(BlkClock::time_point now);
    [[nodiscard]] bool left_trace();
    [[nodiscard]] bool link_left_trace();
    void recover(Cause cause);
    [[nodiscard]] bool step(BlkClock::time_point now);
    [[nodiscard]] bool stopped(BlkClock::time_point now);
    [[nodiscard]] bool came_up(BlkClock::time_point now);
    [[nodiscard]] bool log_read(BlkClock::time_point now);
    [[nodiscard]] bool knows_disk(BlkClock::time_point now);
    void look_for_disk(BlkClock::time_point now);
    void begin_reset(BlkClock::time_point now);
    void reset_again(BlkClock::time_point now);
    void give_up_old(BlkClock::time_point now);
    void enter(State state, BlkClock::time_point now, std::chrono::milliseconds timeout);
    void begin_log(BlkClock::time_point now);
    void start_engine();
    void resume(BlkClock::time_point now);
    void settle();
    void settle_one(std::uint32_t tag, std::uint32_t culprit);
    [[nodiscard]] static std::uint32_t status_of(std::uint8_t error, std::uint8_t op);

    RegisterIo& regs_;
    const std::uint32_t number_;
    const Hba hba_;
    const Config config_;
    udrv_blk_disk disk_{};
    std::array<std::uint16_t, ata::identify_words> identity_{}; ///< of the disk served
    bool ncq_ = false;
    bool lba48_ = false;
    bool flush_ext_ = false;
    std::uint32_t block_sectors_ = 1; ///< logical block in units of 512 bytes

    // Memory that the HBA reads and writes.
    CommandHeader* list_ = nullptr; ///< of max_slots
    std::uint64_t list_dma_addr_ = 0;
    ReceivedFis* fis_ = nullptr;
    std::uint64_t fis_dma_addr_ = 0;
    CommandTable* service_table_ = nullptr; ///< for IDENTIFY and READ LOG EXT, one PRD
    std::uint64_t service_table_dma_addr_ = 0;
    std::byte* page_ = nullptr; ///< 512 bytes for their data
    static constexpr std::uint32_t tables_a_block = 8;
    std::array<DmaBlock, max_slots / tables_a_block> tables_{};
    DmaBlock payloads_{}; ///< a block of data of our own a tag: of TRIM, or an answer

    std::array<Slot, max_slots> slots_{};
    std::uint32_t outstanding_ = 0; ///< with the disk; bit n: tag n
    std::uint32_t unstamped_ = 0;   ///< of these, issued since the last tick()
    std::uint32_t fresh_ = 0;       ///< submitted since the last tick()
    bool exclusive_ = false;        ///< what is outstanding must stay alone
    Waiting<std::uint8_t> waiting_; ///< tags, in arrival order
    std::uint32_t disk_index_ = 0;  ///< what its completions carry
    BlkCompletions* done_ = nullptr;
    bool attention_ = false;   ///< an interrupt came since the last harvest
    std::uint32_t causes_ = 0; ///< PxIS bits not yet acted upon

    // Set-up, and commands of our own: IDENTIFY, SET FEATURES, READ LOG EXT.
    SetUp set_up_ = SetUp::off;
    std::string problem_;
    BlkClock::time_point powered_on_;
    BlkClock::time_point service_deadline_;
    BlkClock::time_point spin_deadline_; ///< of a disk in standby
    std::uint32_t service_causes_ = 0;   ///< PxIS when it ended
    bool waking_ = false;                ///< the command under way is SET FEATURES
    bool woken_ = false;                 ///< it was given
    bool resting_ = false;               ///< until service_deadline_, then IDENTIFY again

    // Recovery.
    State state_ = State::empty; ///< until it has a disk
    Cause cause_ = Cause::device;
    bool reset_ = false; ///< recovery has to reset the port
    bool timed_ = false; ///< deadline_ is set
    BlkClock::time_point deadline_;
    BlkClock::time_point look_ = BlkClock::time_point::max(); ///< when to check on commands
    std::uint32_t victims_ = 0;                               ///< outstanding when the error came
    std::uint32_t overdue_ = 0;                               ///< of these, the late ones
    bool queue_failed_ = false;                               ///< victims are queued commands
    bool unsure_ = false;                                     ///< perhaps nothing failed
    bool log_valid_ = false;
    std::uint32_t culprit_ = 0;          ///< with log_valid_
    std::uint8_t error_ = 0;             ///< ERROR of the failed command
    BlkClock::time_point back_deadline_; ///< the disk has to be back by then
    std::uint32_t untaken_ = 0;          ///< of overdue_, what the HBA has not fetched
    bool lost_ = false;                  ///< requests fail at once
    bool stranger_ = false;              ///< another disk is in its place
    PortCounters counters_;
};

} // namespace udrv::ahci
