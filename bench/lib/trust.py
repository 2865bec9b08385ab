# SPDX-License-Identifier: MIT
"""What it costs not to trust the driver: behind an IOMMU, the driver in the kernel, the
user-level one, and that with `bind --untrusted`. One machine, one run, in turns."""

import shutil
import tempfile

from disk import Disk, image
from machine import Machine, free_udp_ports
from net import ECHO, Net

CONFIGS = ("stock", "udrv", "untrusted")
LOADS = {"full": (0.25, 0.5, 1.0, 1.5, 2.0, 2.5), "quick": (0.25, 0.5, 1.0, 1.5, 2.0, 2.5), "smoke": (0.5, 1.5)}
SECTORS = {"full": (1, 8, 32, 128, 512, 2048), "quick": (1, 8, 128, 2048), "smoke": (1, 128)}
# Bounce buffers are there on machines with memory above 4 GiB, or if asked for.
MACHINE = ["--iommu", "--append", "swiotlb=force"]


class Trust(Net):
    def __init__(self, plan, results, progress, log):
        super().__init__(plan, results, progress, log)
        self.configs = [config for config in CONFIGS if config in (*plan.configs, "untrusted")]
        self.loads = LOADS[plan.mode]
        self.sizes = (1024,)
        self.disk = Disk(plan, results, progress, log)
        self.disk.sectors = SECTORS[plan.mode]
        results.absent.clear()

    def soaks(self, smp):
        return False

    def estimate(self):
        reads = self.disk.sweep_seconds() + self.disk.random_estimate() + 6
        return super().estimate() + len(self.plan.smp) * self.plan.rounds * len(self.configs) * reads

    def run(self):
        directory = tempfile.mkdtemp(prefix="udrv-bench-disk.")
        try:
            file = image(directory, "ahci")
            for smp in self.plan.smp:
                local, remote = free_udp_ports(2)
                self.wire = f"{local}:{remote}"
                devices = [*MACHINE, "--disk", f"ahci:{file}", "--nic", "e1000", "--nic", "e1000",
                           "--nic", "e1000", "--wire", self.wire]
                with Machine(smp, devices, self.log, self.plan.build, self.plan.kernel) as machine:
                    self.results.kernel = machine.kernel
                    self.prefix = self.disk.prefix = f"trust/{smp}cpu"
                    self.session(machine)
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def session(self, machine):
        self.progress.step(f"{self.prefix}: preparing", 30)
        machine.run("insmod $build/modules/udrv_blk.ko")
        self.prepare(machine)
        machine.run(f"net_up stock {ECHO} {self.echo_address}")
        peaks = {1024: self.peak(machine, "stock", 1024)}
        machine.run(f"net_down stock {ECHO}")
        self.results.note(f"{self.prefix}/calibration", peaks)
        for number in range(self.plan.rounds):
            turn = number % len(self.configs)
            order = self.configs[turn:] + self.configs[:turn]
            for config in order:
                self.echo_round(machine, config, number, peaks)
            for config in order:
                self.tcp_round(machine, config, number)
            self.disk.round(machine, number, [("ahci", config) for config in order])
