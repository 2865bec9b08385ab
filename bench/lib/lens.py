# SPDX-License-Identifier: MIT
"""What an echo and a request cost, under QEMU's instruction clock: the same on a busy host as
on an idle one. Closed loops only, their other end in the same machine; the disks have no host
behind them."""

import json

import disk
from machine import BenchError, Machine
from net import LABELS, TCP

# QEMU's -icount shift=1: an instruction takes 2 ns.
NS_PER_INSTRUCTION = 2
UNDER_WAY = {"full": (1, 8, 32, 64), "quick": (1, 32), "smoke": (8,)}
# Of the disks: name, bytes of a request, requests under way, way.
REQUESTS = {
    "full": (("512 B", 512, 1, "read"), ("4 KiB", 4096, 1, "read"), ("64 KiB", 65536, 1, "read"),
             ("1 MiB", 1 << 20, 1, "read"), ("4 KiB, depth 32", 4096, 32, "randread"),
             ("4 KiB writes, depth 32", 4096, 32, "randwrite")),
    "quick": (("4 KiB", 4096, 1, "read"), ("4 KiB, depth 32", 4096, 32, "randread")),
    "smoke": (("4 KiB", 4096, 1, "read"),),
}
AHCI, NVME = "0000:00:18.0", "0000:00:1a.0"
NET_CONFIGS = ("stock", "udrv", "tap")
DISK_CONFIGS = ("stock", "udrv")
# Whose the samples of perf are, in the order in which a sample is looked at.
# (With interrupts disabled nothing is sampled; it shows where they are enabled again.)
SHARES = ("driver", "driver_calls", "application", "softirqs", "kernel")
SHARE_TITLES = ("driver's code", "its system calls", "application", "softirqs", "other kernel")
SOFTIRQS = {"__do_softirq", "__softirqentry_text_start", "handle_softirqs", "run_ksoftirqd"}
NOT_SEEN = ("busy_meter", "perf", "sleep")
DRIVERS = ("udrv", "e1000_tap")


def share_of(comm, frames):
    """Of one sample: process and the frames of its stack, innermost first, as (symbol, in the kernel)."""
    in_kernel = bool(frames) and frames[0][1]
    symbols = {symbol for symbol, kernel in frames if kernel}
    driver = comm.startswith(DRIVERS)
    if not in_kernel:
        return "driver" if driver else "application"
    if symbols & SOFTIRQS:
        return "softirqs"
    return "driver_calls" if driver else "kernel"


def shares(text):
    """Parts of the samples of `perf script -F comm,ip,sym,dso`, without the soaker's."""
    counts = dict.fromkeys(SHARES, 0)
    for block in text.split("\n\n"):
        lines = [line for line in block.splitlines() if line.strip()]
        if not lines or lines[0].strip().startswith(NOT_SEEN):
            continue
        frames = []
        for line in lines[1:]:
            words = line.split()
            symbol = words[1].split("+")[0] if len(words) > 1 else ""
            frames.append((symbol, words[0].startswith("ffffffff")))
        share = share_of(lines[0].strip(), frames)
        # Before the soaker is there, the machine may be idle.
        if share != "kernel" or not any(symbol == "default_idle_call" for symbol, _ in frames):
            counts[share] += 1
    total = sum(counts.values())
    if not total:
        raise BenchError("perf saw nothing in the machine (linux-perf is what scripts/deps installs)")
    return {name: count / total for name, count in counts.items()}


class Lens:
    def __init__(self, plan, results, progress, log):
        self.plan, self.results, self.progress, self.log = plan, results, progress, log
        self.window = {"full": 0.3, "quick": 0.2, "smoke": 0.05}[plan.mode]
        self.configs = [config for config in NET_CONFIGS if config in plan.configs]
        self.disk_configs = [config for config in DISK_CONFIGS if config in plan.configs]

    # Seconds of the host that a second of the guest takes, and a change of the driver.
    SLOWER, SWITCH = 20, 5

    def points(self):
        return len(self.configs) * len(UNDER_WAY[self.plan.mode]) + \
               len(self.disk_configs) * len(REQUESTS[self.plan.mode])

    def estimate(self):
        point = (3 * self.window + 0.4) * self.SLOWER
        switches = (len(self.configs) + len(self.disk_configs)) * self.SWITCH
        return len(self.plan.smp) * (60 + self.plan.rounds * (self.points() * point + switches))

    def run(self):
        null = "-drive if=none,id=null0,driver=null-co,read-zeroes=on,size=1G -device ide-hd,drive=null0,bus=ahci.0"
        devices = ["--icount", "--nic", "e1000", "--nic", "e1000",
                   "--device", f"ich9-ahci,id=ahci,addr=0x{AHCI[-4:-2]}", "--qemu", null]
        for smp in self.plan.smp:
            self.progress.step(f"lens/{smp}cpu: preparing", 60)
            with Machine(smp, devices, self.log, self.plan.build, self.plan.kernel) as machine:
                self.results.kernel = machine.kernel
                self.prefix = f"lens/{smp}cpu"
                machine.run("setup_peer && in_peer ip addr add 10.0.1.2/24 dev $peer_if && "
                            "{ in_peer $programs/udp_echo serve 10.0.1.2 7 >/dev/null 2>&1 & }")
                machine.run("insmod $build/modules/udrv_blk.ko")
                for number in range(self.plan.rounds):
                    self.round(machine, number)

    def round(self, machine, number):
        for config in self.configs:
            self.progress.step(f"{self.prefix} round {number + 1}: {LABELS[config]}, setting up", self.SWITCH)
            machine.run(f"net_up {config} {TCP} 10.0.1.1/24 && wait_reachable 10.0.1.2")
            for under_way in UNDER_WAY[self.plan.mode]:
                self.echo(machine, config, number, under_way)
            machine.run(f"net_down {config} {TCP}")
        for config in self.disk_configs:
            self.progress.step(f"{self.prefix} round {number + 1}: ahci, {disk.LABELS[config]}, setting up", self.SWITCH)
            machine.run(f"disk_up {config} ahci {AHCI}")
            for request in REQUESTS[self.plan.mode]:
                self.request(machine, config, number, request)
            machine.run(f"disk_down {config} {AHCI}")

    def echo(self, machine, config, number, under_way):
        self.progress.step(f"{self.prefix} round {number + 1}: {LABELS[config]}, {under_way} under way",
                           (3 * self.window + 0.4) * self.SLOWER)
        load = f"$programs/udp_echo load 10.0.1.2 7 --size 1024 --window {under_way} --seconds {self.load_seconds()}"
        self.measure(machine, f"{self.prefix}/echo1024/{config}/{under_way}", load,
                     "/sys/class/net/$net_if/statistics/rx_packets:1", TCP)

    def request(self, machine, config, number, request):
        name, size, depth, way = request
        self.progress.step(f"{self.prefix} round {number + 1}: ahci, {disk.LABELS[config]}, {name}",
                           (3 * self.window + 0.4) * self.SLOWER)
        load = (f"fio --name=lens --filename=$disk --direct=1 --thread --time_based --norandommap --randrepeat=1 "
                f"--ioengine={'psync' if depth == 1 else 'io_uring'} --iodepth={depth} --bs={size} --rw={way} "
                f"--allow_mounted_write=0 --size=512m --gtod_reduce=1 --runtime={self.load_seconds()}")
        self.measure(machine, f"{self.prefix}/ahci/{config}/{name}", load, "/sys/block/${disk#/dev/}/stat:1+5", AHCI)

    def load_seconds(self):
        """More than the windows take, and what starts and settles before each; lens_end stops it."""
        return int(4 * self.window + 60)

    def measure(self, machine, key, load, counter, bdf):
        calls = machine.counters(bdf)[3]
        machine.run(f"lens_begin {counter} {load}", timeout=600)
        got = json.loads(machine.run(f"$programs/busy_meter {self.window} {counter}", timeout=600))
        work = got["counters"][0]
        if work < 20:
            raise BenchError(f"{key}: only {work} in the window: {machine.run('tail -n 2 /tmp/run/lens.out')}")
        split = shares(machine.run(f"lens_perf {self.window} {counter}", timeout=900))
        calls = machine.counters(bdf)[3] - calls
        add = self.results.add
        add(f"{key}/instructions", got["busy_ns"] / NS_PER_INSTRUCTION / work, "", "lower")
        add(f"{key}/busy_us", got["busy_ns"] / 1e3 / work, "us", "lower")
        add(f"{key}/switches", got["switches"] / work, "", "lower")
        add(f"{key}/interrupts", got["interrupts"] / work, "", "lower")
        add(f"{key}/work_per_s", work / (got["elapsed_ns"] / machine.smp * 1e-9), "1/s", "higher")
        for name, part in split.items():
            add(f"{key}/{name}_percent", part * 100, "%")


def ratios(results, smp):
    """Name, ratio of instructions user-level / in-kernel, and the aim, of each point there is."""
    base = f"lens/{smp}cpu"
    aims = {"1": 1.10, "512 B": 1.10, "4 KiB": 1.10, "64 KiB": 1.10, "1 MiB": 0.58, "4 KiB, depth 32": 0.9,
            "4 KiB writes, depth 32": 0.9}
    for kind, title in (("echo1024", "echo of 1,024 B, {} under way"), ("ahci", "ahci: {}")):
        points = [name.split("/")[4] for name in results.values if name.startswith(f"{base}/{kind}/stock/") and
                  name.endswith("/instructions")]
        for point in dict.fromkeys(points):
            ratio = results.ratio(*(f"{base}/{kind}/{config}/{point}/instructions" for config in ("udrv", "stock")))
            if ratio:
                yield f"{title.format(point)}: instructions", ratio, aims.get(point, 1.05)
    for point in ("8", "32", "64"):
        ratio = results.ratio(*(f"{base}/echo1024/{config}/{point}/instructions" for config in ("udrv", "tap")))
        if ratio:
            yield f"echo of 1,024 B, {point} under way, against TAP: instructions", ratio, 0.75


def table_rows(results, smp):
    """Of each point and configuration: title, and what was counted."""
    base = f"lens/{smp}cpu"
    points = dict.fromkeys(name.rsplit("/", 1)[0] for name in results.values if name.startswith(base + "/"))
    for key in points:
        kind, config, point = key[len(base) + 1:].split("/")
        values = [results.get(f"{key}/{name}") for name in
                  ("instructions", "busy_us", "switches", "interrupts", *(f"{share}_percent" for share in SHARES))]
        labels = LABELS if kind == "echo1024" else disk.LABELS
        title = f"echo, {point} under way" if kind == "echo1024" else f"{kind}, {point}"
        yield title, labels[config], values


