// SPDX-License-Identifier: MIT
//
// The order matters: limits are lifted while there still is the privilege to, then comes
// the user (which clears the capabilities of every thread there will be), then the threads,
// the limits that count their stacks, and the filter, which allows none of the former.
#include "libudrv/process/sandbox.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <fstream>

#include <asm/ioctls.h>
#include <cap-ng.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/ioctl.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "libudrv/error.hpp"
#include <udrv/udrv.h>

namespace udrv {

namespace {

constexpr const char* tried = "enter the sandbox";
constexpr const char* advice = "--no-sandbox does without, for debugging";
constexpr unsigned nobody = 65534;

// What serving needs. Waiting and publishing first, then what the helper thread, the
// C library and the way out use.
constexpr std::array allowed{
    SCMP_SYS(io_uring_enter),
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(preadv2),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep),
    SCMP_SYS(sched_yield),
    SCMP_SYS(futex),
    SCMP_SYS(getrusage),
    SCMP_SYS(setitimer),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(writev),
    SCMP_SYS(fstat),
    SCMP_SYS(newfstatat), // of an open file; the C library's way
    SCMP_SYS(access),     // is the block device there yet?
    SCMP_SYS(close),
    SCMP_SYS(munmap),
    SCMP_SYS(madvise),
    SCMP_SYS(brk),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(getrandom),
    SCMP_SYS(rseq), // of a helper thread that begins only now; it is not waited for
    SCMP_SYS(set_robust_list),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
};

void check(int error, const char* what) {
    if (error != 0) {
        throw_errno(error, std::string(tried) + ": " + what, advice);
    }
}

/// For whoever may not: it stays as it is.
void lift_limit(__rlimit_resource resource, const char* what) {
    const rlimit none{RLIM_INFINITY, RLIM_INFINITY};
    check(::setrlimit(resource, &none) == 0 || errno == EPERM ? 0 : errno, what);
}

/// At most `value`: a limit that is lower already stays, since raising it is for root.
void limit(__rlimit_resource resource, rlim_t value, const char* what) {
    rlimit now{};
    check(::getrlimit(resource, &now) == 0 ? 0 : errno, what);
    const rlim_t lower = std::min(value, now.rlim_max);
    const rlimit both{lower, lower};
    check(::setrlimit(resource, &both) == 0 ? 0 : errno, what);
}

std::size_t address_space_bytes() {
    std::size_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    return pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

void lift_limits() {
    // set_limits() says how much memory may be locked, when it is known.
    lift_limit(RLIMIT_MEMLOCK, "lift the limit of locked memory");
    // No limit of processes: the filter refuses them, every driver is the same user, and
    // io_uring reads the signals in a thread of the kernel's, which would count.
    lift_limit(RLIMIT_NPROC, "lift the limit of processes");
}

void set_limits() {
    const std::size_t all = address_space_bytes() + sandbox_heap_bytes;
    // Without CAP_IPC_LOCK new memory has to stay below the limit, if all of it is
    // locked; what is pinned for the device is charged to the same. A process that may not lift
    // the limit could not lock all memory either.
    limit(RLIMIT_MEMLOCK, 2 * all, "limit locked memory");
    limit(RLIMIT_AS, all, "limit memory");
    limit(RLIMIT_CORE, 0, "do without core dumps");
}

void drop_privileges() {
    const pid_t parent = ::getppid();
    int death_signal = 0;
    ::prctl(PR_GET_PDEATHSIG, &death_signal);
    if (::geteuid() == 0) {
        check(::setgroups(0, nullptr) == 0 ? 0 : errno, "leave all groups");
        check(::setresgid(nobody, nobody, nobody) == 0 ? 0 : errno, "change the group");
        check(::setresuid(nobody, nobody, nobody) == 0 ? 0 : errno, "change the user");
    }
    capng_clear(CAPNG_SELECT_ALL);
    check(capng_apply(CAPNG_SELECT_CAPS) == 0 ? 0 : EPERM, "drop capabilities");
    check(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ? 0 : errno, "refuse new privileges");
    check(::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 ? 0 : errno, "refuse tracing");
    // A change of the user forgets it (prctl(2), PR_SET_PDEATHSIG).
    check(::prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) == 0 ? 0 : errno,
          "keep the signal at the parent's death");
    if (death_signal != 0 && ::getppid() != parent) {
        ::raise(death_signal); // it was in between
    }
}

/// Owns the filter while it is made.
class Filter {
  public:
    Filter() : context_(::seccomp_init(SCMP_ACT_KILL_PROCESS)) {
        check(context_ != nullptr ? 0 : ENOMEM, "make a filter");
        // For the threads that are there already, too.
        check(-::seccomp_attr_set(context_, SCMP_FLTATR_CTL_TSYNC, 1), "filter all threads");
    }
    Filter(const Filter&) = delete;
    Filter& operator=(const Filter&) = delete;
    ~Filter() { ::seccomp_release(context_); }

    template <typename... Conditions>
    void add(std::uint32_t action, int call, Conditions... conditions) {
        check(-::seccomp_rule_add(context_, action, call, sizeof...(conditions), conditions...),
              "add a rule");
    }
    void load() { check(-::seccomp_load(context_), "load the filter"); }

  private:
    scmp_filter_ctx context_;
};

/// A condition on argument `n`, as SCMP_A0() and its kin make it: those are compound
/// literals, which C++ does not have.
scmp_arg_cmp argument(unsigned n, scmp_compare compare, scmp_datum_t a, scmp_datum_t b = 0) {
    return {n, compare, a, b};
}

void filter_system_calls(int stats_file) {
    Filter filter;
    for (const int call : allowed) {
        filter.add(SCMP_ACT_ALLOW, call);
    }
    // abort(), but not another driver's end: all are nobody.
    filter.add(SCMP_ACT_ALLOW, SCMP_SYS(tgkill),
               argument(0, SCMP_CMP_EQ, static_cast<scmp_datum_t>(::getpid())));
    // Memory, but never code.
    filter.add(SCMP_ACT_ALLOW, SCMP_SYS(mmap), argument(2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    filter.add(SCMP_ACT_ALLOW, SCMP_SYS(mprotect), argument(2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    filter.add(SCMP_ACT_ALLOW, SCMP_SYS(mremap));
    // Rights to I/O ports may be given back.
    filter.add(SCMP_ACT_ALLOW, SCMP_SYS(ioperm), argument(2, SCMP_CMP_EQ, 0));
    // Only the counters' file is written over. Logs that were inherited can be added to, but
    // not shortened or changed, and nobody moves to another place in them.
    if (stats_file >= 0) {
        const auto file = static_cast<scmp_datum_t>(stats_file);
        filter.add(SCMP_ACT_ALLOW, SCMP_SYS(pwrite64), argument(0, SCMP_CMP_EQ, file));
        filter.add(SCMP_ACT_ALLOW, SCMP_SYS(ftruncate), argument(0, SCMP_CMP_EQ, file));
    }
    filter.add(SCMP_ACT_ERRNO(ESPIPE), SCMP_SYS(lseek)); // the C library asks, at exit
    // udrv's own calls; whether output is a terminal may be asked, in vain.
    constexpr std::uint64_t type_mask = std::uint64_t{_IOC_TYPEMASK} << _IOC_TYPESHIFT;
    constexpr std::uint64_t type = std::uint64_t{_IOC_TYPE(UDRV_IOC_INFO)} << _IOC_TYPESHIFT;
    filter.add(SCMP_ACT_ALLOW, SCMP_SYS(ioctl), argument(1, SCMP_CMP_MASKED_EQ, type_mask, type));
    filter.add(SCMP_ACT_ERRNO(ENOTTY), SCMP_SYS(ioctl), argument(1, SCMP_CMP_EQ, TCGETS));
    filter.load();
}

} // namespace

void close_inherited_files() {
    (void)::close_range(STDERR_FILENO + 1, ~0U, 0); // Linux 5.9; without it they stay
    const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null >= 0) {
        (void)::dup2(null, STDIN_FILENO);
        if (null != STDIN_FILENO) {
            ::close(null);
        }
    }
}

void enter_sandbox(const std::function<void()>& start_threads, int stats_file) {
    lift_limits();
    drop_privileges();
    if (start_threads) {
        start_threads();
    }
    set_limits();
    filter_system_calls(stats_file);
}

} // namespace udrv
