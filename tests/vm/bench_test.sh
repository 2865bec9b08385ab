#!/bin/bash
# SPDX-License-Identifier: MIT
# The benchmark from end to end, as short as it goes: is the result complete, were the
# plots made, does bench/compare read it? Its figures mean nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
if ! bench/run all --smoke --out "$out" >"$out/output" 2>&1; then
    tail -n 20 "$out/output" "$out/log.txt"
    exit 1
fi
bench/compare "$out" "$out" >"$out/compare" || { cat "$out/compare"; exit 1; }
python3 - "$out" <<'PYTHON'
import json, pathlib, sys

out = pathlib.Path(sys.argv[1])
document = json.loads((out / "results.json").read_text())
wanted = ["mode", "commit", "guest_kernel", "machine", "results", "seconds"]
problems = [f"results.json has no {key}" for key in wanted if not document.get(key)]
if not document["complete"]:
    problems.append(f"not complete: {document.get('problem')}")
results = document["results"]
names = [f"net/1cpu/echo1024/{config}/{load}/{what}" for config in ("stock", "udrv", "tap", "reflect")
         for load in ("0.25", "1.50")
         for what in ("echoes_per_s", "cpu_us_per_echo", "rtt_p50_us", "rtt_p99_us", "interrupts_per_packet",
                      "context_switches_per_packet", "driver_calls_per_packet")]
names += [f"net/1cpu/tcp/{config}/{way}_megabits_per_s" for config in ("stock", "udrv", "tap") for way in ("out", "in")]
for kind, configs in (("ahci", ("stock", "udrv", "nbd")), ("ide", ("stock", "udrv"))):
    for config in configs:
        names += [f"disk/1cpu/read/{kind}/{config}/{n}/{what}" for n in (1, 256) for what in ("mib_per_s", "cpu_percent")]
        names += [f"disk/1cpu/rand{way}{depth}/{kind}/{config}/iops" for way in ("read", "write") for depth in (1, 32)]
problems += [f"not measured: {name}" for name in names if not results.get(name, {}).get("median") and
             not name.endswith(("calls_per_packet", "interrupts_per_packet", "cpu_percent"))]
problems += [f"not there: {name}" for name in names if name not in results]
for plot in ("udp-echo-1cpu", "read-ahci-1cpu", "read-ide-1cpu"):
    for kind, begin in (("svg", b"<?xml"), ("png", b"\x89PNG")):
        file = out / f"{plot}.{kind}"
        if not file.exists() or not file.read_bytes().startswith(begin):
            problems.append(f"no plot {file.name}")
print(f"{len(results)} figures in {document['seconds']:.0f} s, {len(problems)} problems", *problems, sep="\n")
sys.exit(bool(problems))
PYTHON
