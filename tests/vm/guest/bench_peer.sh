#!/bin/bash
# SPDX-License-Identifier: MIT
# bench/run as on real hardware: this machine is under test, the peer is another one, which
# here is a network namespace.
. tests/vm/guest/lib.sh
run=(bench/run net --smoke --as-built --build "$build" --out /tmp/out)

# refuses NAME PATTERN COMMAND...: with status 1, and a last line that says so
refuses() {
    local name=$1 pattern=$2 status=0
    shift 2
    "$@" >/tmp/refuses 2>&1 || status=$?
    if [ $status = 1 ] && tail -n 1 /tmp/refuses | grep -qE "^bench/run: .*$pattern"; then
        ok "$name: $(tail -n 1 /tmp/refuses)"
    else
        fail "$name" "status $status: $(tail -n 2 /tmp/refuses)"
    fi
}
refuses 'the rest of the options' 'peer needs --address.*--load-address' \
    "${run[@]}" --peer 'ip netns exec peer' --bdf $bdf
require 'a peer' setup_peer
peer=(--peer 'ip netns exec peer' --peer-interface "$peer_if" --peer-address 10.0.0.2
    --load-address 10.0.0.100 --bdf $bdf)
refuses 'an address of another network' '10.0.0.2 is not in the network 10.1.0.0/24' \
    "${run[@]}" "${peer[@]}" --address 10.1.0.1/24
refuses 'a peer without the program' 'the peer does not run /nowhere' \
    "${run[@]}" "${peer[@]}" --address 10.0.0.1/24 --peer-echo-load /nowhere
refuses 'a device that is not confined' 'no IOMMU confines it' "${run[@]}" "${peer[@]}" --address 10.0.0.1/24
check 'the kernel has its card again' test -d /sys/bus/pci/devices/$bdf/net

check 'all of it' "${run[@]}" "${peer[@]}" --address 10.0.0.1/24 --unsafe-no-iommu
figures() {
    python3 - <<'PYTHON'
import json
results = json.load(open("/tmp/out/results.json"))["results"]
names = [f"net/2cpu/echo1024/{config}/{load}/{what}" for config in ("stock", "udrv", "tap", "reflect")
         for load in ("0.25", "1.50") for what in ("echoes_per_s", "cpu_us_per_echo", "rtt_p50_us")]
names += [f"net/2cpu/tcp/{config}/{way}_megabits_per_s" for config in ("stock", "udrv", "tap") for way in ("out", "in")]
missing = [name for name in names if not results.get(name, {}).get("median")]
print(*missing)
raise SystemExit(bool(missing))
PYTHON
}
check 'its figures' figures
check 'its tables' grep -q '^| user-level | 0.25 |' /tmp/out/summary.md
check 'its plot' test -s /tmp/out/udp-echo-2cpu.svg
check 'the kernel has its card at the end' test -d /sys/bus/pci/devices/$bdf/net
# Kernel threads have no program: udrv.ko's workqueue has one of the name udrv.
left() { for pid in $(pidof udrv udrv-e1000 udp_echo e1000_tap e1000_reflect); do readlink "/proc/$pid/exe"; done; }
nothing_runs() { [ -z "$(left)" ]; }
check 'nothing runs any more' wait_for 10 nothing_runs
summary
