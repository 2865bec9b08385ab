// SPDX-License-Identifier: MIT
//
// inject_faults PID COUNT SEED PATTERN...: puts COUNT faults into a running driver, as
// the papers on MINIX 3 (DSN 2009, section 5) and Nooks (SOSP 2003, section 5) do: into
// the code of the functions whose symbol contains one of the PATTERNs, and into its stack
// and heap. Prints one line of JSON: how many faults of each kind. The same program and
// seed give the same faults in the code. Needs the right to trace the process.
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <optional>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <Zydis/Zydis.h>
#include <elf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

namespace {

using Bytes = std::vector<std::uint8_t>;
using Random = std::mt19937_64;

enum class Kind : unsigned {
    destination,
    source,
    skipped,
    branch,
    bound,
    lost_store,
    changed_store,
    memory
};
constexpr std::array kind_names{"destination",     "source",       "skipped instruction",
                                "inverted branch", "wrong bound",  "lost store",
                                "changed store",   "bit of memory"};

[[noreturn]] void fail(const std::string& what) {
    throw std::runtime_error(what);
}

std::uint64_t pick(Random& random, std::uint64_t below) {
    return std::uniform_int_distribution<std::uint64_t>(0, below - 1)(random);
}

Bytes read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) {
        fail("read " + path);
    }
    return {std::istreambuf_iterator<char>(file), {}};
}

template <class T>
T at(const Bytes& bytes, std::uint64_t offset) {
    if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) {
        fail("the program's file is cut short");
    }
    T value;
    std::memcpy(&value, bytes.data() + offset, sizeof(T));
    return value;
}

/// One instruction of the driver: where it is in the program's file, and in its memory.
struct Instruction {
    std::uint64_t vaddr;
    ZydisDecodedInstruction decoded;
    std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;
    Bytes bytes;
};

struct Mapping {
    std::uint64_t begin;
    std::uint64_t end;
    std::string name;
};

std::vector<Mapping> mappings(const std::string& pid) {
    std::ifstream maps("/proc/" + pid + "/maps");
    std::vector<Mapping> result;
    for (std::string line; std::getline(maps, line);) {
        std::istringstream fields(line);
        std::string range;
        std::string rights;
        std::string skip;
        Mapping mapping{};
        fields >> range >> rights >> skip >> skip >> skip >> mapping.name;
        if (std::sscanf(range.c_str(), "%lx-%lx", &mapping.begin, &mapping.end) == 2) {
            result.push_back(mapping);
        }
    }
    return result;
}

/// Address of a byte in memory, less its address in the file.
std::uint64_t load_bias(const std::string& pid, const Bytes& elf) {
    if (at<Elf64_Ehdr>(elf, 0).e_type != ET_DYN) {
        return 0;
    }
    std::array<char, 4096> exe{};
    const ssize_t length =
        ::readlink(("/proc/" + pid + "/exe").c_str(), exe.data(), exe.size() - 1);
    const std::string_view name(exe.data(), length > 0 ? static_cast<std::size_t>(length) : 0);
    for (const Mapping& mapping : mappings(pid)) {
        if (mapping.name == name) {
            return mapping.begin; // the first one maps the start of the file
        }
    }
    fail("the process does not map its own program");
}

std::uint64_t file_offset(const Bytes& elf, std::uint64_t vaddr) {
    const auto header = at<Elf64_Ehdr>(elf, 0);
    for (unsigned i = 0; i < header.e_phnum; ++i) {
        const auto segment = at<Elf64_Phdr>(elf, header.e_phoff + i * sizeof(Elf64_Phdr));
        if (segment.p_type == PT_LOAD && vaddr >= segment.p_vaddr &&
            vaddr < segment.p_vaddr + segment.p_filesz) {
            return vaddr - segment.p_vaddr + segment.p_offset;
        }
    }
    fail("a function is outside of the program's file");
}

void decode(const Bytes& elf, const Elf64_Sym& symbol, std::vector<Instruction>& out) {
    ZydisDecoder decoder;
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    const std::uint64_t start = file_offset(elf, symbol.st_value);
    for (std::uint64_t done = 0; done < symbol.st_size;) {
        Instruction instruction{};
        const std::uint8_t* code = elf.data() + start + done;
        if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code, symbol.st_size - done,
                                                 &instruction.decoded,
                                                 instruction.operands.data()))) {
            return;
        }
        instruction.vaddr = symbol.st_value + done;
        instruction.bytes.assign(code, code + instruction.decoded.length);
        out.push_back(instruction);
        done += instruction.decoded.length;
    }
}

bool matches(std::string_view name, const std::vector<std::string_view>& patterns) {
    for (const std::string_view pattern : patterns) {
        if (name.find(pattern) != std::string_view::npos) {
            return true;
        }
    }
    return false;
}

std::vector<Instruction> instructions(const Bytes& elf,
                                      const std::vector<std::string_view>& patterns) {
    const auto header = at<Elf64_Ehdr>(elf, 0);
    std::vector<Instruction> result;
    for (unsigned i = 0; i < header.e_shnum; ++i) {
        const auto section = at<Elf64_Shdr>(elf, header.e_shoff + i * sizeof(Elf64_Shdr));
        if (section.sh_type != SHT_SYMTAB) {
            continue;
        }
        const auto names =
            at<Elf64_Shdr>(elf, header.e_shoff + section.sh_link * sizeof(Elf64_Shdr));
        for (std::uint64_t s = 0; s < section.sh_size / sizeof(Elf64_Sym); ++s) {
            const auto symbol = at<Elf64_Sym>(elf, section.sh_offset + s * sizeof(Elf64_Sym));
            if (ELF64_ST_TYPE(symbol.st_info) != STT_FUNC || symbol.st_size == 0 ||
                names.sh_offset + symbol.st_name >= elf.size()) {
                continue;
            }
            const auto* name =
                reinterpret_cast<const char*>(elf.data() + names.sh_offset + symbol.st_name);
            if (matches({name, ::strnlen(name, elf.size() - names.sh_offset - symbol.st_name)},
                        patterns)) {
                decode(elf, symbol, result);
            }
        }
    }
    return result;
}

// ---- Kinds of faults: what an instruction becomes, or nothing if it is not of the kind --

/// Another register in the operand's field of the ModRM byte.
std::optional<Bytes> other_register(const Instruction& i, std::size_t operand, Random& random) {
    if (operand >= i.decoded.operand_count_visible || i.decoded.raw.modrm.offset == 0) {
        return std::nullopt;
    }
    const ZydisDecodedOperand& o = i.operands[operand];
    unsigned shift = 0;
    if (o.encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG) {
        shift = 3;
    } else if (o.encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM) {
        return std::nullopt;
    }
    const unsigned old = shift == 3 ? i.decoded.raw.modrm.reg : i.decoded.raw.modrm.rm;
    const unsigned other = (old + 1 + static_cast<unsigned>(pick(random, 7))) % 8;
    const bool memory = shift == 0 && i.decoded.raw.modrm.mod != 3;
    // With these the instruction would get another length.
    if (memory &&
        (old == 4 || other == 4 || (i.decoded.raw.modrm.mod == 0 && (old == 5 || other == 5)))) {
        return std::nullopt;
    }
    Bytes result = i.bytes;
    std::uint8_t& modrm = result[i.decoded.raw.modrm.offset];
    modrm = static_cast<std::uint8_t>((modrm & ~(7U << shift)) | (other << shift));
    return result;
}

/// The byte of a conditional branch that holds its condition.
std::optional<std::size_t> condition_at(const Instruction& i) {
    if (i.decoded.meta.category != ZYDIS_CATEGORY_COND_BR || i.decoded.opcode < 0x70 ||
        (i.decoded.opcode & 0xf0) == 0xe0) {
        return std::nullopt;
    }
    for (std::size_t n = 0; n < i.bytes.size(); ++n) {
        if (i.bytes[n] == i.decoded.opcode) {
            return n;
        }
    }
    return std::nullopt;
}

std::optional<Bytes> wrong_bound(const Instruction& i, Random& random) {
    Bytes result = i.bytes;
    if (const auto at = condition_at(i)) {
        const unsigned condition = result[*at] & 0xfU;
        const bool carry = (condition & 0xbU) == 2 || (condition & 0xbU) == 3; // b, be, ae, a
        const bool sign = condition >= 0xc;                                    // l, le, ge, g
        if (!carry && !sign) {
            return std::nullopt;
        }
        result[*at] ^= carry ? 4 : 2; // "less" becomes "less or equal", and so on
        return result;
    }
    if (i.decoded.mnemonic != ZYDIS_MNEMONIC_CMP || i.decoded.raw.imm[0].size == 0) {
        return std::nullopt;
    }
    std::uint8_t& bound = result[i.decoded.raw.imm[0].offset];
    bound = static_cast<std::uint8_t>(bound + (pick(random, 2) != 0 ? 1 : 255));
    return result;
}

bool stores(const Instruction& i) {
    return i.decoded.mnemonic == ZYDIS_MNEMONIC_MOV &&
           i.operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY;
}

std::optional<Bytes> changed(const Instruction& i, Kind kind, Random& random) {
    switch (kind) {
    case Kind::destination:
        return other_register(i, 0, random);
    case Kind::source:
        return other_register(i, 1, random);
    case Kind::skipped:
        return Bytes(i.bytes.size(), 0x90);
    case Kind::branch:
        if (const auto at = condition_at(i)) {
            Bytes result = i.bytes;
            result[*at] ^= 1;
            return result;
        }
        return std::nullopt;
    case Kind::bound:
        return wrong_bound(i, random);
    case Kind::lost_store:
        return stores(i) ? std::optional(Bytes(i.bytes.size(), 0x90)) : std::nullopt;
    case Kind::changed_store:
        if (stores(i) && i.decoded.raw.imm[0].size != 0) {
            Bytes result = i.bytes;
            result[i.decoded.raw.imm[0].offset] ^= static_cast<std::uint8_t>(1U << pick(random, 8));
            return result;
        }
        return stores(i) ? other_register(i, 1, random) : std::nullopt;
    case Kind::memory:
        break;
    }
    return std::nullopt;
}

// ---- The process ---------------------------------------------------------------------

class Memory {
  public:
    explicit Memory(const std::string& pid)
        : fd_(::open(("/proc/" + pid + "/mem").c_str(), O_RDWR | O_CLOEXEC)) {
        if (fd_ < 0) {
            fail(fmt::format("open the memory of process {}: {}", pid, std::strerror(errno)));
        }
    }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    ~Memory() { ::close(fd_); }

    [[nodiscard]] bool write(std::uint64_t address, const Bytes& bytes) const {
        return ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(address)) ==
               static_cast<ssize_t>(bytes.size());
    }
    [[nodiscard]] bool flip(std::uint64_t address, unsigned bit) const {
        Bytes byte(1);
        if (::pread(fd_, byte.data(), 1, static_cast<off_t>(address)) != 1) {
            return false;
        }
        byte[0] ^= static_cast<std::uint8_t>(1U << bit);
        return write(address, byte);
    }

  private:
    int fd_;
};

bool flip_a_bit(const Memory& memory, const std::vector<Mapping>& data, Random& random) {
    const Mapping& where = data[pick(random, data.size())];
    // Of the stack the part in use: its end.
    const std::uint64_t size = std::min<std::uint64_t>(where.end - where.begin, 64 * 1024);
    const std::uint64_t begin = where.name == "[stack]" ? where.end - size : where.begin;
    return memory.flip(begin + pick(random, size), static_cast<unsigned>(pick(random, 8)));
}

int inject(const std::string& pid, unsigned count, std::uint64_t seed,
           const std::vector<std::string_view>& patterns) {
    const Bytes elf = read_file("/proc/" + pid + "/exe");
    const std::vector<Instruction> code = instructions(elf, patterns);
    if (code.size() < 1000) {
        fail(fmt::format("only {} instructions match; is the program stripped?", code.size()));
    }
    const std::uint64_t bias = load_bias(pid, elf);
    std::vector<Mapping> data;
    for (const Mapping& mapping : mappings(pid)) {
        if (mapping.name == "[stack]" || mapping.name == "[heap]") {
            data.push_back(mapping);
        }
    }
    const Memory memory(pid);
    Random random(seed);
    std::array<unsigned, kind_names.size()> done{};
    unsigned total = 0;
    while (total < count) {
        const auto kind = static_cast<Kind>(pick(random, kind_names.size()));
        if (kind == Kind::memory) {
            if (data.empty() || !flip_a_bit(memory, data, random)) {
                break; // it has died of what there is
            }
        } else {
            const Instruction& victim = code[pick(random, code.size())];
            const auto bytes = changed(victim, kind, random);
            if (!bytes || *bytes == victim.bytes) {
                continue;
            }
            if (!memory.write(bias + victim.vaddr, *bytes)) {
                break;
            }
        }
        ++done[static_cast<unsigned>(kind)];
        ++total;
    }
    fmt::print("{{\"seed\": {}, \"instructions\": {}, \"faults\": {}", seed, code.size(), total);
    for (std::size_t kind = 0; kind < done.size(); ++kind) {
        fmt::print(", \"{}\": {}", kind_names[kind], done[kind]);
    }
    fmt::print("}}\n");
    return 0;
}

template <class T>
T number(std::string_view text) {
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) {
        fail(fmt::format("'{}' is not a number", text));
    }
    return value;
}

} // namespace

int main(int argc, char** argv) {
    if (argc < 5) {
        fmt::print(stderr, "usage: inject_faults PID COUNT SEED PATTERN...\n");
        return 2;
    }
    try {
        return inject(std::to_string(number<unsigned>(argv[1])), number<unsigned>(argv[2]),
                      number<std::uint64_t>(argv[3]), {argv + 4, argv + argc});
    } catch (const std::exception& error) {
        fmt::print(stderr, "inject_faults: {}\n", error.what());
        return 1;
    }
}
