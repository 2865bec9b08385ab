// SPDX-License-Identifier: MIT
//
// One channel with its two drives: set-up, the path of a request, and recovery.
//
// The drives share the command registers and the bus master, so that one command is
// under way on a channel. Requests wait in a queue a drive, in arrival order; when a
// command ends it is the other drive's turn. A flush therefore starts when all that
// came before it on its drive has ended.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "drivers/ata/ata_commands.hpp"
#include "drivers/ide/ide_command.hpp"
#include "drivers/ide/ide_registers.hpp"
#include "drivers/ide/piix_timing.hpp"
#include "libudrv/blk/blk_chip.hpp"
#include "libudrv/blk/waiting.hpp"
#include "libudrv/device/dma.hpp"
#include "libudrv/device/registers.hpp"

namespace udrv::ide {

inline constexpr unsigned drives_a_channel = 2;
inline constexpr std::uint32_t max_depth = 32;

struct Config {
    Controller controller = Controller::piix3;
    std::uint32_t depth = 4; ///< requests that a drive holds, 1 to max_depth
    /// For a command to end, from the first tick() after its issue. A drive that tries a
    /// weak sector again and again is silent for many seconds, and a reset makes it begin
    /// anew.
    std::chrono::milliseconds command_timeout{15'000};
    /// The same for flushes and TRIM, which may take a drive much longer.
    std::chrono::milliseconds flush_timeout{30'000};
    /// The same for IDENTIFY DEVICE and SET FEATURES, which need no medium.
    std::chrono::milliseconds set_up_timeout{5'000};
    /// From a reset until a drive takes commands. The standard's 31 s (ATA, Software
    /// reset protocol) are for platters that stand still; these turn.
    std::chrono::milliseconds reset_timeout{10'000};
    /// A drive that did not come back is looked for again after the first of these, each
    /// time after twice as long, up to the second. That costs the other drive of the
    /// channel a reset and at most `revive_wait`.
    std::chrono::milliseconds revive_first{5'000};
    std::chrono::milliseconds revive_last{60'000};
    std::chrono::milliseconds revive_wait{1'000};
};

/// Windows of registers; they outlive the channel.
struct ChannelPorts {
    RegisterIo& command_block; ///< 8 ports
    RegisterIo& control_block; ///< 1 port: 3F6h or 376h is its offset 0
    RegisterIo& bus_master;    ///< 8 ports
    RegisterIo& timing;        ///< the controller's configuration space; at set-up only
};

/// What happened, for people and tests.
struct ChannelCounters {
    std::uint64_t device_errors = 0;   ///< requests that a drive failed
    std::uint64_t retries = 0;         ///< of commands that the bus damaged
    std::uint64_t timeouts = 0;        ///< commands that did not end in time
    std::uint64_t lost_interrupts = 0; ///< ended, but nobody was told
    std::uint64_t resets = 0;          ///< after set-up
};

/// The time the signals of a cable need: STATUS may not be believed for 400 ns after
/// DEVICE or COMMAND was written (ATA, host protocols).
void settle_400ns();

/// Ends what a predecessor left under way: the bus master forgets its transfer (PIIX4 5.2.1,
/// SSBM), and the drives interrupt no more. Then bus mastering may be switched on; a drive's
/// command ends with the reset in attach().
void quiet_channel(const ChannelPorts& ports);

class Channel {
  public:
    Channel(const ChannelPorts& ports, unsigned number, const Config& config);
    Channel(const Channel&) = delete;
    Channel& operator=(const Channel&) = delete;
    ~Channel() = default;

    // ---- Set-up: may block, allocate and throw.

    /// Resets the channel, identifies its drives, and lets it interrupt if there is a
    /// disk. Appends a sentence for each drive that is none. Throws Error.
    void attach(DmaAllocator& dma, std::vector<std::string>& notes);
    /// `disk` is what completions of that drive will carry.
    void number_disk(unsigned drive, std::uint32_t disk) { units_[drive].disk_index = disk; }
    [[nodiscard]] bool present(unsigned drive) const { return units_[drive].present; }
    [[nodiscard]] const udrv_blk_disk& disk(unsigned drive) const { return units_[drive].disk; }

    // ---- Data path: see BlkChip.

    void start(BlkCompletions& done) { done_ = &done; }
    [[nodiscard]] bool interrupt();
    void submit(unsigned drive, std::span<const BlkSubmission> submissions);
    [[nodiscard]] BlkClock::time_point tick(BlkClock::time_point now);
    void stop();

    [[nodiscard]] bool has_disk() const { return units_[0].present || units_[1].present; }
    [[nodiscard]] const ChannelCounters& counters() const { return counters_; }

  private:
    enum class State : std::uint8_t {
        running,
        failed,       ///< to be reset
        holding,      ///< SRST is 1
        waiting,      ///< for drive unit_ to be ready
        identifying,  ///< lost drive unit_ was asked who it is
        setting_mode, ///< drive unit_ was told its transfer mode again
        stopped
    };
    enum class Found : std::uint8_t { nothing, ata, atapi };
    static constexpr unsigned nobody = drives_a_channel;
    static constexpr auto unstamped = BlkClock::time_point::max();
    struct Pending {
        BlkSubmission submission;
        std::uint8_t retries = 0;
        std::uint8_t timeouts = 0;
        bool bus_error = false; ///< the controller met a PCI abort: no use in a retry
        BlkClock::time_point arrived = unstamped;
    };
    struct Unit {
        Drive drive;
        udrv_blk_disk disk{};
        std::uint32_t disk_index = 0;
        bool present = false;
        bool lost = false; ///< did not come back from a reset: its requests fail
        std::array<std::uint16_t, ata::identify_words> words{}; ///< IDENTIFY, at set-up
        Waiting<Pending> queue;
        std::uint32_t stamped = 0; ///< of its queue: those before it have `arrived`
    };

    // channel_setup.cpp
    void reset();
    [[nodiscard]] std::uint8_t wait_not_busy(std::chrono::milliseconds timeout);
    [[nodiscard]] Found probe(unsigned number, std::string& note);
    [[nodiscard]] std::string identify(unsigned number);
    [[nodiscard]] std::string read_identity(unsigned number, Unit& unit);
    [[nodiscard]] std::string spin_up(unsigned number, Unit& unit);
    [[nodiscard]] std::uint8_t run_polled(unsigned number, const Taskfile& task,
                                          std::chrono::milliseconds timeout);
    [[nodiscard]] std::string set_mode(unsigned number, const ata::Identity& identity);
    void allocate(DmaAllocator& dma);
    // channel.cpp
    [[nodiscard]] std::uint8_t alternate_status();
    void control(std::uint8_t value);
    void clear_interrupt(std::uint8_t bm_status);
    void write_taskfile(const Taskfile& task);
    void write_address(const Taskfile& task);
    [[nodiscard]] bool select(std::uint8_t device);
    [[nodiscard]] std::uint32_t prepare(const Unit& unit, const udrv_blk_request& request);
    void start_next();
    void issue();
    [[nodiscard]] std::uint8_t read_block();
    void answer_ata(udrv_blk_ata& ata, std::uint8_t status, std::uint8_t error);
    void finish(std::uint8_t bm_status, std::uint8_t status);
    void complete(unsigned number, std::uint32_t status);
    // channel_recovery.cpp
    [[nodiscard]] BlkClock::time_point watch(BlkClock::time_point now);
    void give_up();
    [[nodiscard]] bool step(BlkClock::time_point now);
    [[nodiscard]] bool wait_ready(BlkClock::time_point now);
    [[nodiscard]] bool wait_identity(BlkClock::time_point now);
    [[nodiscard]] bool wait_mode(BlkClock::time_point now);
    void start_mode(BlkClock::time_point now);
    void start_unit(unsigned number, BlkClock::time_point now);
    void resume(BlkClock::time_point now);
    void stamp(BlkClock::time_point now);
    void give_up_old(BlkClock::time_point now);

    const ChannelPorts ports_;
    const unsigned number_;
    const Config config_;
    std::array<Unit, drives_a_channel> units_;

    Prd* prds_ = nullptr; ///< of the command under way; read by the controller
    std::uint32_t prds_dma_addr_ = 0;
    std::byte* payload_ = nullptr; ///< of a TRIM
    std::uint32_t payload_dma_addr_ = 0;

    State state_ = State::running;
    unsigned active_ = nobody;   ///< drive with a command under way: the front of its queue
    unsigned turn_ = 0;          ///< drive to look at first
    unsigned selected_ = nobody; ///< last selected, and not busy since
    Command command_;            ///< of active_
    std::uint8_t direction_ = 0; ///< last written to BMICOM, without SSBM
    BlkCompletions* done_ = nullptr;

    bool timed_ = false;            ///< deadline_ belongs to the command under way
    BlkClock::time_point deadline_; ///< of the command, or of a step of recovery
    BlkClock::time_point wake_;     ///< recovery: nothing to do before this
    unsigned unit_ = 0;             ///< recovery: drive it is at
    bool hold_ = false;             ///< no new command: a lost drive is to be looked for
    BlkClock::time_point revive_at_ = BlkClock::time_point::max();
    std::chrono::milliseconds revive_interval_{0};
    ChannelCounters counters_;
};

} // namespace udrv::ide
