// SPDX-License-Identifier: MIT
//
// boundary_probe BDF core|net|blk|ide: single attempts of a hostile driver, each with its
// exact outcome. Prints "ok ROW: NAME" or "FAIL ROW: NAME: why"; ROW is the line of
// docs/threats.md that it belongs to.
//   core   on any device with a memory BAR: files, maps, limits, life
//   net    on an e1000, attached as a network interface that is up and has traffic
//   blk    on an AHCI controller, attached as disks that nobody else uses
//   ide    on a PIIX3: what a controller with I/O ports has besides
#include "boundary_probe/rows.hpp"

#include <array>

#include <sched.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "hostile.hpp"
#include "libudrv/device/dma_mapping.hpp"
#include "libudrv/error.hpp"

namespace {

using namespace hostile;

/// Runs `body` in a child and returns its wait status.
template <typename F>
int in_child(F&& body) {
    const pid_t child = ::fork();
    if (child == 0) {
        ::signal(SIGBUS, SIG_DFL);
        body();
        ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return status;
}

/// write config space: only the allow-list, whatever the value.
void config_row(const udrv::PciAddress& address) {
    udrv::Device device(address);
    const bool ide = device.info().class_code >> 8 == 0x0101;
    std::array<std::uint32_t, 16> before{}, after{};
    for (std::uint32_t n = 0; n < 16; n++) {
        before[n] = device.config_read(n * 4, 4);
    }
    std::string written;
    int wrong = 0;
    for (std::uint32_t offset = 0; offset < 4096; offset++) {
        udrv_config config{};
        config.offset = offset;
        config.value = 0xff;
        config.write = 1;
        const long result = udrv::call(device.fd(), UDRV_IOC_CONFIG, config);
        if (result == 0) {
            written += fmt::format("{:#x} ", offset);
        } else {
            wrong += errno == EPERM || errno == EINVAL ? 0 : 1;
        }
    }
    for (std::uint32_t n = 0; n < 16; n++) {
        after[n] = device.config_read(n * 4, 4);
    }
    check_eq("config: offsets that can be written", written,
             ide ? std::string("0xc 0xd 0x40 0x41 0x42 0x43 0x44 0x45 0x46 0x47 0x48 0x49 0x4a "
                               "0x4b 0x4c 0x4d 0x4e 0x4f ")
                 : std::string("0xc 0xd "));
    check_eq("config: other errors than EPERM and EINVAL", wrong, 0);
    before[3] = after[3] = 0;                // the two that were written
    before[1] &= 0xffff, after[1] &= 0xffff; // status
    check_eq("config: command, BARs and interrupt line as before", before == after, true);
}

/// stop write: within its BAR. Four bytes at 3f6 would reach COM1.
void stop_row(const udrv::PciAddress& address) {
    const udrv::Device device(address);
    const auto add = [&](std::uint32_t bar, std::uint64_t offset, std::uint32_t len) {
        udrv_stop_write write = udrv::stop_write(bar, static_cast<std::uint32_t>(offset), len, 0);
        return udrv::call(device.fd(), UDRV_IOC_STOP_WRITE, write);
    };
    const auto& bars = device.info().bars;
    check_eq("stop: the second BAR", fmt::format("{:x} {}", bars[1].start, bars[1].len_bytes),
             std::string("3f6 1"));
    check_errno("stop: four bytes at 3f6", add(1, 0, 4), EINVAL);
    check_errno("stop: two bytes at 3f6", add(1, 0, 2), EINVAL);
    check_errno("stop: one behind it", add(1, 1, 1), EINVAL);
    check_errno("stop: eight bytes to ports", add(4, 0, 8), EINVAL);
    check_errno("stop: behind the bus master", add(4, bars[4].len_bytes, 1), EINVAL);
    check_errno("stop: across its end", add(4, bars[4].len_bytes - 1, 2), EINVAL);
    check_eq("stop: the last port of it", add(4, bars[4].len_bytes - 1, 1), 0L);
}

/// keep a BAR mapping: what can be mapped at all.
void map_row(const udrv::PciAddress& address) {
    udrv::Device device(address);
    const std::size_t bar = device.info().bars[0].len_bytes;
    const udrv::DmaBlock block = device.allocate(2 * page_bytes);
    check_eq("map: BAR 0", try_map(device, bar, UDRV_MMAP_BAR(0)), 0);
    check_errno("map: a page more", try_map(device, bar + page_bytes, UDRV_MMAP_BAR(0)), EINVAL);
    check_errno("map: from its last page on", try_map(device, 2 * page_bytes, bar - page_bytes),
                EINVAL);
    check_errno("map: behind it", try_map(device, page_bytes, bar), EINVAL);
    check_errno("map: the last page of its region",
                try_map(device, page_bytes, UDRV_MMAP_BAR(1) - page_bytes), EINVAL);
    std::uint32_t refused = 0;
    for (std::uint32_t region = 6; region < 0x100; region++) {
        refused +=
            try_map(device, page_bytes, std::uint64_t{region} << UDRV_MMAP_SHIFT) < 0 ? 1U : 0U;
    }
    check_eq("map: regions 6 to 255 that are refused", refused, 250);
    check_errno("map: private", try_map(device, page_bytes, UDRV_MMAP_BAR(0), MAP_PRIVATE), EINVAL);
    check_errno("map: coherent memory, a page more",
                try_map(device, 3 * page_bytes, UDRV_MMAP_COHERENT(1)), EINVAL);
    check_errno("map: coherent memory that is not there",
                try_map(device, page_bytes, UDRV_MMAP_COHERENT(2)), EINVAL);
    check_errno("map: the largest offset", try_map(device, page_bytes, ~0ULL << 12 & ~(1ULL << 63)),
                EINVAL);
    check_errno("map: no rings without a port", try_map(device, page_bytes, UDRV_MMAP_PORT),
                EINVAL);
    // Grown afterwards, or moved.
    void* at = ::mmap(nullptr, page_bytes, PROT_READ, MAP_SHARED, device.fd(), 0);
    void* grown = ::mremap(at, page_bytes, 2 * page_bytes, MREMAP_MAYMOVE);
    check_errno("map: grown by mremap", grown == MAP_FAILED ? -1 : 0, EFAULT);
    ::munmap(at, page_bytes);

    const int status = in_child([&] { (void)*static_cast<volatile std::byte*>(block.vaddr); });
    check_eq("map: a child has none of it: ends by signal",
             WIFSIGNALED(status) ? WTERMSIG(status) : 0, SIGSEGV);
    const int called = in_child([&] {
        udrv_info info{};
        const bool refused_call =
            udrv::call(device.fd(), UDRV_IOC_INFO, info) < 0 && errno == EPERM;
        const bool refused_map = try_map(device, page_bytes, UDRV_MMAP_BAR(0)) < 0;
        ::_exit(refused_call && refused_map ? 7 : 1);
    });
    check_eq("inherit: a child may not call or map", WEXITSTATUS(called), 7);
}

/// pin all memory: by bytes and by number.
void limit_row(const udrv::PciAddress& address) {
    const int status = in_child([&] {
        // In a child: what is given up here is not missed later.
        udrv::Device device(address);
        const rlimit limit{32 * page_bytes, 32 * page_bytes};
        ::setrlimit(RLIMIT_MEMLOCK, &limit);
        (void)!::setresuid(65534, 65534, 65534); // and with it the right to lock more
        std::uint32_t blocks = 0;
        udrv_coherent call{};
        for (call.len_bytes = page_bytes; udrv::call(device.fd(), UDRV_IOC_COHERENT, call) == 0;) {
            blocks++;
        }
        ::_exit(errno == ENOMEM ? static_cast<int>(blocks) : 255);
    });
    check_eq("limit: pages of coherent memory with a limit of 32", WEXITSTATUS(status), 32);
    udrv::Device device(address);
    device.dma_bits(64);
    constexpr std::uint32_t batch = UDRV_MAX_DMA_BATCH;
    udrv::DmaBuffer page(page_bytes);
    std::vector<udrv_dma_region> regions(batch);
    std::vector<udrv_dma_segment> segments(batch);
    std::uint32_t mapped = 0;
    long done = 0;
    do {
        for (std::uint32_t n = 0; n < batch; n++) {
            regions[n] = {reinterpret_cast<std::uintptr_t>(page.bytes().data()),
                          page_bytes,
                          reinterpret_cast<std::uintptr_t>(&segments[n]),
                          1,
                          UDRV_DMA_TO_DEVICE,
                          0,
                          0};
        }
        udrv_dma_exchange call{};
        call.regions = reinterpret_cast<std::uintptr_t>(regions.data());
        call.nr_regions = batch;
        done = udrv::call(device.fd(), UDRV_IOC_DMA_EXCHANGE, call);
        mapped += done > 0 ? static_cast<std::uint32_t>(done) : 0;
    } while (done == batch);
    check_eq("limit: mappings of one session", mapped, UDRV_MAX_DMA_REGIONS);
    check_errno("limit: and one more", done, ENOSPC);
}

/// keep the session alive: who may hold the file, and what that is worth.
void life_row(const udrv::PciAddress& address) {
    {
        const udrv::Device device(address);
        check_errno("inherit: a second open",
                    ::open(fmt::format("/dev/udrv/{}", address.str()).c_str(), O_RDWR), EBUSY);
        check_eq("inherit: close on exec", ::fcntl(device.fd(), F_GETFD), FD_CLOEXEC);
    }
    // An owner dies; its child has the file, its IRQ file, and a reader asleep in it.
    for (const bool shared : {false, true}) {
        const std::string name = shared ? "a table shared with a child" : "a child's copy";
        std::array<int, 2> line{};
        (void)!::pipe(line.data());
        const pid_t owner = ::fork();
        if (owner == 0) {
            udrv::Device device(address);
            const udrv::IrqFile irq = device.open_irq(0);
            static std::array<std::byte, 65536> stack;
            struct Held {
                int irq, line;
            } held{irq.fd(), line[1]};
            const int child = ::clone(
                [](void* argument) {
                    const Held* h = static_cast<Held*>(argument);
                    const pid_t self = ::getpid();
                    (void)!::write(h->line, &self, sizeof(self));
                    std::uint32_t count = 0;
                    (void)!::read(h->irq, &count, sizeof(count));
                    ::sleep(20);
                    return 0;
                },
                stack.data() + stack.size(), (shared ? CLONE_FILES : 0) | SIGCHLD, &held);
            ::usleep(200'000);
            ::_exit(child < 0 ? 1 : 0);
        }
        pid_t child = -1;
        (void)!::read(line[0], &child, sizeof(child));
        ::waitpid(owner, nullptr, 0);
        check_eq(fmt::format("inherit: the holder lives: {}", name), ::kill(child, 0), 0);
        const auto is_idle = [&] { return text_attribute(address, "state") == "idle"; };
        check_eq(fmt::format("inherit: its owner is dead, the session over: {}", name),
                 wait_until(patience_ms, is_idle), true);
        check_eq(fmt::format("inherit: the holder lives still: {}", name), ::kill(child, 0), 0);
        try {
            const udrv::Device next(address);
            report(true, fmt::format("inherit: the next driver can have it: {}", name));
        } catch (const udrv::Error& error) {
            report(false, fmt::format("inherit: the next driver can have it: {}", name),
                   error.what());
        }
        ::kill(child, SIGKILL);
        ::close(line[0]);
        ::close(line[1]);
    }
}

} // namespace

int main(int argc, char** argv) {
    const std::string_view what = argc == 3 ? argv[2] : "";
    try {
        if (what == "core") {
            const auto address = udrv::PciAddress::parse(argv[1]);
            config_row(address);
            map_row(address);
            limit_row(address);
            life_row(address);
        } else if (what == "ide") {
            const auto address = udrv::PciAddress::parse(argv[1]);
            config_row(address);
            stop_row(address);
        } else if (what == "net") {
            net_rows(udrv::PciAddress::parse(argv[1]));
        } else if (what == "blk") {
            blk_rows(udrv::PciAddress::parse(argv[1]));
        } else {
            std::fprintf(stderr, "usage: boundary_probe BDF core|net|blk|ide\n");
            return 2;
        }
    } catch (const std::exception& error) {
        report(false, std::string(what), error.what());
    }
    return failures == 0 ? 0 : 1;
}
