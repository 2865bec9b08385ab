# SPDX-License-Identifier: MIT
"""perf on the virtual CPU's thread: whose code it runs. Without KVM only: what the
emulator itself does shows as its own code."""

import collections
import contextlib
import pathlib
import shutil
import signal
import subprocess
import tempfile

from machine import BenchError

HERTZ = 999
# What a sample's innermost frame is in. Whatever has no file is code that QEMU made.
GUEST, EMULATOR, HOST = "guest", "emulator", "host"
WAKING = "eventfd_write"  # the host's function that wakes QEMU's other threads
PLACES = (GUEST, EMULATOR, HOST, WAKING)


def require():
    if not shutil.which("perf"):
        raise BenchError("perf is missing: apt-get install linux-perf")


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


@contextlib.contextmanager
def recorded(machine, seconds=None):
    """A Counter that has, after the block, the virtual CPU's seconds by PLACES: those of
    the block, or of its first `seconds`."""
    times = collections.Counter()
    with tempfile.TemporaryDirectory(prefix="udrv-bench-perf.") as directory:
        data = pathlib.Path(directory, "data")
        command = ["perf", "record", "-e", "cpu-clock", "-F", str(HERTZ), "-g", "-p", str(machine.pid), "-o", data]
        with subprocess.Popen([*command, *(["--", "sleep", str(seconds)] if seconds else [])],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as perf:
            try:
                yield times
            finally:
                if not seconds:
                    perf.send_signal(signal.SIGINT)
        found = subprocess.run(["perf", "script", "-i", data, "-F", "comm,ip,sym,dso"], capture_output=True, text=True,
                               check=False)
    for name, count in samples(found.stdout).items():
        times[name] = count / HERTZ
    if found.returncode != 0 or not times:
        raise BenchError("perf saw nothing: may it look at QEMU (sysctl kernel.perf_event_paranoid)?")
