#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: disk.sh DRIVER BDF [full]
# A disk driven by a user process does what a disk does.
. tests/vm/guest/lib.sh
driver=$1
bdf=$2
disk=/dev/udb0
mnt=/tmp/mnt

start_disk() {
    "$udrv" run "$driver" "$bdf" >/tmp/disk.out 2>/tmp/disk.err &
    driver_pid[$bdf]=$!
    wait_for 40 grep -q ready /tmp/disk.out || { tail -n 3 /tmp/disk.err; return 1; }
}
# Random writes of many sizes, each block with its own checksum, read back.
verify() { # ENGINE DEPTH SIZE OPTION...
    fio --name=v --filename=$disk --ioengine="$1" --iodepth="$2" --rw=randwrite --bsrange=512-1m \
        --blockalign=512 --size="$3" --verify=crc32c --verify_fatal=1 --do_verify=1 \
        --randrepeat=0 --output-format=terse "${@:4}"
}
tree_sum() { (cd "$1" && find . -type f -exec sha256sum {} + | sort | sha256sum); }

insmod "$build/modules/udrv.ko"
insmod "$build/modules/udrv_blk.ko"
require 'bind' "$udrv" bind $bdf
require 'start' start_disk
mark_kernel_log
check 'the disk is there when the driver says ready' test -b $disk
check_eq 'lsblk: model' "$(lsblk -dno MODEL $disk | xargs)" 'QEMU HARDDISK'
check_eq 'lsblk: serial' "$(lsblk -dno SERIAL $disk)" udrv0
check_ge 'status names it' "$("$udrv" status --json | grep -c '"udb0"')" 1
check_eq 'no driver of the kernel has it' "$(basename "$(readlink /sys/bus/pci/devices/$bdf/driver)")" udrv

phase 'direct I/O, checked block by block'
check 'libaio, depth 1' verify libaio 1 4M --direct=1
check 'libaio, depth 32' verify libaio 32 16M --direct=1
check 'io_uring, depth 32' verify io_uring 32 8M --direct=1
check 'through the page cache' verify psync 1 8M --fsync=64

phase 'partitions and filesystems'
check 'sfdisk' sfdisk -q $disk <<<$'size=96M,type=83\ntype=83\n'
check 'partitions appear' wait_for 10 test -b ${disk}p2
mkdir -p $mnt /tmp/tree
cp -r drivers libudrv /tmp/tree/
head -c 8M /dev/urandom >/tmp/tree/random
for fs in ext4 ${3:+xfs}; do
    part=${disk}p1
    [ $fs = ext4 ] || { part=$disk; check 'room for xfs' wipefs -qa $disk; }
    modprobe $fs 2>/dev/null
    check "mkfs.$fs" mkfs.$fs -q $([ $fs = xfs ] && echo -f) $part
    check "$fs: mount" mount $part $mnt
    check "$fs: copy" cp -r /tmp/tree/. $mnt/
    check "$fs: umount" umount $mnt
    check "$fs: mount again" mount $part $mnt
    check_eq "$fs: same tree" "$(tree_sum $mnt)" "$(tree_sum /tmp/tree)"
    if [ $fs = ext4 ]; then
        err=$("$udrv" unbind $bdf 2>&1)
        check_eq 'unbind while mounted is refused' "$?" 1
        check_eq 'in one line that names the mount' "$(grep -c "$mnt\|mounted" <<<"$err") $(wc -l <<<"$err")" '1 1'
    fi
    check "$fs: umount again" umount $mnt
    if [ $fs = ext4 ]; then check 'fsck' fsck.ext4 -fn $part; else check 'xfs_repair' xfs_repair -n $part; fi
done

phase 'the driver dies under load, the disk does not'
fio --name=k --filename=$disk --ioengine=libaio --iodepth=8 --direct=1 --rw=randwrite --bs=4k --size=16M \
    --verify=crc32c --verify_fatal=1 --do_verify=1 --loops=${4:-6} --output=/tmp/fio.out &
load=$!
kills=0
while sleep 1 && alive $load && [ $kills -lt 5 ]; do
    stop_driver $bdf KILL
    kills=$((kills + 1))
    check_eq "kill $kills: nothing pinned, bus mastering off" "$(attr pinned_bytes) $(bus_master)" '0 0'
    require "kill $kills: a successor starts" start_disk
done
check_ge 'kills under load' $kills 1
wait $load
check_eq 'fio: no error, every block as written' "$? $(grep -c 'err= 0' /tmp/fio.out)" '0 1'

phase 'planned end'
check 'SIGTERM ends the driver with status 0' stop_driver $bdf
check 'unbind' "$udrv" unbind $bdf
check 'the disk is gone' not test -b $disk
check 'rmmod' rmmod udrv_blk udrv
check_eq 'no other kernel message in all of it' \
    "$(new_kernel_messages | grep -vE ' udb0:| (EXT4-fs|XFS|SGI XFS|loop|raid6|xor:|JFS|random:)' | head -n 3)" ''
summary
