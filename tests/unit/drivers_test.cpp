// SPDX-License-Identifier: MIT
//
// PCI ids as text, and drivers' programs in folders.
#include "cli/drivers.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <gtest/gtest.h>

#include "libudrv/testing/error_of.hpp"

#include "cli/run.hpp"
#include "libudrv/process/driver.hpp"

namespace udrv::cli {
namespace {

using test::error_of;

TEST(PciIds, Lines) {
    const auto ids = parse_ids("# SPDX\n\n 8086:100e\tIntel  82540EM \r\n"
                               "8086:*\n*:*:010802 NVM Express\n1af4:*:02 a NIC\n*:*:0106",
                               "x.ids");
    ASSERT_EQ(ids.size(), 5U);
    EXPECT_EQ(ids[0].description, "Intel  82540EM");
    EXPECT_EQ(ids[1].description, "");
    const char* const written[] = {"8086:100e", "8086:*", "*:*:010802", "1af4:*:02", "*:*:0106"};
    for (std::size_t n = 0; n < ids.size(); ++n) {
        EXPECT_EQ(ids[n].str(), written[n]);
    }
    EXPECT_TRUE(ids[0].matches({0x8086, 0x100e, 0x020000}));
    EXPECT_FALSE(ids[0].matches({0x8086, 0x100f, 0x020000}));
    EXPECT_FALSE(ids[0].matches({0x8087, 0x100e, 0x020000}));
    EXPECT_TRUE(ids[1].matches({0x8086, 0, 0}));
    EXPECT_TRUE(ids[2].matches({0x1b36, 0x0010, 0x010802}));
    EXPECT_FALSE(ids[2].matches({0x1b36, 0x0010, 0x010801}));
    EXPECT_TRUE(ids[3].matches({0x1af4, 1, 0x028000}));
    EXPECT_FALSE(ids[3].matches({0x1af4, 1, 0x010000}));
    EXPECT_TRUE(ids[4].matches({1, 2, 0x010601}));
    EXPECT_EQ(find_id(ids, {0x8086, 0x100e, 0}), &ids[0]);
    EXPECT_EQ(find_id(ids, {2, 2, 0}), nullptr);
}

TEST(PciIds, BadLinesAreNamed) {
    for (const char* line : {"8086", "8086:", ":100e", "8086:100", "80860:100e", "8086:100g", "*:*",
                             "*:*:", "*:*:0", "*:*:01080", "*:*:01080200", "0x86:100e",
                             "8086:100e:zz", "8086:100e:02:1", "+086:100e", "8086 100e"}) {
        const std::string error = error_of(
            [&] { (void)parse_ids(std::string("# first\n") + line + "\n", "/x/chip.ids"); });
        EXPECT_EQ(error.find("read /x/chip.ids, line 2: '"), 0U) << line << ": " << error;
    }
}

class DriversTest : public testing::Test {
  protected:
    DriversTest() {
        std::string pattern = (fs::temp_directory_path() / "udrv-test-XXXXXX").string();
        root_ = ::mkdtemp(pattern.data());
        system_.sys = root_ / "sys";
    }
    ~DriversTest() override {
        ::unsetenv("UDRV_DRIVER_PATH");
        fs::remove_all(root_);
    }
    void put(const fs::path& path, const std::string& text, bool executable = false) const {
        fs::create_directories((root_ / path).parent_path());
        std::ofstream(root_ / path) << text;
        fs::permissions(root_ / path, executable ? fs::perms::owner_all
                                                 : fs::perms::owner_read | fs::perms::owner_write);
    }
    void driver(const std::string& folder, const std::string& name, const std::string& ids) const {
        put(fs::path(folder) / ("udrv-" + name), "#!/bin/sh\n", true);
        if (!ids.empty()) {
            put(fs::path(folder) / (name + ".ids"), ids);
        }
    }
    void device(const char* vendor, const char* id, const char* code) const {
        const fs::path folder = system_.device(address_).lexically_relative(root_);
        put(folder / "vendor", vendor);
        put(folder / "device", id);
        put(folder / "class", code);
    }
    [[nodiscard]] std::string chosen(const Drivers& drivers, const std::string& name) const {
        return choose_driver(system_, drivers, name, address_).path.lexically_relative(root_);
    }

    fs::path root_;
    System system_;
    PciAddress address_ = PciAddress::parse("0000:00:10.0");
};

TEST_F(DriversTest, TheEarlierFolderCounts) {
    driver("a", "e1000", "8086:100e\n");
    driver("b", "e1000", "8086:100f\n");
    driver("b", "nvme", "*:*:010802 any\n");
    put("b/udrv-text", "not executable");
    put("b/udrv-", "#!/bin/sh\n", true);
    put("b/other", "#!/bin/sh\n", true);
    fs::create_directories(root_ / "b/udrv-folder");
    const Drivers drivers({root_ / "a", root_ / "nowhere", root_ / "b"});
    EXPECT_EQ(drivers.names(), "e1000, nvme");
    EXPECT_EQ(drivers.find("e1000").path, root_ / "a/udrv-e1000");
    EXPECT_EQ(drivers.find("nvme").path, root_ / "b/udrv-nvme");
    EXPECT_EQ(drivers.find((root_ / "b/udrv-e1000").string()).ids.at(0).str(), "8086:100f");
    EXPECT_EQ(error_of([&] { (void)drivers.find("e1001"); }),
              "find the driver 'e1001': there is no program udrv-e1001 in " +
                  (root_ / "a").string() + " or " + (root_ / "nowhere").string() + " or " +
                  (root_ / "b").string() +
                  "; there are: e1000, nvme (UDRV_DRIVER_PATH names more folders)");
    EXPECT_THROW((void)drivers.find((root_ / "b/udrv-text").string()), UnknownDriver);
    EXPECT_EQ(Drivers({}).names(), "none");
}

TEST_F(DriversTest, Folders) {
    const fs::path own = fs::read_symlink("/proc/self/exe").parent_path();
    const fs::path libexec = (own / "../libexec/udrv").lexically_normal();
    EXPECT_EQ(Drivers::folders("../libexec/udrv"), std::vector<fs::path>{libexec});
    ::setenv("UDRV_DRIVER_PATH", ":/one::/two/three:", 1);
    EXPECT_EQ(Drivers::folders("../libexec/udrv"),
              (std::vector<fs::path>{libexec, "/one", "/two/three"}));
}

TEST_F(DriversTest, RunChecksTheIds) {
    driver("a", "e1000", "8086:100e\n8086:100f\n");
    driver("a", "edu", "1234:11e8\n");
    driver("a", "own", "");
    driver("a", "broken", "# nothing\nbla\n");
    driver("a", "empty", "# nothing\n");
    const Drivers drivers({root_ / "a"});
    EXPECT_EQ(chosen(drivers, "edu"), "a/udrv-edu") << "no such device: opening it says so";
    device("0x8086\n", "0x100f\n", "0x020000\n");
    EXPECT_EQ(chosen(drivers, "e1000"), "a/udrv-e1000");
    EXPECT_EQ(chosen(drivers, "own"), "a/udrv-own") << "it decides for itself";
    EXPECT_EQ(error_of([&] { (void)chosen(drivers, "edu"); }),
              "run edu on 0000:00:10.0: the device is 8086:100f, which this driver does not serve; "
              "it serves 1234:11e8");
    EXPECT_EQ(error_of([&] {
                  (void)chosen(drivers, "broken");
              }).find("read " + (root_ / "a/broken.ids").string() + ", line 2: 'bla'"),
              0U);
    EXPECT_NE(error_of([&] { (void)chosen(drivers, "empty"); }).find("no id in it"),
              std::string::npos);
}

TEST_F(DriversTest, TheDriverMayBeLeftOut) {
    driver("a", "e1000", "8086:100e\n");
    driver("a", "other", "*:*:0200\n");
    driver("a", "nvme", "*:*:010802\n");
    const Drivers drivers({root_ / "a"});
    EXPECT_EQ(error_of([&] { (void)chosen(drivers, ""); }),
              "find a driver for 0000:00:10.0: there is no such PCI device; `lspci -D` lists those "
              "of this machine");
    device("0x144d\n", "0xa808\n", "0x010802\n");
    EXPECT_EQ(chosen(drivers, ""), "a/udrv-nvme");
    device("0x8086\n", "0x100e\n", "0x020000\n");
    EXPECT_EQ(error_of([&] { (void)chosen(drivers, ""); }),
              "find a driver for 0000:00:10.0: e1000, other serve it; say which: `udrv run e1000 "
              "0000:00:10.0`");
    device("0x8086\n", "0x7000\n", "0x060100\n");
    EXPECT_EQ(error_of([&] { (void)chosen(drivers, ""); }),
              "find a driver for 0000:00:10.0: none here serves a 8086:7000; there are: e1000, "
              "nvme, other");
}

// Those of this project: every one has ids, and each of them is described.
TEST(OwnDrivers, HaveIds) {
    unsigned files = 0;
    for (const auto& entry : fs::recursive_directory_iterator(UDRV_SOURCE_DIR "/drivers")) {
        if (entry.path().extension() != ".ids") {
            continue;
        }
        ++files;
        std::ifstream stream(entry.path());
        const std::string text{std::istreambuf_iterator<char>(stream), {}};
        const auto ids = parse_ids(text, entry.path().string());
        EXPECT_FALSE(ids.empty()) << entry.path();
        for (const ServedId& id : ids) {
            EXPECT_FALSE(id.description.empty()) << entry.path() << ": " << id.str();
        }
    }
    EXPECT_GE(files, 4U);
}

} // namespace
} // namespace udrv::cli
