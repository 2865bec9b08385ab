// SPDX-License-Identifier: MIT
//
// A supervisor in a process of its own, with drivers that have no device
// (programs/fake_driver.cpp).
#include "cli/supervisor.hpp"

#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/child.hpp"
#include "cli/history.hpp"
#include "cli/journal.hpp"
#include "cli/service_manager.hpp"
#include "cli/upgrade.hpp"
#include "libudrv/process/output.hpp"
#include "libudrv/process/supervised.hpp"

namespace udrv::cli {
namespace {

using namespace std::chrono_literals;

/// Whatever happens on a busy machine; nothing waits for so long if all is well.
constexpr auto patience = 60s;

class SupervisorTest : public testing::Test {
  protected:
    SupervisorTest() {
        std::string pattern = (fs::temp_directory_path() / "udrv-test-XXXXXX").string();
        root_ = ::mkdtemp(pattern.data());
        system_.sys = root_ / "sys";
        system_.proc = "/proc";
        system_.root = root_;
        fs::create_directories(system_.device(address_));
        fs::create_directories(system_.pci_driver("udrv"));
        fs::create_directory_symlink(system_.pci_driver("udrv"),
                                     system_.device(address_) / "driver");
        record_ = (root_ / "record").string();
        program_ = root_ / "driver";
        std::ofstream(record_).flush();
        install("old");
        limits_.deadline = 5s;
        limits_.takeover = 5s;
        limits_.ready = 5s;
        limits_.long_life = 300ms;
    }
    ~SupervisorTest() override {
        if (supervisor_ > 0) {
            ::kill(supervisor_, SIGKILL);
            ::waitpid(supervisor_, nullptr, 0);
        }
        fs::remove_all(root_);
    }

    /// A new program takes the place of the present one, as `mv` does it.
    void install_text(const std::string& text, bool executable = true) const {
        const fs::path fresh = root_ / "fresh";
        std::ofstream(fresh) << text;
        fs::permissions(fresh, executable ? fs::perms::owner_all
                                          : fs::perms::owner_read | fs::perms::owner_write);
        fs::rename(fresh, program_);
    }
    void install(const std::string& name, const std::string& fault = "") const {
        install_text(
            fmt::format("#!/bin/sh\nexec {} \"$@\" --as {} {}\n", UDRV_FAKE_DRIVER, name, fault));
    }

    /// `output`: of the supervisor and its drivers, given away.
    void start(int output = -1) {
        sigset_t before; // as `udrv run` does first of all
        ::sigprocmask(SIG_BLOCK, &supervision_signals(), &before);
        supervisor_ = ::fork();
        if (supervisor_ != 0) {
            ::sigprocmask(SIG_SETMASK, &before, nullptr);
            return;
        }
        if (output >= 0) {
            ::dup2(output, STDOUT_FILENO);
            ::dup2(output, STDERR_FILENO);
        }
        ::close_range(3, ~0U, 0);
        open_standard_files();
        survive_lost_output();
        log_to_stderr(false);
        std::array<char*, 3> argv{const_cast<char*>("driver"), record_.data(), nullptr};
        ::_exit(supervise(system_, address_, {.path = program_, .argv = argv.data()}, limits_));
    }

    /// How many lines the record has that begin so.
    [[nodiscard]] int recorded(const std::string& start) const {
        std::ifstream file(record_);
        int count = 0;
        for (std::string line; std::getline(file, line);) {
            count += line.starts_with(start + " ") ? 1 : 0;
        }
        return count;
    }
    [[nodiscard]] bool wait_for(const std::string& start, int count = 1) const {
        const auto end = std::chrono::steady_clock::now() + patience;
        while (recorded(start) < count) {
            if (std::chrono::steady_clock::now() > end) {
                ADD_FAILURE() << "no '" << start << "' " << count << " times";
                return false;
            }
            std::this_thread::sleep_for(5ms);
        }
        return true;
    }
    /// The last driver that served.
    [[nodiscard]] pid_t driver() const {
        std::ifstream file(record_);
        pid_t last = 0;
        for (std::string line; std::getline(file, line);) {
            std::istringstream words(line);
            std::string name;
            std::string what;
            pid_t pid = 0;
            words >> name >> what >> pid;
            last = what == "serving" ? pid : last;
        }
        return last;
    }
    void kill_driver() const { ASSERT_EQ(::kill(driver(), SIGKILL), 0); }

    [[nodiscard]] bool supervised() {
        const bool runs = ::waitpid(supervisor_, nullptr, WNOHANG) == 0;
        supervisor_ = runs ? supervisor_ : 0;
        return runs;
    }
    /// The supervisor's status after a polite end.
    [[nodiscard]] int stopped(int number = SIGTERM) {
        ::kill(supervisor_, number);
        int status = 0;
        ::waitpid(supervisor_, &status, 0);
        supervisor_ = 0;
        return status;
    }
    /// As `udrv upgrade` does: the outage in ms, or -1.
    [[nodiscard]] int upgraded() const {
        sigset_t answer;
        sigemptyset(&answer);
        sigaddset(&answer, upgrade_answer);
        ::sigprocmask(SIG_BLOCK, &answer, nullptr);
        while (hangup_pending(system_, supervisor_)) {
            std::this_thread::sleep_for(1ms);
        }
        ::sigqueue(supervisor_, SIGHUP, {.sival_int = upgrade_request});
        siginfo_t info{};
        const timespec limit{std::chrono::seconds(patience).count(), 0};
        EXPECT_EQ(::sigtimedwait(&answer, &info, &limit), upgrade_answer);
        return info.si_value.sival_int;
    }
    /// Killed and restarted `times` times, all of it with lost output.
    void expect_service(int times) {
        ASSERT_TRUE(wait_for("old serving"));
        for (int n = 1; n <= times; ++n) {
            kill_driver();
            ASSERT_TRUE(wait_for("old serving", n + 1));
            EXPECT_TRUE(supervised());
        }
        EXPECT_EQ(stopped(), 0);
    }

    fs::path root_;
    fs::path program_;
    std::string record_;
    System system_;
    PciAddress address_ = PciAddress::parse("0000:00:10.0");
    SupervisionLimits limits_;
    pid_t supervisor_ = 0;
};

TEST_F(SupervisorTest, WhatASupervisorAboveItSaidIsNotForItsDrivers) {
    for (const char* name : {supervised_env::protocol, supervised_env::turn_fd,
                             supervised_env::status_fd, supervised_env::heartbeat_fd}) {
        ::setenv(name, "999", 1);
    }
    start();
    EXPECT_TRUE(wait_for("old serving"));
    for (const char* name : {supervised_env::protocol, supervised_env::turn_fd,
                             supervised_env::status_fd, supervised_env::heartbeat_fd}) {
        ::unsetenv(name);
    }
}

TEST_F(SupervisorTest, NobodyReadsItsOutput) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    ::close(ends[0]);
    start(ends[1]);
    ::close(ends[1]);
    expect_service(3);
}

TEST_F(SupervisorTest, TheReaderOfItsOutputStandsStill) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    ASSERT_EQ(::fcntl(ends[1], F_SETPIPE_SZ, 4096), 4096);
    const std::string full(4096, 'x');
    ASSERT_EQ(::write(ends[1], full.data(), full.size()), 4096);
    start(ends[1]);
    expect_service(3);
    ::close(ends[0]);
    ::close(ends[1]);
}

TEST_F(SupervisorTest, TheDiskOfItsOutputIsFull) {
    const int full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
    ASSERT_GE(full, 0);
    start(full);
    ::close(full);
    expect_service(3);
}

TEST_F(SupervisorTest, ItsOutputIsClosed) {
    const int none =
        ::open("/dev/null", O_RDONLY | O_CLOEXEC); // as open_standard_files() leaves it
    start(none);
    ::close(none);
    expect_service(3);
}

TEST_F(SupervisorTest, AnUpgrade) {
    start();
    ASSERT_TRUE(wait_for("old serving"));
    install("new");
    EXPECT_GE(upgraded(), 0);
    EXPECT_EQ(recorded("old left"), 1);
    EXPECT_EQ(recorded("new serving"), 1);
    kill_driver();
    EXPECT_TRUE(wait_for("new serving", 2)) << "its successor is of the new program, too";
    EXPECT_EQ(stopped(), 0);
}

// Whoever cannot even get ready does not disturb the one that serves.
TEST_F(SupervisorTest, UpgradesToProgramsThatNeverGetReady) {
    limits_.ready = 2s;
    start();
    ASSERT_TRUE(wait_for("old serving"));
    const pid_t old = driver();
    install_text("no program\n", false); // not executable
    EXPECT_EQ(upgraded(), -1);
    install_text(std::string("\x7f"
                             "ELF\x02\x01\x01") +
                 std::string(60, '\0')); // of no machine
    EXPECT_EQ(upgraded(), -1);
    install("new", "die-at-once");
    EXPECT_EQ(upgraded(), -1);
    install("new", "never-ready");
    EXPECT_EQ(upgraded(), -1);
    fs::remove(program_);
    EXPECT_EQ(upgraded(), -1);
    EXPECT_EQ(driver(), old);
    EXPECT_EQ(::kill(old, 0), 0);
    EXPECT_EQ(recorded("old serving"), 1);
    EXPECT_EQ(recorded("new turn"), 0);
    kill_driver();
    EXPECT_TRUE(wait_for("old serving", 2)) << "the old program, though its file is gone";
    EXPECT_EQ(stopped(), 0);
}

TEST_F(SupervisorTest, UpgradesToProgramsThatDoNotServe) {
    limits_.takeover = 1s;
    start();
    ASSERT_TRUE(wait_for("old serving"));
    int count = 1;
    for (const char* fault : {"die-in-turn", "hang-in-turn", "die-soon"}) {
        install("new", fault);
        EXPECT_EQ(upgraded(), -1) << fault;
        EXPECT_TRUE(wait_for("old serving", ++count)) << fault;
        EXPECT_EQ(recorded("new turn"), count - 1) << fault;
    }
    EXPECT_TRUE(supervised());
    EXPECT_EQ(stopped(), 0);
}

TEST_F(SupervisorTest, StormsOfSignals) {
    start();
    ASSERT_TRUE(wait_for("old serving"));
    ::kill(supervisor_, SIGUSR2);
    for (int n = 0; n < 100; ++n) {
        ::kill(supervisor_, SIGHUP);
        if (n % 10 == 0) {
            ::kill(supervisor_, SIGUSR2);
        }
        std::this_thread::sleep_for(4ms);
        ASSERT_TRUE(supervised()) << n;
    }
    install("new");
    EXPECT_GE(upgraded(), 0);
    EXPECT_TRUE(wait_for("new serving"));
    EXPECT_EQ(stopped(SIGINT), 0);
}

TEST_F(SupervisorTest, ReportsWhileItStartsKillNobody) {
    install("old", "slow");
    start();
    for (int n = 0; n < 200; ++n) { // while it starts, twice, and serves
        ::kill(supervisor_, SIGUSR1);
        std::this_thread::sleep_for(5ms);
        if (n == 100) {
            ASSERT_TRUE(wait_for("old serving"));
            kill_driver();
        }
    }
    ASSERT_TRUE(wait_for("old serving", 2));
    ::kill(supervisor_, SIGUSR1);
    EXPECT_TRUE(wait_for("old report"));
    EXPECT_EQ(recorded("old turn"), 2) << "none died of it";
    EXPECT_EQ(stopped(), 0);
}

TEST_F(SupervisorTest, AStopWhileItStarts) {
    install("old", "hang-in-turn");
    start();
    ASSERT_TRUE(wait_for("old turn"));
    EXPECT_EQ(stopped(), 0);
}

TEST_F(SupervisorTest, AStopBeforeTheFirstTurn) {
    start();
    EXPECT_EQ(stopped(), 0);
}

TEST_F(SupervisorTest, ItsDeathIsTheirs) {
    start();
    ASSERT_TRUE(wait_for("old serving"));
    std::this_thread::sleep_for(limits_.long_life); // there may be a successor
    ::kill(supervisor_, SIGKILL);
    ::waitpid(supervisor_, nullptr, 0);
    supervisor_ = 0;
    EXPECT_TRUE(wait_for("old left"));
    EXPECT_EQ(recorded("old turn"), 1);
}

/// Both ends of sd_notify(3) in this process.
class ServiceManagerTest : public testing::Test {
  protected:
    ServiceManagerTest() {
        std::string pattern = (fs::temp_directory_path() / "udrv-test-XXXXXX").string();
        root_ = ::mkdtemp(pattern.data());
    }
    ~ServiceManagerTest() override {
        for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) {
            ::unsetenv(name);
        }
        fs::remove_all(root_);
    }
    void listen(const std::string& name) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        name.copy(address.sun_path, sizeof(address.sun_path) - 1);
        if (name.front() == '@') {
            address.sun_path[0] = '\0';
        }
        listener_ = FileDescriptor(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0));
        const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
        ASSERT_EQ(::bind(listener_.value(), reinterpret_cast<sockaddr*>(&address), length), 0);
        ::setenv("NOTIFY_SOCKET", name.c_str(), 1);
    }
    [[nodiscard]] std::string heard() const {
        std::array<char, 256> text{};
        const ssize_t got = ::recv(listener_.value(), text.data(), text.size(), 0);
        return {text.data(), got < 0 ? 0U : static_cast<std::size_t>(got)};
    }

    fs::path root_;
    FileDescriptor listener_;
};

TEST_F(ServiceManagerTest, NobodyListens) {
    ServiceManager manager;
    manager.serving(1);
    ::setenv("NOTIFY_SOCKET", (root_ / "nobody").c_str(), 1);
    ServiceManager other;
    other.serving(1);
    EXPECT_EQ(std::getenv("NOTIFY_SOCKET"), nullptr) << "drivers would hear of it";
    ::setenv("NOTIFY_SOCKET", std::string(500, '/').c_str(), 1);
    ServiceManager too_long;
    too_long.stopping();
}

TEST_F(ServiceManagerTest, SaysWhatItIsTold) {
    for (const std::string& name :
         {(root_ / "socket").string(), std::string("@udrv-test-") + root_.filename().string()}) {
        listen(name);
        ServiceManager manager;
        manager.serving(123);
        EXPECT_EQ(heard(), "READY=1\nSTATUS=process 123 drives the device");
        manager.waiting();
        EXPECT_EQ(heard(), "STATUS=no driver; the next one starts");
        manager.stopping();
        EXPECT_EQ(heard(), "STOPPING=1");
        manager.awake(ServiceManager::Time(1h));
        EXPECT_EQ(heard(), "") << "nobody asked for it";
    }
}

TEST_F(ServiceManagerTest, FeedsTheWatchdog) {
    listen((root_ / "socket").string());
    ::setenv("WATCHDOG_USEC", "4000000", 1);
    ServiceManager manager;
    const ServiceManager::Time start(1h);
    int said = 0;
    for (int n = 0; n < 100; ++n) { // 10 s in tenths
        manager.awake(start + n * 100ms);
        said += heard() == "WATCHDOG=1" ? 1 : 0;
    }
    EXPECT_EQ(said, 10);
    ::setenv("WATCHDOG_USEC", "4000000", 1);
    ::setenv("WATCHDOG_PID", "1", 1);
    ::setenv("NOTIFY_SOCKET", (root_ / "socket").c_str(), 1);
    ServiceManager of_another;
    of_another.awake(start);
    EXPECT_EQ(heard(), "");
}

// ---- What is kept of deaths ----

TEST_F(SupervisorTest, RemembersDeaths) {
    start();
    ASSERT_TRUE(wait_for("old serving"));
    for (int n = 1; n <= 3; ++n) {
        kill_driver();
        ASSERT_TRUE(wait_for("old serving", n + 1));
    }
    EXPECT_EQ(stopped(), 0);
    const std::vector<DeathRecord> records = deaths(system_, address_);
    ASSERT_EQ(records.size(), 3U) << "and the wanted end is none";
    EXPECT_EQ(records.back().number, 3U);
    EXPECT_EQ(records.back().driver, "driver");
    EXPECT_EQ(records.back().cause, "killed by SIGKILL");
}

class JournalTest : public ServiceManagerTest {
  protected:
    JournalTest() {
        listen((root_ / "journal").string());
        ::unsetenv("NOTIFY_SOCKET");
    }
    ~JournalTest() override { ::unsetenv("JOURNAL_STREAM"); }

    /// As systemd does for a service.
    static void claim_standard_error(unsigned long more = 0) {
        struct stat status {};
        ASSERT_EQ(::fstat(STDERR_FILENO, &status), 0);
        ::setenv("JOURNAL_STREAM",
                 fmt::format("{}:{}", status.st_dev, status.st_ino + more).c_str(), 1);
    }
};

TEST_F(JournalTest, SendsFields) {
    claim_standard_error();
    const Journal journal(root_ / "journal");
    EXPECT_TRUE(journal.warn("it died", {{"UDRV_BDF", "0000:00:10.0"}, {"UDRV_CAUSE", ""}}));
    EXPECT_EQ(heard(), "MESSAGE=it died\nPRIORITY=4\nSYSLOG_IDENTIFIER=udrv\n"
                       "UDRV_BDF=0000:00:10.0\n");
    EXPECT_TRUE(journal.warn("two\nlines", {}));
    const std::string length("\x09\0\0\0\0\0\0\0", 8);
    EXPECT_EQ(heard(), "MESSAGE\n" + length + "two\nlines\nPRIORITY=4\nSYSLOG_IDENTIFIER=udrv\n");
}

TEST_F(JournalTest, NotOfOneThatIsNoService) {
    EXPECT_FALSE(Journal(root_ / "journal").warn("x", {}));
    claim_standard_error(1); // a pipe of somebody's above us
    EXPECT_FALSE(Journal(root_ / "journal").warn("x", {}));
    EXPECT_EQ(heard(), "");
    claim_standard_error();
    EXPECT_FALSE(Journal(root_ / "nobody").warn("x", {})) << "it goes to standard error then";
    EXPECT_FALSE(Journal(std::string(500, '/')).warn("x", {}));
}

// What a SIGHUP asks is lost if another one waits: who asks looks first.
TEST_F(SupervisorTest, APendingHangupIsSeen) {
    sigset_t hangup;
    sigemptyset(&hangup);
    sigaddset(&hangup, SIGHUP);
    ::sigprocmask(SIG_BLOCK, &hangup, nullptr);
    EXPECT_FALSE(hangup_pending(system_, ::getpid()));
    ::kill(::getpid(), SIGHUP);
    EXPECT_TRUE(hangup_pending(system_, ::getpid()));
    int number = 0;
    ::sigwait(&hangup, &number);
    EXPECT_FALSE(hangup_pending(system_, ::getpid()));
    ::sigprocmask(SIG_UNBLOCK, &hangup, nullptr);
    EXPECT_FALSE(hangup_pending(system_, 0)) << "no such process";
}

// One in C, by <udrv/protocol.h>: ready, killed, followed by its successor, upgraded, stopped.
TEST_F(SupervisorTest, ADriverInC) {
    const std::string program = fmt::format("#!/bin/sh\nexec {} \"$@\"\n", UDRV_FAKE_DRIVER_C);
    install_text(program);
    start();
    ASSERT_TRUE(wait_for("c serving"));
    std::this_thread::sleep_for(limits_.long_life * 2); // its successor waits by then
    kill_driver();
    ASSERT_TRUE(wait_for("c serving", 2));
    std::this_thread::sleep_for(limits_.long_life * 2);
    install("new");
    ASSERT_EQ(::kill(supervisor_, SIGHUP), 0);
    ASSERT_TRUE(wait_for("new serving"));
    EXPECT_EQ(recorded("c left"), 1) << "it was asked to leave, and did";
    std::this_thread::sleep_for(limits_.long_life * 2);
    install_text(program);
    ASSERT_EQ(::kill(supervisor_, SIGHUP), 0);
    ASSERT_TRUE(wait_for("c serving", 3));
    std::this_thread::sleep_for(limits_.long_life);
    EXPECT_EQ(stopped(), 0);
    EXPECT_EQ(recorded("c left"), 2);
}

// It hangs after its third beat: killed, and started again.
TEST_F(SupervisorTest, ADriverInCThatHangs) {
    limits_.deadline = 300ms;
    install_text(fmt::format("#!/bin/sh\nexec {} \"$@\" hang\n", UDRV_FAKE_DRIVER_C));
    start();
    ASSERT_TRUE(wait_for("c serving", 2));
    EXPECT_EQ(recorded("c left"), 0);
}

// A supervisor under systemd: active when its driver serves, and told of the next one.
TEST_F(SupervisorTest, TellsTheServiceManager) {
    const std::string name = (root_ / "notify").string();
    const FileDescriptor listener(::socket(AF_UNIX, SOCK_DGRAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    name.copy(address.sun_path, sizeof(address.sun_path) - 1);
    ASSERT_EQ(::bind(listener.value(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    timeval limit{60, 0};
    ::setsockopt(listener.value(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    const auto heard = [&] {
        std::array<char, 256> text{};
        const ssize_t got = ::recv(listener.value(), text.data(), text.size(), 0);
        return std::string(text.data(), got < 0 ? 0U : static_cast<std::size_t>(got));
    };
    ::setenv("NOTIFY_SOCKET", name.c_str(), 1);
    start();
    ::unsetenv("NOTIFY_SOCKET");
    EXPECT_EQ(heard().find("READY=1\n"), 0U);
    ASSERT_TRUE(wait_for("old serving"));
    kill_driver();
    EXPECT_EQ(heard().find("STATUS=no driver"), 0U);
    EXPECT_EQ(heard().find("READY=1\n"), 0U);
    EXPECT_EQ(stopped(), 0);
    EXPECT_EQ(heard(), "STOPPING=1");
}

} // namespace
} // namespace udrv::cli
