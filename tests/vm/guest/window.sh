#!/bin/bash
# SPDX-License-Identifier: MIT
# The driver of a mounted disk is killed, and none takes its place, for less than the
# recovery window, then for longer: requests wait, then fail, and nobody hangs.
. tests/vm/guest/disk_lib.sh
disk_bdf=0000:00:18.0
window=5
! debug_kernel || window=60 # a start takes its time there
disk=/dev/udb0

read_one() { dd if=$disk of=/dev/null bs=4k count=1 skip=$RANDOM iflag=direct >/tmp/dd 2>&1; }
die() { kill -9 "${driver_pid[$disk_bdf]}"; { wait "${driver_pid[$disk_bdf]}"; } 2>/dev/null; }

insmod "$build/modules/udrv.ko"
insmod "$build/modules/udrv_blk.ko" recovery_window_s=$window
check_eq 'the window in sysfs' "$(cat /sys/module/udrv_blk/parameters/recovery_window_s)" $window
require 'bind' "$udrv" bind --unsafe-no-iommu $disk_bdf
check_ge 'status says that nothing confines it' "$("$udrv" status | grep -c 'no IOMMU')" 1
check_ge 'so does the kernel' "$(dmesg | grep -c 'no IOMMU confines this device')" 1
check_eq 'which is tainted' $(($(cat /proc/sys/kernel/tainted) >> 6 & 1)) 1
require 'a driver' run_driver ahci $disk_bdf
mkfs.ext4 -q $disk && mount $disk $mnt

phase 'a driver comes within the window'
die
read_one &
reader=$!
(echo kept >$mnt/kept && sync -f $mnt/kept) &
writer=$!
sleep 2
check 'a read waits' alive $reader
check 'a write waits' alive $writer
require 'a successor' run_driver ahci $disk_bdf
check 'the read is done' wait $reader
check 'the write is done' wait $writer

phase 'none comes'
mark_kernel_log
begun=$(now_ms)
die
read_one &
reader=$!
(echo lost >$mnt/lost && sync -f $mnt/lost) >/dev/null 2>&1 &
writer=$!
sleep $((window - 2))
check 'a read waits while the window is open' alive $reader
wait $reader
check_eq 'then it fails' $? 1
took=$(($(now_ms) - begun))
check_ge 'not before the end of the window, ms' $took $((window * 1000 - 100))
check_eq 'with an I/O error' "$(grep -c 'Input/output error' /tmp/dd)" 1
echo "the read failed after $took ms"
check 'the writer is told' not wait $writer
check_ge 'the kernel said why' "$(new_kernel_messages | grep -c 'no driver came')" 1
check 'later reads fail at once' not timeout 5 dd if=$disk of=/dev/null bs=4k count=1 iflag=direct
check 'sync does not hang' timeout 60 sync
check 'umount does not hang' timeout 60 umount $mnt

phase 'a driver comes after all'
require 'it starts' run_driver ahci $disk_bdf
check 'a read' read_one
e2fsck -fy $disk >/tmp/fsck 2>&1
check_le 'e2fsck' $? 1
mount $disk $mnt
check_eq 'what was written in the first phase' "$(cat $mnt/kept)" kept
umount $mnt
check 'writes' verify $disk libaio 16 16m --direct=1
check 'it ends well' stop_driver $disk_bdf
"$udrv" unbind --force $disk_bdf
check 'rmmod' rmmod udrv_blk udrv
summary
