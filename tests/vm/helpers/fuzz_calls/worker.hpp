// SPDX-License-Identifier: MIT
//
// One process of fuzz_calls: its threads make calls, sensible and wild ones.
#pragma once

#include <array>
#include <chrono>
#include <cstdlib>
#include <memory>

#include <liburing.h>
#include <poll.h>
#include <sys/ioctl.h>

#include "../hostile_blk.hpp"
#include "../hostile_net.hpp"
#include "ethtool.hpp"

namespace fuzz {

using namespace hostile;

enum Kind : std::uint8_t {
    open_device,
    open_path,
    close_file,
    call_info,
    call_config,
    call_irq_setup,
    call_irq_open,
    call_dma_bits,
    call_bus_master,
    call_stop_write,
    call_coherent,
    call_exchange,
    call_attach,
    call_unknown,
    map_file,
    touch_map,
    unmap_file,
    read_file,
    write_file,
    poll_file,
    uring_file,
    call_ethtool,
    other_call,
    fork_child,
    nr_kinds
};
inline constexpr std::array<const char*, nr_kinds> kind_names = {
    "open device", "open path",   "close",      "info",        "config",     "irq setup",
    "irq open",    "dma bits",    "bus master", "stop write",  "coherent",   "exchange",
    "attach",      "other ioctl", "mmap",       "touch a map", "munmap",     "read",
    "write",       "poll",        "io_uring",   "ethtool",     "other call", "fork"};

/// In memory that all processes share.
struct Shared {
    std::array<std::atomic<std::uint64_t>, nr_kinds> calls;
    std::array<std::atomic<std::uint64_t>, nr_kinds> good;
    std::atomic<std::uint64_t> total;
};
inline Shared* shared = nullptr;

inline void count(Kind kind, bool good) {
    shared->calls[kind]++;
    shared->good[kind] += good ? 1U : 0U;
    shared->total++;
}

// ---- One process ---------------------------------------------------------------------

/// What the threads of a process have in common, on purpose without any lock: files are
/// closed and memory is unmapped under each other.
class Worker {
  public:
    explicit Worker(std::string bdf) : bdf_(std::move(bdf)) {
        for (auto& fd : fds_) {
            fd = -1;
        }
        void* at = ::mmap(nullptr, arena_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                          -1, 0);
        arena_ = static_cast<std::byte*>(at);
        // A page that cannot be written, and one that is not there.
        ::mprotect(arena_ + arena_bytes - 2 * page_bytes, page_bytes, PROT_READ);
        ::munmap(arena_ + arena_bytes - page_bytes, page_bytes);
    }

    void run(std::uint64_t seed, std::chrono::steady_clock::time_point end) {
        Random random(seed);
        while (std::chrono::steady_clock::now() < end) {
            if (fds_[0] < 0) {
                open(random);
                if (fds_[0] < 0 && !random.one_in(8)) {
                    continue; // another process has the device, or it is unbound
                }
            }
            // Mostly as a driver would, so that the rest finds something to break.
            if (random.one_in(3)) {
                sensible(random);
            }
            wild(random);
        }
    }

  private:
    static constexpr std::size_t arena_bytes = 64 * page_bytes;
    static constexpr std::size_t nr_fds = 12;
    static constexpr std::size_t nr_maps = 8;

    int some_fd(Random& random) const { return fds_[random.below(nr_fds)]; }
    int device_fd(Random& random) const {
        return random.one_in(8) ? some_fd(random) : fds_[0].load();
    }
    void keep(Random& random, int fd) {
        if (fd >= 0) {
            const int old = fds_[1 + random.below(nr_fds - 1)].exchange(fd);
            if (old >= 0) {
                ::close(old);
            }
        }
    }
    /// A pointer: mostly to something, sometimes to nothing good.
    void* pointer(Random& random) const {
        switch (random.below(12)) {
        case 0:
            return nullptr;
        case 1:
            return reinterpret_cast<void*>(random.next());
        case 2:
            return reinterpret_cast<void*>(0xffffffff81000000 + random.below(1 << 24));
        case 3:
            return arena_ + arena_bytes - page_bytes - random.below(64); // ends in nothing
        case 4:
            return arena_ + arena_bytes - 2 * page_bytes - random.below(64); // not writable
        case 5:
            return maps_[random.below(nr_maps)];
        default:
            return arena_ + page_bytes * random.below(60) + random.below(512);
        }
    }
    /// Some field of `structure` becomes something else.
    template <typename T>
    void spoil(T& structure, Random& random) const {
        if (random.one_in(3)) {
            return;
        }
        std::array<std::uint32_t, sizeof(T) / 4> words;
        std::memcpy(words.data(), &structure, sizeof(T));
        for (std::uint32_t n = 1 + random.below(2); n > 0; n--) {
            auto& word = words[random.below(static_cast<std::uint32_t>(words.size()))];
            word = evil(random, word);
        }
        std::memcpy(&structure, words.data(), sizeof(T));
    }
    long call(Kind kind, int fd, unsigned long command, void* argument) {
        const long result = ::ioctl(fd, command, argument);
        count(kind, result >= 0);
        return result;
    }
    template <typename T>
    long call_with(Kind kind, unsigned long command, T& structure, Random& random) {
        structure.size = sizeof(structure);
        spoil(structure, random);
        if (random.one_in(10)) {
            return call(kind, device_fd(random), command, pointer(random));
        }
        return call(kind, device_fd(random), command, &structure);
    }

    void open(Random& random) {
        if (fds_[0] >= 0 && !random.one_in(4)) {
            return;
        }
        udrv_info info{};
        if (udrv::call(fds_[0], UDRV_IOC_INFO, info) < 0 && errno == ENODEV) {
            ::close(fds_[0].exchange(-1)); // that session is over
        }
        const int fd = ::open(("/dev/udrv/" + bdf_).c_str(), O_RDWR | O_CLOEXEC);
        count(open_device, fd >= 0);
        if (fd < 0) {
            ::usleep(20'000); // another process has it
        }
        if (fd >= 0) {
            const int old = fds_[0].exchange(fd);
            if (old >= 0) {
                ::close(old);
            }
        }
    }
    void attach(Random& random) {
        udrv_attach request{};
        auto net = net_shape();
        const auto blk = std::make_unique<udrv_blk_attach>(blk_attach(1 + random.below(3)));
        const bool is_blk =
            bdf_.find(":18.") != std::string::npos ? !random.one_in(8) : random.one_in(8);
        request.kind = is_blk ? UDRV_PORT_BLK : UDRV_PORT_NET;
        net.nr_queues = 1 + random.below(UDRV_NET_MAX_QUEUES);
        request.size = sizeof(request);
        blk->size = sizeof(*blk);
        net.size = sizeof(net);
        void* argument = is_blk ? static_cast<void*>(blk.get()) : static_cast<void*>(&net);
        request.arg = reinterpret_cast<std::uintptr_t>(argument);
        if (random.one_in(2)) {
            is_blk ? spoil(*blk, random) : spoil(net, random);
        }
        if (random.one_in(10)) {
            request.arg = reinterpret_cast<std::uintptr_t>(pointer(random));
        }
        if (random.one_in(10)) {
            spoil(request, random);
        }
        (void)call(call_attach, device_fd(random), UDRV_IOC_ATTACH, &request);
    }
    void exchange(Random& random) {
        std::array<udrv_dma_region, 8> regions{};
        std::array<udrv_dma_segment, 16> segments{};
        for (udrv_dma_region& region : regions) {
            if (random.one_in(3)) {
                region.handle = random.below(20);
            } else {
                region.vaddr =
                    reinterpret_cast<std::uintptr_t>(arena_) + page_bytes * random.below(64);
                region.len_bytes = page_bytes * (1 + random.below(4));
                region.segments = reinterpret_cast<std::uintptr_t>(
                    random.one_in(10) ? pointer(random) : segments.data());
                region.nr_segments = random.one_in(10) ? 0 : 4;
                region.flags = 1 + random.below(3);
            }
            if (random.one_in(6)) {
                spoil(region, random);
            }
        }
        udrv_dma_exchange request{};
        request.regions = reinterpret_cast<std::uintptr_t>(regions.data());
        request.nr_regions = 1 + random.below(8);
        if (random.one_in(6)) {
            spoil(request, random);
        }
        (void)call_with(call_exchange, UDRV_IOC_DMA_EXCHANGE, request, random);
    }
    void map(Random& random) {
        std::uint64_t offset = 0;
        switch (random.below(6)) {
        case 0:
            offset = UDRV_MMAP_BAR(random.below(7));
            break;
        case 1:
            offset = UDRV_MMAP_PORT;
            break;
        case 2:
            offset = UDRV_MMAP_COHERENT(random.below(6));
            break;
        case 3:
            offset = UDRV_MMAP_PORT + page_bytes * random.below(64);
            break;
        case 4:
            offset = random.next() & ~(page_bytes - 1);
            break;
        default:
            offset = UDRV_MMAP_BAR(0) + page_bytes * random.below(300);
            break;
        }
        const std::size_t bytes = page_bytes * (1 + random.below(random.one_in(4) ? 100 : 4));
        const bool writes = !random.one_in(4);
        void* at = ::mmap(nullptr, bytes, writes ? PROT_READ | PROT_WRITE : PROT_READ,
                          random.one_in(8) ? MAP_PRIVATE : MAP_SHARED, device_fd(random),
                          static_cast<off_t>(offset));
        count(map_file, at != MAP_FAILED);
        if (at != MAP_FAILED) {
            const std::uint32_t n = random.below(nr_maps);
            writable_[n] = false;
            void* old = maps_[n].exchange(at);
            if (old != nullptr) {
                ::munmap(old, page_bytes);
            }
            // Two threads may mix up whose it is: then it is not written to.
            writable_[n] = writes && offset >= UDRV_MMAP_PORT && maps_[n] == at;
        }
    }
    void touch(Random& random) {
        const std::uint32_t n = random.below(nr_maps);
        void* at = maps_[n];
        if (at != nullptr && writable_[n] && random.one_in(2)) {
            for (int i = 0; i < 20; i++) {
                mutate(static_cast<std::byte*>(at), {0, page_bytes}, random);
            }
            count(touch_map, true);
        } else if (at != nullptr) {
            (void)*static_cast<volatile std::uint32_t*>(at);
            count(touch_map, true);
        }
    }
    void read_some(Random& random) {
        const int fd = some_fd(random);
        ::fcntl(fd, F_SETFL, random.one_in(16) ? 0 : O_NONBLOCK);
        const std::size_t bytes = random.one_in(4) ? random.below(10000) : 8;
        count(read_file, ::read(fd, random.one_in(6) ? pointer(random) : arena_, bytes) >= 0);
    }
    void uring(Random& random) {
        io_uring ring{};
        if (::io_uring_queue_init(8, &ring, 0) != 0) {
            return;
        }
        for (std::uint32_t n = 1 + random.below(6); n > 0; n--) {
            io_uring_sqe* sqe = ::io_uring_get_sqe(&ring);
            const int fd = random.one_in(4) ? device_fd(random) : some_fd(random);
            switch (random.below(5)) {
            case 0:
            case 1:
                ::io_uring_prep_read(sqe, fd, arena_, random.below(64), 0);
                break;
            case 2:
                ::io_uring_prep_write(sqe, fd, arena_, random.below(64), 0);
                break;
            case 3:
                ::io_uring_prep_poll_add(sqe, fd, POLLIN);
                break;
            default:
                ::io_uring_prep_fsync(sqe, fd, 0);
                break;
            }
        }
        const int submitted = ::io_uring_submit(&ring);
        count(uring_file, submitted > 0);
        if (random.one_in(2)) {
            ::usleep(random.below(500));
        }
        ::io_uring_queue_exit(&ring); // what still waits is cancelled
    }
    /// On an interface that is there just now, whoever's it is.
    void ethtool(Random& random) {
        const std::string name = fmt::format("udn{}", random.below(3));
        if (::access(("/sys/class/net/" + name).c_str(), F_OK) != 0) {
            return; // by an ioctl the kernel would have a module of that name looked for
        }
        ifreq interface {};
        name.copy(interface.ifr_name, IFNAMSIZ - 1);
        EthtoolRequest request = ethtool_request(random);
        spoil(request, random);
        // The answer may be longer: it ends in the page that cannot be written, or has room.
        std::byte* at = arena_ + (random.one_in(8) ? arena_bytes - 2 * page_bytes - sizeof(request)
                                                   : page_bytes * random.below(50));
        std::memcpy(at, request.data(), sizeof(request));
        interface.ifr_data = static_cast<char*>(random.one_in(10) ? pointer(random) : at);
        const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        (void)call(call_ethtool, random.one_in(16) ? some_fd(random) : fd, SIOCETHTOOL, &interface);
        ::close(fd);
    }
    void path(Random& random) {
        const int fd = open_line(random.below(32), random.one_in(2) ? "irq" : "irq-" + bdf_);
        count(open_path, fd >= 0);
        keep(random, fd);
    }
    static int open_line(unsigned line, const std::string& name) {
        return ::open(fmt::format("/proc/irq/{}/{}", line, name).c_str(),
                      O_RDWR | O_CLOEXEC | O_NONBLOCK);
    }
    /// A child that has all our files for a moment.
    void child(Random& random) {
        const pid_t pid = ::fork();
        if (pid == 0) {
            udrv_info info{};
            (void)udrv::call(fds_[0], UDRV_IOC_INFO, info);
            std::uint64_t events = 0;
            for (const auto& fd : fds_) {
                ::fcntl(fd, F_SETFL, O_NONBLOCK);
                (void)!::read(fd, &events, sizeof(events));
            }
            ::_exit(0);
        }
        count(fork_child, pid > 0);
        if (random.one_in(2)) {
            ::close(fds_[0].exchange(-1)); // while the child holds it
        }
        ::waitpid(pid, nullptr, 0);
    }

    /// What a driver does at its start, as it should be done.
    void sensible(Random& random) {
        open(random);
        udrv_irq_setup setup{};
        setup.mode = random.below(3);
        setup.nr_vectors = 1 + random.below(4);
        setup.size = sizeof(setup);
        call(call_irq_setup, fds_[0], UDRV_IOC_IRQ_SETUP, &setup);
        int irq = -1;
        if (random.one_in(2)) {
            irq = ::ioctl(fds_[0], UDRV_IOC_IRQ_OPEN, 0UL);
            count(call_irq_open, irq >= 0);
        } else {
            irq = open_line(setup.line[0], "irq");
            irq = irq < 0 ? open_line(setup.line[0], "irq-" + bdf_) : irq;
            count(open_path, irq >= 0);
        }
        keep(random, irq);
        udrv_coherent block{};
        block.size = sizeof(block);
        block.len_bytes = page_bytes * (1 + random.below(8));
        if (random.one_in(4)) {
            (void)call(call_coherent, fds_[0], UDRV_IOC_COHERENT, &block);
        }
        if (random.one_in(3)) {
            attach(random);
        }
    }
    void wild(Random& random) {
        switch (random.below(27)) {
        case 0:
            open(random);
            break;
        case 1:
            path(random);
            break;
        case 2:
            if (random.one_in(4)) { // else nothing would last
                const std::size_t n = random.one_in(4) ? 0 : random.below(nr_fds);
                count(close_file, ::close(fds_[n].exchange(-1)) == 0);
            }
            break;
        case 3: {
            udrv_info info{};
            info.abi_version = UDRV_ABI_VERSION;
            (void)call_with(call_info, UDRV_IOC_INFO, info, random);
            break;
        }
        case 4: {
            udrv_config config{};
            config.offset = random.below(80) * 4;
            config.write = random.one_in(4) ? 1 : 0;
            (void)call_with(call_config, UDRV_IOC_CONFIG, config, random);
            break;
        }
        case 5: {
            udrv_irq_setup setup{};
            setup.mode = random.below(4);
            setup.nr_vectors = random.below(34);
            (void)call_with(call_irq_setup, UDRV_IOC_IRQ_SETUP, setup, random);
            break;
        }
        case 6: {
            const auto vector = random.one_in(4) ? random.next() : random.below(4);
            const int fd = ::ioctl(device_fd(random), UDRV_IOC_IRQ_OPEN, vector);
            count(call_irq_open, fd >= 0);
            keep(random, fd);
            break;
        }
        case 7:
            count(call_dma_bits,
                  ::ioctl(device_fd(random), UDRV_IOC_DMA_BITS,
                          random.one_in(4) ? random.next() : 24 + random.below(41)) == 0);
            break;
        case 8:
            count(call_bus_master,
                  ::ioctl(device_fd(random), UDRV_IOC_BUS_MASTER,
                          random.one_in(4) ? random.next() : random.below(3)) == 0);
            break;
        case 26: {
            udrv_stop_write write{};
            write.bar = random.below(3);
            write.offset = random.below(64) * 4;
            write.len_bytes = random.one_in(2) ? 1 : 4;
            write.value = static_cast<std::uint32_t>(random.next());
            (void)call_with(call_stop_write, UDRV_IOC_STOP_WRITE, write, random);
            break;
        }
        case 9: {
            udrv_coherent block{};
            block.len_bytes = random.below(1 << 16);
            (void)call_with(call_coherent, UDRV_IOC_COHERENT, block, random);
            break;
        }
        case 10:
        case 11:
            exchange(random);
            break;
        case 12:
            attach(random);
            break;
        case 13:
            if (random.one_in(2)) {
                (void)call(call_unknown, some_fd(random), random.word(), pointer(random));
            } else { // ours, with another size or direction
                (void)call(call_unknown, device_fd(random),
                           _IOC(random.below(4), 'u', random.below(32),
                                random.one_in(2) ? 0 : random.below(300)),
                           pointer(random));
            }
            break;
        case 14:
        case 23:
            map(random);
            break;
        case 15:
        case 20:
        case 21:
        case 22:
            touch(random);
            break;
        case 16:
            read_some(random);
            break;
        case 17:
            count(write_file, ::write(some_fd(random), random.one_in(6) ? pointer(random) : arena_,
                                      random.below(64)) >= 0);
            break;
        case 18: {
            pollfd ready{some_fd(random), POLLIN | POLLOUT, 0};
            count(poll_file, ::poll(&ready, 1, static_cast<int>(random.below(3))) > 0);
            break;
        }
        case 24:
        case 25:
            ethtool(random);
            break;
        default:
            rare(random);
            break;
        }
    }
    void rare(Random& random) {
        switch (random.below(6)) {
        case 0:
            child(random);
            break;
        case 1:
        case 2:
            uring(random);
            break;
        case 3: {
            void* old = maps_[random.below(nr_maps)].exchange(nullptr);
            if (old != nullptr) {
                count(unmap_file, ::munmap(old, page_bytes) == 0);
            }
            break;
        }
        default: {
            const int fd = some_fd(random);
            bool good = ::lseek(fd, static_cast<off_t>(random.next()), SEEK_SET) >= 0;
            good |= ::ftruncate(fd, 0) == 0;
            good |= ::fsync(fd) == 0;
            good |= ::readahead(fd, 0, 4096) == 0;
            iovec vector{pointer(random), random.below(100)};
            good |= ::preadv2(fd, &vector, 1, 0, RWF_NOWAIT) >= 0;
            good |= ::madvise(maps_[random.below(nr_maps)], page_bytes,
                              random.one_in(2) ? MADV_DONTNEED : MADV_DONTFORK) == 0;
            count(other_call, good);
        }
        }
    }

    std::string bdf_;
    std::byte* arena_ = nullptr;
    std::array<std::atomic<int>, nr_fds> fds_; ///< 0: the device
    std::array<std::atomic<void*>, nr_maps> maps_{};
    std::array<std::atomic<bool>, nr_maps> writable_{}; ///< no registers
};

} // namespace fuzz
