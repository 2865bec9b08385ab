# SPDX-License-Identifier: MIT
"""Where the time of an echo goes: perf on the virtual CPU's thread, beside what the guest
counts. Without KVM only: what the emulator itself does shows as its own code."""

import collections
import pathlib
import shutil
import subprocess
import tempfile

from machine import BenchError, Machine, free_udp_ports
from net import CONFIGS, LABELS, Net

LOADS = {"full": (0.1, 0.25, 0.5, 1.0), "quick": (0.1, 0.5), "smoke": (0.5,)}
HERTZ = 999
# What a sample's innermost frame is in. Whatever has no file is code that QEMU made.
GUEST, EMULATOR, HOST = "guest", "emulator", "host"
WAKING = "eventfd_write"  # the host's function that wakes QEMU's other threads


def place(frame):
    """Of "address symbol (file)": whose code it is."""
    file = frame.rsplit("(", 1)[-1].rstrip(")")
    if file.startswith(("//anon", "[anon", "[JIT", "[unknown]")) or "/perf-" in file:
        return GUEST
    return HOST if file.startswith("[") and file != "[vdso]" else EMULATOR


def samples(text):
    """Counts of `perf script`'s samples by their place, and of those under WAKING."""
    counts = collections.Counter()
    for block in text.split("\n\n"):
        head, *frames = [line.strip() for line in block.splitlines() if line.strip()] or [""]
        if head.startswith("CPU ") and frames:
            counts[place(frames[0])] += 1
            counts[WAKING] += any(WAKING in frame for frame in frames)
    return counts


class Budget(Net):
    def __init__(self, plan, results, progress, log):
        super().__init__(plan, results, progress, log)
        self.configs = [config for config in CONFIGS if config in plan.configs]
        self.loads = LOADS[plan.mode]
        plan.smp = [1]
        self.window = {"full": 4, "quick": 3, "smoke": 1}[plan.mode]
        if not shutil.which("perf"):
            raise BenchError("perf is missing: apt-get install linux-perf")

    def estimate(self):
        return 30 + self.plan.rounds * len(self.configs) * (5 + len(self.loads) * (self.window + 5))

    def run(self):
        local, remote = free_udp_ports(2)
        self.wire = f"{local}:{remote}"
        devices = ["--nic", "e1000", "--nic", "e1000", "--nic", "e1000", "--wire", self.wire]
        with Machine(1, devices, self.log, self.plan.build, self.plan.kernel) as machine:
            self.results.kernel = machine.kernel
            self.prefix = "budget/1cpu"
            self.progress.step(f"{self.prefix}: preparing", 30)
            machine.run("$programs/udp_echo serve 0.0.0.0 7 >/dev/null 2>&1 &")
            machine.run(f"net_up stock {self.echo_bdf} {self.echo_address}")
            peak = self.peak(machine, "stock", 1024)
            machine.run(f"net_down stock {self.echo_bdf}")
            for number in range(self.plan.rounds):
                turn = number % len(self.configs)
                for config in self.configs[turn:] + self.configs[:turn]:
                    machine.run(f"net_up {config} {self.echo_bdf} {self.echo_address}")
                    for load in self.loads:
                        self.progress.step(f"{self.prefix} round {number + 1}: {LABELS[config]} at {load:.2f}",
                                           self.window + 5)
                        self.look(machine, config, load, peak * load)
                    machine.run(f"net_down {config} {self.echo_bdf}")

    def look(self, machine, config, load, rate):
        self.load(machine, config, 1024, rate, 0.7)  # QEMU translates what runs first
        before = self.counters(machine)
        with tempfile.TemporaryDirectory(prefix="udrv-bench-perf.") as directory:
            data = pathlib.Path(directory, "data")
            with subprocess.Popen(["perf", "record", "-e", "cpu-clock", "-F", str(HERTZ), "-g", "-p", str(machine.pid),
                                   "-o", data, "--", "sleep", str(self.window)],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
                got = self.load(machine, config, 1024, rate, self.window + 1)
            found = subprocess.run(["perf", "script", "-i", data, "-F", "comm,ip,sym,dso"], capture_output=True,
                                   text=True, check=False)
        after = self.counters(machine)
        counts = samples(found.stdout)
        if found.returncode != 0 or not counts:
            raise BenchError("perf saw nothing: may it look at QEMU (sysctl kernel.perf_event_paranoid)?")
        self.log.write(f"{config} {load} {dict(counts)}\n")
        key = f"{self.prefix}/{config}/{load:.2f}"
        echoes = got["echoes_per_s"] * self.window
        for name in (GUEST, EMULATOR, HOST, WAKING):
            self.results.add(f"{key}/{name}_us", counts[name] / HERTZ * 1e6 / max(1, echoes), "us", "lower")
        self.results.add(f"{key}/cpu_us", got["vcpu_s"] / max(1, got["echoed"]) * 1e6, "us", "lower")
        self.results.add(f"{key}/rtt_p50_us", got["rtt_us"]["p50"], "us", "lower")
        for name, start, end in zip(("interrupts", "switches", "machine_interrupts", "driver_calls"), before, after):
            self.results.add(f"{key}/{name}", (end - start) / max(1, got["total_echoed"]), "", "lower")
