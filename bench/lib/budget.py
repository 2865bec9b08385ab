# SPDX-License-Identifier: MIT
"""Where the time of an echo and of a read goes: perf on the virtual CPU's thread, beside what
the guest counts."""

import vcpu_profile
from disk import DISK_MIB, KINDS, Disk
from disk import LABELS as DISK_LABELS
from machine import Machine, free_udp_ports
from net import CONFIGS, LABELS, Net

LOADS = {"full": (0.1, 0.25, 0.5, 1.0, 1.5), "quick": (0.1, 0.5, 1.5), "smoke": (0.5,)}
READ_SECTORS = {"full": (1, 8, 32, 128, 512, 2048, 8192), "quick": (1, 128, 2048), "smoke": (8,)}
COUNTED = ("interrupts", "switches", "machine_interrupts", "driver_calls")


class EchoBudget(Net):
    def __init__(self, plan, results, progress, log):
        super().__init__(plan, results, progress, log)
        self.configs = [config for config in CONFIGS if config in plan.configs]
        self.loads = LOADS[plan.mode]
        plan.smp = [1]
        self.window = {"full": 4, "quick": 3, "smoke": 1}[plan.mode]
        vcpu_profile.require()

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
        before = machine.counters(self.echo_bdf)
        with vcpu_profile.recorded(machine, self.window) as times:
            got = self.load(machine, config, 1024, rate, self.window + 1)
        after = machine.counters(self.echo_bdf)
        key = f"{self.prefix}/echo/{config}/{load:.2f}"
        echoes = got["echoes_per_s"] * self.window
        for name in vcpu_profile.PLACES:
            self.results.add(f"{key}/{name}_us", times[name] / max(1, echoes) * 1e6, "us", "lower")
        self.results.add(f"{key}/cpu_us", got["vcpu_s"] / max(1, got["echoed"]) * 1e6, "us", "lower")
        self.results.add(f"{key}/rtt_p50_us", got["rtt_us"]["p50"], "us", "lower")
        for name, start, end in zip(COUNTED, before, after):
            self.results.add(f"{key}/{name}", (end - start) / max(1, got["total_echoed"]), "", "lower")


class ReadBudget(Disk):
    """Reads of one size, one at a time."""

    def __init__(self, plan, results, progress, log):
        super().__init__(plan, results, progress, log)
        self.cases = [(kind, config) for kind, config in self.cases if config in ("stock", "udrv")]
        self.sectors = READ_SECTORS[plan.mode]
        self.window = {"full": 3, "quick": 2, "smoke": 1}[plan.mode]
        plan.smp = [1]
        vcpu_profile.require()

    def round_seconds(self):
        return len(self.sectors) * (self.window + 3) + 5

    def estimate(self):
        return 15 + self.plan.rounds * len(self.cases) * self.round_seconds()

    def round(self, machine, number, cases):
        for kind, config in cases:
            self.progress.step(f"budget/1cpu round {number + 1}: {kind}, {DISK_LABELS[config]}", self.round_seconds())
            bdf = KINDS[kind][0]
            machine.run(f"disk_up {config} {kind} {bdf}")
            for sectors in self.sectors:
                self.look(machine, f"budget/1cpu/read/{kind}/{config}/{sectors}", bdf, sectors)
            machine.run(f"disk_down {config} {bdf}")

    def look(self, machine, key, bdf, sectors):
        sweep = f"$programs/read_sweep $disk {DISK_MIB}"
        machine.run(f"{sweep} 0.3 {sectors}")  # QEMU translates what runs first
        reads, took, cpu = 0, 0.0, 0.0

        def on_line(line):
            nonlocal reads, took, cpu
            word, *numbers = line.split()
            if word == "begin":
                cpu -= machine.vcpu_seconds()[0]
            elif word == "end":
                cpu += machine.vcpu_seconds()[0]
                reads += int(numbers[1]) // (int(numbers[0]) * 512)
                took += float(numbers[2])

        before = machine.counters(bdf)
        with vcpu_profile.recorded(machine) as times:
            # Large ones are through the disk in less than the window: so, four times.
            machine.run(f"{sweep} {self.window / 4} {f' {sectors}' * 4}", timeout=60 + 20 * self.window, on_line=on_line)
        after = machine.counters(bdf)
        for name in vcpu_profile.PLACES:
            self.results.add(f"{key}/{name}_us", times[name] / reads * 1e6, "us", "lower")
        self.results.add(f"{key}/cpu_us", cpu / reads * 1e6, "us", "lower")
        self.results.add(f"{key}/took_us", took / reads * 1e6, "us", "lower")
        for name, start, end in zip(COUNTED, before, after):
            self.results.add(f"{key}/{name}", (end - start) / reads, "", "lower")
