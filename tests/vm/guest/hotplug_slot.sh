#!/bin/bash
# SPDX-License-Identifier: MIT
# An AHCI controller is torn out with its disk, and put in again: the power of its slot is
# switched off and on behind the back of the kernel, which sees what it would see then:
# reads of all ones. (device_del asks the kernel first, and device_add brings no disk.)
. tests/vm/guest/disk_lib.sh
slot=0000:00:14.0
ahci=0000:01:00.0

power() { setpci -s $slot "CAP_EXP+18.w=$1:0400"; } # 0400: off, 0: on
answers() { ! same "$(setpci -s $ahci 0.l)" ffffffff; }

load_disk_modules
require 'bind' "$udrv" bind --unsafe-no-iommu $ahci
require 'ahci starts' run_driver ahci $ahci --restart
require 'a file system' mkfs.ext4 -q /dev/udb0
mount /dev/udb0 $mnt
head -c 4M /dev/urandom >$mnt/kept
sync -f $mnt
kept=$(sha256sum <$mnt/kept)
mark_kernel_log

for round in 1 2 3; do
    phase "torn out while it is written, $round"
    (while dd if=/dev/zero of=$mnt/f bs=64k count=64 conv=fsync,notrunc; do :; done) >/tmp/writer 2>&1 & writer=$!
    sleep 1
    power 0400
    check 'it does not answer' not answers
    check 'remove returns' timeout 60 sh -c "echo 1 >/sys/bus/pci/devices/$ahci/remove"
    check 'the writer gets an error' wait_for 30 not alive $writer
    check 'the supervisor ends' wait_for 20 not alive "${driver_pid[$ahci]}"
    check 'the block device is gone' not test -e /dev/udb0
    check 'it can be unmounted' timeout 30 umount $mnt

    power 0
    echo 1 >/sys/bus/pci/rescan
    check 'put in again: found' wait_for 10 answers
    check 'bound' "$udrv" bind --unsafe-no-iommu $ahci
    check 'driven' run_driver ahci $ahci --restart
    disk=/dev/$(ls /sys/bus/pci/devices/$ahci/udrv_disk | head -n 1)
    check 'repaired from its journal' eval 'e2fsck -fp $disk || [ $? = 1 ]'
    check 'mounted' mount "$disk" $mnt
    check_eq 'what was synced before is there' "$(sha256sum <$mnt/kept)" "$kept"
done
check 'unmounted' umount $mnt
check 'the driver ends' stop_driver $ahci
trouble=$(new_kernel_messages | grep -B8 -A20 -E 'WARN|BUG|Oops|leak|Call Trace')
check_eq 'kernel messages of weight' "$trouble" ''
"$udrv" unbind $ahci
check 'rmmod' rmmod udrv_blk udrv
summary
