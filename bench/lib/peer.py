# SPDX-License-Identifier: MIT
"""The network part on real hardware: this machine is under test, and a peer that a command
reaches (ssh) makes the load and is the other end of TCP."""

import ipaddress
import json
import os
import pathlib
import shlex
import subprocess

from machine import ROOT, BenchError, ThisMachine
from net import Net


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
        self.idle = {}
        plan.smp = [len(os.sched_getaffinity(0))]
        done = self.on_peer([self.echo_load, "--help"], 60)
        if done.returncode != 0:
            raise BenchError(f"the peer does not run {self.echo_load}: {(done.stderr or done.stdout).strip() or 'no message'}"
                             " (--peer-echo-load says where it is there)")

    def soaks(self, smp):
        return False

    def run(self):
        with ThisMachine(self.log, self.plan.build) as machine:
            self.results.kernel = machine.kernel
            self.prefix = f"net/{machine.smp}cpu"
            machine.run(f"bind_options={'--unsafe-no-iommu' if self.plan.unsafe_no_iommu else ''}")
            try:
                self.session(machine)
            finally:
                try:
                    self.log.write(machine.run(f"kill $echo_server; net_back {self.plan.bdf}"))
                except (BenchError, OSError) as error:  # what brought us here is what to report
                    self.log.write(f"at the end: {error}\n")

    def prepare(self, machine):
        machine.run("$programs/udp_echo serve 0.0.0.0 7 >/dev/null 2>&1 & echo_server=$!")
        machine.run(f"net_up stock {self.echo_bdf} {self.echo_address}")
        self.echo_mac = machine.run("cat /sys/class/net/$net_if/address").strip()
        machine.run(f"wait_reachable {self.tcp_peer}")

    def load_program(self):
        return [self.echo_load, "--interface", self.plan.peer_interface, "--source", self.plan.load_address,
                "--target", str(ipaddress.ip_interface(self.echo_address).ip)]

    def on_peer(self, command, timeout):
        try:
            return subprocess.run([*self.peer, *command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  timeout=timeout, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BenchError(f"the peer: {error}") from error

    def busy(self, machine, command, seconds):
        """The load's result, and the CPU time that this machine spent meanwhile."""
        before = machine.busy_seconds()
        done = self.on_peer(command, seconds + 30)
        spent = machine.busy_seconds() - before
        if done.returncode != 0:
            raise BenchError(done.stderr.strip().splitlines()[-1] if done.stderr else "echo_load failed on the peer")
        return json.loads(done.stdout), spent

    def load(self, machine, config, size, rate, seconds, window=0):
        """As in the lab. The CPU time is that of this machine over the whole load, of which
        the measured window has its share, less what the same command costs without a load
        (ssh, and whatever else runs here)."""
        if seconds not in self.idle:
            command = self.load_command(config, size, 0, seconds)
            command[command.index("--rate") + 1] = "1"
            self.idle[seconds] = self.busy(machine, command, seconds)[1]
        got, spent = self.busy(machine, self.load_command(config, size, rate, seconds, window), seconds)
        self.log.write(f"{config} {json.dumps(got)} {spent}\n")
        share = got["echoed"] / max(1, got["total_echoed"])
        return {**got, "vcpu_s": max(0.0, spent - self.idle[seconds]) * share, "vcpu_waited_s": 0.0}

    def tcp(self, machine, option):
        # It ends by itself, also if nobody comes, or if killing ssh does not reach it.
        command = [*self.peer, "timeout", str(self.tcp_seconds + 30), "iperf3", "-s", "--one-off", "--forceflush"]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True) as server:
            try:
                for line in server.stdout:
                    if "listening" in line:
                        return super().tcp(machine, option)
                raise BenchError("iperf3 does not start on the peer: is it installed, and its port 5201 free?")
            finally:
                server.kill()
