// SPDX-License-Identifier: MIT
//
// Addresses, and the command on a made-up /sys and /proc in a temporary folder.
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>
#include <sstream>
#include <thread>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <udrv/udrv.h>
#include <unistd.h>

#include "cli/bind.hpp"
#include "cli/history.hpp"
#include "cli/saved.hpp"
#include "cli/status.hpp"
#include "cli/system.hpp"
#include "cli/top.hpp"
#include "cli/version.hpp"
#include "libudrv/error.hpp"
#include "libudrv/testing/error_of.hpp"

namespace udrv {
namespace {

namespace fs = std::filesystem;

TEST(PciAddressTest, BothForms) {
    EXPECT_EQ(PciAddress::parse("0000:00:10.0").str(), "0000:00:10.0");
    EXPECT_EQ(PciAddress::parse("00:10.0").str(), "0000:00:10.0");
    EXPECT_EQ(PciAddress::parse("0:1f.7").str(), "0000:00:1f.7");
    EXPECT_EQ(PciAddress::parse("10000:E1:00.2").str(), "10000:e1:00.2");
}

TEST(PciAddressTest, Bad) {
    for (const char* text : {"", "e1000", "00:10", "00:20.0", "00:10.8", "0000:00:10.0x", "00:10.",
                             ":00:10.0", "0000:100:10.0", "-1:10.0", "0x00:10.0", "00:10.0 ",
                             "000000000:00:10.0", "..", "../../x"}) {
        EXPECT_THROW((void)PciAddress::parse(text), Error) << text;
    }
}

using test::error_of;

class CommandTest : public testing::Test {
  protected:
    CommandTest() {
        std::string pattern = (fs::temp_directory_path() / "udrv-test-XXXXXX").string();
        root_ = ::mkdtemp(pattern.data());
        system.sys = root_ / "sys";
        system.proc = root_ / "proc";
        system.dev = root_ / "dev";
        system.root = root_;
        put(system.device(address) / "vendor", "0x8086\n");
        put(system.device(address) / "device", "0x100e\n");
        put(system.device(address) / "driver_override", "(null)\n");
        put(system.pci_driver("e1000") / "unbind", "");
        put(system.pci_driver("e1000") / "bind", "");
        put(system.sys / "bus/pci/drivers_probe", "");
        bind_to("e1000");
    }
    ~CommandTest() override { fs::remove_all(root_); }

    static void put(const fs::path& path, const std::string& text) {
        fs::create_directories(path.parent_path());
        std::ofstream(path) << text;
    }
    void bind_to(const std::string& driver) const {
        const fs::path link = system.device(address) / "driver";
        fs::remove(link);
        fs::create_directory_symlink(system.pci_driver(driver), link);
    }
    [[nodiscard]] fs::path allow() const {
        return system.sys / "module/udrv/parameters/allow_unsafe_no_iommu";
    }
    void load_module() const {
        put(system.pci_driver("udrv") / "bind", "");
        put(system.pci_driver("udrv") / "unbind", "");
        put(allow(), "N\n");
    }

    /// A kernel that gives the device to `driver` when it is unbound from udrv; empty: none.
    template <typename Call>
    void with_kernel_that_binds(const std::string& driver, Call call) const {
        const fs::path unbind = system.pci_driver("udrv") / "unbind";
        const fs::path next = system.device(address) / "driver_override"; // written after it
        for (const fs::path& file : {unbind, next}) { // the writer waits for a reader
            fs::remove(file);
            ASSERT_EQ(::mkfifo(file.c_str(), 0600), 0);
        }
        std::thread kernel([&] {
            (void)cli::read_line(unbind);
            fs::remove(system.device(address) / "driver");
            if (!driver.empty()) {
                bind_to(driver);
            }
            (void)cli::read_line(next);
        });
        call();
        kernel.join();
    }

    fs::path root_;
    cli::BindOptions without_iommu{.force = false, .without_iommu = true};
    cli::System system;
    PciAddress address = PciAddress::parse("0000:00:10.0");
};

TEST_F(CommandTest, NoSuchDevice) {
    const auto other = PciAddress::parse("00:11.0");
    EXPECT_EQ(error_of([&] { cli::bind(system, other, {}); }),
              "bind 0000:00:11.0: there is no such PCI device; `lspci -D` lists those of this "
              "machine");
}

TEST_F(CommandTest, NoModule) {
    EXPECT_EQ(error_of([&] { cli::bind(system, address, without_iommu); }),
              "bind 0000:00:10.0: the kernel module udrv is not loaded; load it with `modprobe "
              "udrv` (or insmod build/modules/udrv.ko)");
}

// The made-up kernel does not move the device: everything must be as it was.
TEST_F(CommandTest, BindRollsBack) {
    load_module();
    const std::string error = error_of([&] { cli::bind(system, address, without_iommu); });
    EXPECT_NE(error.find("did not take the device"), std::string::npos) << error;
    EXPECT_EQ(cli::read_line(system.pci_driver("e1000") / "unbind"), "0000:00:10.0");
    EXPECT_EQ(cli::read_line(system.pci_driver("udrv") / "bind"), "0000:00:10.0");
    EXPECT_EQ(cli::read_line(system.device(address) / "driver_override"), "");
    EXPECT_EQ(cli::read_line(allow()), "1") << "what no IOMMU confines is allowed first";
}

TEST_F(CommandTest, RefusesWithoutAnIommu) {
    load_module();
    const fs::path group = system.device(address) / "iommu_group";
    const auto refusal = [&] { return error_of([&] { cli::bind(system, address, {}); }); };
    EXPECT_EQ(refusal(), "bind 0000:00:10.0: no IOMMU confines it, so its driver could reach all "
                         "memory; --unsafe-no-iommu if you trust the driver like the kernel");
    put(group / "type", "identity\n");
    EXPECT_NE(refusal().find("lets it through (type identity)"), std::string::npos);
    put(group / "type", "DMA-FQ\n");
    EXPECT_NE(refusal().find("iommu.strict=1"), std::string::npos);
    put(group / "type", "DMA\n");
    put(group / "devices/0000:00:10.0", "");
    EXPECT_EQ(cli::unconfined(system, address), "");
    EXPECT_EQ(cli::read_line(system.pci_driver("e1000") / "unbind"), "") << "nothing was done";
    EXPECT_EQ(cli::read_line(allow()), "N");
}

// As VFIO: the others of its group are unused, ours too, or bridges.
TEST_F(CommandTest, LooksAtTheWholeGroup) {
    load_module();
    const fs::path group = system.device(address) / "iommu_group";
    const auto neighbour = [&](const std::string& bdf, const std::string& kind,
                               const std::string& driver) {
        const fs::path device = system.sys / "bus/pci/devices" / bdf;
        put(group / "devices" / bdf, "");
        put(device / "class", kind + "\n");
        fs::remove(device / "driver");
        if (!driver.empty()) {
            fs::create_directories(system.pci_driver(driver));
            fs::create_directory_symlink(system.pci_driver(driver), device / "driver");
        }
    };
    put(group / "type", "DMA\n");
    put(group / "devices" / address.str(), "");
    neighbour("0000:00:1f.0", "0x060100", ""); // an ISA bridge that nobody drives
    neighbour("0000:00:1c.0", "0x060400", "pcieport");
    neighbour("0000:00:1e.0", "0x060401", "shpchp");
    neighbour("0000:01:00.0", "0x020000", "udrv");
    EXPECT_EQ(cli::unconfined(system, address), "");
    neighbour("0000:00:1f.0", "0x060100", "lpc_ich");
    EXPECT_EQ(error_of([&] { cli::bind(system, address, {}); }),
              "bind 0000:00:10.0: its IOMMU cannot tell it from 0000:00:1f.0, which has the driver "
              "lpc_ich (unbinding that is another way), so its driver could reach all memory; "
              "--unsafe-no-iommu if you trust the driver like the kernel");
    neighbour("0000:00:1f.0", "0x060100", "udrv");
    neighbour("0000:00:1f.3", "0x0c0500", "i801_smbus");
    EXPECT_NE(cli::unconfined(system, address).find("0000:00:1f.3"), std::string::npos);
}

TEST_F(CommandTest, BoundAlready) {
    load_module();
    bind_to("udrv");
    EXPECT_NO_THROW(cli::bind(system, address, without_iommu));
    EXPECT_EQ(cli::read_line(system.pci_driver("udrv") / "bind"), "");
}

TEST_F(CommandTest, UntrustedNeedsBounceBuffersBehindAnIommu) {
    load_module();
    const fs::path group = system.device(address) / "iommu_group";
    const fs::path slots = system.sys / "kernel/debug/swiotlb/io_tlb_nslabs";
    const cli::BindOptions untrusted{.force = false, .without_iommu = true, .untrusted = true};
    const auto error = [&] { return error_of([&] { cli::bind(system, address, untrusted); }); };
    const std::string refusal =
        "bind --untrusted 0000:00:10.0: the kernel has no bounce buffers, without which an "
        "untrusted device gets no data; boot with swiotlb=force on the kernel's command line, "
        "or with memory above 4 GiB";
    const std::string no_refusal = "did not take the device"; // the made-up kernel
    put(group / "type", "DMA\n");
    EXPECT_EQ(cli::bounce_buffers(system), std::nullopt);
    EXPECT_NE(error().find(no_refusal), std::string::npos) << "not known: it goes on";

    put(system.pci_driver("e1000") / "unbind", "");
    put(system.device(address) / "driver_override", "(null)\n");
    fs::create_directories(slots.parent_path());
    EXPECT_EQ(cli::bounce_buffers(system), false);
    EXPECT_EQ(error(), refusal);
    put(slots, "0\n");
    EXPECT_EQ(error(), refusal);
    EXPECT_EQ(cli::read_line(system.pci_driver("e1000") / "unbind"), "") << "nothing was done";
    EXPECT_EQ(cli::read_line(system.device(address) / "driver_override"), "(null)");
    put(group / "type", "identity\n");
    EXPECT_NE(error().find(no_refusal), std::string::npos) << "no IOMMU: no pages to fill up";
    put(group / "type", "DMA\n");
    put(slots, "32768\n");
    EXPECT_EQ(cli::bounce_buffers(system), true);
    EXPECT_NE(error().find(no_refusal), std::string::npos);

    bind_to("udrv"); // already
    put(system.device(address) / "udrv/untrusted", "0\n");
    EXPECT_EQ(error(), "bind --untrusted 0000:00:10.0: it is bound already, and its driver is "
                       "trusted; `udrv unbind` it first");
    EXPECT_EQ(cli::read_line(system.device(address) / "udrv/untrusted"), "0");
    put(system.device(address) / "udrv/untrusted", "1\n");
    EXPECT_EQ(error(), "no error");
}

// The kernel's side of a bind: what udrv says of itself is what `then` puts there.
class BindTest : public CommandTest {
  protected:
    void with_kernel(const std::function<void()>& then, const std::function<void()>& call) {
        load_module();
        for (const fs::path& file : {unbind, probe}) { // the writer waits for a reader
            fs::remove(file);
            ASSERT_EQ(::mkfifo(file.c_str(), 0600), 0);
        }
        std::thread kernel([&] {
            EXPECT_EQ(cli::read_line(unbind), "0000:00:10.0");
            bind_to("udrv");
            then();
            EXPECT_EQ(cli::read_line(probe), "0000:00:10.0");
        });
        call();
        kernel.join();
    }
    void expect_rolled_back() {
        EXPECT_EQ(cli::read_line(system.pci_driver("udrv") / "unbind"), "0000:00:10.0");
        EXPECT_EQ(cli::read_line(system.pci_driver("e1000") / "bind"), "0000:00:10.0");
        EXPECT_EQ(cli::read_line(system.device(address) / "driver_override"), "");
    }

    const fs::path unbind = system.pci_driver("e1000") / "unbind";
    const fs::path probe = system.pci_driver("udrv") / "bind";
};

// The last step fails: the device does not stay with udrv.
TEST_F(BindTest, RollsBackFromUdrv) {
    with_kernel([] {},
                [&] {
                    const std::string error = error_of([&] {
                        cli::bind(system, address,
                                  {.force = false, .without_iommu = true, .untrusted = true});
                    });
                    EXPECT_NE(error.find("it happened when writing "), std::string::npos) << error;
                });
    expect_rolled_back();
}

TEST_F(BindTest, TakesADeviceThatIsConfined) {
    put(system.device(address) / "iommu_group/type", "DMA\n");
    put(system.dev / "udrv" / address.str(), "");
    with_kernel([&] { put(system.device(address) / "udrv/iommu", "1\n"); },
                [&] { EXPECT_EQ(error_of([&] { cli::bind(system, address, {}); }), "no error"); });
    EXPECT_EQ(system.bound_driver(address), "udrv");
}

TEST_F(CommandTest, RefusesTheDefaultRoute) {
    load_module();
    put(system.device(address) / "net/eth0/mtu", "1500");
    put(system.sys / "class/net/eth0/upper_br0/x", "");
    put(system.proc / "net/route",
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\n"
        "eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\n");
    EXPECT_EQ(cli::in_use(system, address), "");
    put(system.proc / "net/route",
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\n"
        "br0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\n");
    EXPECT_EQ(cli::in_use(system, address), "the default route goes over its interface br0");
    put(system.proc / "net/route", "Iface\n");
    put(system.proc / "net/ipv6_route",
        "00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
        "fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0\n");
    EXPECT_EQ(error_of([&] { cli::bind(system, address, without_iommu); }),
              "bind 0000:00:10.0: the default route goes over its interface eth0; use --force if "
              "the machine can do without");
    EXPECT_EQ(cli::read_line(system.device(address) / "driver_override"), "(null)");
}

TEST_F(CommandTest, RefusesAMountedDisk) {
    const fs::path disk = system.device(address) / "ata1/host0/target0:0:0/block/sda";
    put(disk / "dev", "8:0\n");
    put(disk / "sda1/dev", "8:1\n");
    put(disk / "sda1/partition", "1\n");
    put(disk / "sda1/holders/dm-0/x", "");
    put(system.sys / "class/block/dm-0/dev", "254:0\n");
    put(system.proc / "self/mountinfo", "22 1 0:21 / /proc rw - proc proc rw\n");
    EXPECT_EQ(cli::in_use(system, address), "");
    put(system.proc / "self/mountinfo", "36 35 8:1 / /boot rw shared:1 - ext4 /dev/x rw\n");
    EXPECT_EQ(cli::in_use(system, address), "it carries the mounted file system /boot");
    put(system.proc / "self/mountinfo", "36 35 254:0 / / rw shared:1 - ext4 /dev/x rw\n");
    EXPECT_EQ(cli::in_use(system, address), "it carries the mounted file system /");
}

TEST_F(CommandTest, Unbind) {
    load_module();
    EXPECT_EQ(error_of([&] { cli::unbind(system, address); }),
              "unbind 0000:00:10.0: the device is not bound to udrv; `udrv status` lists those "
              "that are");
    bind_to("udrv");
    put(system.device(address) / "driver_override", "udrv\n");
    cli::unbind(system, address);
    EXPECT_EQ(cli::read_line(system.pci_driver("udrv") / "unbind"), "0000:00:10.0");
    EXPECT_EQ(cli::read_line(system.sys / "bus/pci/drivers_probe"), "")
        << "a chip that cannot be reset is not handed on";
}

TEST_F(CommandTest, UnbindSaysThatNobodyHasIt) {
    load_module();
    const auto said = [&](const std::string& driver) {
        bind_to("udrv");
        testing::internal::CaptureStderr();
        with_kernel_that_binds(driver, [&] { cli::unbind(system, address); });
        return testing::internal::GetCapturedStderr();
    };
    EXPECT_EQ(said(""), "udrv: 0000:00:10.0 has no driver now: it cannot be reset alone, and may "
                        "still use memory of a driver that was killed; if its driver was stopped, "
                        "write the address to /sys/bus/pci/drivers_probe\n");
    put(system.device(address) / "reset", "");
    EXPECT_EQ(said(""), "udrv: 0000:00:10.0 has no driver now: none of the kernel's took it\n");
    EXPECT_EQ(said("e1000"), "");
}

TEST_F(CommandTest, RefusesWhatNoDriverServes) {
    load_module();
    put(system.device(address) / "vendor", "0x8086\n");
    put(system.device(address) / "device", "0x7000\n"); // the ISA bridge of a PIIX3
    cli::BindOptions options = without_iommu;
    options.served = [](const PciId& id) { return id == PciId{0x8086, 0x100e, 0}; };
    EXPECT_EQ(error_of([&] { cli::bind(system, address, options); }),
              "bind 0000:00:10.0: no driver here serves a 8086:7000; use --force if you have one "
              "for it");
    EXPECT_EQ(cli::read_line(system.device(address) / "driver_override"), "(null)");
    options.force = true;
    EXPECT_NE(error_of([&] { cli::bind(system, address, options); }).find("did not take"),
              std::string::npos);
    options.force = false;
    put(system.device(address) / "device", "0x100e\n");
    EXPECT_NE(error_of([&] { cli::bind(system, address, options); }).find("did not take"),
              std::string::npos);
}

// ---- bind --save ----

TEST_F(CommandTest, SaveKeepsTheOptions) {
    EXPECT_FALSE(cli::saved(system, address));
    cli::save_binding(system, address, {});
    EXPECT_TRUE(cli::saved(system, address));
    const auto text = [&] {
        std::ifstream stream(root_ / "etc/udrv/0000:00:10.0.bind");
        return std::string{std::istreambuf_iterator<char>(stream), {}};
    };
    EXPECT_NE(text().find("\nBIND_OPTIONS=\n"), std::string::npos) << text();
    cli::save_binding(system, address, {.force = true, .without_iommu = true, .untrusted = true});
    EXPECT_NE(text().find("\nBIND_OPTIONS=--force --unsafe-no-iommu --untrusted\n"),
              std::string::npos)
        << text();
    EXPECT_EQ(cli::list(root_ / "etc/udrv").size(), 1U) << "no temporary file is left";
    cli::forget_binding(system, address);
    EXPECT_FALSE(cli::saved(system, address));
    cli::forget_binding(system, address);
}

TEST_F(CommandTest, SavedOptionsCount) {
    load_module();
    const auto any = [](const PciId&) { return true; };
    EXPECT_NE(error_of([&] { cli::bind_saved(system, address, any); }).find("udrv bind --save"),
              std::string::npos);
    cli::save_binding(system, address, {});
    EXPECT_NE(error_of([&] { cli::bind_saved(system, address, any); }).find("no IOMMU confines"),
              std::string::npos);
    cli::save_binding(system, address, {.without_iommu = true});
    EXPECT_NE(error_of([&] { cli::bind_saved(system, address, any); }).find("did not take"),
              std::string::npos);
    put(cli::saved_file(system, address), "BIND_OPTIONS=--unsafe-no-iommu --fly\n");
    EXPECT_NE(error_of([&] { cli::bind_saved(system, address, any); }).find("no option '--fly'"),
              std::string::npos);
}

// At boot, with a kernel that has no modules of ours: the rule has kept the kernel's driver away.
TEST_F(CommandTest, SavedGivesTheDeviceBack) {
    put(system.device(address) / "driver_override", "udrv\n");
    fs::remove(system.device(address) / "driver");
    cli::save_binding(system, address, {.without_iommu = true});
    EXPECT_NE(error_of([&] { cli::bind_saved(system, address, {}); }).find("is not loaded"),
              std::string::npos);
    EXPECT_EQ(cli::read_line(system.device(address) / "driver_override"), "");
    EXPECT_EQ(cli::read_line(system.sys / "bus/pci/drivers_probe"), address.str());
}

TEST_F(CommandTest, SavedLeavesADriverThatIsThere) {
    cli::save_binding(system, address, {.without_iommu = true});
    EXPECT_NE(error_of([&] { cli::bind_saved(system, address, {}); }).find("is not loaded"),
              std::string::npos);
    EXPECT_EQ(system.bound_driver(address), "e1000");
    EXPECT_EQ(cli::read_line(system.sys / "bus/pci/drivers_probe"), "");
}

// ---- Names ----

TEST_F(CommandTest, NamesOfInterfacesAndDisks) {
    const fs::path pci = system.sys / "devices/pci0000:00/0000:00:1c.0/0000:02:00.0";
    const auto class_link = [&](const std::string& kind, const fs::path& device) {
        fs::create_directories(device);
        fs::create_directories(system.sys / "class" / kind);
        fs::create_directory_symlink(device, system.sys / "class" / kind / device.filename());
    };
    class_link("net", pci / "net/eth1");
    class_link("block", pci / "ata1/host0/target0:0:0/0:0:0:0/block/sda");
    class_link("block", pci / "ata1/host0/target0:0:0/0:0:0:0/block/sda/sda1");
    class_link("net", system.sys / "devices/virtual/net/lo");
    const auto expected = PciAddress::parse("0000:02:00.0");
    for (const char* name : {"eth1", "sda", "sda1", "/dev/sda", "/dev/sda1", "02:00.0"}) {
        EXPECT_EQ(cli::find_device(system, name), expected) << name;
    }
    EXPECT_TRUE(cli::names_device(system, "eth1"));
    EXPECT_FALSE(cli::names_device(system, "02:00.0"));
    EXPECT_NE(error_of([&] { (void)cli::find_device(system, "lo"); }).find("not on a PCI function"),
              std::string::npos);
    for (const char* name : {"", ".", "..", "../net/eth1", "/dev/", "eth2", "net/eth1"}) {
        EXPECT_THROW((void)cli::find_device(system, name), Error) << name;
        EXPECT_FALSE(cli::names_device(system, name)) << name;
    }
}

// ---- What there is ----

TEST_F(CommandTest, Version) {
    EXPECT_EQ(cli::version_text(system, "1.2.3", "1.2.3 (libudrv.so.7)"),
              fmt::format("udrv 1.2.3\nlibrary: 1.2.3 (libudrv.so.7)\nABI: {}\nmodules: udrv not "
                          "loaded, udrv_net not loaded, udrv_blk not loaded",
                          UDRV_ABI_VERSION));
    put(system.sys / "module/udrv/version", "1.2.2\n");
    fs::create_directories(system.sys / "module/udrv_net"); // of before it had one
    EXPECT_NE(cli::version_text(system, "1.2.3", "x")
                  .find("modules: udrv 1.2.2, udrv_net of an unknown version, udrv_blk not loaded"),
              std::string::npos);
}

TEST_F(CommandTest, HistoryOfDeaths) {
    EXPECT_TRUE(cli::deaths(system, address).empty());
    cli::record_death(system, address, "e1000", "killed by SIGKILL");
    cli::record_death(system, address, "e1000", "two\tfields\nand lines");
    auto records = cli::deaths(system, address);
    ASSERT_EQ(records.size(), 2U);
    EXPECT_EQ(records[0].number, 1U);
    EXPECT_EQ(records[0].driver, "e1000");
    EXPECT_EQ(records[0].cause, "killed by SIGKILL");
    EXPECT_EQ(records[0].time.size(), std::string("2026-11-27T19:00:00Z").size());
    EXPECT_EQ(records[1].cause, "two fields and lines");
    for (std::size_t n = 0; n < cli::kept_deaths; ++n) {
        cli::record_death(system, address, "e1000", "exit status 1");
    }
    records = cli::deaths(system, address);
    ASSERT_EQ(records.size(), cli::kept_deaths);
    EXPECT_EQ(records.front().number, 3U);
    EXPECT_EQ(records.back().number, cli::kept_deaths + 2);
    EXPECT_TRUE(cli::deaths(system, PciAddress::parse("00:11.0")).empty());
    const fs::path file = root_ / "run/udrv/0000:00:10.0.deaths";
    put(file, "nonsense\n1\t2\n\n4x\tt\td\tc\n5\tt\td\tc\tmore\n");
    records = cli::deaths(system, address);
    ASSERT_EQ(records.size(), 1U) << "what is not a record is none";
    EXPECT_EQ(records[0].number, 5U);
    EXPECT_EQ(records[0].cause, "c\tmore");
    cli::record_death(system, address, "e1000", "after that");
    EXPECT_EQ(cli::deaths(system, address).back().number, 6U);
}

TEST_F(CommandTest, StatusHasTheHistory) {
    load_module();
    fs::create_directory_symlink(system.device(address), system.pci_driver("udrv") / address.str());
    auto json = nlohmann::json::parse(cli::status_json(system))["devices"][0];
    EXPECT_EQ(json["deaths"], 0);
    EXPECT_TRUE(json["history"].empty());
    EXPECT_EQ(cli::status_table(system).find("deaths"), std::string::npos);
    cli::record_death(system, address, "e1000", "exit status 3");
    cli::record_death(system, address, "e1000", "killed by SIGKILL");
    json = nlohmann::json::parse(cli::status_json(system))["devices"][0];
    EXPECT_EQ(json["deaths"], 2);
    ASSERT_EQ(json["history"].size(), 2U);
    EXPECT_EQ(json["history"][0]["cause"], "exit status 3");
    const std::string table = cli::status_table(system);
    EXPECT_NE(table.find("\n  deaths: 2, the last one at 2"), std::string::npos) << table;
    EXPECT_NE(table.find(", of e1000: killed by SIGKILL\n"), std::string::npos) << table;
}

TEST_F(CommandTest, OpenMetrics) {
    const auto has = [&](const std::string& line) {
        return ("\n" + cli::status_openmetrics(system)).find("\n" + line + "\n") !=
               std::string::npos;
    };
    EXPECT_TRUE(has("# EOF")) << "also without the module";
    load_module();
    fs::create_directory_symlink(system.device(address), system.pci_driver("udrv") / address.str());
    const fs::path attributes = system.device(address) / "udrv";
    put(attributes / "owner", "0\n");
    EXPECT_TRUE(has("udrv_up{bdf=\"0000:00:10.0\",driver=\"\",name=\"\"} 0"));
    put(attributes / "owner", "123\n");
    put(attributes / "driver", "udrv-e\"1\\\n");
    put(attributes / "interrupts", "42\n");
    put(attributes / "pinned_bytes", "4096\n");
    put(system.device(address) / "net/udn0/mtu", "");
    cli::record_death(system, address, "e1000", "exit status 3");
    EXPECT_TRUE(has("udrv_up{bdf=\"0000:00:10.0\",driver=\"e\\\"1\\\\\",name=\"udn0\"} 1"))
        << cli::status_openmetrics(system);
    EXPECT_TRUE(has("udrv_interrupts_total{bdf=\"0000:00:10.0\"} 42"));
    EXPECT_TRUE(has("udrv_deaths_total{bdf=\"0000:00:10.0\"} 1"));
    EXPECT_TRUE(has("# UNIT udrv_pinned_bytes bytes"));
    EXPECT_TRUE(has("udrv_pinned_bytes{bdf=\"0000:00:10.0\"} 4096"));
    EXPECT_TRUE(cli::status_openmetrics(system).ends_with("# EOF\n"));
    EXPECT_EQ(cli::status_openmetrics(system).find("\n\n"), std::string::npos);
}

TEST_F(CommandTest, Top) {
    load_module();
    EXPECT_TRUE(cli::look(system).devices.empty());
    fs::create_directory_symlink(system.device(address), system.pci_driver("udrv") / address.str());
    const fs::path device = system.device(address);
    put(device / "udrv/owner", "123\n");
    put(device / "udrv/driver", "udrv-e1000\n");
    put(device / "udrv/state", "running\n");
    put(device / "udrv/interrupts", "1000\n");
    const auto count = [&](int packets, int ticks) {
        put(device / "net/udn0/statistics/rx_packets", std::to_string(packets));
        put(device / "net/udn0/statistics/rx_bytes", std::to_string(packets * 1024));
        put(device / "udrv_disk/udb0/udb0/stat",
            fmt::format("7 0 8 0 {} 0 {} 0 0 0 0", packets, packets * 2));
        put(system.proc / "123/stat",
            fmt::format("123 (udrv e) (x) S 1 1 1 0 -1 0 0 0 0 0 {} {} 0 0", ticks, ticks));
    };
    count(1000, 10);
    cli::Look before = cli::look(system);
    put(device / "udrv/interrupts", "1500\n");
    count(5096, 35);
    cli::Look after = cli::look(system);
    after.time = before.time + std::chrono::seconds(2);
    const auto words = [&] {
        std::istringstream table(cli::top_table(before, after, 100));
        std::string line;
        std::getline(table, line);
        std::getline(table, line);
        std::istringstream row(line);
        return std::vector<std::string>(std::istream_iterator<std::string>(row), {});
    };
    EXPECT_EQ(words(), (std::vector<std::string>{"0000:00:10.0", "e1000", "123", "running", "udn0",
                                                 "25.0", "250", "2048", "2048", "2.0", "2.0"}));
    after.devices.begin()->second.pid = 124; // another process: its time began anew
    EXPECT_EQ(words()[5], "0.0");
    after.devices.begin()->second.in = 0;
    EXPECT_EQ(words()[7], "0") << "a counter that began anew";
    before.devices.clear();
    EXPECT_EQ(words()[8], "0") << "no rate without a look before";
}

TEST_F(CommandTest, Status) {
    EXPECT_EQ(nlohmann::json::parse(cli::status_json(system)),
              nlohmann::json::parse(R"({"schema": 1, "devices": []})"));
    load_module();
    EXPECT_EQ(nlohmann::json::parse(cli::status_json(system)),
              nlohmann::json::parse(R"({"schema": 1, "devices": []})"));
    fs::create_directory_symlink(system.device(address), system.pci_driver("udrv") / address.str());
    const fs::path attributes = system.device(address) / "udrv";
    put(attributes / "state", "idle\n");
    put(attributes / "owner", "0\n");
    put(attributes / "driver", "\n");
    auto json = nlohmann::json::parse(cli::status_json(system))["devices"];
    ASSERT_EQ(json.size(), 1U);
    EXPECT_EQ(json[0]["bdf"], "0000:00:10.0");
    EXPECT_TRUE(json[0]["driver"].is_null());
    EXPECT_TRUE(json[0]["pid"].is_null());
    EXPECT_TRUE(json[0]["name"].is_null());
    put(attributes / "state", "running\n");
    put(attributes / "owner", "123\n");
    put(attributes / "driver", "udrv-e1000\n");
    put(attributes / "interrupts", "42\n");
    put(system.device(address) / "net/udn0/mtu", "");
    json = nlohmann::json::parse(cli::status_json(system))["devices"];
    EXPECT_EQ(json[0]["driver"], "e1000");
    EXPECT_EQ(json[0]["pid"], 123);
    EXPECT_EQ(json[0]["state"], "running");
    EXPECT_EQ(json[0]["name"], "udn0");
    EXPECT_EQ(json[0]["interrupts"], 42);
    EXPECT_EQ(json[0]["untrusted"], false);
    EXPECT_NE(cli::status_table(system).find("udn0"), std::string::npos);
    EXPECT_NE(cli::status_table(system).find(" trusted, no IOMMU\n"), std::string::npos);
    put(attributes / "untrusted", "1\n");
    EXPECT_EQ(nlohmann::json::parse(cli::status_json(system))["devices"][0]["untrusted"], true);
    EXPECT_NE(cli::status_table(system).find(" untrusted, no IOMMU\n"), std::string::npos);
}

} // namespace
} // namespace udrv
