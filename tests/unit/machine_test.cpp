// SPDX-License-Identifier: MIT
//
// `udrv list` and `udrv doctor` on a made-up /sys in a temporary folder.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cli/doctor.hpp"
#include "cli/list.hpp"

namespace udrv::cli {
namespace {

class MachineTest : public testing::Test {
  protected:
    MachineTest() {
        std::string pattern = (fs::temp_directory_path() / "udrv-test-XXXXXX").string();
        root_ = ::mkdtemp(pattern.data());
        system_.sys = root_ / "sys";
        system_.proc = root_ / "proc";
        system_.dev = root_ / "dev";
        system_.root = root_;
        fs::create_directories(system_.sys / "kernel/debug/swiotlb");
        put("drivers/udrv-e1000", "#!/bin/sh\n");
        put("drivers/e1000.ids", "8086:100e Intel 82540EM\n");
        put("drivers/udrv-nvme", "#!/bin/sh\n");
        put("drivers/nvme.ids", "*:*:010802 an NVMe controller\n");
        for (const char* name : {"udrv-e1000", "udrv-nvme"}) {
            fs::permissions(root_ / "drivers" / name, fs::perms::owner_all);
        }
        device("0000:00:10.0", "0x8086", "0x100e", "0x020000", "e1000");
        device("0000:00:11.0", "0x1b36", "0x0010", "0x010802", "");
        device("0000:00:1f.0", "0x8086", "0x7000", "0x060100", "");
        put("sys/bus/pci/devices/README", "not a device");
    }
    ~MachineTest() override { fs::remove_all(root_); }

    void put(const fs::path& path, const std::string& text) const {
        fs::create_directories((root_ / path).parent_path());
        std::ofstream(root_ / path) << text;
    }
    void device(const std::string& bdf, const char* vendor, const char* id, const char* code,
                const std::string& driver) const {
        const fs::path folder = fs::path("sys/bus/pci/devices") / bdf;
        put(folder / "vendor", vendor);
        put(folder / "device", id);
        put(folder / "class", code);
        fs::remove(root_ / folder / "driver");
        if (!driver.empty()) {
            fs::create_directories(system_.pci_driver(driver));
            fs::create_directory_symlink(system_.pci_driver(driver), root_ / folder / "driver");
        }
    }
    /// Everything as it should be.
    void make_ready() const {
        for (const char* name : {"udrv", "udrv_net", "udrv_blk"}) {
            put(fs::path("sys/module") / name / "version", "0.1.0\n");
        }
        fs::create_directories(system_.pci_driver("udrv"));
        put("sys/module/udrv/parameters/allow_unsafe_no_iommu", "N\n");
        put("sys/class/iommu/dmar0/x", "");
        put("sys/kernel/irq/24/chip_name", "IR-PCI-MSI\n");
        put("sys/kernel/irq/1/chip_name", "IO-APIC\n");
        put("sys/kernel/debug/swiotlb/io_tlb_nslabs", "32768\n");
        put("sys/kernel/security/lockdown", "[none] integrity confidentiality\n");
        put("etc/udev/rules.d/60-udrv.rules", "");
        for (const char* bdf : {"0000:00:10.0", "0000:00:11.0"}) {
            put(fs::path("sys/bus/pci/devices") / bdf / "iommu_group/type", "DMA\n");
        }
    }
    [[nodiscard]] Drivers drivers() const { return Drivers({root_ / "drivers"}); }
    [[nodiscard]] std::vector<Finding> found() const {
        return examine(system_, drivers(), examined_);
    }
    /// "level: text" of the finding on that subject.
    [[nodiscard]] std::string of(const std::string& subject) const {
        for (const Finding& finding : found()) {
            if (finding.subject == subject) {
                EXPECT_EQ(finding.advice.empty(), finding.level == Finding::Level::good)
                    << finding.subject;
                return (finding.level == Finding::Level::good      ? "ok: "
                        : finding.level == Finding::Level::warning ? "warning: "
                                                                   : "fault: ") +
                       finding.text;
            }
        }
        return "nothing";
    }

    fs::path root_;
    System system_;
    Examined examined_{"0.1.0", "6.1.0-18-amd64", std::uint64_t{8} << 20, true};
};

TEST_F(MachineTest, ListsWhatCanBeDriven) {
    auto json = nlohmann::json::parse(list_json(system_, drivers()));
    EXPECT_EQ(json["schema"], 1);
    ASSERT_EQ(json["devices"].size(), 2U);
    EXPECT_EQ(json["devices"][0]["bdf"], "0000:00:10.0");
    EXPECT_EQ(json["devices"][0]["bound_to"], "e1000");
    EXPECT_EQ(json["devices"][0]["description"], "Intel 82540EM");
    EXPECT_EQ(json["devices"][1]["drivers"], nlohmann::json({"nvme"}));
    EXPECT_TRUE(json["devices"][1]["bound_to"].is_null());
    EXPECT_EQ(json["devices"][1]["class"], "010802");

    std::string table = list_table(system_, drivers());
    EXPECT_NE(table.find("e1000 (kernel)"), std::string::npos) << table;
    EXPECT_NE(table.find("nobody"), std::string::npos) << table;
    EXPECT_EQ(table.find("00:1f.0"), std::string::npos) << table;
    device("0000:00:10.0", "0x8086", "0x100e", "0x020000", "udrv");
    put("sys/bus/pci/devices/0000:00:10.0/udrv/owner", "0\n");
    EXPECT_NE(list_table(system_, drivers()).find("udrv, nobody runs"), std::string::npos);
    put("sys/bus/pci/devices/0000:00:10.0/udrv/owner", "77\n");
    EXPECT_NE(list_table(system_, drivers()).find("udrv, process 77"), std::string::npos);
    EXPECT_EQ(list_names(drivers()), "e1000\nnvme\n");
    EXPECT_EQ(list_table(system_, Drivers({})), "No device here is served by one of: none.\n");
}

TEST_F(MachineTest, AReadyMachine) {
    make_ready();
    const auto findings = found();
    EXPECT_EQ(findings_status(findings), 0);
    EXPECT_TRUE(std::all_of(findings.begin(), findings.end(), [](const Finding& one) {
        return one.level == Finding::Level::good;
    })) << findings_text(findings);
    EXPECT_EQ(of("module udrv"), "ok: loaded, version 0.1.0");
    EXPECT_EQ(of("devices"), "ok: 2 that a driver serves");
    const auto json = nlohmann::json::parse(findings_json(findings));
    EXPECT_EQ(json["schema"], 1);
    EXPECT_EQ(json["findings"].size(), findings.size());
    EXPECT_EQ(json["findings"][0]["level"], "ok");
}

// Each thing that may be wrong, alone.
TEST_F(MachineTest, Modules) {
    make_ready();
    put("sys/module/udrv/version", "0.2.0\n");
    EXPECT_EQ(of("module udrv"), "fault: version 0.2.0, this command is 0.1.0");
    EXPECT_EQ(findings_status(found()), 1);
    fs::remove(root_ / "sys/module/udrv/version");
    EXPECT_EQ(of("module udrv"), "ok: loaded") << "a module that does not say its version";
    fs::remove_all(root_ / "sys/module/udrv_blk");
    EXPECT_EQ(of("module udrv_blk"), "warning: not loaded: no disks");
    EXPECT_EQ(findings_status(found()), 0);
    fs::remove_all(root_ / "sys/module/udrv");
    EXPECT_EQ(of("module udrv"), "fault: not loaded: nothing can be bound");
}

TEST_F(MachineTest, Kernels) {
    for (const char* kernel : {"6.1.0-18-amd64", "6.10.3", "7.3.4+deb13-amd64", "10.0"}) {
        examined_.kernel = kernel;
        EXPECT_EQ(of("kernel"), std::string("ok: ") + kernel);
    }
    for (const char* kernel : {"6.0.19", "5.10.0-30-amd64", "4.19"}) {
        examined_.kernel = kernel;
        EXPECT_EQ(of("kernel"), std::string("fault: ") + kernel + " is too old");
    }
}

TEST_F(MachineTest, DriversAndTheirIds) {
    make_ready();
    EXPECT_EQ(of("drivers"), "ok: e1000, nvme");
    put("drivers/nvme.ids", "bla\n");
    EXPECT_EQ(of("driver nvme").find("fault: read "), 0U);
    fs::remove(root_ / "drivers/nvme.ids");
    EXPECT_EQ(of("driver nvme"), "warning: no nvme.ids beside it");
    fs::remove_all(root_ / "drivers");
    EXPECT_EQ(of("drivers"), "fault: there are none");
}

TEST_F(MachineTest, Confinement) {
    make_ready();
    fs::remove(root_ / "sys/kernel/irq/24/chip_name");
    EXPECT_EQ(of("interrupt remapping").find("warning: off"), 0U);
    put("sys/bus/pci/devices/0000:00:10.0/iommu_group/type", "identity\n");
    EXPECT_EQ(of("device 0000:00:10.0"), "warning: its IOMMU lets it through (type identity)");
    EXPECT_EQ(of("device 0000:00:11.0"), "nothing");
    EXPECT_EQ(of("device 0000:00:1f.0"), "nothing") << "nobody would drive it";
    put("sys/module/udrv/parameters/allow_unsafe_no_iommu", "Y\n");
    EXPECT_EQ(of("allow_unsafe_no_iommu").find("warning: on"), 0U);
    fs::remove_all(root_ / "sys/class/iommu");
    EXPECT_EQ(of("IOMMU").find("warning: none"), 0U);
    EXPECT_EQ(of("interrupt remapping"), "nothing");
}

TEST_F(MachineTest, TheRest) {
    make_ready();
    examined_.may_lock = false;
    EXPECT_EQ(of("locked memory"), "warning: 8192 KiB, which may be too little");
    examined_.memlock_bytes = std::uint64_t{1} << 30;
    EXPECT_EQ(of("locked memory"), "ok: 1048576 KiB");
    put("sys/kernel/debug/swiotlb/io_tlb_nslabs", "0\n");
    EXPECT_EQ(of("bounce buffers").find("warning: none"), 0U);
    put("sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
    EXPECT_EQ(of("lockdown").find("warning: on"), 0U);
    fs::remove(root_ / "etc/udev/rules.d/60-udrv.rules");
    EXPECT_EQ(of("udev rules").find("warning: not installed"), 0U);
    put("usr/lib/udev/rules.d/60-udrv.rules", "");
    EXPECT_EQ(of("udev rules"), "ok: in /usr/lib/udev/rules.d");
    const std::string variable("\x06\0\0\0\1", 5);
    put("sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c", variable);
    EXPECT_EQ(of("Secure Boot"), "ok: on") << "the modules are loaded";
    fs::remove_all(system_.pci_driver("udrv"));
    EXPECT_EQ(of("Secure Boot").find("warning: on"), 0U);
}

} // namespace
} // namespace udrv::cli
