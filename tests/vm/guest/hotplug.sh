#!/bin/bash
# SPDX-License-Identifier: MIT
# Devices that are pulled out while their drivers run: by sysfs, and by the machine
# (QEMU's device_del, through the monitor on a virtio-serial port).
. tests/vm/guest/disk_lib.sh
ahci=0000:00:14.0
hot=0000:00:15.0

present() { test -e "/sys/bus/pci/devices/$1"; }
gone() { not present "$1"; }
# The driver and its supervisor see that there is nothing to drive, and end, in words.
check_ended() { # TITLE BDF
    check "$1: the supervisor ends" wait_for 20 not alive "${driver_pid[$2]}"
    wait "${driver_pid[$2]}" 2>/dev/null
    check_eq "$1: its status" $? 1
    check "$1: it says why" grep -qE 'unbound|not bound|went away' "/tmp/driver-$2.err"
}
plug_net() { # the interface on $hot works
    bdf=$hot
    "$udrv" bind --unsafe-no-iommu $bdf 2>/dev/null && start_driver $bdf --restart && up_udn0 && wait_reachable
}

load_all_modules
require "QEMU's monitor" open_monitor
require 'a peer' setup_peer
require 'bind the disk' "$udrv" bind --unsafe-no-iommu $ahci
require 'ahci starts' run_driver ahci $ahci --restart
require 'a file system' mkfs.ext4 -q /dev/udb0
mount /dev/udb0 $mnt
head -c 4M /dev/urandom >$mnt/kept
sync -f $mnt
kept=$(sha256sum <$mnt/kept)
require 'an interface' plug_net
mark_kernel_log

phase 'the network card is pulled out by sysfs, under traffic'
in_peer ping -q -i 0.01 -w 60 10.0.0.1 >/dev/null 2>&1 & pings=$!
check 'remove returns' timeout 30 sh -c "echo 1 >/sys/bus/pci/devices/$hot/remove"
check 'the interface is gone' not test -e /sys/class/net/udn0
check_ended 'removed' $hot
check_eq 'interrupt handlers left' "$(irq_actions $hot)" 0
echo 1 >/sys/bus/pci/rescan
check 'found again' wait_for 10 present $hot
check 'and works' plug_net

phase 'the network card is pulled out of the machine, under traffic'
monitor 'device_del hotnic' >/dev/null
check 'it goes' wait_for 30 gone $hot
check_ended 'pulled out' $hot
check 'the interface is gone' not test -e /sys/class/net/udn0
monitor 'device_add e1000,id=hotnic,netdev=hotport,mac=52:54:00:00:00:09,addr=0x15' >/dev/null
check 'plugged in again' wait_for 30 present $hot
check 'and works' plug_net
pkill -x ping # its namespace holds the mount as well
wait $pings 2>/dev/null

phase 'a disk with a mounted file system is pulled out by sysfs, while it is written'
(while dd if=/dev/zero of=$mnt/f bs=64k count=64 conv=fsync,notrunc; do :; done) >/tmp/writer 2>&1 & writer=$!
sleep 2
check 'remove returns' timeout 60 sh -c "echo 1 >/sys/bus/pci/devices/$ahci/remove"
check 'the writer gets an error' wait_for 30 not alive $writer
check 'which says so' grep -qE 'Input/output error|Read-only file system|No such device' /tmp/writer
check_ended 'removed' $ahci
check 'the block device is gone' not test -e /dev/udb0
check 'it can be unmounted' timeout 30 umount $mnt
echo 1 >/sys/bus/pci/rescan
check 'found again' wait_for 10 present $ahci
check 'bound again' "$udrv" bind --unsafe-no-iommu $ahci
check 'driven again' run_driver ahci $ahci --restart
disk=/dev/$(ls /sys/bus/pci/devices/$ahci/udrv_disk | head -n 1)
repaired() { e2fsck -fp "$disk" || [ $? = 1 ]; } # 1: it was
check 'repaired from its journal' repaired
check 'mounted again' mount "$disk" $mnt
check_eq 'what was synced before is there' "$(sha256sum <$mnt/kept)" "$kept"
check 'written again' dd if=/dev/zero of=$mnt/g bs=1M count=8 conv=fsync

phase 'a disk is unbound while somebody has it open'
check 'unmounted' umount $mnt
exec 7<"$disk"
# HDIO_GET_IDENTITY, SG_IO, and a number that nobody knows, of file 7.
asked() {
    python3 - <<'PYTHON'
import errno, fcntl
for number in (0x30d, 0x2285, 0x7777):
    try:
        fcntl.ioctl(7, number, bytearray(512))
        print("ok", end=" ")
    except OSError as error:
        print(errno.errorcode[error.errno], end=" ")
PYTHON
}
check_eq 'asked before' "$(asked)" 'ok EINVAL ENOTTY '
check 'unbound' timeout 60 "$udrv" unbind --force $ahci
stop_driver $ahci
# What it was made of is memory of others by now.
for _ in 1 2 3 4; do find /sys/bus >/dev/null; done
check_eq 'asked afterwards' "$(asked)" 'ENODEV EINVAL ENOTTY '
exec 7<&-
check 'bound again' "$udrv" bind --unsafe-no-iommu $ahci
check 'driven again' run_driver ahci $ahci --restart
disk=/dev/$(ls /sys/bus/pci/devices/$ahci/udrv_disk | head -n 1)
check 'mounted again' mount "$disk" $mnt

phase 'a disk with a mounted file system is pulled out of the machine'
(while dd if=/dev/zero of=$mnt/f bs=64k count=64 conv=fsync,notrunc; do :; done) >/tmp/writer 2>&1 & writer=$!
sleep 1
monitor 'device_del hotahci' >/dev/null
check 'it goes' wait_for 60 gone $ahci
check 'the writer gets an error' wait_for 30 not alive $writer
check_ended 'pulled out' $ahci
check 'it can be unmounted' timeout 30 umount $mnt
# QEMU can plug in an AHCI controller, but no disk of one: so another kind of
# controller, with a driver of the kernel, gets the disk.
modprobe virtio_blk
monitor 'device_add virtio-blk-pci,id=hotblk,drive=hotdisk,addr=0x16' >/dev/null
check 'the disk is plugged in elsewhere' wait_for 30 test -b /dev/vda
disk=/dev/vda
check 'repaired from its journal' repaired
check 'mounted' mount $disk $mnt
check_eq 'what was synced before is there' "$(sha256sum <$mnt/kept)" "$kept"
check 'unmounted' umount $mnt
monitor 'device_add ahci,id=hotahci,addr=0x14' >/dev/null
check 'the controller is plugged in again' wait_for 30 present $ahci
check 'it can be bound' "$udrv" bind --unsafe-no-iommu $ahci
refused 'the driver finds no disk' 1 'disk' "$udrv" run ahci $ahci
trouble=$(new_kernel_messages | grep -B8 -A20 -E 'WARN|BUG|Oops|leak|Call Trace')
check_eq 'kernel messages of weight' "$trouble" ''
stop_driver $hot
"$udrv" unbind $hot
check 'rmmod' rmmod udrv_net udrv_blk udrv
summary
