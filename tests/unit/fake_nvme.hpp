// SPDX-License-Identifier: MIT
//
// A behavioural model of an NVM Express controller on RegisterIo, for unit tests of the
// driver. It is written from NVMe 1.4 with numbers of its own, not the driver's, so that a
// wrong offset or bit in the driver shows. What the specification forbids the host fails the
// test; each rule names its section.
//
// It answers late: CSTS.RDY follows CC.EN, and an admin command ends, only `lateness`
// register reads later, or at the next run(). I/O commands are executed by run(), in random
// order.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/fake_e1000.hpp" // FakeMemory

namespace udrv::test {

class FakeNvme final : public RegisterIo {
  public:
    enum Reg : std::uint32_t {
        CAP = 0x00,
        CAP_HIGH = 0x04,
        VS = 0x08,
        CC = 0x14,
        CSTS = 0x1c,
        AQA = 0x24,
        ASQ = 0x28,
        ASQ_HIGH = 0x2c,
        ACQ = 0x30,
        ACQ_HIGH = 0x34
    };
    enum Opcode : std::uint8_t { FLUSH = 0, WRITE = 1, READ = 2, WRITE_ZEROES = 8, DSM = 9 };
    enum Admin : std::uint8_t {
        DELETE_SQ = 0,
        CREATE_SQ = 1,
        GET_LOG = 2,
        DELETE_CQ = 4,
        CREATE_CQ = 5,
        IDENTIFY = 6,
        ABORT = 8,
        SET_FEATURES = 9,
        ASYNC_EVENT = 12
    };
    using Clock = std::chrono::steady_clock;

    struct Access {
        std::uint32_t offset;
        std::uint32_t value;
    };
    struct Command {
        std::array<std::uint32_t, 16> dw{};
        std::uint16_t queue = 0;
        [[nodiscard]] std::uint8_t opc() const { return static_cast<std::uint8_t>(dw[0]); }
        [[nodiscard]] std::uint16_t cid() const { return static_cast<std::uint16_t>(dw[0] >> 16); }
        [[nodiscard]] std::uint64_t prp1() const { return dw[6] | std::uint64_t{dw[7]} << 32; }
        [[nodiscard]] std::uint64_t prp2() const { return dw[8] | std::uint64_t{dw[9]} << 32; }
        [[nodiscard]] std::uint64_t slba() const { return dw[10] | std::uint64_t{dw[11]} << 32; }
        [[nodiscard]] std::uint32_t blocks() const { return (dw[12] & 0xffff) + 1; }
    };
    struct Namespace {
        bool active = true;
        unsigned lbads = 9;
        unsigned metadata = 0;
        std::vector<std::uint8_t> data;
        bool write_protected = false;
        bool unallocated = false; ///< NCAP is 0
        std::uint8_t dlfeat = 0;
        unsigned format = 1;         ///< index of the one that is used
        std::uint64_t nguid_low = 0; ///< first half of NGUID
        [[nodiscard]] std::uint64_t blocks() const { return data.size() >> lbads; }
    };

    // What it is.
    std::map<std::uint32_t, Namespace> namespaces; ///< by nsid
    std::uint32_t mqes = 255;                      ///< 0's based
    unsigned dstrd = 0;
    unsigned mpsmin = 0;
    std::uint32_t version = 0x00010400;
    std::uint8_t mdts = 7;
    std::uint8_t vwc = 1;
    std::uint16_t oncs = 0x0c; ///< Dataset Management, Write Zeroes
    std::uint8_t acl = 3;
    std::uint8_t aerl = 3;
    std::uint8_t cntrltype = 1;
    std::array<std::uint16_t, 3> crdt{};
    std::uint8_t cap_to = 4; ///< in units of 500 ms
    std::string model = "Fake NVMe";
    std::string serial = "SN-1";
    bool nvm_command_set = true;
    std::uint8_t dmrl = 0; ///< limits of Dataset Management (TP 4040); 0: none
    std::uint32_t dmrsl = 0;
    std::uint8_t wzsl = 0;

    // Faults.
    unsigned lateness = 3;
    bool rdy_sticks = false;    ///< at what it is
    unsigned cfs_at_enable = 0; ///< so many times
    bool gone = false;          ///< all reads give all ones
    bool admin_hangs = false;
    std::set<std::uint8_t> unanswered;  ///< opcodes of admin commands that get lost
    std::set<std::uint8_t> no_features; ///< identifiers: Invalid Field
    std::uint8_t critical_warning = 0;  ///< of the SMART / Health log page, while it lasts
    std::set<std::uint32_t> changed;    ///< the Changed Namespace List, until it is read
    bool hung = false;                  ///< no I/O command ends
    bool abort_works = true;
    std::set<std::uint64_t> hangs; ///< logical blocks: reads and writes of these do not end
    /// Status (SCT << 8 | SC, DNR, CRD as in the field without the phase tag) by block.
    std::map<std::uint64_t, std::uint16_t> bad;
    std::map<std::uint64_t, unsigned> bad_times;            ///< how often; absent: always
    std::set<std::uint8_t> admin_fails;                     ///< opcodes: Invalid Field
    std::function<void(std::array<std::uint32_t, 4>&)> lie; ///< changes one completion
    std::size_t max_run = 1000;

    // What was seen.
    std::vector<Access> writes;
    std::size_t reads = 0;
    std::vector<Command> log; ///< all that was fetched
    unsigned resets = 0;      ///< CC.EN from 1 to 0
    unsigned shutdowns = 0;
    std::vector<std::uint8_t> features_set; ///< identifiers
    std::vector<std::uint8_t> pages_read;   ///< log pages
    std::mt19937 random{1};

    explicit FakeNvme(FakeMemory& memory) : memory_(memory) {
        cc_ = 0x00460001; // as a predecessor may have left it: enabled
        csts_ = 1;
    }

    void add(std::uint32_t nsid, std::uint64_t blocks, unsigned lbads = 9) {
        Namespace& ns = namespaces[nsid];
        ns.lbads = lbads;
        ns.data.assign(blocks << lbads, 0);
    }
    [[nodiscard]] bool enabled() const { return (cc_ & 1) != 0; }
    [[nodiscard]] bool ready() const { return (csts_ & 1) != 0; }
    [[nodiscard]] std::uint32_t cc() const { return cc_; }
    [[nodiscard]] std::size_t under_way() {
        fetch();
        return io_.size();
    }
    [[nodiscard]] std::size_t event_requests() {
        fetch();
        return events_.size();
    }
    [[nodiscard]] bool interrupting() { return std::exchange(message_, false); }
    void fatal() { csts_ |= 2; }
    /// Reset by somebody else: it has nothing any more, and says no more than that.
    void reset_elsewhere() {
        csts_ &= ~1u;
        io_.clear();
        ids_.clear();
        pending_.clear();
        events_.clear();
    }
    void forget() {
        writes.clear();
        reads = 0;
        log.clear();
    }
    /// An asynchronous event (5.2); false: nobody asked, or its page was not read yet.
    bool event(std::uint32_t type, std::uint32_t info, std::uint8_t page) {
        settle();
        if (events_.empty() || masked_.contains(page)) {
            return false;
        }
        const Command command = events_.front();
        events_.erase(events_.begin());
        masked_.insert(page);
        post(0, command.cid(), 0, type | info << 8 | std::uint32_t{page} << 16);
        return true;
    }
    /// Reports `critical_warning`, which it does as long as its bits are not masked (5.2, 5.21.1,
    /// "Asynchronous Event Configuration").
    void warn() {
        if ((critical_warning & event_config_ & 0xff) != 0) {
            (void)event(1, 0, 2);
        }
    }
    /// A namespace gets another format, of the same number of blocks, from elsewhere.
    bool format(std::uint32_t nsid, unsigned lbads) {
        Namespace& ns = namespaces.at(nsid);
        const std::uint64_t blocks = ns.blocks();
        ns.lbads = lbads;
        ns.data.assign(blocks << lbads, 0);
        changed.insert(nsid);
        return event(2, 0, 4);
    }
    /// All admin commands that are on their way end.
    void settle() {
        fetch();
        while (!pending_.empty() && !admin_hangs) {
            finish_admin();
        }
    }
    /// Executes up to `limit` I/O commands, in random order.
    void run(std::size_t limit) {
        settle();
        for (; limit != 0 && !hung && alive(); limit--) {
            std::vector<std::size_t> able;
            for (std::size_t n = 0; n < io_.size(); n++) {
                if (!touches(io_[n], hangs)) {
                    able.push_back(n);
                }
            }
            if (able.empty() || completion_full()) {
                return;
            }
            const std::size_t n = able[random() % able.size()];
            const Command command = io_[n];
            io_.erase(io_.begin() + static_cast<std::ptrdiff_t>(n));
            execute(command);
        }
    }
    void run() { run(max_run); }

    // ---- RegisterIo ---------------------------------------------------------------

    std::uint32_t read32(std::uint32_t offset) override {
        reads++;
        if (gone) {
            return 0xffffffff;
        }
        const std::uint32_t value = value_of(offset);
        advance(); // what is on its way comes after this read
        return value;
    }

    void write32(std::uint32_t offset, std::uint32_t value) override {
        writes.push_back({offset, value});
        if (gone) {
            return;
        }
        if (offset >= 0x1000) {
            write_doorbell(offset - 0x1000, value);
            return;
        }
        const bool off = !enabled() && !ready();
        switch (offset) {
        case CC:
            write_cc(value);
            break;
        case AQA:
            EXPECT_TRUE(off) << "AQA while enabled (3.1.7)";
            EXPECT_EQ(value & 0xf000f000, 0u) << "reserved (3.1.7)";
            EXPECT_GE(value & 0xfff, 1u) << "two entries or more (3.1.7)";
            aqa_ = value;
            break;
        case ASQ:
        case ACQ:
            EXPECT_TRUE(off) << "ASQ or ACQ while enabled (3.1.8)";
            EXPECT_EQ(value & 0xfff, 0u) << "page aligned (3.1.8, 3.1.9)";
            (offset == ASQ ? asq_ : acq_) = value;
            break;
        case ASQ_HIGH:
        case ACQ_HIGH:
            EXPECT_TRUE(off) << "ASQ or ACQ while enabled (3.1.8)";
            (offset == ASQ_HIGH ? asq_ : acq_) |= std::uint64_t{value} << 32;
            break;
        default:
            ADD_FAILURE() << "write to " << std::hex << offset;
        }
    }

    std::uint8_t read8(std::uint32_t) override { return bad_width(); }
    std::uint16_t read16(std::uint32_t) override { return bad_width(); }
    void write8(std::uint32_t, std::uint8_t) override { bad_width(); }
    void write16(std::uint32_t, std::uint16_t) override { bad_width(); }

  private:
    struct Queue {
        bool created = false;
        std::uint64_t base = 0;
        std::uint32_t size = 0;
        std::uint32_t head = 0; ///< submission: ours; completion: the host's
        std::uint32_t tail = 0;
        std::uint16_t phase = 1;
    };
    struct Pending {
        Command command;
        std::uint64_t due;
    };

    static std::uint8_t bad_width() {
        ADD_FAILURE() << "registers are 32 or 64 bits wide (3.1)";
        return 0;
    }
    [[nodiscard]] bool alive() const { return enabled() && ready() && (csts_ & 2) == 0 && !gone; }

    std::uint32_t value_of(std::uint32_t offset) {
        switch (offset) {
        case CAP:
            return mqes | 1u << 16 | std::uint32_t{cap_to} << 24; // CQR
        case CAP_HIGH:
            return dstrd | (nvm_command_set ? 1u << 5 : 0) | mpsmin << 16 | 4u << 20;
        case VS:
            return version;
        case CC:
            return cc_;
        case CSTS:
            return csts_;
        default:
            ADD_FAILURE() << "read of " << std::hex << offset;
            return 0;
        }
    }

    void advance() {
        passed_++;
        if (ready_due_ != 0 && passed_ >= ready_due_ && !rdy_sticks) {
            ready_due_ = 0;
            if (enabled() && cfs_at_enable != 0) {
                cfs_at_enable--;
                csts_ |= 2;
            } else {
                csts_ = (csts_ & ~3u) | (enabled() ? 1 : 0);
            }
        }
        if (alive()) {
            fetch();
            while (!pending_.empty() && pending_.front().due <= passed_ && !admin_hangs) {
                finish_admin();
            }
        }
    }

    void write_cc(std::uint32_t value) {
        const bool on = (value & 1) != 0;
        if (on && !enabled()) {
            EXPECT_FALSE(ready()) << "EN before RDY is 0 (3.1.5)";
            EXPECT_EQ(value & 0xff003ffe, 0u) << "CSS NVM, MPS 4 KiB, reserved bits (3.1.5)";
            EXPECT_EQ(value >> 16 & 15, 6u) << "IOSQES (3.1.5)";
            EXPECT_EQ(value >> 20 & 15, 4u) << "IOCQES (3.1.5)";
            queues_[0] = {};
            completions_[0] = {};
            queues_[0] = {true, asq_, (aqa_ & 0xfff) + 1, 0, 0, 1};
            completions_[0] = {true, acq_, (aqa_ >> 16 & 0xfff) + 1, 0, 0, 1};
            ready_due_ = passed_ + lateness;
        } else if (!on && enabled()) {
            EXPECT_TRUE(ready() || (csts_ & 2) != 0 || ready_due_ == 0 || rdy_sticks)
                << "EN to 0 while it is on its way up (3.1.5)";
            resets++;
            pending_.clear();
            io_.clear();
            events_.clear();
            masked_.clear();
            ids_.clear();
            acre_ = false; // not saved (5.21.1, "Host Behavior Support")
            deletion_asked_ = false;
            event_config_ = 0;
            queues_[0] = queues_[1] = completions_[0] = completions_[1] = {};
            csts_ &= ~0xcu;
            ready_due_ = passed_ + lateness;
            if ((csts_ & 1) == 0) { // it never got ready
                csts_ = 0;
            }
        } else if (on && (value & 0xc000) != 0) {
            EXPECT_EQ(value >> 14 & 3, 1u) << "a normal shutdown (3.1.5)";
            // It may be late with that: the notification does not depend on it.
            const bool deleted = !queues_[1].created && !completions_[1].created;
            EXPECT_TRUE(deleted || deletion_asked_) << "queues are deleted first (7.6.2)";
            EXPECT_TRUE(ready()) << "a shutdown of a controller that is not ready (3.1.5)";
            shutdowns++;
            csts_ |= 2u << 2;
        }
        cc_ = value;
    }

    void write_doorbell(std::uint32_t offset, std::uint32_t value) {
        const std::uint32_t stride = 4u << dstrd;
        const std::uint32_t number = offset / stride / 2;
        const bool completion = (offset / stride & 1) != 0;
        ASSERT_EQ(offset % stride, 0u) << "between doorbells (3.1.24)";
        ASSERT_TRUE(enabled() && ready()) << "doorbell of a controller that is not ready (7.6.1)";
        ASSERT_LT(number, 2u) << "doorbell of a queue that there is not (3.1.24)";
        Queue& queue = completion ? completions_[number] : queues_[number];
        ASSERT_TRUE(queue.created) << "doorbell of a queue that was not created (3.1.24)";
        ASSERT_LT(value, queue.size) << "beyond the queue (3.1.24, 3.1.25)";
        if (completion) {
            const std::uint32_t posted = (queue.tail + queue.size - queue.head) % queue.size;
            const std::uint32_t taken = (value + queue.size - queue.head) % queue.size;
            EXPECT_NE(taken, 0u) << "the same value again (3.1.25)";
            EXPECT_LE(taken, posted) << "entries that were never posted (3.1.25)";
            queue.head = value;
        } else {
            const std::uint32_t room = (queue.head + queue.size - queue.tail - 1) % queue.size;
            const std::uint32_t more = (value + queue.size - queue.tail) % queue.size;
            EXPECT_NE(more, 0u) << "the same value again (3.1.24)";
            EXPECT_LE(more, room) << "more than the queue has room for (4.1.2)";
            queue.tail = value;
        }
    }

    /// Takes what the doorbells told.
    void fetch() {
        for (std::uint16_t n = 0; n < 2 && alive(); n++) {
            Queue& queue = queues_[n];
            while (queue.created && queue.head != queue.tail) {
                Command command;
                command.queue = n;
                const auto* from =
                    memory_.translate(queue.base + std::uint64_t{queue.head} * 64, 64);
                std::memcpy(command.dw.data(), from, 64);
                queue.head = (queue.head + 1) % queue.size;
                log.push_back(command);
                EXPECT_EQ(command.dw[0] & 0xff00, 0u) << "FUSE, PSDT: PRPs (4.2)";
                EXPECT_TRUE(ids_.emplace(n, command.cid()).second)
                    << "identifier " << command.cid() << " is in use (4.2)";
                deletion_asked_ = deletion_asked_ || (n == 0 && command.opc() == DELETE_SQ);
                if (n == 1) {
                    io_.push_back(command);
                } else if (!unanswered.contains(command.opc())) {
                    pending_.push_back({command, passed_ + lateness});
                }
            }
        }
    }

    [[nodiscard]] bool completion_full() const {
        const Queue& queue = completions_[1];
        return (queue.tail + 1) % queue.size == queue.head;
    }
    void post(std::uint16_t number, std::uint16_t cid, std::uint16_t status,
              std::uint32_t dw0 = 0) {
        Queue& queue = completions_[number];
        ASSERT_TRUE(queue.created);
        ASSERT_NE((queue.tail + 1) % queue.size, queue.head)
            << "the completion queue is too small for what is under way (4.1)";
        ids_.erase({number, cid});
        if (!acre_) {
            status = static_cast<std::uint16_t>(status & ~0x1800); // no delay (4.6.1, CRD)
        }
        std::array<std::uint32_t, 4> entry{
            dw0, 0, queues_[number].head | std::uint32_t{number} << 16,
            cid | std::uint32_t{status} << 17 | std::uint32_t{queue.phase} << 16};
        if (lie && number == 1) {
            lie(entry);
        }
        auto* to = memory_.translate(queue.base + std::uint64_t{queue.tail} * 16, 16);
        std::memcpy(to, entry.data(), 16);
        queue.tail = (queue.tail + 1) % queue.size;
        if (queue.tail == 0) {
            queue.phase ^= 1;
        }
        message_ = true;
    }

    // ---- Admin commands ---------------------------------------------------------------

    void finish_admin() {
        const Command command = pending_.front().command;
        pending_.erase(pending_.begin());
        if (admin_fails.contains(command.opc())) {
            post(0, command.cid(), 0x4002);
            return;
        }
        switch (command.opc()) {
        case IDENTIFY:
            identify(command);
            break;
        case SET_FEATURES:
            set_features(command);
            break;
        case CREATE_CQ:
        case CREATE_SQ:
            create(command);
            break;
        case DELETE_SQ:
        case DELETE_CQ:
            remove(command);
            break;
        case ABORT:
            abort(command);
            break;
        case GET_LOG:
            get_log(command);
            break;
        case ASYNC_EVENT:
            if (events_.size() > aerl) {
                ADD_FAILURE() << "more Asynchronous Event Requests than AERL (5.2)";
                post(0, command.cid(), 0x105);
            } else {
                events_.push_back(command);
                warn();
            }
            break;
        default:
            ADD_FAILURE() << "admin command " << int{command.opc()};
        }
    }

    void set_features(const Command& command) {
        const auto feature = static_cast<std::uint8_t>(command.dw[10]);
        features_set.push_back(feature);
        if (no_features.contains(feature)) {
            post(0, command.cid(), 0x4002);
            return;
        }
        std::uint32_t dw0 = 0;
        switch (feature) {
        case 0x07:
            dw0 = 0x003f003f;
            break;
        case 0x0b:
            event_config_ = command.dw[11];
            break;
        case 0x16: {
            std::array<std::uint8_t, 512> behavior{};
            std::memcpy(behavior.data(), memory_.translate(command.prp1(), 512), 512);
            EXPECT_EQ(command.prp1() & 0xfff, 0u) << "512 bytes in one piece";
            EXPECT_LE(behavior[0], 1u) << "ACRE (5.21.1, Host Behavior Support)";
            EXPECT_EQ(std::count(behavior.begin() + 1, behavior.end(), 0), 511) << "reserved";
            acre_ = behavior[0] == 1;
            break;
        }
        default:
            ADD_FAILURE() << "feature " << int{feature};
        }
        post(0, command.cid(), 0, dw0);
        warn();
    }

    /// RAE is 0: events of its kind come again (5.14).
    void get_log(const Command& command) {
        EXPECT_EQ(command.dw[1], 0xffffffff) << "of the controller (5.14)";
        EXPECT_EQ(command.dw[10] & 0xff00, 0u) << "RAE, LSP";
        const auto number = static_cast<std::uint8_t>(command.dw[10]);
        std::vector<std::uint32_t> page((command.dw[10] >> 16) + 1);
        pages_read.push_back(number);
        masked_.erase(number);
        if (number == 2) {
            page.at(0) = critical_warning;
        }
        if (number == 4) {
            std::copy(changed.begin(), changed.end(), page.begin());
            changed.clear();
        }
        std::memcpy(memory_.translate(command.prp1(), page.size() * 4), page.data(),
                    page.size() * 4);
        post(0, command.cid(), 0);
        warn();
    }

    void identify(const Command& command) {
        std::array<std::uint8_t, 4096> page{};
        const auto put = [&](std::size_t at, std::uint64_t value, std::size_t bytes) {
            std::memcpy(page.data() + at, &value, bytes);
        };
        const auto text = [&](std::size_t at, std::size_t bytes, const std::string& value) {
            std::memset(page.data() + at, ' ', bytes);
            std::memcpy(page.data() + at, value.data(), value.size());
        };
        EXPECT_EQ(command.prp1() & 0xfff, 0u) << "a page of 4 KiB in one piece (5.15)";
        std::uint16_t status = 0;
        switch (command.dw[10] & 0xff) {
        case 0: {
            const auto found = namespaces.find(command.dw[1]);
            if (found == namespaces.end()) {
                status = 0x400b; // Invalid Namespace, DNR
            } else if (found->second.active) {
                const Namespace& ns = found->second;
                put(0, ns.blocks(), 8);
                put(8, ns.unallocated ? 0 : ns.blocks(), 8);
                // FLBAS: bits 6:5 are the upper ones of the index (NVM Command Set 1.0).
                page[25] = static_cast<std::uint8_t>(std::max(ns.format, 1u));
                page[26] = static_cast<std::uint8_t>((ns.format & 15) | ns.format >> 4 << 5);
                put(104, ns.nguid_low, 8);
                page[33] = ns.dlfeat;
                page[99] = ns.write_protected ? 1 : 0;
                for (unsigned n = 0; n <= page[25]; n++) {
                    put(128 + 4 * std::size_t{n}, 9 << 16, 4);
                }
                put(128 + 4 * std::size_t{ns.format}, ns.metadata | ns.lbads << 16, 4);
            }
            break;
        }
        case 1:
            text(4, 20, serial);
            text(24, 40, model);
            text(64, 8, "1.0");
            page[77] = mdts;
            put(92, 1 << 8, 4); // OAES
            page[111] = cntrltype;
            for (std::size_t n = 0; n < 3; n++) {
                put(128 + 2 * n, crdt[n], 2);
            }
            page[258] = acl;
            page[259] = aerl;
            page[512] = 0x66;
            page[513] = 0x44;
            put(516, 64, 4);
            put(520, oncs, 2);
            page[525] = vwc;
            break;
        case 2: {
            EXPECT_GE(version, 0x00010100u) << "the list came with NVMe 1.1";
            std::size_t n = 0;
            for (const auto& [nsid, ns] : namespaces) {
                if (ns.active && nsid > command.dw[1]) {
                    put(4 * n++, nsid, 4);
                }
            }
            break;
        }
        case 6:
            EXPECT_EQ(command.dw[11] >> 24, 0u) << "CSI: NVM";
            if (version < 0x00010400) {
                status = 0x4002;
            }
            page[1] = wzsl;
            page[3] = dmrl;
            put(4, dmrsl, 4);
            break;
        default:
            ADD_FAILURE() << "CNS " << command.dw[10];
        }
        if (status == 0) {
            std::memcpy(memory_.translate(command.prp1(), 4096), page.data(), 4096);
        }
        post(0, command.cid(), status);
    }

    void create(const Command& command) {
        const bool completion = command.opc() == CREATE_CQ;
        Queue& queue = completion ? completions_[1] : queues_[1];
        EXPECT_FALSE(queue.created) << "Invalid Queue Identifier (5.3, 5.4)";
        EXPECT_EQ(command.dw[10] & 0xffff, 1u);
        EXPECT_LE(command.dw[10] >> 16, mqes) << "larger than CAP.MQES (5.3, 5.4)";
        EXPECT_GE(command.dw[10] >> 16, 1u) << "two entries or more (5.3, 5.4)";
        EXPECT_EQ(command.dw[11] & 1, 1u) << "CAP.CQR: contiguous (3.1.1)";
        EXPECT_EQ(command.prp1() & 0xfff, 0u) << "page aligned (5.3, 5.4)";
        if (completion) {
            EXPECT_EQ(command.dw[11], 3u) << "interrupts, on vector 0 (5.3)";
        } else {
            EXPECT_TRUE(completions_[1].created) << "Completion Queue Invalid (5.4)";
            EXPECT_EQ(command.dw[11] >> 16, 1u) << "its completion queue (5.4)";
        }
        queue = {true, command.prp1(), (command.dw[10] >> 16) + 1, 0, 0, 1};
        post(0, command.cid(), 0);
    }

    void remove(const Command& command) {
        EXPECT_EQ(command.dw[10], 1u);
        if (command.opc() == DELETE_SQ) {
            EXPECT_TRUE(queues_[1].created);
            for (const Command& one : std::exchange(io_, {})) {
                post(1, one.cid(), 0x08); // Command Aborted due to SQ Deletion
            }
            queues_[1] = {};
        } else {
            EXPECT_FALSE(queues_[1].created) << "its submission queue first (5.5)";
            completions_[1] = {};
        }
        post(0, command.cid(), 0);
    }

    void abort(const Command& command) {
        EXPECT_EQ(command.dw[10] & 0xffff, 1u) << "SQID (5.1)";
        EXPECT_LE(1 + std::count_if(pending_.begin(), pending_.end(),
                                    [](const Pending& p) { return p.command.opc() == ABORT; }),
                  acl + 1)
            << "more Abort commands than ACL (5.1)";
        const auto found = std::find_if(io_.begin(), io_.end(), [&](const Command& one) {
            return one.cid() == command.dw[10] >> 16;
        });
        const bool aborted = abort_works && found != io_.end();
        if (aborted) {
            const std::uint16_t cid = found->cid();
            io_.erase(found);
            post(1, cid, 0x07);
        }
        post(0, command.cid(), 0, aborted ? 0 : 1);
    }

    // ---- I/O commands -------------------------------------------------------------------

    [[nodiscard]] static bool has_data(const Command& c) {
        return c.opc() == READ || c.opc() == WRITE;
    }
    [[nodiscard]] static bool touches(const Command& c, const std::set<std::uint64_t>& blocks) {
        const auto first = blocks.lower_bound(c.slba());
        return has_data(c) && first != blocks.end() && *first < c.slba() + c.blocks();
    }

    /// The pieces of a transfer, by the rules of 4.3.
    std::vector<std::pair<std::uint8_t*, std::size_t>> pieces(const Command& command,
                                                              std::size_t bytes) {
        std::vector<std::pair<std::uint8_t*, std::size_t>> result;
        const auto add = [&](std::uint64_t at, bool first) {
            EXPECT_EQ(at & 3, 0u) << "dwords (4.3)";
            EXPECT_TRUE(first || (at & 0xfff) == 0) << "PRP Offset Invalid (4.3)";
            const std::size_t length = std::min<std::size_t>(bytes, 4096 - (at & 0xfff));
            result.emplace_back(reinterpret_cast<std::uint8_t*>(memory_.translate(at, length)),
                                length);
            bytes -= length;
        };
        add(command.prp1(), true);
        if (bytes == 0) {
            return result;
        }
        if (bytes <= 4096) {
            add(command.prp2(), false);
            return result;
        }
        std::uint64_t at = command.prp2();
        EXPECT_EQ(at & 7, 0u) << "list aligned to qwords (4.3)";
        while (bytes != 0) {
            std::uint64_t entry = 0;
            std::memcpy(&entry, memory_.translate(at, 8), 8);
            const bool last_of_page = (at & 0xfff) == 0xff8;
            if (last_of_page && bytes > 4096) { // a pointer to the next list
                at = entry;
                continue;
            }
            add(entry, false);
            at += 8;
        }
        return result;
    }

    void execute(const Command& command) {
        const auto found = namespaces.find(command.dw[1]);
        if (found == namespaces.end() || !found->second.active) {
            post(1, command.cid(), 0x400b);
            return;
        }
        Namespace& ns = found->second;
        std::uint16_t status = 0;
        switch (command.opc()) {
        case READ:
        case WRITE:
            status = transfer(command, ns);
            break;
        case FLUSH:
            break;
        case WRITE_ZEROES:
            EXPECT_NE(oncs & 8, 0) << "ONCS (6.16)";
            EXPECT_TRUE((command.dw[12] & 1u << 25) == 0 || (ns.dlfeat & 8) != 0) << "DEAC (6.16)";
            ASSERT_LE(command.slba() + command.blocks(), ns.blocks()) << "LBA Out of Range";
            std::fill_n(ns.data.begin() + static_cast<std::ptrdiff_t>(command.slba() << ns.lbads),
                        command.blocks() << ns.lbads, 0);
            break;
        case DSM:
            deallocate(command, ns);
            break;
        default:
            ADD_FAILURE() << "I/O command " << int{command.opc()};
        }
        post(1, command.cid(), status);
    }

    std::uint16_t transfer(const Command& command, Namespace& ns) {
        const std::size_t bytes = std::size_t{command.blocks()} << ns.lbads;
        EXPECT_LE(bytes, mdts == 0 ? ~std::size_t{0} : std::size_t{4096} << mdts)
            << "MDTS (5.15.2.2)";
        EXPECT_LE(command.slba() + command.blocks(), ns.blocks()) << "LBA Out of Range";
        EXPECT_EQ(command.dw[12] & 0x3fff0000, 0u) << "PRINFO, DTYPE: none (6.9)";
        EXPECT_TRUE(command.opc() == WRITE || (command.dw[12] & 1u << 30) == 0) << "FUA of a read";
        for (auto& [block, status] : bad) {
            if (block >= command.slba() && block < command.slba() + command.blocks()) {
                const auto times = bad_times.find(block);
                if (times == bad_times.end() || times->second-- != 0) {
                    return status;
                }
                bad_times.erase(times);
                bad.erase(block);
                break;
            }
        }
        std::uint8_t* disk = ns.data.data() + (command.slba() << ns.lbads);
        for (const auto& [vaddr, length] : pieces(command, bytes)) {
            if (command.opc() == READ) {
                std::memcpy(vaddr, disk, length);
            } else {
                std::memcpy(disk, vaddr, length);
            }
            disk += length;
        }
        return 0;
    }

    void deallocate(const Command& command, Namespace& ns) {
        EXPECT_NE(oncs & 4, 0) << "ONCS (6.7)";
        EXPECT_EQ(command.dw[11], 4u) << "AD (6.7)";
        const std::size_t count = (command.dw[10] & 0xff) + 1;
        EXPECT_TRUE(dmrl == 0 || count <= dmrl) << "DMRL (TP 4040)";
        const auto list = pieces(command, count * 16);
        std::vector<std::uint8_t> bytes;
        for (const auto& [vaddr, length] : list) {
            bytes.insert(bytes.end(), vaddr, vaddr + length);
        }
        for (std::size_t n = 0; n < count; n++) {
            std::uint32_t nlb = 0;
            std::uint64_t slba = 0;
            std::memcpy(&nlb, bytes.data() + 16 * n + 4, 4);
            std::memcpy(&slba, bytes.data() + 16 * n + 8, 8);
            EXPECT_NE(nlb, 0u);
            EXPECT_TRUE(dmrsl == 0 || nlb <= dmrsl) << "DMRSL (TP 4040)";
            ASSERT_LE(slba + nlb, ns.blocks()) << "LBA Out of Range";
            std::fill_n(ns.data.begin() + static_cast<std::ptrdiff_t>(slba << ns.lbads),
                        std::size_t{nlb} << ns.lbads, 0);
        }
    }

    FakeMemory& memory_;
    std::uint32_t cc_ = 0;
    std::uint32_t csts_ = 0;
    std::uint32_t aqa_ = 0;
    std::uint64_t asq_ = 0;
    std::uint64_t acq_ = 0;
    std::uint64_t passed_ = 0;
    std::uint64_t ready_due_ = 0;
    std::array<Queue, 2> queues_{};
    std::array<Queue, 2> completions_{};
    std::vector<Pending> pending_; ///< admin commands
    std::vector<Command> io_;      ///< fetched, not ended
    std::vector<Command> events_;  ///< Asynchronous Event Requests
    std::set<std::uint8_t> masked_;
    std::set<std::pair<std::uint16_t, std::uint16_t>> ids_;
    bool message_ = false;
    bool acre_ = false;              ///< Advanced Command Retry is enabled
    bool deletion_asked_ = false;    ///< of the submission queue
    std::uint32_t event_config_ = 0; ///< which events are wanted
};

} // namespace udrv::test
