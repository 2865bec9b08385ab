#!/bin/bash
# SPDX-License-Identifier: MIT
# Single attempts of a hostile driver, each with its exact outcome: those of
# docs/threats.md.
. tests/vm/guest/lib.sh
. tests/vm/guest/hostile_lib.sh
probe() { # KIND LEAST
    timeout 600 "$helpers/boundary_probe" $bdf "$1" >"/tmp/probe-$1" 2>&1
    probed "$1" "/tmp/probe-$1" $?
    check_ge "$1: attempts" "$(grep -c '^ok ' "/tmp/probe-$1")" "$2"
    check_nothing_left "$bdf"
}

echo 0 >/proc/sys/debug/exception-trace # one attempt is to end by a signal
load_all_modules
phase 'files, maps, limits, life'
bdf=0000:00:14.0
require 'bind' bind_device $bdf
mark_kernel_log
probe core 20
check_eq 'kernel messages' "$(other_messages 'no IOMMU')" ''
"$udrv" unbind $bdf

phase 'a controller with I/O ports'
bdf=0000:00:01.1
require 'bind' bind_device $bdf
mark_kernel_log
probe ide 10
check_eq 'kernel messages' "$(other_messages 'no IOMMU')" ''
"$udrv" unbind $bdf

phase 'a network driver'
bdf=0000:00:10.0
require 'bind' bind_device $bdf
timeout 20 "$helpers/hostile_net" $bdf 1 1 >/dev/null 2>&1 # makes the interface
# Its buffers were of 256 bytes, and a frame may have MAX_SKB_FRAGS of them, 17 to 45.
maxmtu=$(ip -d link show udn0 | sed -n 's/.* maxmtu \([0-9]*\) .*/\1/p')
check_ge 'largest MTU, of 65521 asked for' "$maxmtu" $((17 * 256 - 18))
check_le 'largest MTU, of 65521 asked for' "$maxmtu" $((45 * 256 - 18))
ip addr add 10.0.0.1/24 dev udn0
ip link set udn0 up
ip neigh replace 10.0.0.2 lladdr 52:54:00:00:00:02 dev udn0 nud permanent
mark_kernel_log
# From both processors: each sends by a queue of its own, where there are two.
nice taskset -c 0 ping -f -q -s 1400 10.0.0.2 >/dev/null 2>&1 &
pings=($!)
nice taskset -c 1 ping -f -q -s 1400 10.0.0.2 >/dev/null 2>&1 &
pings+=($!)
probe net 55
kill "${pings[@]}"
wait "${pings[@]}" 2>/dev/null
check_eq 'kernel messages' "$(other_messages 'link becomes ready')" ''
"$udrv" unbind $bdf

phase 'a disk driver'
bdf=0000:00:18.0
require 'bind' bind_device $bdf
mark_kernel_log
probe blk 30
check_eq 'kernel messages' "$(other_messages ' udb[0-2]|dev udb[0-2]|callbacks suppressed')" ''
"$udrv" unbind --force $bdf

phase 'a disk driver that is not trusted'
require 'bind' bind_device $bdf
# What memory held before is kept from drivers that nobody trusts.
echo 1 >/sys/bus/pci/devices/$bdf/udrv/untrusted
mark_kernel_log
probe blk 31
check_eq 'kernel messages' "$(other_messages ' udb[0-2]|dev udb[0-2]|callbacks suppressed')" ''
"$udrv" unbind --force $bdf
check 'rmmod' rmmod udrv_blk udrv_net udrv
summary
