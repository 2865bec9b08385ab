#!/bin/bash
# SPDX-License-Identifier: MIT
# What a packet costs: system calls, interrupts and context switches of the driver
# for a light and for a saturating load. At saturation the rings are busy, and
# neither side calls the other: fewer than 0.1 system calls a packet.
. tests/vm/guest/lib.sh

load_modules
require 'bind' "$udrv" bind --unsafe-no-iommu $bdf
require 'the driver starts' start_driver
require_peer
serve_iperf

printf '%-22s %10s %9s %9s %9s %9s %9s\n' load packets calls/pkt irqs/pkt bells/pkt switch/pkt sleeps
field() { sed -n "s/.*\"$2\": *\([0-9]*\).*/\1/p" "$1"; }
# row NAME COMMAND...: the difference of the counters before and after it. Sets
# `packets`, and `calls` in thousandths a packet.
row() {
    local name=$1 name_of value
    shift
    write_stats && cp "/tmp/stats-$bdf" /tmp/before
    "$@" >/tmp/row.out 2>&1
    write_stats && cp "/tmp/stats-$bdf" /tmp/after
    declare -A d
    for name_of in packets system_calls interrupts doorbells context_switches_voluntary \
        context_switches_involuntary waits; do
        value=$(field /tmp/after $name_of)
        d[$name_of]=$((value - $(field /tmp/before $name_of)))
    done
    packets=${d[packets]}
    calls=$((packets > 0 ? d[system_calls] * 1000 / packets : 999999))
    awk -v n="$name" -v p="$packets" -v c="${d[system_calls]}" -v i="${d[interrupts]}" \
        -v b="${d[doorbells]}" -v w="${d[waits]}" \
        -v s="$((d[context_switches_voluntary] + d[context_switches_involuntary]))" 'BEGIN {
            printf "%-22s %10d %9.4f %9.4f %9.4f %9.4f %9d\n",
                   n, p, c / (p ? p : 1), i / (p ? p : 1), b / (p ? p : 1), s / (p ? p : 1), w }'
}
row 'light: ping' ping -q -c 300 -i 0.01 10.0.0.2
check_ge 'light: packets' "$packets" 600
row 'light: UDP 1 Mbit/s' iperf3 -c 10.0.0.2 -u -b 1M -l 1024 -t 3
check_ge 'light UDP: packets' "$packets" 300
# iperf3's own work takes most of the processor: these fill it, not the driver.
row 'iperf3: UDP out' iperf3 -c 10.0.0.2 -u -b 0 -l 1024 -t 4
row 'iperf3: UDP in' iperf3 -c 10.0.0.2 -u -b 0 -l 1024 -t 4 -R

# The kernel's packet generator: flood IFACE SOURCE TARGET MAC COUNT
flood() {
    local setting
    echo "rem_device_all" >/proc/net/pktgen/kpktgend_0
    echo "add_device $1" >/proc/net/pktgen/kpktgend_0
    for setting in "count $5" 'pkt_size 1066' 'clone_skb 0' 'delay 0' "src_min $2" "src_max $2" \
        "dst $3" "dst_mac $4" 'udp_dst_min 9' 'udp_dst_max 9'; do
        echo "$setting" >"/proc/net/pktgen/$1" || return 1
    done
    echo start >/proc/net/pktgen/pgctrl # returns when all are sent
    grep -q "OK:" "/proc/net/pktgen/$1"
}
flood_in() { in_peer bash -c "$(declare -f flood); flood $peer_if 10.0.0.2 10.0.0.1 $(cat /sys/class/net/udn0/address) $1"; }
flood_out() { flood udn0 10.0.0.1 10.0.0.2 "$(in_peer cat "/sys/class/net/$peer_if/address")" "$1"; }
require 'packet generator' modprobe pktgen
packets_wanted=30000
for way in out in; do
    row "saturated: UDP $way" flood_$way $packets_wanted
    # Towards us, what the driver could not take in time is lost on the wire.
    check_ge "UDP $way: packets" "$packets" $([ $way = out ] && echo $packets_wanted || echo 2000)
    # A debug kernel is too slow to fill the rings.
    debug_kernel || check_le "UDP $way: system calls in a thousand packets" "$calls" 99
done
row 'TCP out' iperf3 -c 10.0.0.2 -t 4
row 'TCP in' iperf3 -c 10.0.0.2 -t 4 -R
check_ge 'TCP: packets' "$packets" 1000
check 'ends well' stop_driver

check 'a driver that waits by io_uring' start_driver $bdf --wait uring
check 'link' up_udn0
check 'answers' wait_reachable
row 'io_uring: UDP' iperf3 -c 10.0.0.2 -u -b 1M -l 1024 -t 3
check_ge 'io_uring: packets' "$packets" 300
check 'it ends well' stop_driver
"$udrv" unbind $bdf
summary
