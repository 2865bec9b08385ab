// SPDX-License-Identifier: MIT
//
// kexec VMLINUX INITRD COMMAND-LINE: starts another kernel, at once, as kexec(8) with
// --load and --exec does. For x86-64 and uncompressed kernels, which are what the lab has.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <asm/bootparam.h>
#include <elf.h>
#include <linux/kexec.h>
#include <linux/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

constexpr std::uint64_t page_bytes = 4096;
// Where things go: below the kernel, and far above it.
constexpr std::uint64_t parameters_at = 0x200000;
constexpr std::uint64_t command_line_at = parameters_at + page_bytes;
constexpr std::uint64_t entry_at = command_line_at + page_bytes;
constexpr std::uint64_t initrd_at = 0x10000000;

[[noreturn]] void die(const std::string& what) {
    std::fprintf(stderr, "kexec: %s: %s\n", what.c_str(), std::strerror(errno));
    std::exit(1);
}

std::vector<char> contents(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
    if (!file || bytes.empty()) {
        die(path);
    }
    return bytes;
}

std::string line(const std::string& path) {
    std::ifstream file(path);
    std::string text;
    std::getline(file, text);
    return text;
}

kexec_segment segment(const void* from, std::size_t bytes, std::uint64_t to,
                      std::size_t room_bytes) {
    kexec_segment made{};
    made.buf = from;
    made.bufsz = bytes;
    made.mem = reinterpret_cast<void*>(to);
    made.memsz = (room_bytes + page_bytes - 1) / page_bytes * page_bytes;
    return made;
}

/// The memory of this machine, as its firmware told this kernel.
void memory_map(boot_params& parameters) {
    std::vector<boot_e820_entry> map;
    for (unsigned n = 0; n < E820_MAX_ENTRIES_ZEROPAGE; n++) {
        const std::string folder = "/sys/firmware/memmap/" + std::to_string(n) + "/";
        const std::string type = line(folder + "type");
        if (type.empty()) {
            break;
        }
        const std::uint64_t start = std::stoull(line(folder + "start"), nullptr, 0);
        const std::uint64_t end = std::stoull(line(folder + "end"), nullptr, 0);
        const std::uint32_t number = type == "System RAM"                  ? 1
                                     : type == "ACPI Tables"               ? 3
                                     : type == "ACPI Non-volatile Storage" ? 4
                                                                           : 2;
        map.push_back({start, end - start + 1, number});
    }
    std::sort(map.begin(), map.end(), [](const auto& a, const auto& b) { return a.addr < b.addr; });
    std::copy(map.begin(), map.end(), parameters.e820_table);
    parameters.e820_entries = static_cast<std::uint8_t>(map.size());
}

/// Linux's boot protocol, "64-bit boot": RSI has the parameters, paging is on.
std::vector<std::uint8_t> entry_code(std::uint64_t kernel) {
    std::vector<std::uint8_t> code{0x48, 0xbe}; // mov $parameters_at, %rsi
    const auto number = [&](std::uint64_t value) {
        for (unsigned i = 0; i < 8; i++) {
            code.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
        }
    };
    number(parameters_at);
    code.insert(code.end(), {0x48, 0xb8}); // mov $kernel, %rax
    number(kernel);
    code.insert(code.end(), {0xff, 0xe0}); // jmp *%rax
    return code;
}

} // namespace

int main(int argc, char** argv) {
    if (argc != 4) {
        std::fputs("usage: kexec VMLINUX INITRD COMMAND-LINE\n", stderr);
        return 2;
    }
    const std::vector<char> kernel = contents(argv[1]);
    const std::vector<char> initrd = contents(argv[2]);
    const std::string command_line = argv[3];
    Elf64_Ehdr head{};
    if (kernel.size() < sizeof(head)) {
        die("too short a kernel");
    }
    std::memcpy(&head, kernel.data(), sizeof(head));

    std::vector<kexec_segment> segments;
    for (unsigned n = 0; n < head.e_phnum; n++) {
        Elf64_Phdr part{};
        std::memcpy(&part, &kernel.at(head.e_phoff + n * sizeof(part)), sizeof(part));
        if (part.p_type == PT_LOAD) {
            segments.push_back(
                segment(&kernel.at(part.p_offset), part.p_filesz, part.p_paddr, part.p_memsz));
        }
    }
    boot_params parameters{};
    parameters.hdr.boot_flag = 0xaa55;
    parameters.hdr.header = 0x53726448; // "HdrS"
    parameters.hdr.version = 0x020f;
    parameters.hdr.type_of_loader = 0xff;
    parameters.hdr.loadflags = LOADED_HIGH;
    parameters.hdr.cmd_line_ptr = static_cast<std::uint32_t>(command_line_at);
    parameters.hdr.cmdline_size = static_cast<std::uint32_t>(command_line.size());
    parameters.hdr.ramdisk_image = static_cast<std::uint32_t>(initrd_at);
    parameters.hdr.ramdisk_size = static_cast<std::uint32_t>(initrd.size());
    memory_map(parameters);
    const std::vector<std::uint8_t> code = entry_code(head.e_entry);
    segments.push_back(segment(&parameters, sizeof(parameters), parameters_at, page_bytes));
    segments.push_back(
        segment(command_line.c_str(), command_line.size() + 1, command_line_at, page_bytes));
    segments.push_back(segment(code.data(), code.size(), entry_at, page_bytes));
    segments.push_back(segment(initrd.data(), initrd.size(), initrd_at, initrd.size()));
    if (::syscall(SYS_kexec_load, entry_at, segments.size(), segments.data(), KEXEC_ARCH_X86_64) !=
        0) {
        die("load");
    }
    std::puts("kexec: loaded, starting it");
    std::fflush(stdout);
    ::syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_KEXEC,
              nullptr);
    die("start");
}
