# SPDX-License-Identifier: MIT
"""Where and of what a result was measured."""

import os
import pathlib
import re
import shutil
import subprocess
import time

from machine import ROOT, BenchError

SCHEMA = 1


def require_tools(plan):
    lab = () if plan.peer else ("qemu-system-x86_64", "fio")
    for tool in (*lab, "gnuplot", "iperf3", "cmake"):
        if not shutil.which(tool):
            raise BenchError(f"{tool} is missing: run scripts/deps")


def output(*command):
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def first(pattern, text):
    found = re.search(pattern, text or "", re.M)
    return found.group(1).strip() if found else None


def describe(plan):
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text()
    kvm = bool(re.search(r"^flags.* (vmx|svm)( |$)", cpuinfo, re.M)) and os.access("/dev/kvm", os.W_OK)
    release = pathlib.Path("/etc/os-release").read_text()
    return {
        "schema": SCHEMA,
        "what": plan.what,
        "mode": plan.mode,
        "rounds": plan.rounds,
        "commit": output("git", "rev-parse", "HEAD"),
        "changed": bool(output("git", "status", "--porcelain", "--untracked-files=no")),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "clock": time.monotonic(),
        "machine": {
            "cpu": first(r"^model name\s*:\s*(.*)$", cpuinfo),
            "cpus": len(os.sched_getaffinity(0)),
            "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
            "system": first(r'^PRETTY_NAME="?([^"]*)', release),
            "kernel": os.uname().release,
            "qemu": first(r"version ([0-9.]+)", output("qemu-system-x86_64", "--version")),
            "accelerator": "none" if plan.peer else "kvm" if kvm else "tcg",
            "load_average_before": os.getloadavg()[0],
        },
    }


def finish(document, results, plan, problem):
    document["seconds"] = round(time.monotonic() - document.pop("clock"), 1)
    document["machine"]["load_average_after"] = os.getloadavg()[0]
    document["guest_kernel"] = results.kernel
    document["complete"] = problem is None
    document["smp"] = plan.smp  # as a part may have found it
    if problem:
        document["problem"] = problem
    document["absent"] = results.absent if plan.what in ("disk", "all") else {}
    document["notes"] = results.notes
    document["results"] = results.as_json()
    return document
