#!/bin/bash
# SPDX-License-Identifier: MIT
# bench/compare names what moved beyond the noise, and nothing else.
set -euo pipefail
# shellcheck source=tests/static/lib/common.sh
. "$(dirname "$0")/lib/common.sh"

# result NAME CPU-OF-UDRV...: a run whose in-kernel driver takes 100 us per echo
result() {
    local name=$1
    shift
    python3 - "$@" >"$tmp/$name.json" <<'PYTHON'
import json, statistics, sys

def figure(values, better):
    return {"unit": "us", "better": better, "values": values, "median": statistics.median(values),
            "low": min(values), "high": max(values)}

user = [float(value) for value in sys.argv[1:]]
base = "net/1cpu/echo1024"
results = {}
for config, costs in (("udrv", user), ("stock", [100.0] * len(user))):
    key = f"{base}/{config}/0.50"
    results[f"{key}/cpu_us_per_echo"] = figure(costs, "lower")
    results[f"{key}/rtt_p50_us"] = figure([200.0] * len(user), "lower")
    for name in ("offered_per_s", "echoes_per_s", "sustained_per_s"):
        results[f"{key}/{name}"] = figure([5000.0] * len(user), "higher")
json.dump({"commit": "0" * 40, "changed": False, "started": "-", "mode": "full", "rounds": len(user), "smp": [1],
           "guest_kernel": "-", "complete": True, "machine": {"cpu": "-", "accelerator": "tcg"},
           "results": results}, sys.stdout)
PYTHON
}
result base 100 104 98
result noisy 103 99 140 # its median is within what base's rounds span
result worse 125 130 128
expect() { # STATUS PATTERN OLD NEW
    local status=0
    bench/compare "$tmp/$3.json" "$tmp/$4.json" >"$tmp/out" 2>&1 || status=$?
    if [ "$status" != "$1" ] || ! grep -qE -- "$2" "$tmp/out"; then
        fail "$3 to $4: status $status, $1 expected, and '$2' in: $(cat "$tmp/out")"
    fi
}
expect 0 '^0 of 5 moved' base base
expect 0 '^0 of 5 moved' base noisy
expect 1 '^ *\+28\.0% .* worse .*CPU per echo' base worse
expect 0 '^ *-21\.9% .* better .*CPU per echo' worse base
echo '{' >"$tmp/broken.json"
expect 1 '^bench/compare: cannot read' base broken
finish "bench/compare: 5 cases"
