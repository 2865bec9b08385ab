// SPDX-License-Identifier: MIT
//
// faults BDF net|blk|none: on a kernel with fault injection. Each call that a driver makes
// is made again and again; the first time the first allocation (or copy from or to user
// space) that the kernel makes for it fails, then the second, and so on until none is
// left. Each failure is an error or is got around; nothing is left of the session; and
// the call that meets no failure works. BDF is bound to udrv, before and after.
#include <array>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "checks.hpp"
#include "hostile_blk.hpp"
#include "hostile_net.hpp"

namespace {

using namespace checks;
using hostile::page_bytes;

constexpr unsigned most_failures = 3000; // of one call; more means that it never ends
constexpr std::size_t arena_bytes = 16 * page_bytes;

std::string bdf;
std::byte* arena;
int fail_nth = -1;

// ---- One failure ------------------------------------------------------------------

/// The nth allocation of this thread from now on fails.
void arm(unsigned nth) {
    const std::string text = std::to_string(nth);
    if (::pwrite(fail_nth, text.data(), text.size(), 0) < 0) {
        std::perror("fail-nth");
        std::exit(1);
    }
}
/// True if the failure has happened. None happens from now on.
bool disarm() {
    std::array<char, 16> text{};
    (void)::pread(fail_nth, text.data(), text.size() - 1, 0);
    (void)::pwrite(fail_nth, "0", 1, 0);
    return text[0] == '0';
}
/// How far a function of udrv may be from an allocation that fails: some of the kernel's
/// own functions do not bear what is far from them.
void reach(int depth) {
    for (const char* kind : {"failslab", "fail_page_alloc", "fail_usercopy"}) {
        std::ofstream(fmt::format("/sys/kernel/debug/{}/stacktrace-depth", kind)) << depth;
    }
}
constexpr int near = 8;
constexpr int far = 32;

std::string attribute(const std::string& name) {
    return hostile::text_attribute(udrv::PciAddress::parse(bdf), name);
}
long write_sysfs(const char* name, const std::string& text) {
    const int fd = ::open(("/sys/bus/pci/drivers/udrv/" + std::string(name)).c_str(), O_WRONLY);
    const long result = ::write(fd, text.data(), text.size());
    const int error = errno;
    ::close(fd);
    errno = error;
    return result;
}

// ---- A session --------------------------------------------------------------------

struct Session {
    int fd = -1;
    int irq = -1;
    void* at = MAP_FAILED;
    udrv_info info{};
    udrv_irq_setup irqs{};
    udrv_coherent block{};
    udrv_net_attach net = hostile::net_shape();
    std::unique_ptr<udrv_blk_attach> blk =
        std::make_unique<udrv_blk_attach>(hostile::blk_attach(2));
    std::array<udrv_dma_region, 3> regions{};
    std::array<udrv_dma_segment, 16> segments{};

    Session() = default;
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
    ~Session() { close(); }

    long open() { return fd = ::open(("/dev/udrv/" + bdf).c_str(), O_RDWR | O_CLOEXEC); }
    long ask() {
        info.abi_version = UDRV_ABI_VERSION;
        return udrv::call(fd, UDRV_IOC_INFO, info);
    }
    long setup(std::uint32_t mode = UDRV_IRQ_INTX) {
        irqs.mode = mode;
        irqs.nr_vectors = 1;
        return udrv::call(fd, UDRV_IOC_IRQ_SETUP, irqs);
    }
    long open_irq() { return irq = ::ioctl(fd, UDRV_IOC_IRQ_OPEN, 0); }
    long stop_write() { // of a byte of the first BAR there is
        udrv_stop_write write{};
        while (write.bar < UDRV_NR_BARS - 1 && info.bars[write.bar].len_bytes == 0) {
            write.bar++;
        }
        write.len_bytes = 1;
        return udrv::call(fd, UDRV_IOC_STOP_WRITE, write);
    }
    long coherent() {
        block.len_bytes = 2 * page_bytes;
        return udrv::call(fd, UDRV_IOC_COHERENT, block);
    }
    long exchange() { // maps all regions, or unmaps those that are mapped
        udrv_dma_exchange x{};
        x.regions = reinterpret_cast<std::uintptr_t>(regions.data());
        x.nr_regions = static_cast<std::uint32_t>(regions.size());
        const long done = udrv::call(fd, UDRV_IOC_DMA_EXCHANGE, x);
        if (done >= 0 && done < static_cast<long>(regions.size())) {
            errno = EAGAIN; // some of them: an error with what was done
            return -1;
        }
        return done;
    }
    long map_regions() {
        for (std::size_t n = 0; n < regions.size(); n++) {
            regions[n] = {};
            regions[n].vaddr = reinterpret_cast<std::uintptr_t>(arena) + n * 4 * page_bytes;
            regions[n].len_bytes = (n + 1) * page_bytes;
            regions[n].segments = reinterpret_cast<std::uintptr_t>(segments.data() + 4 * n);
            regions[n].nr_segments = 4;
            regions[n].flags = static_cast<std::uint32_t>(n + 1);
        }
        return exchange();
    }
    long unmap_regions() {
        for (udrv_dma_region& region : regions) {
            region.flags = 0;
        }
        return exchange();
    }
    long attach(std::uint32_t kind) {
        udrv_attach request{};
        request.kind = kind;
        blk->size = sizeof(*blk);
        net.size = sizeof(net);
        void* argument = kind == UDRV_PORT_BLK ? static_cast<void*>(blk.get()) : &net;
        request.arg = reinterpret_cast<std::uintptr_t>(argument);
        return udrv::call(fd, UDRV_IOC_ATTACH, request);
    }
    /// Maps a page and looks at it. A look that finds no memory is tried again by the
    /// processor.
    [[nodiscard]] long map(std::uint64_t offset) {
        at = ::mmap(nullptr, page_bytes, PROT_READ, MAP_SHARED, fd, static_cast<off_t>(offset));
        if (at == MAP_FAILED) {
            return -1;
        }
        (void)*static_cast<const volatile std::uint32_t*>(at);
        return 0;
    }
    [[nodiscard]] long map_registers() {
        for (std::uint32_t n = 0; n < UDRV_NR_BARS; n++) {
            if ((info.bars[n].flags & UDRV_BAR_MEM) != 0) {
                return map(UDRV_MMAP_BAR(n));
            }
        }
        return -1;
    }
    void close() {
        if (at != MAP_FAILED) {
            ::munmap(at, page_bytes);
            at = MAP_FAILED;
        }
        for (int* file : {&irq, &fd}) {
            if (*file >= 0) {
                ::close(*file);
            }
            *file = -1;
        }
    }
};

using Step = std::function<long(Session&)>;

/// All failures of `call`, each in a session of its own that `before` has prepared.
void all_failures(const std::string& name, const Step& before, const Step& call) {
    std::map<int, unsigned> errors;
    unsigned around = 0;
    unsigned n = 0;
    long result = 0;
    int error = 0;
    bool hit = true;
    while (hit && ++n <= most_failures) {
        {
            Session s;
            if (before(s) < 0) {
                report(false, name, fmt::format("before failure {}: {}", n, std::strerror(errno)));
                return;
            }
            arm(n);
            result = call(s);
            error = errno;
            hit = disarm();
        }
        if (hit && result < 0) {
            errors[error]++;
        } else if (hit) {
            around++;
        }
        const std::string left = fmt::format("{} {} {} {}", attribute("state"), attribute("owner"),
                                             attribute("pinned_bytes"), attribute("mappings"));
        if (left != "idle 0 0 0" && left != "   ") { // or unbound
            report(false, name, fmt::format("failure {} left: {}", n, left));
            return;
        }
    }
    std::string said;
    for (const auto& [number, count] : errors) {
        said += fmt::format(", {} {}", count, strerrorname_np(number));
    }
    report(!hit && result >= 0, name,
           hit || result >= 0 ? fmt::format("{} failures{}, {} got around", n - 1, said, around)
                              : fmt::format("without a failure: {}", std::strerror(error)));
}

// ---- What is called ----------------------------------------------------------------

long rebind() {
    (void)write_sysfs("unbind", bdf);
    return write_sysfs("bind", bdf);
}
long ready(Session& s) {
    return s.open() < 0 ? -1 : s.setup();
}
long ready_irq(Session& s) {
    return ready(s) < 0 ? -1 : s.open_irq();
}
Step attached(std::uint32_t kind) {
    return [kind](Session& s) { return ready_irq(s) < 0 ? -1 : s.attach(kind); };
}
long everything(Session& s) {
    return ready_irq(s) < 0 || s.ask() < 0 || s.stop_write() < 0 || s.coherent() < 0 ||
                   s.map_regions() < 0
               ? -1
               : 0;
}

void binding() {
    reach(near); // ACPI and the driver core
    all_failures(
        "bind", [](Session&) { return write_sysfs("unbind", bdf), 0; },
        [](Session&) { return write_sysfs("bind", bdf); });
    all_failures(
        "unbind", [](Session&) { return write_sysfs("bind", bdf), 0; },
        [](Session&) { return write_sysfs("unbind", bdf); });
    reach(far);
    (void)rebind();
}
void core() {
    all_failures(
        "open", [](Session&) { return 0; }, [](Session& s) { return s.open(); });
    all_failures(
        "info", [](Session& s) { return s.open(); }, [](Session& s) { return s.ask(); });
    reach(near); // the folder of an interrupt in /proc
    all_failures(
        "irq setup", [](Session& s) { return s.open(); }, [](Session& s) { return s.setup(); });
    reach(far);
    all_failures("irq open", ready, [](Session& s) { return s.open_irq(); });
    all_failures("irq path", ready, [](Session& s) {
        return s.irq = ::open(fmt::format("/proc/irq/{}/irq", s.irqs.line[0]).c_str(),
                              O_RDWR | O_NONBLOCK);
    });
    all_failures(
        "stop write", [](Session& s) { return s.open() < 0 ? -1 : s.ask(); },
        [](Session& s) { return s.stop_write(); });
    all_failures(
        "coherent", [](Session& s) { return s.open(); }, [](Session& s) { return s.coherent(); });
    all_failures(
        "map", [](Session& s) { return s.open(); }, [](Session& s) { return s.map_regions(); });
    all_failures(
        "unmap", [](Session& s) { return s.open() < 0 ? -1 : s.map_regions(); },
        [](Session& s) { return s.unmap_regions(); });
    all_failures(
        "mmap registers", [](Session& s) { return s.open() < 0 ? -1 : s.ask(); },
        [](Session& s) { return s.map_registers(); });
    all_failures(
        "mmap coherent", [](Session& s) { return s.open() < 0 ? -1 : s.coherent(); },
        [](Session& s) { return s.map(UDRV_MMAP_COHERENT(s.block.handle)); });
    all_failures("close", everything, [](Session& s) { return s.close(), 0; });
}
void port(std::uint32_t kind) {
    all_failures(
        "first attach", [](Session& s) { return rebind() < 0 ? -1 : ready_irq(s); },
        [kind](Session& s) { return s.attach(kind); });
    all_failures("attach again", ready_irq, [kind](Session& s) { return s.attach(kind); });
    all_failures("mmap rings", attached(kind), [](Session& s) { return s.map(UDRV_MMAP_PORT); });
    all_failures("publish", attached(kind), [](Session& s) {
        const std::uint32_t one = 1;
        return ::write(s.irq, &one, sizeof(one));
    });
    all_failures("close when attached", attached(kind), [](Session& s) { return s.close(), 0; });
    reach(near); // ACPI, which drops what it still uses
    all_failures(
        "unbind with a port",
        [kind](Session& s) {
            (void)write_sysfs("bind", bdf);
            const long result = attached(kind)(s);
            s.close();
            return result;
        },
        [](Session&) { return write_sysfs("unbind", bdf); });
    reach(far);
    (void)rebind();
}

} // namespace

int main(int argc, char** argv) {
    if (argc != 3) {
        fmt::print(stderr, "usage: faults BDF net|blk|none\n");
        return 2;
    }
    bdf = argv[1];
    const std::string kind = argv[2];
    fail_nth = ::open("/proc/thread-self/fail-nth", O_RDWR);
    if (fail_nth < 0) {
        fmt::print("FAIL no fault injection in this kernel\n");
        return 1;
    }
    arena = static_cast<std::byte*>(
        ::mmap(nullptr, arena_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    binding();
    core();
    if (kind != "none") {
        port(kind == "blk" ? UDRV_PORT_BLK : UDRV_PORT_NET);
    }
    return failures == 0 ? 0 : 1;
}
