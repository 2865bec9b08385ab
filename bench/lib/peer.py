# SPDX-License-Identifier: MIT
"""The network part on real hardware: this machine is under test, and a peer that a command
reaches (ssh) makes the load and is the other end of TCP."""

import ipaddress
import json
import os
import pathlib
import shlex
import subprocess
import time

from machine import ROOT, BenchError, ThisMachine
from net import Net

IPERF_START = 0.7  # seconds that its server takes


class PeerNet(Net):
    def __init__(self, plan, results, progress, log):
        super().__init__(plan, results, progress, log)
        if os.geteuid() != 0:
            raise BenchError("--peer changes the drivers of this machine: run it as root")
        wanted = ("bdf", "address", "peer_address", "peer_interface", "load_address")
        if missing := [f"--{name.replace('_', '-')}" for name in wanted if not getattr(plan, name)]:
            raise BenchError(f"--peer needs {', '.join(missing)} as well (see --help)")
        try:
            network = ipaddress.ip_interface(plan.address).network
            for address in (plan.peer_address, plan.load_address):
                if ipaddress.ip_address(address) not in network:
                    raise BenchError(f"{address} is not in the network {network} of --address")
        except ValueError as error:
            raise BenchError(f"a bad address: {error} (--address has a prefix: 10.0.0.1/24)") from error
        if not pathlib.Path("/sys/bus/pci/devices", plan.bdf).exists():
            raise BenchError(f"there is no PCI device {plan.bdf} (lspci -D lists them)")
        self.peer = shlex.split(plan.peer)
        self.echo_bdf = self.tcp_bdf = plan.bdf
        self.echo_address = self.tcp_address = plan.address
        self.tcp_peer = plan.peer_address
        self.echo_load = plan.peer_echo_load or str(ROOT / plan.build / "bin/echo_load")
        done = subprocess.run([*self.peer, self.echo_load, "--help"], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BenchError(f"the peer does not run {self.echo_load}: {(done.stderr or done.stdout).strip() or 'no message'}"
                             " (--peer-echo-load says where it is there)")

    def soaks(self, smp):
        return False

    def run(self):
        with ThisMachine(self.log, self.plan.build) as machine:
            self.plan.smp = [machine.smp]
            self.results.kernel = machine.kernel
            self.prefix = f"net/{machine.smp}cpu"
            machine.run(f"bind_options={'--unsafe-no-iommu' if self.plan.unsafe_no_iommu else ''}")
            try:
                self.session(machine)
            finally:
                machine.run(f"kill $echo_server; net_back {self.plan.bdf}")

    def prepare(self, machine):
        machine.run("$programs/udp_echo serve 0.0.0.0 7 >/dev/null 2>&1 & echo_server=$!")
        machine.run(f"net_up stock {self.echo_bdf} {self.echo_address}")
        self.echo_mac = machine.run("cat /sys/class/net/$net_if/address").strip()
        machine.run(f"wait_reachable {self.tcp_peer}")

    def load_command(self, config, size, rate, seconds, window=0, warmup=0.3):
        command = [*self.peer, self.echo_load, "--interface", self.plan.peer_interface,
                   "--source", self.plan.load_address, "--target", str(ipaddress.ip_interface(self.echo_address).ip),
                   "--size", str(size), "--seconds", str(seconds), "--warmup", str(warmup)]
        command += ["--window", str(window)] if window else ["--rate", f"{max(rate, 50):.0f}"]
        if config == "reflect":
            command += ["--mac", self.echo_mac]
        return command

    def load(self, machine, config, size, rate, seconds, window=0):
        """As in the lab. The CPU time is that of this machine over the whole load, of which
        the measured window has its share."""
        before = machine.busy_seconds()
        done = subprocess.run(self.load_command(config, size, rate, seconds, window), capture_output=True, text=True,
                              timeout=seconds + 30, check=False)
        busy = machine.busy_seconds() - before
        if done.returncode != 0:
            raise BenchError(done.stderr.strip().splitlines()[-1] if done.stderr else "echo_load failed on the peer")
        self.log.write(f"{config} {done.stdout}")
        got = json.loads(done.stdout)
        return {**got, "vcpu_s": busy * got["echoed"] / max(1, got["total_echoed"]), "vcpu_waited_s": 0.0}

    def tcp(self, machine, option):
        with subprocess.Popen([*self.peer, "iperf3", "-s", "--one-off"], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as server:
            time.sleep(IPERF_START)
            output = super().tcp(machine, option)
            server.wait(10)
        return output
