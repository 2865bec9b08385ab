// SPDX-License-Identifier: MIT
//
// stall_process PID: makes a running program go round and round on the spot where it
// is, as a bug would: the next instruction of its main thread becomes a jump to
// itself. For tests of what notices that. Needs the right to trace the process.
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

namespace {

int fail(const char* what) {
    std::fprintf(stderr, "stall_process: %s: %s\n", what, std::strerror(errno));
    return 1;
}

} // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: stall_process PID\n");
        return 2;
    }
    const auto pid = static_cast<pid_t>(std::atoi(argv[1]));
    if (::ptrace(PTRACE_ATTACH, pid, nullptr, nullptr) != 0) {
        return fail("attach");
    }
    int status = 0;
    if (::waitpid(pid, &status, __WALL) != pid) {
        return fail("wait");
    }
    user_regs_struct registers{};
    if (::ptrace(PTRACE_GETREGS, pid, nullptr, &registers) != 0) {
        return fail("read registers");
    }
    constexpr long jump_to_itself = 0xfeeb; // EB FE
    if (::ptrace(PTRACE_POKETEXT, pid, registers.rip, jump_to_itself) != 0) {
        return fail("write code");
    }
    registers.orig_rax = ~0ULL; // a system call that was interrupted is not begun again
    if (::ptrace(PTRACE_SETREGS, pid, nullptr, &registers) != 0) {
        return fail("write registers");
    }
    if (::ptrace(PTRACE_DETACH, pid, nullptr, nullptr) != 0) {
        return fail("detach");
    }
    return 0;
}
