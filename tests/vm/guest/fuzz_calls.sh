#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: fuzz_calls.sh CALLS [SEED]
# Every call on every file of udrv, wrongly; and which functions of the modules that
# reached.
. tests/vm/guest/lib.sh
. tests/vm/guest/disk_lib.sh
. tests/vm/guest/hostile_lib.sh
calls=$1
seed=${2:-$RANDOM}
edu=0000:01:00.0 # alone behind a root port, so that it can be reset
ahci=0000:00:18.0
tracing=/sys/kernel/tracing

load_all_modules recovery_window_s=1
# Coverage: each function of the modules that the kernel can trace, and which were hit. Those that
# the kernel's headers make of a tracepoint are not ours, and run when it is on only.
mountpoint -q $tracing || mount -t tracefs tracefs $tracing
for module in udrv udrv_net udrv_blk; do
    echo ":mod:$module" >>$tracing/set_ftrace_filter
    grep "\[$module\]" $tracing/available_filter_functions | cut -d' ' -f1 |
        grep -vE '^(__traceiter|__probestub|trace_event_raw_event|trace_raw_output|perf_trace|__bpf_trace)_' |
        sort -u >/tmp/functions-$module
done
echo function >$tracing/current_tracer
echo nop >$tracing/current_tracer
if [ -e $tracing/function_profile_enabled ]; then
    echo 1 >$tracing/function_profile_enabled
else
    # No profiler in this kernel: a trace of the names, read as it comes.
    echo function >$tracing/current_tracer
    echo 2048 >$tracing/buffer_size_kb
    awk '{ for (i = 1; i < NF; i++) if ($i ~ /:$/ && $(i + 1) !~ /:/) { name = $(i + 1) } }
        !(name in seen) { seen[name]; print name; fflush() }' $tracing/trace_pipe >/tmp/hit.raw &
fi

for dev in $bdf $edu $ahci; do
    require "bind $dev" bind_device "$dev"
done
echo 0 >/proc/sys/debug/exception-trace # processes that unmap under their own feet
mark_kernel_log
phase 'wrong calls'
# Whatever interfaces and disks there are just now have some traffic.
(while :; do
    for name in /sys/class/net/udn*; do
        [ -e "$name" ] || continue
        ip link set "${name##*/}" up mtu $((1400 + RANDOM % 100))
        ip link set "${name##*/}" address 52:54:00:77:00:0$((RANDOM % 10))
        ethtool -S "${name##*/}"
        ethtool "${name##*/}"
        ethtool -r "${name##*/}"
        ethtool -l "${name##*/}"
        ethtool -L "${name##*/}" combined $((RANDOM % 4))
        ethtool -K "${name##*/}" tx "$([ $((RANDOM % 2)) = 0 ] && echo on || echo off)"
        ping -c 2 -i 0.2 -w 1 -I "${name##*/}" 10.77.0.1
    done
    for disk in /dev/udb*; do
        [ -b "$disk" ] && timeout 2 dd if="$disk" of=/dev/null bs=4k count=1
        [ -b "$disk" ] && timeout 4 smartctl -d ata -i -H "$disk"
        [ -b "$disk" ] && timeout 2 hdparm -i "$disk"
    done
    echo $((RANDOM % 3)) >/sys/bus/pci/devices/$edu/udrv/untrusted
    timeout 20 sh -c "echo 1 >/sys/bus/pci/devices/$edu/reset"
    cat /sys/bus/pci/devices/*/udrv/* /sys/block/udb*/device/{model,serial}
    sleep 0.1
done) >/dev/null 2>&1 &
traffic=$!
timeout 3000 "$helpers/fuzz_calls" "$calls" "$seed" $bdf $edu $ahci >/tmp/fuzz 2>&1
status=$?
kill $traffic
wait $traffic 2>/dev/null
probed 'fuzz' /tmp/fuzz $status
for dev in $bdf $edu $ahci; do
    [ -e "/dev/udrv/$dev" ] || echo "$dev" >/sys/bus/pci/drivers/udrv/bind
    check_nothing_left "$dev"
done
check_eq 'paths left' "$(find /proc/irq -name 'irq*' -type f | wc -l)" 0
check_eq 'kernel messages' \
    "$(other_messages 'DMAR|ud[bn][0-9]+|udrv_disk|ldm_validate|callbacks suppressed|block device autoloading|no IOMMU|attempt to access beyond end of device|the chip did not stop')" ''

phase 'the honest drivers'
for dev in $bdf $edu $ahci; do
    "$udrv" unbind --force "$dev"
    require "bind $dev" bind_device "$dev"
done
# Right calls and wrong rings, for the coverage.
timeout 100 "$helpers/hostile_net" $bdf 100000 "$seed" >/tmp/lies.out 2>&1
check_ge 'sessions that broke the protocol' "$(total violated /tmp/lies.out)" 1
require 'a peer' setup_peer
require 'e1000 starts' start_driver
check 'link' up_udn0
require 'answers' wait_reachable
check_eq 'ping, lost of 200' "$(lost -c 200 -i 0.005 10.0.0.2)" 0
check 'edu' "$udrv" run edu $edu
require 'ahci starts' run_driver ahci $ahci
check 'written and verified' verify "/dev/$(ls /sys/bus/pci/devices/$ahci/udrv_disk)" io_uring 32 8M --direct=1
# What people read, beside the calls.
cat /sys/block/udb0/device/{rev,unit,vendor} /sys/class/net/udn0/udrv/{wanted,applied} >/dev/null
ethtool -a udn0 >/dev/null
hdparm -g /dev/udb0 >/dev/null
hdparm -i /dev/udb0 >/dev/null
smartctl -d ata -H /dev/udb0 >/dev/null
check 'ahci ends well' stop_driver $ahci
check 'e1000 ends well' stop_driver

phase 'coverage'
if [ -e $tracing/function_profile_enabled ]; then
    echo 0 >$tracing/function_profile_enabled
    cat $tracing/trace_stat/function* | awk '$2 ~ /^[0-9]+$/ { print $1 }' | sort -u >/tmp/hit
else
    echo 0 >$tracing/tracing_on
    sleep 1
    pkill -x awk
    sort -u /tmp/hit.raw >/tmp/hit
fi
all=0
hit=0
for module in udrv udrv_net udrv_blk; do
    n=$(wc -l </tmp/functions-$module)
    h=$(comm -12 /tmp/functions-$module /tmp/hit | wc -l)
    echo "$module: $h of $n functions; not: $(comm -23 /tmp/functions-$module /tmp/hit | tr '\n' ' ')"
    all=$((all + n))
    hit=$((hit + h))
done
check_ge "functions reached, percent ($hit of $all)" $((hit * 100 / all)) 85
for dev in $bdf $edu $ahci; do
    "$udrv" unbind --force "$dev"
done
check 'rmmod' rmmod udrv_blk udrv_net udrv
summary
