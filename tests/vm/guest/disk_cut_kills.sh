#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: disk_cut_kills.sh OUT SEED
# Drivers under supervisors are killed again and again under writers that tell OUT what
# they were promised, until the power is cut. See disk_cut_test.sh.
. tests/vm/guest/disk_lib.sh
. tests/vm/guest/outage_lib.sh
out=$1
seed=$2

let_live() { sleep "$((RANDOM % 2)).$((RANDOM % 7 + 3))"; }

# A machine that is stopped may miss the recovery window.
load_all_modules recovery_window_s=3000
declare -A bdfs=([ahci]=0000:01:01.0 [ide]=0000:00:01.1)
modes=(direct dsync cached)
number=0
for driver in ahci ide; do
    require "$driver: bind" "$udrv" bind --unsafe-no-iommu ${bdfs[$driver]}
    require "$driver: start" run_driver $driver ${bdfs[$driver]} --restart --restart-limit 1000000
    require "$driver: disk" wait_for 10 test -b /dev/udb$number
    for lane in "${!modes[@]}"; do
        "$helpers/cut_probe" write /dev/udb$number "$lane" "$seed" "$out/$driver-$lane" "${modes[lane]}" &
    done
    kill_often 1000000 "$out/kills-$driver" ${bdfs[$driver]} let_live &
    number=$((number + 1))
done
# Nothing here ends by itself.
wait -n
dmesg | tail -n 30; cat /tmp/driver-*.err | grep -v "killed by SIGKILL"
fail 'writers, killers and supervisors go on' "one ended with status $?: $(tail -qn 1 /tmp/driver-*.err)"
summary
