#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: disk_memory.sh
# An AHCI and an IDE disk of a machine with little memory: the kernel can free memory
# only by writing to the disks, which needs their drivers.
. tests/vm/guest/disk_lib.sh
ahci=0000:00:18.0
ide=0000:00:19.0

load_disk_modules
require 'bind' "$udrv" bind --unsafe-no-iommu $ahci
require 'bind' "$udrv" bind --unsafe-no-iommu $ide
check_eq 'an IOMMU confines both' "$(attr iommu $ahci) $(attr iommu $ide)" '1 1'
require 'AHCI' run_driver ahci $ahci
require 'IDE' run_driver ide $ide
mark_kernel_log
for n in 0 1; do
    check "disk $n: direct" verify /dev/udb$n libaio 32 8M --direct=1
    check "disk $n: page cache" verify /dev/udb$n psync 1 4M --fsync=64
done
modprobe ext4
echo N >/sys/module/zswap/parameters/enabled
meminfo() { echo $(($(sed -n "s/^$1: *\([0-9]*\).*/\1/p" /proc/meminfo) / 1024)); } # in MiB
# A debug kernel does not start with so little: most of the rest goes to pages of 2 MiB,
# which nobody can have otherwise.
! debug_kernel || echo $((($(meminfo MemAvailable) - 160) / 2)) >/proc/sys/vm/nr_hugepages
megabytes=$(($(meminfo MemTotal) - $(meminfo Hugetlb)))
vmstat() { sed -n "s/^$1 //p" /proc/vmstat; }
# Random writes to most of 224 MiB, and what they should have left.
probe() { "$helpers/disk_probe" "$1" "$2" 0 458752 21 "$3" ${4:-}; }

# round FILESYSTEM SWAP: files on the one, what does not fit into memory on the other
round() {
    local before writer
    phase "file system on $1, swap on $2, $megabytes MiB of memory"
    wipefs -qa "$1" "$2"
    check 'mkfs' mkfs.ext4 -qF "$1"
    check 'mount' mount "$1" $mnt
    check 'mkswap' mkswap "$2"
    check 'swapon' swapon "$2"
    mount -t tmpfs -o size=300M tmpfs /mnt
    truncate -s 224M $mnt/file /mnt/file
    before=$(vmstat pswpout)
    probe write $mnt/file 700 cached >/tmp/writer.out 2>&1 &
    writer=$!
    check 'more than the memory is written' probe write /mnt/file 1400 cached
    check 'and into files, at the same time' wait $writer
    check_ge 'MiB that went to swap' $((($(vmstat pswpout) - before) / 256)) 20
    check 'what was swapped out comes back' probe check /mnt/file 1400
    drop_caches
    check 'the file is as written' probe check $mnt/file 700
    check_eq 'the drivers were not swapped out' \
        "$(sed -n 's/^VmSwap:[ \t]*//p' /proc/${driver_pid[$ahci]}/status /proc/${driver_pid[$ide]}/status | xargs)" \
        '0 kB 0 kB'
    umount /mnt
    check 'swapoff' swapoff "$2"
    check 'umount' umount $mnt
    check 'fsck' fsck.ext4 -fn "$1"
}
if debug_kernel; then
    check_le 'MiB of memory that can be had' "$(meminfo MemAvailable)" 200
else
    check_le 'MiB of memory' $megabytes 256
fi
round /dev/udb0 /dev/udb1
round /dev/udb1 /dev/udb0
check_eq 'no other kernel message in all of it' \
    "$(new_kernel_messages | grep -vE ' udb[01]:| EXT4-fs| Adding .* swap|drop_caches' | head -n 3)" ''
check 'AHCI ends with status 0' stop_driver $ahci
check 'IDE ends with status 0' stop_driver $ide
check 'unbind' "$udrv" unbind $ahci
check 'unbind' "$udrv" unbind $ide
check 'rmmod' rmmod udrv_blk udrv
summary
