# SPDX-License-Identifier: MIT
"""The network part: UDP echo under a swept load, and TCP."""

import json
import subprocess

from machine import ROOT, BenchError, Machine, free_udp_ports

CONFIGS = ("stock", "udrv", "tap", "reflect")
LABELS = {"stock": "in-kernel", "udrv": "user-level", "tap": "user-level over TAP", "reflect": "ceiling (no IP stack)",
          "untrusted": "user-level, untrusted"}
ECHO = "0000:00:12.0"  # of the lab: on the wire to the load
TCP = "0000:00:10.0"  # of the lab: on the hub with the peer
# Of the in-kernel driver's peak.
LOADS = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.15, 1.3, 1.5, 2.0)
QUICK_LOADS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5)
SMOKE_LOADS = (0.25, 1.5)
# Those as well that it takes to see the user-level driver at 1.5 times its own peak.
MORE_LOADS = (2.0, 2.5, 3.0, 3.5, 4.0, 5.0)
SWITCH = 5  # seconds that a change of the driver takes
SOAKED_LOADS = (0.25, 0.5, 0.75, 1.0)
SIZES = (1024, 64, 1472)
# Of the sizes but the first.
OTHER_LOADS = {"full": (0.5, 0.75, 1.0, 1.5), "quick": (0.5, 1.0, 1.5), "smoke": ()}


class Net:
    # The cards under test, their addresses with a prefix, the peer's, and the first's
    # hardware address, which nobody answers for while the chip only reflects.
    echo_bdf, echo_address, echo_mac = ECHO, "10.0.0.1/24", "52:54:00:00:00:03"
    tcp_bdf, tcp_address, tcp_peer = TCP, "10.0.1.1/24", "10.0.1.2"

    def __init__(self, plan, results, progress, log):
        self.plan = plan
        self.results = results
        self.progress = progress
        self.log = log
        self.configs = [c for c in CONFIGS if c in plan.configs]
        self.loads = {"full": LOADS, "quick": QUICK_LOADS, "smoke": SMOKE_LOADS}[plan.mode]
        self.seconds = {"full": 1.0, "quick": 0.6, "smoke": 0.4}[plan.mode]
        self.last_counters = None
        self.sizes = {"full": SIZES, "quick": SIZES, "smoke": SIZES[:1]}[plan.mode]
        self.tcp_seconds = {"full": 3, "quick": 2, "smoke": 1}[plan.mode]

    # What a point costs besides its window: warm-up, drain, counters.
    OVERHEAD = 0.7

    def estimate(self):
        """Seconds, roughly."""
        total = 0
        for smp in self.plan.smp:
            total += 40
            for config in self.configs:
                loads = len(self.loads) + len(OTHER_LOADS[self.plan.mode]) * (len(self.sizes) - 1)
                points = loads * (self.seconds + self.OVERHEAD)
                if self.soaks(smp):
                    points += len(SOAKED_LOADS) * (self.seconds + 1.2) + 1
                total += self.plan.rounds * (points + SWITCH)
                if config != "reflect":
                    total += self.plan.rounds * (2 * (self.tcp_seconds + 1.5) + SWITCH)
        return total

    def soaks(self, smp):
        # With more the soaker's threads and QEMU's own would fight for the host's CPUs.
        return smp == 1 and self.plan.mode != "smoke"

    def run(self):
        for smp in self.plan.smp:
            local, remote = free_udp_ports(2)
            devices = ["--nic", "e1000", "--nic", "e1000", "--nic", "e1000", "--wire", f"{local}:{remote}"]
            with Machine(smp, devices, self.log, self.plan.build, self.plan.kernel) as machine:
                self.results.kernel = machine.kernel
                self.wire = f"{local}:{remote}"
                self.prefix = f"net/{smp}cpu"
                self.session(machine)

    def session(self, machine):
        self.progress.step(f"{self.prefix}: preparing", 30)
        self.prepare(machine)
        machine.run(f"net_up stock {self.echo_bdf} {self.echo_address}")
        peaks = {size: self.peak(machine, "stock", size) for size in self.sizes}
        machine.run(f"net_down stock {self.echo_bdf}")
        if self.plan.mode != "smoke" and "udrv" in self.configs:
            machine.run(f"net_up udrv {self.echo_bdf} {self.echo_address}")
            top = 1.6 * self.peak(machine, "udrv", 1024) / peaks[1024]
            machine.run(f"net_down udrv {self.echo_bdf}")
            more = [load for load in MORE_LOADS if load > self.loads[-1]]
            # Up to the first that is high enough.
            self.loads += tuple(load for n, load in enumerate(more) if n == 0 or more[n - 1] < top)[:2 + (top > 3)]
        self.results.note(f"{self.prefix}/calibration", peaks)
        for number in range(self.plan.rounds):
            # The order turns, so that none is always first.
            turn = number % len(self.configs)
            for config in self.configs[turn:] + self.configs[:turn]:
                self.echo_round(machine, config, number, peaks)
            for config in self.configs[turn:] + self.configs[:turn]:
                if config != "reflect":
                    self.tcp_round(machine, config, number)

    def prepare(self, machine):
        machine.run("$programs/udp_echo serve 0.0.0.0 7 >/dev/null 2>&1 &")
        machine.run(f"setup_peer && in_peer ip addr add {self.tcp_peer}/24 dev $peer_if && serve_iperf")

    def peak(self, machine, config, size):
        """What it echoes when as many datagrams are under way as its queues take."""
        self.load(machine, config, size, 0, 0.7, window=64)  # QEMU translates what runs first
        return max(self.load(machine, config, size, 0, 0.5, window=window)["echoes_per_s"] for window in (32, 64, 128))

    def echo_round(self, machine, config, number, peaks):
        self.progress.step(f"{self.prefix} round {number + 1}: {LABELS[config]}, setting up", SWITCH)
        machine.run(f"net_up {config} {self.echo_bdf} {self.echo_address}")
        self.load(machine, config, 1024, peaks[1024] * 0.3, 0.3)
        self.last_counters = None
        if self.soaks(machine.smp):
            self.calibrate_soaker(machine)
        for size in self.sizes:
            for load in self.loads if size == SIZES[0] else OTHER_LOADS[self.plan.mode]:
                self.progress.step(f"{self.prefix} round {number + 1}: {LABELS[config]}, {size} B at {load:.2f} "
                                   "of the in-kernel peak", self.seconds + self.OVERHEAD)
                self.point(machine, config, size, load, peaks[size] * load)
                if self.soaks(machine.smp) and size == SIZES[0] and load in SOAKED_LOADS:
                    self.progress.step(f"{self.prefix} round {number + 1}: {LABELS[config]}, the same with the soaker",
                                       self.seconds + 1.2)
                    self.soak(machine, config, size, load, peaks[size] * load)
        machine.run(f"net_down {config} {self.echo_bdf}")

    def load_program(self):
        """What makes the load, and where it reaches the card."""
        return [str(ROOT / self.plan.build / "bin/echo_load"), "--wire", self.wire]

    def load_command(self, config, size, rate, seconds, window=0, warmup=0.3):
        command = [*self.load_program(), "--size", str(size), "--seconds", str(seconds), "--warmup", str(warmup)]
        command += ["--window", str(window)] if window else ["--rate", f"{max(rate, 50):.0f}"]
        if config == "reflect":
            command += ["--mac", self.echo_mac]
        return command

    def load(self, machine, config, size, rate, seconds, window=0):
        command = self.load_command(config, size, rate, seconds, window) + ["--qemu", str(machine.pid)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30)
        if done.returncode != 0:
            raise BenchError(done.stderr.strip().splitlines()[-1] if done.stderr else "echo_load failed")
        self.log.write(f"{config} {done.stdout}")
        return json.loads(done.stdout)

    def point(self, machine, config, size, load, rate):
        before = self.last_counters or machine.counters(self.echo_bdf)
        got = self.load(machine, config, size, rate, self.seconds)
        after = self.last_counters = machine.counters(self.echo_bdf)
        if got["wrong"]:
            raise BenchError(f"{config}: {got['wrong']} echoes came back damaged or twice")
        key = f"{self.prefix}/echo{size}/{config}/{load:.2f}"
        add = self.results.add
        add(f"{key}/offered_per_s", got["offered_per_s"], "1/s")
        add(f"{key}/echoes_per_s", got["echoes_per_s"], "1/s", "higher")
        # What it would have been with a CPU always at hand: a vCPU that waits for this
        # machine's CPUs, busy with the load itself perhaps, serves nobody meanwhile.
        at_hand = max(0.1, 1 - got["vcpu_waited_s"] / got["seconds"] / machine.smp)
        add(f"{key}/sustained_per_s", min(got["offered_per_s"], got["echoes_per_s"] / at_hand), "1/s", "higher")
        add(f"{key}/megabits_per_s", got["echoes_per_s"] * size * 8e-6, "Mb/s", "higher")
        add(f"{key}/rtt_p50_us", got["rtt_us"]["p50"], "us", "lower")
        add(f"{key}/rtt_p99_us", got["rtt_us"]["p99"], "us", "lower")
        echoed = max(1, got["echoed"])
        # Of the CPU time there was: not of what this machine spent on other work meanwhile.
        there_was = got["seconds"] * machine.smp - got["vcpu_waited_s"]
        add(f"{key}/cpu_percent", min(100.0, got["vcpu_s"] / there_was * 100), "%", "lower")
        add(f"{key}/stolen_percent", got["vcpu_waited_s"] / got["seconds"] / machine.smp * 100, "%", "lower")
        add(f"{key}/cpu_us_per_echo", got["vcpu_s"] / echoed * 1e6, "us", "lower")
        # These are of the whole run with its warm-up; an echo is two packets.
        packets = 2 * max(1, got["total_echoed"])
        for name, start, end in zip(("interrupts", "context_switches", "machine_interrupts", "driver_calls"),
                                    before, after):
            add(f"{key}/{name}_per_packet", (end - start) / packets, "", "lower")

    def soaker(self, machine, seconds):
        """Turns of the soaker, and CPU time of the virtual CPUs meanwhile."""
        marks = {}

        def on_line(line):
            words = line.split()
            marks[words[0]] = (machine.vcpu_seconds()[0], words[1:])

        machine.run(f"$programs/idle_soaker {seconds}", on_line=on_line)
        turns, took = marks["end"][1]
        return int(turns), marks["end"][0] - marks["begin"][0], float(took)

    def calibrate_soaker(self, machine):
        turns, cpu, _ = self.soaker(machine, 0.7)
        self.turn_cost = cpu / turns

    def soak(self, machine, config, size, load, rate):
        command = self.load_command(config, size, rate, self.seconds + 0.4, warmup=0.8)
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
            turns, cpu, _ = self.soaker(machine, self.seconds)
            output, error = running.communicate(timeout=30)
        if running.returncode != 0:
            raise BenchError(error.strip())
        got = json.loads(output)
        self.last_counters = None
        used = max(0.0, 1 - turns * self.turn_cost / cpu)
        key = f"{self.prefix}/echo{size}/{config}/{load:.2f}"
        self.results.add(f"{key}/soaker_cpu_percent", used * 100, "%", "lower")
        self.results.add(f"{key}/soaker_echoes_per_s", got["echoes_per_s"], "1/s", "higher")

    def tcp_round(self, machine, config, number):
        self.progress.step(f"{self.prefix} round {number + 1}: {LABELS[config]}, setting up", SWITCH)
        machine.run(f"net_up {config} {self.tcp_bdf} {self.tcp_address} && wait_reachable {self.tcp_peer}")
        for way, option in (("out", ""), ("in", "-R")):
            self.progress.step(f"{self.prefix} round {number + 1}: {LABELS[config]}, TCP {way}", self.tcp_seconds + 1.5)
            words = self.tcp(machine, option).split()
            self.results.add(f"{self.prefix}/tcp/{config}/{way}_megabits_per_s", float(words[1]) * 1e-6, "Mb/s", "higher")
        machine.run(f"net_down {config} {self.tcp_bdf}")

    def tcp(self, machine, option):
        return machine.run(f"tcp {self.tcp_seconds} {self.tcp_peer} {option}")
