# SPDX-License-Identifier: MIT
"""The machine under test: a guest of scripts/vm, told what to do over a virtio port; or this
one, over a socket."""

import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LIBRARY = pathlib.Path("bench/lib")


class BenchError(Exception):
    """What went wrong, in one line for a person."""


def free_udp_ports(count):
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Agent:
    """Somebody who runs lines of bash for us: guest.sh, at the other end of a connection."""

    def __init__(self, log):
        self._log = log
        self._buffer = b""
        self._connection = None

    def _check_alive(self, doing):
        """Throws if nobody is there any more."""
        raise NotImplementedError

    def _answer(self, command, timeout, on_line):
        """Lines up to the one with the status."""
        lines = []
        end = time.monotonic() + timeout
        while True:
            head, mark, rest = self._buffer.partition(b"\n")
            if mark:
                self._buffer = rest
                line = head.decode(errors="replace").rstrip("\r")
                if line.startswith("\001"):
                    return int(line[1:]), lines
                if on_line:
                    on_line(line)
                lines.append(line)
                continue
            left = end - time.monotonic()
            if left <= 0:
                raise BenchError(f"no answer in {timeout} s to '{command}'")
            if not select.select([self._connection], [], [], min(left, 1))[0]:
                self._check_alive(command)
                continue
            data = self._connection.recv(65536)
            if not data:
                time.sleep(0.3)
                self._check_alive(command)
            self._buffer += data

    def run(self, command, timeout=120, on_line=None):
        """Runs one line of bash in the guest; its output. Fails if it fails."""
        self._log.write(f"{time.monotonic():.3f} {command}\n")
        self._connection.sendall(command.encode() + b"\n")
        status, lines = self._answer(command, timeout, on_line)
        output = "\n".join(lines)
        self._log.write(output + ("\n" if output else ""))
        self._log.flush()
        if status != 0:
            raise BenchError(f"'{command}' failed in the machine with status {status}: "
                             f"{lines[-1] if lines else 'no message'}")
        return output

    def counters(self, bdf):
        """So far: interrupts of the device's line, context switches, interrupts of the machine,
        system calls of the device's driver."""
        return [int(word) for word in self.run(f"counters {bdf}").split()[1:5]]


class Machine(Agent):
    """One boot. Use it with `with`."""

    def __init__(self, smp, devices, log, build, kernel=None):
        super().__init__(log)
        self.smp = smp
        self.build = build
        self._dir = tempfile.mkdtemp(prefix="udrv-bench.")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"{self._dir}/port")
        listener.listen(1)
        command = ["scripts/vm", "--smp", str(smp), "--timeout", "7200", "--env", f"UDRV_BUILD={build}",
                   "--pidfile", f"{self._dir}/pid",
                   "--qemu", f"-chardev socket,id=bench,path={self._dir}/port "
                             "-device virtserialport,chardev=bench,name=udrv.bench"]
        if kernel:
            command += ["--kernel", kernel]
        command += [*devices, "--", "bash", str(LIBRARY / "guest.sh")]
        self._vm_log = open(f"{self._dir}/vm.log", "wb")
        self._vm = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=self._vm_log,
                                    stderr=subprocess.STDOUT, start_new_session=True)
        try:
            self._connection = self._accept(listener)
            self._answer("boot", 180, None)
            self.pid = int(pathlib.Path(f"{self._dir}/pid").read_text())
            self.kernel = self.run("uname -r").strip()
            self.run("load_modules")
        except BaseException:
            self.close(kill=True)
            raise
        finally:
            listener.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.close(kill=kind is not None)

    def _accept(self, listener):
        end = time.monotonic() + 180
        while time.monotonic() < end:
            if select.select([listener], [], [], 0.5)[0]:
                return listener.accept()[0]
            self._check_alive("boot")
        raise BenchError("the machine did not start in 180 s")

    def _check_alive(self, doing):
        if self._vm.poll() is not None:
            self._vm_log.flush()
            tail = pathlib.Path(f"{self._dir}/vm.log").read_text(errors="replace").strip().splitlines()
            raise BenchError(f"the machine ended during '{doing}': {tail[-1] if tail else 'no message'}")

    def vcpu_seconds(self):
        """Of the threads that run the guest, so far: CPU time, and time waited for a CPU."""
        ran = waited = 0
        for task in pathlib.Path(f"/proc/{self.pid}/task").iterdir():
            try:
                if (task / "comm").read_text().startswith("CPU "):
                    times = (task / "schedstat").read_text().split()
                    ran += int(times[0])
                    waited += int(times[1])
            except OSError:
                continue  # the thread has just ended
        return ran * 1e-9, waited * 1e-9

    def close(self, kill=False):
        problem = None
        if not kill:
            try:
                self._connection.sendall(b"exit 0\n")
                if self._vm.wait(60) != 0:
                    self._check_alive("the end")
            except (OSError, subprocess.TimeoutExpired) as error:
                problem = BenchError(f"the machine did not end: {error}")
            except BenchError as error:
                problem = error
        if self._vm.poll() is None:
            os.killpg(self._vm.pid, signal.SIGTERM)
            try:
                self._vm.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self._vm.pid, signal.SIGKILL)
                self._vm.wait()
        if self._connection:
            self._connection.close()
        self._vm_log.close()
        vm_log = pathlib.Path(f"{self._dir}/vm.log").read_text(errors="replace")
        self._log.write(re.sub(r"^", "vm: ", vm_log, flags=re.M) + "\n")
        shutil.rmtree(self._dir, ignore_errors=True)
        if problem:
            raise problem


class ThisMachine(Agent):
    """This machine, as root, with the agent as a child. Use it with `with`."""

    pid = None

    def __init__(self, log, build):
        super().__init__(log)
        self.smp = len(os.sched_getaffinity(0))
        self.kernel = os.uname().release
        self._connection, other = socket.socketpair()
        with other:
            environment = {**os.environ, "UDRV_BUILD": build, "UDRV_BENCH_FD": str(other.fileno())}
            self._agent = subprocess.Popen(["bash", str(LIBRARY / "guest.sh")], cwd=ROOT, env=environment,
                                           stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                           pass_fds=[other.fileno()], start_new_session=True)
        self._answer("start", 30, None)
        self.run("[ -d /sys/module/udrv_net ] || load_modules")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._connection.close()  # the agent reads its end
        try:
            self._agent.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._agent.pid, signal.SIGTERM)

    def _check_alive(self, doing):
        if self._agent.poll() is not None:
            raise BenchError(f"bash ended during '{doing}'")

    @staticmethod
    def busy_seconds():
        """CPU time of all processors that was not idle, so far."""
        user, nice, system, _, _, irq, softirq = map(int, pathlib.Path("/proc/stat").read_text().split()[1:8])
        return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
