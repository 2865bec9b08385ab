#!/bin/bash
# SPDX-License-Identifier: MIT
# Allocations fail, one after the other in each call of a driver, then at random under
# the real drivers and their traffic. Each gives an error or a lost packet, and an honest
# start works afterwards.
. tests/vm/guest/honest_lib.sh
debugfs=/sys/kernel/debug
# Linux 6.1 forgets the name of a slab cache (the block layer's) that it could not show in sysfs.
not_ours+='| sysfs_slab_add'

bind_all

# --- Allocations that fail ----------------------------------------------------

set_faults() { # NAME VALUE, for slabs, pages, and copies from and to user space
    local kind
    for kind in failslab fail_page_alloc fail_usercopy; do
        [ ! -e $debugfs/$kind/"$1" ] || echo "$2" >$debugfs/$kind/"$1"
    done
}
no_faults() { set_faults probability 0; }
below() { # START END: only if a function of that memory is behind it
    set_faults require-start "$1"
    set_faults require-end "$2"
}
# faults_in MODULE PERCENT: allocations fail that a function of the module is behind.
faults_in() {
    local start size
    start=$(cat "/sys/module/$1/sections/.text")
    size=$(cat "/sys/module/$1/coresize")
    below "$start" "$(printf '0x%x' $((start + size)))"
    echo "$2" >$debugfs/failslab/probability
    echo "$2" >$debugfs/fail_page_alloc/probability
}
# starts MODULE DRIVER BDF PERCENT: ten starts, in which that many allocations fail. Each
# is ready in the end or has failed with one line.
starts() {
    local n ready=0 refused=0 other=0
    for ((n = 0; n < 10; n++)); do
        faults_in "$1" "$4"
        echo 2 >$debugfs/fail_usercopy/probability
        "$udrv" run "$2" "$3" >/tmp/start.out 2>/tmp/start.err &
        wait_for 20 eval "grep -q ready /tmp/start.out || not alive $!"
        if grep -q ready /tmp/start.out; then
            ready=$((ready + 1))
        elif [ "$(grep -vc 'info:' /tmp/start.err)" = 1 ]; then
            refused=$((refused + 1))
        else
            other=$((other + 1))
            head -n 3 /tmp/start.err
        fi
        no_faults
        kill -9 $! 2>/dev/null
        { wait $!; } 2>/dev/null
    done
    check_eq "$1: starts of $2: $ready ready, $refused refused, neither" $other 0
    check_nothing_left "$3"
}

set_faults verbose 0
set_faults times -1
set_faults ignore-gfp-wait 0
set_faults min-order 0
below 0xffffffffa0000000 0xffffffffff000000 # the modules, all of them
for pair in "$edu none" "$bdf net" "$ahci blk"; do
    read -r dev kind <<<"$pair"
    phase "each allocation of each call, $dev"
    timeout 2000 "$helpers/faults" "$dev" "$kind" >/tmp/faults 2>&1
    probed "$dev" /tmp/faults $?
    check_nothing_left "$dev"
done
check 'edu works' "$udrv" run edu $edu
honest_net 'after the calls'
honest_disk 'after the calls'

phase 'starts of the real drivers'
set_faults stacktrace-depth 8 # what is further away is the kernel's own, and warns
starts udrv e1000 $bdf 2
starts udrv_net e1000 $bdf 10
starts udrv ahci $ahci 2
starts udrv_blk ahci $ahci 10
set_faults stacktrace-depth 32
# A disk that could not be shown is not tried again.
"$udrv" unbind --force $ahci
require "bind $ahci" bind_device $ahci
honest_net 'after the starts'
honest_disk 'after the starts'

phase 'traffic'
require 'e1000 starts' start_driver
require 'link' up_udn0
require 'answers' wait_reachable
for module in udrv_net udrv; do
    faults_in $module 20
    ping -q -c 500 -i 0.005 -s 8000 -W 1 10.0.0.2 2>&1 | grep transmitted
    check 'ip does not hang' timeout 60 ip link set udn0 down
    timeout 60 ip link set udn0 up
    ethtool -S udn0 >/tmp/out 2>&1
    no_faults
    check "$module: it is the same driver" alive "${driver_pid[$bdf]}"
    check "$module: and answers" wait_reachable
    check_eq "$module: lost of 100 afterwards" "$(lost -c 100 -i 0.02 10.0.0.2)" 0
done
check 'e1000 ends well' stop_driver
require 'ahci starts' run_driver ahci $ahci
for module in udrv_blk udrv; do
    faults_in $module 20
    timeout 300 fio --name=f --filename=/dev/udb0 --ioengine=io_uring --iodepth=8 --rw=randrw --bs=64k \
        --size=16m --io_size=8m --direct=1 --continue_on_error=all 2>&1 | grep -E 'err=|total'
    no_faults
    check "$module: it is the same driver" alive "${driver_pid[$ahci]}"
    check "$module: and works" verify /dev/udb0 io_uring 8 2M --direct=1
done
check 'ahci ends well' stop_driver $ahci
for dev in $bdf $edu $ahci; do
    "$udrv" unbind --force "$dev"
done
check 'rmmod' rmmod udrv_net udrv_blk udrv
summary
