#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: disk_kill.sh DRIVER BDF KILLS HANGS UPGRADES
# A driver under its supervisor is killed at random moments, hangs and is upgraded under
# fio, which verifies all that it writes. Nothing is lost. Prints the outages.
. tests/vm/guest/disk_lib.sh
. tests/vm/guest/outage_lib.sh
driver=$1
bdf=$2
kills=$3
hangs=$4
upgrades=$5
deadline_ms=1000
slow=1 # how much longer drivers live between two kills
! debug_kernel || { deadline_ms=5000; slow=5; }

start_load() {
    rm -f /tmp/stop
    verified load /dev/udb0 &
    load=$!
}
stop_load() { # TITLE
    touch /tmp/stop
    wait $load
    read -r n status </tmp/verified-load
    check_ge "$1: rounds of fio" "$n" 1
    check_eq "$1: status of fio" "$status" 0
    [ "$status" = 0 ] || head -n 5 /tmp/fio-load
    check_eq "$1: violations" "$(attr violations)" 0
    check_quiet_kernel "$1: no kernel message"
}

# Function level resets: each takes a tenth of a second, in which the disk has no driver.
tracing=/sys/kernel/tracing
mount -t tracefs tracefs $tracing 2>/dev/null
echo 'p:flr pcie_flr' >$tracing/kprobe_events
echo 1 >$tracing/events/kprobes/flr/enable
# A device that has none is made quiet by its driver's stop writes alone.
flr=0
! grep -qw flr "/sys/bus/pci/devices/$bdf/reset_method" 2>/dev/null || flr=1
[ "$driver" != nvme ] || check_eq 'its function can be reset' $flr 1
resets() { awk '$1 == "flr" { print $2 }' $tracing/kprobe_profile; }

load_disk_modules
require 'bind' "$udrv" bind --unsafe-no-iommu $bdf
require 'start' run_driver $driver $bdf --restart --deadline $deadline_ms --restart-limit 1000
check_eq 'confined by an IOMMU' "$([ -e /sys/bus/pci/devices/$bdf/iommu_group ] && echo yes || echo no)" \
    "$([ -d /sys/class/iommu/dmar0 ] && echo yes || echo no)"
mark_kernel_log

phase "kill -9 at random moments, $kills times"
start_load
latencies $driver /dev/udb0 &
reads=$!
check 'reads begin' wait_for 120 latencies_begun $driver
let_live() { # KILLS that have been
    # On a busy host each kill might hit a driver that has not served yet, and the disk's
    # window of 30 s would be over: so each third one does serve first.
    [ $(($1 % 3)) != 2 ] || wait_for 20 running
    sleep "$((RANDOM % 2 * slow)).$((RANDOM % 5 + 5))"
}
kill_often "$kills" /tmp/kills $bdf let_live
check 'it runs again' wait_for 20 running
sleep 1
pkill -INT -f write_lat_log
wait $reads
stop_load kills
check_ge 'started again' "$(restarts)" "$kills"
read_outages /tmp/lat-$driver /tmp/kills >/tmp/outage
check_ge 'outages seen' "$(wc -l </tmp/outage)" $((kills * 5 / 10))
outages $driver /tmp/outage
# Only of those that were killed before they served.
check_ge 'kills that needed no reset of the function' $((kills - $(resets))) $((kills / 2))

phase "hangs: $hangs times, half SIGSTOP, half a busy loop"
ways=(stop loop)
start_load
noticed=0
for ((i = 0; i < hangs; i++)); do
    wait_for 20 running
    sleep 1.2
    pid=$(attr owner)
    begun=$(now_ms)
    make_hang "$pid" "${ways[i % 2]}" || continue
    wait_for 30 not alive "$pid" && noticed=$((noticed + 1))
    echo $(($(now_ms) - begun)) >>/tmp/noticed
done
check_eq 'noticed' $noticed $hangs
echo "noticed after: median $(percentile 50 /tmp/noticed) ms, longest $(percentile 100 /tmp/noticed) ms"
check 'it runs again' wait_for 20 running
stop_load hangs

phase "upgrade, $upgrades times"
start_load
done=0
for ((i = 0; i < upgrades; i++)); do
    wait_for 20 running
    sleep 0.3
    timeout 70 "$udrv" upgrade $bdf >>/tmp/upgrades 2>&1 && done=$((done + 1))
done
check_eq 'replaced' $done "$upgrades"
sed -n 's/.*without a driver for \([0-9]*\) ms/\1/p' /tmp/upgrades >/tmp/outage-upgrade
outages upgrade /tmp/outage-upgrade
stop_load upgrades

phase 'unbind under load'
start_load
sleep 1
before=$(resets)
check 'unbind --force' timeout 60 "$udrv" unbind --force $bdf
check_ge 'the kernel gets the function reset, if it can be' $(($(resets) - before)) $flr
wait $load
read -r n status </tmp/verified-load
check_ge 'writes fail: status of fio' "$status" 1
check 'the disk is gone' not test -b /dev/udb0
{ wait ${driver_pid[$bdf]}; } 2>/dev/null

phase 'unbind after a kill'
require 'bind' "$udrv" bind --unsafe-no-iommu $bdf
require 'start' run_driver $driver $bdf
before=$(resets)
stop_driver $bdf KILL
check 'it is free' wait_for 20 session_over
check_eq 'not reset yet' $(($(resets) - before)) 0
check 'unbind' "$udrv" unbind $bdf
check_eq 'reset now, if it can be' $(($(resets) - before)) $flr
echo 0 >$tracing/events/kprobes/flr/enable
check 'rmmod' rmmod udrv_blk udrv
summary
