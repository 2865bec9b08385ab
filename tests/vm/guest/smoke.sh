#!/bin/bash
# SPDX-License-Identifier: MIT
# One device of each kind on a kernel that is new to us (scripts/matrix --boot): edu, a
# network card with its peer, a disk; each of the last two loses its driver once.
. tests/vm/guest/disk_lib.sh
. tests/vm/guest/observe_lib.sh
edu_bdf=0000:00:14.0
disk_bdf=0000:00:18.0
disk=/dev/udb0

echo "Linux $(uname -r)"
require 'modules' load_all_modules
for device in $edu_bdf $bdf $disk_bdf; do
    require "bind $device" "$udrv" bind --unsafe-no-iommu $device
done
mark_kernel_log

phase 'edu'
check_page udrv
check 'run' "$udrv" run edu $edu_bdf
check_eq 'last line' "$(tail -n 1 /tmp/check.out)" 'edu: all good'

phase 'network'
head -c 8M /dev/urandom >/tmp/data
require 'peer' setup_peer
require 'driver' start_driver
require 'up' up_udn0
require 'the peer answers' wait_reachable
check_traced_network
check_eq 'lost of 50' "$(lost -c 50 -i 0.02 10.0.0.2)" 0
send_file /tmp/data here peer 10.0.0.2 7000
check_eq 'sent' "$sums" equal
send_file /tmp/data peer here 10.0.0.1 7001
check_eq 'received' "$sums" equal
index=$(cat /sys/class/net/udn0/ifindex)
stop_driver $bdf KILL
require 'a new driver' start_driver
check 'the peer answers' wait_reachable
check_eq 'the interface is the same' "$(cat /sys/class/net/udn0/ifindex)" "$index"
send_file /tmp/data here peer 10.0.0.2 7002
check_eq 'sent' "$sums" equal

phase 'disk'
require 'driver' run_driver ahci $disk_bdf
check 'random writes, read back' verify $disk libaio 32 32m --direct=1
check_traced_disk $disk_bdf $disk
check 'mkfs' mkfs.ext4 -q $disk
require 'mount' mount $disk $mnt
make_tree
cp -r $tree/. $mnt/
wanted=$(tree_sum $tree)
(sleep 0.2; stop_driver $disk_bdf KILL) &
sync &
sleep 1
wait %1 2>/dev/null
require 'a new driver' run_driver ahci $disk_bdf
wait
drop_caches
check_eq 'files' "$(tree_sum $mnt)" "$wanted"
check 'umount' umount $mnt
check 'fsck' e2fsck -fn $disk

phase 'end'
check 'driver of the network ends' stop_driver
check 'driver of the disk ends' stop_driver $disk_bdf
for device in $edu_bdf $bdf $disk_bdf; do
    check "unbind $device" "$udrv" unbind $device
done
check 'rmmod' rmmod udrv_blk udrv_net udrv
check_eq 'splats' "$(dmesg | grep -E 'UBSAN|WARNING:|BUG:' | head -n 3)" ''
check_eq 'it panics at a warning' "$(cat /proc/sys/kernel/panic_on_warn)" 1
summary
