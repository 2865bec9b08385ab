// SPDX-License-Identifier: MIT
//
// A model of the virtio block device (virtio 1.2, 5.2), and what its tests share. See
// fake_virtio.hpp. Requests are fetched and carried out by run(), in random order; GET_ID is
// answered after some reads of the status.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "drivers/virtio_blk/virtio_blk.hpp"
#include "libudrv/testing/error_of.hpp"
#include "tests/unit/blk_rig.hpp"
#include "tests/unit/fake_virtio.hpp"

namespace udrv::test {

class FakeVirtioBlk final : public FakeVirtio {
  public:
    static constexpr std::uint64_t f_size_max = 1 << 1, f_seg_max = 1 << 2, f_geometry = 1 << 4,
                                   f_ro = 1 << 5, f_blk_size = 1 << 6, f_flush = 1 << 9,
                                   f_topology = 1 << 10, f_config_wce = 1 << 11, f_mq = 1 << 12,
                                   f_discard = 1 << 13, f_write_zeroes = 1 << 14;
    /// As QEMU offers them.
    static constexpr std::uint64_t usual =
        f_version_1 | f_event_idx | f_seg_max | f_geometry | f_blk_size | f_flush | f_topology |
        f_config_wce | f_mq | f_discard | f_write_zeroes | 1ull << 28 /* INDIRECT_DESC */;
    enum Type : std::uint32_t { IN = 0, OUT = 1, FLUSH = 4, GET_ID = 8, DISCARD = 11, ZEROES = 13 };
    static constexpr std::uint8_t OK = 0, IOERR = 1, UNSUPP = 2;

    struct Range {
        std::uint64_t sector;
        std::uint32_t sectors;
        std::uint32_t flags;
    };
    struct Request {
        Chain chain;
        std::uint32_t type = 0;
        std::uint64_t sector = 0;
        Bytes out; ///< data that the device reads
        std::vector<Range> ranges;
    };

    explicit FakeVirtioBlk(FakeMemory& memory) : FakeVirtio(memory, usual, {256}, 60) {
        data.resize(4096 * 512);
        set32(0x0c, 254);      // seg_max
        set32(0x14, 512);      // blk_size
        config[0x20] = 1;      // writeback
        set32(0x24, 0x3fffff); // max_discard_sectors
        set32(0x28, 1);        // max_discard_seg
        set32(0x2c, 1);        // discard_sector_alignment
        set32(0x30, 0x3fffff); // max_write_zeroes_sectors
        set32(0x34, 1);        // max_write_zeroes_seg
        set_capacity(data.size() / 512);
    }

    // What a test may set.
    Bytes data;
    std::string serial = "FAKE-1";
    std::uint8_t id_status = OK;
    unsigned id_late = 3;                      ///< reads of the status, until GET_ID is answered
    bool hung = false;                         ///< no request ends
    std::set<std::uint64_t> hangs;             ///< nor one that begins at such a sector
    std::map<std::uint64_t, std::uint8_t> bad; ///< status, by first sector
    bool msix = true;
    /// Changes what one completion says: the chain, its length, its status.
    std::function<void(std::uint32_t& id, std::uint32_t& bytes, std::uint8_t& status)> lie;

    // What was seen.
    std::vector<Request> log;
    std::mt19937 random{1};

    void set32(std::size_t at, std::uint32_t value) { std::memcpy(&config[at], &value, 4); }
    void set_capacity(std::uint64_t sectors) {
        std::memcpy(config.data(), &sectors, 8);
        change_config();
    }
    [[nodiscard]] std::uint64_t capacity() const {
        std::uint64_t sectors = 0;
        std::memcpy(&sectors, config.data(), 8);
        return sectors;
    }
    /// A message, or the line.
    [[nodiscard]] bool interrupting() {
        const bool raised = interrupts[0] != seen_interrupts_ || generation != seen_generation_;
        seen_interrupts_ = interrupts[0];
        seen_generation_ = generation;
        return msix ? raised : isr != 0;
    }
    [[nodiscard]] std::size_t held() const { return held_.size(); }

    /// Carries out up to `limit` requests.
    void run(std::size_t limit = 1000) {
        fetch();
        std::shuffle(held_.begin(), held_.end(), random);
        std::vector<Request> later;
        for (const Request& request : held_) {
            if (limit == 0 || hung || hangs.count(request.sector) != 0) {
                later.push_back(request);
                continue;
            }
            limit--;
            execute(request);
        }
        held_ = std::move(later);
    }
    /// Fetched, and not carried out yet.
    void fetch() {
        while (const auto chain = pop(0)) {
            held_.push_back(parse(*chain));
            log.push_back(held_.back());
        }
    }

  private:
    void work() override {
        if (!live()) {
            return;
        }
        fetch();
        if (!held_.empty() && held_[0].type == GET_ID && !hung && id_late_-- == 0) {
            execute(held_[0]);
            held_.erase(held_.begin());
        }
    }
    void forget() override {
        held_.clear();
        id_late_ = id_late;
    }
    void check_features() override {
        FakeVirtio::check_features();
        EXPECT_TRUE(!has(f_config_wce) || has(f_flush) || (offered & f_flush) == 0);
        EXPECT_FALSE(has(f_mq)) << "it uses one queue";
    }
    void check_config_read(std::uint32_t at) override {
        // 5.2.5.1
        EXPECT_TRUE(at != 0x20 || (status & 8) != 0) << "writeback before FEATURES_OK";
        constexpr std::pair<std::uint32_t, std::uint64_t> fields[] = {
            {0x08, f_size_max}, {0x0c, f_seg_max},  {0x10, f_geometry},
            {0x14, f_blk_size}, {0x18, f_topology}, {0x20, f_config_wce},
            {0x22, f_mq},       {0x24, f_discard},  {0x30, f_write_zeroes},
            {0x3c, 0}};
        for (std::size_t n = 0; n + 1 < std::size(fields); n++) {
            EXPECT_TRUE(at < fields[n].first || at >= fields[n + 1].first || has(fields[n].second))
                << "a field whose feature was not agreed on (5.2.4): " << at;
        }
    }

    /// 5.2.6.1
    Request parse(const Chain& chain) {
        Request request;
        request.chain = chain;
        const Bytes in = gather(chain);
        EXPECT_GE(in.size(), 16u) << "no header";
        if (in.size() < 16) {
            return request;
        }
        request.type = load_le(std::span(in).first(4));
        EXPECT_EQ(load_le(std::span(in).subspan(4, 4)), 0u) << "reserved";
        std::memcpy(&request.sector, &in[8], 8);
        request.out.assign(in.begin() + 16, in.end());
        EXPECT_EQ(chain.pieces.front().bytes, 16u) << "a header of its own";
        EXPECT_TRUE(chain.pieces.back().device_writes) << "no status";
        EXPECT_EQ(chain.pieces.back().bytes, 1u) << "a status of its own";
        for (std::size_t n = 1; n + 1 < chain.pieces.size(); n++) {
            EXPECT_TRUE(!has(f_size_max) ||
                        chain.pieces[n].bytes <= load_le(std::span(config).subspan(8, 4)))
                << "size_max";
        }
        const std::uint32_t seg_max = load_le(std::span(config).subspan(0x0c, 4));
        EXPECT_TRUE(!has(f_seg_max) || chain.pieces.size() - 2 <= std::max(seg_max, 1u))
            << "seg_max";
        check(request, chain.bytes(true) - 1);
        return request;
    }

    void check(Request& request, std::uint32_t in_bytes) {
        const std::size_t out_bytes = request.out.size();
        const bool writes =
            request.type == OUT || request.type == DISCARD || request.type == ZEROES;
        EXPECT_FALSE(writes && has(f_ro)) << "5.2.6.1: a write to a read-only device";
        EXPECT_TRUE(in_bytes == 0 || request.type == IN || request.type == GET_ID);
        EXPECT_TRUE(out_bytes == 0 || writes);
        switch (request.type) {
        case IN:
        case OUT: {
            const std::size_t bytes = in_bytes + out_bytes;
            EXPECT_NE(bytes, 0u);
            EXPECT_EQ(bytes % 512, 0u);
            check_place(request.sector, bytes / 512);
            break;
        }
        case FLUSH:
            EXPECT_TRUE(has(f_flush));
            EXPECT_EQ(request.sector, 0u);
            break;
        case GET_ID:
            EXPECT_EQ(in_bytes, 20u);
            break;
        case DISCARD:
        case ZEROES: {
            const bool discards = request.type == DISCARD;
            EXPECT_TRUE(has(discards ? f_discard : f_write_zeroes));
            EXPECT_EQ(out_bytes % 16, 0u);
            request.ranges.resize(out_bytes / 16);
            std::memcpy(request.ranges.data(), request.out.data(), request.ranges.size() * 16);
            EXPECT_NE(request.ranges.size(), 0u);
            EXPECT_LE(request.ranges.size(),
                      load_le(std::span(config).subspan(discards ? 0x28 : 0x34, 4)));
            for (const Range& range : request.ranges) {
                EXPECT_EQ(range.flags & ~(discards ? 0u : 1u), 0u) << "unmap, reserved";
                EXPECT_LE(range.sectors,
                          load_le(std::span(config).subspan(discards ? 0x24 : 0x30, 4)));
                check_place(range.sector, range.sectors);
            }
            break;
        }
        default:
            ADD_FAILURE() << "no such request: " << request.type;
        }
    }
    void check_place(std::uint64_t sector, std::uint64_t sectors) const {
        const std::uint64_t blocks =
            has(f_blk_size) ? load_le(std::span(config).subspan(0x14, 4)) / 512 : 1;
        EXPECT_TRUE(sector % blocks == 0 && sectors % blocks == 0) << "not whole blocks";
        EXPECT_TRUE(sectors <= capacity() && sector <= capacity() - sectors) << "beyond the end";
    }

    void execute(const Request& request) {
        std::uint8_t result = OK;
        if (const auto place = bad.find(request.sector); place != bad.end()) {
            result = place->second;
        }
        Bytes in;
        switch (request.type) {
        case IN:
            in.assign(request.chain.bytes(true) - 1, 0xee);
            if (result == OK) {
                std::memcpy(in.data(), &data.at(request.sector * 512), in.size());
            }
            break;
        case OUT:
            if (result == OK) {
                std::memcpy(&data.at(request.sector * 512), request.out.data(), request.out.size());
            }
            break;
        case GET_ID:
            in.assign(20, 0);
            std::memcpy(in.data(), serial.data(), std::min<std::size_t>(serial.size(), 20));
            result = id_status;
            break;
        case DISCARD:
        case ZEROES:
            for (const Range& range : request.ranges) {
                std::memset(&data.at(range.sector * 512), request.type == ZEROES ? 0 : 0x5a,
                            std::size_t{range.sectors} * 512);
            }
            break;
        default:
            break;
        }
        finish(request, std::move(in), result);
    }
    void finish(const Request& request, Bytes in, std::uint8_t result) {
        std::uint32_t id = request.chain.head;
        auto bytes = static_cast<std::uint32_t>(in.size() + 1);
        if (lie) {
            lie(id, bytes, result);
        }
        in.push_back(result);
        scatter(request.chain, in);
        if (id == request.chain.head) {
            push(0, request.chain, bytes);
        } else {
            put_used(0, id, bytes);
        }
    }

    std::vector<Request> held_;
    unsigned id_late_ = 3;
    unsigned seen_interrupts_ = 0;
    std::uint8_t seen_generation_ = 0;
};

struct VirtioBlkRig : BlkRig<FakeVirtioBlk, virtio_blk::VirtioBlk, 512> {
    using Fake = FakeVirtioBlk;

    /// After a test has arranged what the driver is to find.
    virtio_blk::VirtioBlk& start() {
        driver.reset();
        transport.emplace([this](unsigned) -> RegisterIo& { return chip; }, chip.layout(),
                          chip.msix);
        driver = std::make_unique<virtio_blk::VirtioBlk>(*transport, memory, config);
        serve();
        (void)chip.interrupting();
        chip.log.clear();
        chip.notifications.clear();
        return *driver;
    }
    /// The text of the error that start() throws.
    std::string start_error() {
        return error_of([this] { (void)start(); });
    }
    [[nodiscard]] const udrv_blk_disk& disk() const { return driver->disks()[0]; }
    [[nodiscard]] const virtio_blk::Counters& counters() const { return driver->counters(); }

    void fill(std::uint32_t seed) {
        std::mt19937 engine(seed);
        for (auto& byte : chip.data) {
            byte = static_cast<std::uint8_t>(engine());
        }
    }
    /// Do the tag's buffer and the disk hold the same at its request's place?
    bool same(std::uint32_t number) {
        Tag& t = tag(0, number);
        return std::memcmp(t.data(), chip.data.data() + t.request().sector * 512,
                           std::size_t{t.request().nr_sectors} * 512) == 0;
    }
    /// Of the first `count` tags, 8 sectors each.
    void read(std::uint32_t count) {
        std::vector<BlkSubmission> many;
        for (std::uint32_t n = 0; n < count; n++) {
            std::memset(tag(0, n).data(), 0, 4096);
            many.push_back(make(0, n, UDRV_BLK_READ, n * 8, 8));
        }
        submit(many);
    }
    void expect_right(const std::map<std::uint32_t, std::uint32_t>& done) {
        for (const auto& [number, status] : done) {
            EXPECT_EQ(status, std::uint32_t{UDRV_BLK_OK}) << number;
            EXPECT_TRUE(same(number)) << number;
        }
    }
    /// The status of one request.
    std::uint32_t status(const BlkSubmission& one) {
        submit(one);
        return finish(1).begin()->second;
    }

    std::optional<virtio::Transport> transport;
    virtio_blk::Config config;
};

} // namespace udrv::test
