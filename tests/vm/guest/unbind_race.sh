#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: unbind_race.sh ROUNDS [SEED]
. tests/vm/guest/lib.sh
. tests/vm/guest/hostile_lib.sh
rounds=$1
seed=${2:-$RANDOM}
bdf=0000:01:00.0 # each behind a root port of its own, so that it can be reset
edu=0000:02:00.0

load_modules
for dev in $bdf $edu; do
    require "bind $dev" bind_device "$dev"
done
mark_kernel_log
phase "$rounds rounds, seed $seed"
"$helpers/unbind_race" "$rounds" "$seed" $bdf $edu >/tmp/race 2>&1
probed race /tmp/race $?
for dev in $bdf $edu; do
    check_nothing_left "$dev"
done
# What the kernel says of a device that comes and goes, and of a driver that was not fast
# enough to send.
check_eq 'other kernel messages' \
    "$(other_messages 'pci 0000:|DMAR|Adding to iommu group|udn[0-9]+:|clipped .* for e820|enabling device')" ''
phase 'the last word of a session takes its time'
require 'insmod' insmod "$build/modules/udrv_slow_notify.ko"
again=0
for _ in 1 2 3 4 5; do
    "$helpers/core_probe" $edu bus-error >/tmp/probe 2>&1 &
    wait_for 10 grep -q ready /tmp/probe
    kill -KILL $!
    echo $edu >/sys/bus/pci/drivers/udrv/unbind
    { wait $!; } 2>/dev/null
    bind_device $edu && again=$((again + 1))
done
check_eq 'killed and unbound at once, bound again' $again 5
check 'rmmod' rmmod udrv_slow_notify
check_nothing_left $edu
check_eq 'other kernel messages' \
    "$(other_messages 'pci 0000:|DMAR|Adding to iommu group|udn[0-9]+:|clipped .* for e820|enabling device')" ''

phase 'after it'
"$udrv" unbind $bdf >/dev/null 2>&1
"$udrv" unbind $edu >/dev/null 2>&1
check 'udrv_net can be unloaded' rmmod udrv_net
check 'udrv can be unloaded' rmmod udrv
summary
