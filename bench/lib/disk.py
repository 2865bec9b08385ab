# SPDX-License-Identifier: MIT
"""The disk part: contiguous direct reads of every size, and 4 KiB at random."""

import json
import os
import pathlib
import shutil
import tempfile

from machine import BenchError, Machine

LABELS = {"stock": "in-kernel", "udrv": "user-level", "nbd": "NBD", "ublk": "ublk", "untrusted": "user-level, untrusted"}
# Kind of controller: its place, its driver in the kernel, what is compared on it.
KINDS = {
    "ahci": ("0000:00:18.0", "ahci", ("stock", "udrv", "nbd", "ublk")),
    "ide": ("0000:00:01.1", "ata_piix", ("stock", "udrv")),
}
# The paper's, in sectors of 512 bytes.
SECTORS = (*range(1, 33), 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896,
           1024, 1280, 1536, 1792, 2048, 2560, 3072, 3584, 4096, 5120, 6144, 7168, 8192)
QUICK_SECTORS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
SMOKE_SECTORS = (1, 256)
DISK_MIB = 256
JOBS = ("randread-1", "randread-32", "randwrite-1", "randwrite-32")


def image(directory, name):
    """A disk's file. Not a sparse one: holes are read faster than data."""
    file = pathlib.Path(directory, name)
    block = os.urandom(1 << 20)
    with file.open("wb") as out:
        for _ in range(DISK_MIB):
            out.write(block)
    return file


class Disk:
    def __init__(self, plan, results, progress, log):
        self.plan = plan
        self.results = results
        self.progress = progress
        self.log = log
        self.sectors = {"full": SECTORS, "quick": QUICK_SECTORS, "smoke": SMOKE_SECTORS}[plan.mode]
        self.mib = {"full": 64, "quick": 16, "smoke": 4}[plan.mode]
        self.seconds = 0 if plan.whole else {"full": 0.3, "quick": 0.25, "smoke": 0.1}[plan.mode]
        self.random_seconds = {"full": 1.0, "quick": 0.6, "smoke": 0.3}[plan.mode]
        self.cases = [(kind, config) for kind, (_, _, configs) in KINDS.items() for config in configs
                      if config in plan.configs]
        if "nbd" in plan.configs and not shutil.which("qemu-nbd"):
            self.cases.remove(("ahci", "nbd"))
            results.absent["nbd"] = "qemu-nbd is not installed (run scripts/deps)"

    def sweep_seconds(self):
        return len(self.sectors) * ((self.seconds or 5) + 0.02)

    def random_estimate(self):
        return len(JOBS) * (self.random_seconds + 0.3) + 3

    def estimate(self):
        case = self.sweep_seconds() + self.random_estimate() + 3
        return len(self.plan.smp) * (15 + self.plan.rounds * len(self.cases) * case)

    def run(self):
        directory = tempfile.mkdtemp(prefix="udrv-bench-disk.")
        try:
            devices = []
            for kind in KINDS:
                file = image(directory, kind)
                devices += ["--disk", f"{kind}:{file}"]
            for smp in self.plan.smp:
                self.progress.step(f"disk/{smp}cpu: preparing", 15)
                with Machine(smp, devices, self.log, self.plan.build, self.plan.kernel) as machine:
                    self.results.kernel = machine.kernel
                    self.prefix = f"disk/{smp}cpu"
                    self.session(machine)
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def session(self, machine):
        machine.run("insmod $build/modules/udrv_blk.ko")
        there = "modinfo -n ublk_drv >/dev/null 2>&1 && [ -x $programs/ublk_loop ] && echo yes || echo no"
        if ("ahci", "ublk") in self.cases and machine.run(there).strip() == "no":
            self.cases.remove(("ahci", "ublk"))
            self.results.absent["ublk"] = f"the guest's kernel, {machine.kernel}, or this build has none"
        if not self.cases:
            raise BenchError("nothing of --configs can be measured here")
        for number in range(self.plan.rounds):
            turn = number % len(self.cases)
            self.round(machine, number, self.cases[turn:] + self.cases[:turn])

    def round(self, machine, number, cases):
        for kind, config in cases:
            where = f"{self.prefix} round {number + 1}: {kind}, {LABELS[config]}"
            bdf = KINDS[kind][0]
            self.progress.step(f"{where}, setting up", 3)
            machine.run(f"disk_up {config} {kind} {bdf}")
            # Programs are translated when they first run; that is not the driver's cost.
            machine.run("$programs/read_sweep $disk 4 0.15 8 256")
            self.progress.step(f"{where}, contiguous reads", self.sweep_seconds())
            self.sweep(machine, kind, config)
            self.progress.step(f"{where}, 4 KiB at random", self.random_estimate())
            self.random(machine, kind, config)
            machine.run(f"disk_down {config} {bdf}")

    def sweep(self, machine, kind, config):
        begin = [(0.0, 0.0)]

        def on_line(line):
            words = line.split()
            if words[0] == "begin":
                begin[0] = machine.vcpu_seconds()
            elif words[0] == "end":
                cpu, waited = (now - then for now, then in zip(machine.vcpu_seconds(), begin[0]))
                sectors, size, took = int(words[1]), int(words[2]), float(words[3])
                key = f"{self.prefix}/read/{kind}/{config}/{sectors}"
                add = self.results.add
                add(f"{key}/mib_per_s", size / took / 2**20, "MiB/s", "higher")
                # Of the CPU time there was, as in net.py.
                add(f"{key}/cpu_percent", min(100.0, cpu / (took * machine.smp - waited) * 100), "%", "lower")
                add(f"{key}/stolen_percent", waited / took / machine.smp * 100, "%", "lower")
                add(f"{key}/cpu_us_per_read", cpu / (size / (sectors * 512)) * 1e6, "us", "lower")

        machine.run(f"$programs/read_sweep $disk {self.mib} {self.seconds} {' '.join(map(str, self.sectors))}",
                    timeout=self.sweep_seconds() * 20 + 60, on_line=on_line)

    def random(self, machine, kind, config):
        output = machine.run(f"random {self.random_seconds * 1000:.0f}", timeout=self.random_estimate() * 5 + 60)
        try:
            report = json.loads(output[output.index("{"):])
        except ValueError as error:
            raise BenchError(f"fio: {output.strip().splitlines()[-1]}") from error
        for job in report["jobs"]:
            name, depth = job["jobname"].split("-")
            if job["error"]:
                raise BenchError(f"fio, {job['jobname']} on {kind}: error {job['error']}")
            side = job[name.removeprefix("rand")]
            latency = side["clat_ns"].get("percentile", {})
            key = f"{self.prefix}/{name}{depth}/{kind}/{config}"
            self.results.add(f"{key}/iops", side["iops"], "1/s", "higher")
            self.results.add(f"{key}/latency_mean_us", side["clat_ns"]["mean"] / 1e3, "us", "lower")
            for percent in ("50", "99"):
                if f"{percent}.000000" in latency:
                    self.results.add(f"{key}/latency_p{percent}_us", latency[f"{percent}.000000"] / 1e3, "us", "lower")
