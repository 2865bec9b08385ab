// SPDX-License-Identifier: MIT
//
// A ublk server, for comparison: what a disk in user space costs where the kernel has
// ublk (6.0, CONFIG_BLK_DEV_UBLK). Serves a block device as /dev/ublkbN, with direct
// reads and writes through the same io_uring that the requests come in on.
//
//   ublk_loop DEVICE
//
// Prints one line when the disk is there, ends with SIGTERM or SIGINT. The protocol is
// that of linux/ublk_cmd.h, with one queue.
#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <thread>

#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <liburing.h>
#include <linux/fs.h>
#include <linux/ublk_cmd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "libudrv/error.hpp"
#include "libudrv/file.hpp"

namespace {

constexpr std::uint16_t depth = 64;
constexpr std::uint32_t max_bytes = 512 << 10; // of one request
constexpr std::size_t page_bytes = 4096;

/// An io_uring whose entries have room for a command of a device.
class Ring {
  public:
    explicit Ring(unsigned entries) {
        if (const int result = ::io_uring_queue_init(entries, &ring_, IORING_SETUP_SQE128);
            result < 0) {
            udrv::throw_errno(-result, "set up io_uring");
        }
    }
    Ring(const Ring&) = delete;
    Ring& operator=(const Ring&) = delete;
    ~Ring() { ::io_uring_queue_exit(&ring_); }

    [[nodiscard]] io_uring* get() { return &ring_; }

    /// The ring is larger than what is ever under way.
    io_uring_sqe& entry(std::uint64_t data) {
        io_uring_sqe* entry = ::io_uring_get_sqe(&ring_);
        if (entry == nullptr) {
            std::abort();
        }
        // io_uring_prep functions leave the second half alone.
        std::memset(entry, 0, 2 * sizeof(*entry));
        ::io_uring_sqe_set_data64(entry, data);
        return *entry;
    }
    template <typename Command>
    void command(int fd, std::uint32_t operation, const Command& command, std::uint64_t data) {
        io_uring_sqe& sqe = entry(data);
        sqe.opcode = IORING_OP_URING_CMD;
        sqe.fd = fd;
        sqe.cmd_op = operation;
        std::memcpy(sqe.cmd, &command, sizeof(command));
    }

  private:
    io_uring ring_{};
};

/// The control device: makes a ublk disk and takes it away.
class Control {
  public:
    Control() : file_(::open("/dev/ublk-control", O_RDWR | O_CLOEXEC)) {
        if (!file_) {
            udrv::throw_errno(errno, "open /dev/ublk-control", "run `modprobe ublk_drv` as root");
        }
        info_.nr_hw_queues = 1;
        info_.queue_depth = depth;
        info_.max_io_buf_bytes = max_bytes;
        info_.dev_id = UINT32_MAX; // any
        info_.ublksrv_pid = ::getpid();
        call("make a ublk device", UBLK_CMD_ADD_DEV, &info_, sizeof(info_));
    }
    Control(const Control&) = delete;
    Control& operator=(const Control&) = delete;
    /// After the queue's file is closed, or it would wait for that.
    ~Control() { (void)try_call(UBLK_CMD_DEL_DEV, nullptr, 0, 0); }

    void parameters(std::uint64_t bytes) {
        ublk_params params{};
        params.len = sizeof(params);
        params.types = UBLK_PARAM_TYPE_BASIC;
        params.basic.attrs = UBLK_ATTR_VOLATILE_CACHE;
        params.basic.logical_bs_shift = 9;
        params.basic.physical_bs_shift = 12;
        params.basic.io_min_shift = 9;
        params.basic.io_opt_shift = 12;
        params.basic.max_sectors = max_bytes / 512;
        params.basic.dev_sectors = bytes / 512;
        call("set a ublk device's size", UBLK_CMD_SET_PARAMS, &params, sizeof(params));
    }
    /// Returns when the disk is there: its partitions are looked for meanwhile, so
    /// somebody else has to serve it.
    void start() {
        call("start a ublk device", UBLK_CMD_START_DEV, nullptr, 0,
             static_cast<std::uint64_t>(::getpid()));
    }
    /// Whoever serves it gets nothing but ends of his commands then.
    void stop() { call("stop a ublk device", UBLK_CMD_STOP_DEV, nullptr, 0); }
    [[nodiscard]] std::uint32_t id() const { return info_.dev_id; }

  private:
    int try_call(std::uint32_t operation, void* buffer, std::size_t bytes, std::uint64_t value) {
        ublksrv_ctrl_cmd command{};
        command.dev_id = info_.dev_id;
        command.queue_id = UINT16_MAX;
        command.len = static_cast<std::uint16_t>(bytes);
        command.addr = reinterpret_cast<std::uintptr_t>(buffer);
        command.data[0] = value;
        ring_.command(file_.value(), operation, command, 0);
        int result = ::io_uring_submit_and_wait(ring_.get(), 1);
        io_uring_cqe* completion = nullptr;
        if (result >= 0 && ::io_uring_peek_cqe(ring_.get(), &completion) == 0) {
            result = completion->res;
            ::io_uring_cqe_seen(ring_.get(), completion);
        }
        return result;
    }
    void call(const char* tried, std::uint32_t operation, void* buffer, std::size_t bytes,
              std::uint64_t value = 0) {
        if (const int result = try_call(operation, buffer, bytes, value); result < 0) {
            udrv::throw_errno(-result, tried);
        }
    }

    udrv::FileDescriptor file_;
    Ring ring_{4};
    ublksrv_ctrl_dev_info info_{};
};

/// The one queue: a request's buffer has its tag, and so has its entry in the ring.
class Queue {
  public:
    Queue(std::uint32_t id, int disk)
        : disk_(disk), name_(fmt::format("/dev/ublkc{}", id)), file_(open_device(name_)) {
        const std::size_t bytes =
            (depth * sizeof(ublksrv_io_desc) + page_bytes - 1) & ~(page_bytes - 1);
        void* at = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED | MAP_POPULATE, file_.value(),
                          UBLKSRV_CMD_BUF_OFFSET);
        if (at == MAP_FAILED) {
            udrv::throw_errno(errno, "map " + name_);
        }
        map_ = udrv::MemoryMap(at, bytes);
        requests_ = {static_cast<const ublksrv_io_desc*>(at), depth};
        buffers_.reset(static_cast<std::byte*>(
            std::aligned_alloc(page_bytes, std::size_t{depth} * max_bytes)));
        std::memset(buffers_.get(), 0, std::size_t{depth} * max_bytes);
    }

    /// In the thread that serves: it is the one that the kernel then knows.
    void fetch() {
        for (std::uint16_t tag = 0; tag < depth; ++tag) {
            command(UBLK_IO_FETCH_REQ, tag, 0);
        }
        ::io_uring_submit(ring_.get());
    }
    /// Until the device is stopped.
    void serve() {
        std::uint32_t under_way = depth;
        while (under_way != 0) {
            const int result = ::io_uring_submit_and_wait(ring_.get(), 1);
            if (result < 0 && result != -EINTR) {
                return;
            }
            unsigned head = 0;
            unsigned seen = 0;
            io_uring_cqe* completion = nullptr;
            io_uring_for_each_cqe(ring_.get(), head, completion) {
                ++seen;
                const std::uint64_t data = completion->user_data;
                const auto tag = static_cast<std::uint16_t>(data & 0xffff);
                if ((data & io_done) != 0) {
                    command(UBLK_IO_COMMIT_AND_FETCH_REQ, tag, completion->res);
                } else if (completion->res == UBLK_IO_RES_OK) {
                    begin(tag);
                } else {
                    --under_way; // UBLK_IO_RES_ABORT
                }
            }
            ::io_uring_cq_advance(ring_.get(), seen);
        }
    }

  private:
    static constexpr std::uint64_t io_done = 1U << 16; ///< of the disk below, not of ublk

    static udrv::FileDescriptor open_device(const std::string& name) {
        // udev makes the node.
        for (int attempt = 0; attempt < 100; ++attempt) {
            udrv::FileDescriptor file(::open(name.c_str(), O_RDWR | O_CLOEXEC));
            if (file) {
                return file;
            }
            ::usleep(20'000);
        }
        udrv::throw_errno(errno, "open " + name);
    }
    [[nodiscard]] std::byte* buffer(std::uint16_t tag) const {
        return buffers_.get() + std::size_t{tag} * max_bytes;
    }
    void command(std::uint32_t operation, std::uint16_t tag, int result) {
        ublksrv_io_cmd command{};
        command.tag = tag;
        command.result = result;
        command.addr = reinterpret_cast<std::uintptr_t>(buffer(tag));
        ring_.command(file_.value(), operation, command, tag);
    }
    void begin(std::uint16_t tag) {
        const ublksrv_io_desc& request = requests_[tag];
        const std::uint32_t bytes = std::min(request.nr_sectors * 512, max_bytes);
        const std::uint64_t place = request.start_sector * 512;
        const std::uint8_t operation = ublksrv_get_op(&request);
        if (operation > UBLK_IO_OP_FLUSH) {
            command(UBLK_IO_COMMIT_AND_FETCH_REQ, tag, -EOPNOTSUPP);
            return;
        }
        io_uring_sqe& entry = ring_.entry(io_done | tag);
        if (operation == UBLK_IO_OP_READ) {
            ::io_uring_prep_read(&entry, disk_, buffer(tag), bytes, place);
        } else if (operation == UBLK_IO_OP_WRITE) {
            ::io_uring_prep_write(&entry, disk_, buffer(tag), bytes, place);
        } else {
            ::io_uring_prep_fsync(&entry, disk_, 0);
        }
    }

    int disk_;
    std::string name_;
    udrv::FileDescriptor file_;
    Ring ring_{2 * depth};
    udrv::MemoryMap map_; ///< holds the file, too: DEL_DEV waits for it to go
    std::span<const ublksrv_io_desc> requests_;
    std::unique_ptr<std::byte, decltype([](std::byte* at) { std::free(at); })> buffers_;
};

} // namespace

int main(int argc, char** argv) try {
    if (argc != 2) {
        fmt::print(stderr, "usage: ublk_loop DEVICE\n");
        return 2;
    }
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    ::pthread_sigmask(SIG_BLOCK, &ending, nullptr); // of all threads: waited for below

    const udrv::FileDescriptor disk(::open(argv[1], O_RDWR | O_DIRECT | O_CLOEXEC));
    std::uint64_t bytes = 0;
    if (!disk || ::ioctl(disk.value(), BLKGETSIZE64, &bytes) != 0) {
        udrv::throw_errno(errno, fmt::format("open {}", argv[1]));
    }
    Control control;
    control.parameters(bytes);
    Queue queue(control.id(), disk.value());
    std::thread server([&] {
        queue.fetch();
        queue.serve();
    });
    try {
        control.start();
    } catch (const std::exception& error) {
        fmt::print(stderr, "ublk_loop: {}\n", error.what());
        std::_Exit(1); // the server would wait for ever
    }
    fmt::print("ublk_loop: ready, /dev/ublkb{}\n", control.id());
    std::fflush(stdout);
    int signal = 0;
    ::sigwait(&ending, &signal);
    control.stop();
    server.join();
    return 0;
} catch (const std::exception& error) {
    fmt::print(stderr, "ublk_loop: {}\n", error.what());
    return 1;
}
