#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: disk_cut.sh OUT
# Writes and flushes to an AHCI and to an IDE disk, reports it in OUT, and waits for
# the power to be cut. See disk_cut_test.sh, which looks at what is left.
. tests/vm/guest/disk_lib.sh
out=$1

load_disk_modules
require "QEMU's monitor" open_monitor
modprobe ext4
declare -A bdfs=([ahci]=0000:00:18.0 [ide]=0000:00:01.1)
number=0
for driver in ahci ide; do
    require "$driver: bind" "$udrv" bind --unsafe-no-iommu ${bdfs[$driver]}
    require "$driver: start" run_driver $driver ${bdfs[$driver]}
    disk=/dev/udb$number
    device=disk$number
    queue=/sys/block/udb$number/queue
    check_eq "$driver: a volatile cache, no FUA" "$(cat $queue/write_cache) $(cat $queue/fua)" 'write back 0'
    # The first 16 MiB are for writes to the device.
    check "$driver: sfdisk" sfdisk -q $disk <<<'start=32768,type=83'
    check "$driver: partition" wait_for 10 test -b ${disk}p1
    check "$driver: mkfs" mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 ${disk}p1
    mkdir -p $mnt/$driver
    check "$driver: mount" mount -o commit=600,noatime ${disk}p1 $mnt/$driver

    count=$(disk_counter $device flush_operations)
    dd if="$out/pattern" of=$mnt/$driver/file bs=64k conv=fsync status=none
    check_ge "$driver: fsync of a file is a flush of the disk" \
        $(($(disk_counter $device flush_operations) - count)) 1
    count=$(disk_counter $device flush_operations)
    dd if="$out/pattern" of=$disk bs=64k seek=16 conv=fsync,notrunc status=none
    check_ge "$driver: fsync of the device too" $(($(disk_counter $device flush_operations) - count)) 1
    # Without FUA, the block layer makes of each such write a write and a flush.
    count=$(disk_counter $device flush_operations)
    dd if="$out/pattern" of=$disk bs=64k seek=48 oflag=direct,dsync conv=notrunc status=none
    check_ge "$driver: O_DSYNC: 16 writes, and flushes" $(($(disk_counter $device flush_operations) - count)) 16
    number=$((number + 1))
done
# Last, as a control: written, but never flushed.
for n in 0 1; do
    count=$(disk_counter disk$n flush_operations)
    dd if="$out/pattern" of=/dev/udb$n bs=64k seek=80 oflag=direct conv=notrunc status=none
    check_eq "disk $n: a write alone is no flush" $(($(disk_counter disk$n flush_operations) - count)) 0
done
[ $failures = 0 ] || summary
echo "$checks of $checks checks passed; cut me off"
touch "$out/written"
sleep 60
exit 1
