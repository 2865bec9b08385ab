// SPDX-License-Identifier: MIT
#include "cli/history.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <ctime>
#include <fstream>

#include <fmt/format.h>

namespace udrv::cli {

namespace {

constexpr char separator = '\t';

fs::path file_of(const System& system, const PciAddress& address) {
    return system.root / "run/udrv" / (address.str() + ".deaths");
}

std::string now() {
    const std::time_t time = std::time(nullptr);
    std::tm parts{};
    ::gmtime_r(&time, &parts);
    std::array<char, 32> text{};
    (void)std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
    return text.data();
}

/// The text as a field of a line.
std::string field(std::string text) {
    std::replace_if(
        text.begin(), text.end(), [](char c) { return c == separator || c == '\n'; }, ' ');
    return text;
}

} // namespace

std::vector<DeathRecord> deaths(const System& system, const PciAddress& address) {
    std::vector<DeathRecord> records;
    std::ifstream stream(file_of(system, address));
    for (std::string line; std::getline(stream, line);) {
        std::array<std::string, 4> fields;
        std::size_t begin = 0;
        std::size_t count = 0;
        while (count < fields.size() && begin <= line.size()) {
            const bool last = count + 1 == fields.size();
            const std::size_t end =
                last ? line.size() : std::min(line.find(separator, begin), line.size());
            fields[count++] = line.substr(begin, end - begin);
            begin = end + 1;
        }
        DeathRecord record{0, fields[1], fields[2], fields[3]};
        const std::string& number = fields[0];
        const auto parsed =
            std::from_chars(number.data(), number.data() + number.size(), record.number);
        if (count == fields.size() && parsed.ec == std::errc() &&
            parsed.ptr == number.data() + number.size()) {
            records.push_back(std::move(record));
        }
    }
    return records;
}

void record_death(const System& system, const PciAddress& address, const std::string& driver,
                  const std::string& cause) {
    std::vector<DeathRecord> records = deaths(system, address);
    const std::uint64_t number = records.empty() ? 1 : records.back().number + 1;
    records.push_back({number, now(), field(driver), field(cause)});
    if (records.size() > kept_deaths) {
        records.erase(records.begin(), records.end() - kept_deaths);
    }
    const fs::path file = file_of(system, address);
    const fs::path next = file.string() + ".new";
    std::error_code error;
    fs::create_directories(file.parent_path(), error);
    {
        std::ofstream stream(next, std::ios::trunc);
        for (const DeathRecord& record : records) {
            stream << fmt::format("{1}{0}{2}{0}{3}{0}{4}\n", separator, record.number, record.time,
                                  record.driver, record.cause);
        }
        if (!stream.flush()) {
            return;
        }
    }
    fs::rename(next, file, error); // a reader finds the old one or the new
}

} // namespace udrv::cli
