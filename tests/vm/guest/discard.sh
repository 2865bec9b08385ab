#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: discard.sh [with UDRV_DISCARD_ROUNDS=N]
# Files beside deleted ones stay what they are, on filesystems that discard what they
# free. A discard that reaches too far is silent: only the content shows it.
. tests/vm/guest/disk_lib.sh
ahci=0000:00:18.0
ide=0000:00:01.1
export DM_DISABLE_UDEV=1 # no udevd here: device mapper makes its own nodes

# Rounds of a hundred files of 64 KiB, of which every second is deleted.
rounds=${UDRV_DISCARD_ROUNDS:-1}
damaged() { # DEVICE MOUNT-OPTIONS: how many of the others are not as written
    local round
    mount -o "$2" "$1" $mnt || { echo 'no mount'; return; }
    for round in $(seq "$rounds"); do
        head -c 6400k /dev/urandom | split -b 64k -d -a 2 - $mnt/f$round.
    done
    sync
    (cd $mnt && sha256sum f*[02468]) >/tmp/sums
    rm $mnt/f*[13579]
    sync
    sleep 2
    sync
    umount $mnt
    drop_caches
    mount "$1" $mnt || { echo 'no mount'; return; }
    (cd $mnt && sha256sum -c /tmp/sums 2>/dev/null) | grep -vc ': OK$'
    umount $mnt
}
# Meanwhile both drivers are killed, again and again, while files are written, deleted and
# given back: a successor must not repeat a discard over what was written since.
kill_drivers() {
    local bdf pid
    while [ ! -e /tmp/stop-kills ]; do
        for bdf in $ahci $ide; do
            sleep "$((RANDOM % 2 + 1)).$((RANDOM % 10))"
            pid=$(attr owner $bdf)
            [ "$pid" = 0 ] || kill -KILL "$pid" 2>/dev/null
        done
    done
}
discarded() { awk '{ print $12, $13, $14 }' "/sys/block/${1##*/}/stat"; } # requests, merges, sectors

# content TITLE DISK DEVICE MOUNT-OPTIONS: made by the caller
content() {
    local before after
    read -ra before < <(discarded "$2")
    check_eq "$1: damaged files" "$(damaged "$3" "$4")" 0
    read -ra after < <(discarded "$2")
    check_ge "$1: sectors discarded" $((after[2] - before[2])) 2000
    echo "$1: $((after[0] - before[0])) requests, $((after[1] - before[1])) merged"
}

# filesystems DISK: those that send many discards at once
filesystems() {
    local disk=$1 merged
    phase "$disk: filesystems that discard"
    check 'mkfs.xfs' mkfs.xfs -qfK "$disk"
    merged=$(discarded "$disk" | cut -d' ' -f2)
    content "$disk: xfs" "$disk" "$disk" discard
    check_ge "$disk: ranges that went with another" \
        $(($(discarded "$disk" | cut -d' ' -f2) - merged)) 20
    check 'xfs_repair' xfs_repair -n "$disk"
    check 'mkfs.f2fs' mkfs.f2fs -qft 0 "$disk"
    content "$disk: f2fs" "$disk" "$disk" discard
}
# others DISK: one range at a time, and through device mapper
others() {
    local disk=$1
    phase "$disk: more filesystems"
    check 'mkfs.ext4' mkfs.ext4 -qFE nodiscard "$disk"
    content "$disk: ext4" "$disk" "$disk" discard
    check 'fsck.ext4' fsck.ext4 -fn "$disk"
    check 'mkfs.btrfs' mkfs.btrfs -qfK "$disk"
    content "$disk: btrfs" "$disk" "$disk" discard=sync
    check 'btrfs check' btrfs check "$disk"

    phase "$disk: device mapper"
    dd if=/dev/zero of="$disk" bs=1M count=8 conv=fsync status=none
    check 'the pool' thin_pool "$disk"
    # A file is a block of the pool, which the pool gives back as a whole.
    check 'mkfs.ext4' mkfs.ext4 -qF -E nodiscard -O bigalloc -C 65536 /dev/mapper/thin
    content "$disk: dm-thin" "$disk" /dev/mapper/thin discard
    check 'remove it' dmsetup remove thin pool data meta
    printf secret >/tmp/key
    check 'luksFormat' cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 \
        --pbkdf-force-iterations 1000 "$disk" /tmp/key
    check 'open' cryptsetup open --allow-discards --key-file /tmp/key "$disk" luks
    check 'mkfs.xfs' mkfs.xfs -qfK /dev/mapper/luks
    content "$disk: LUKS" "$disk" /dev/mapper/luks discard
    check 'close' cryptsetup close luks
}
thin_pool() { # DISK: 4 MiB of metadata; data in blocks of 64 KiB, as the disk has room for
    local sectors=$((1048576 + 16384 * rounds))
    dmsetup create meta --table "0 8192 linear $1 0" &&
        dmsetup create data --table "0 $sectors linear $1 8192" &&
        dmsetup create pool --table "0 $sectors thin-pool /dev/mapper/meta /dev/mapper/data 128 0" &&
        dmsetup message pool 0 'create_thin 0' &&
        dmsetup create thin --table "0 $sectors thin /dev/mapper/pool 0"
}

. tests/vm/guest/limits.sh
. tests/vm/guest/udev_disks.sh

phase "the kernel's drivers, for comparison"
stock_limits $ahci ahci
stock_limits $ide ata_piix

load_disk_modules
for module in xfs f2fs ext4 btrfs dm_thin_pool dm_crypt; do
    require "modprobe $module" modprobe $module
done
require 'bind' "$udrv" bind --unsafe-no-iommu $ahci
require 'bind' "$udrv" bind --unsafe-no-iommu $ide
supervised=(--restart --restart-limit 100000)
require 'AHCI' run_driver ahci $ahci "${supervised[@]}"
require 'IDE' run_driver ide $ide "${supervised[@]}"
mark_kernel_log
our_limits udb0 AHCI ahci $ahci
our_limits udb2 IDE ata_piix $ide
check_eq 'the geometry, as in-kernel' "$(hdparm -g /dev/udb0 | sed -n 's/.*geometry *= *\([0-9/]*\).*/\1/p')" \
    "$(cat /tmp/geometry-$ahci)"
kill_drivers &
killer=$!
filesystems /dev/udb0
filesystems /dev/udb2
others /dev/udb0
[ "$rounds" = 1 ] || others /dev/udb2
touch /tmp/stop-kills
wait $killer
for bdf in $ahci $ide; do
    check "$bdf: it runs again" wait_for 30 running $bdf
    check_ge "$bdf: killed meanwhile" "$(restarts $bdf)" 3
    echo "$bdf: killed $(restarts $bdf) times"
done
udev_links $ahci
check_eq 'no other kernel message in all of it' "$(new_kernel_messages |
    grep -vE ' udb[012]:| dm-[0-9]|(EXT4-fs|XFS|F2FS-fs|BTRFS|SGI XFS|device-mapper:|cryptd:|AVX|AES)|drop_caches' | head -n 3)" ''
check 'AHCI ends with status 0' stop_driver $ahci
check 'IDE ends with status 0' stop_driver $ide
check 'unbind' "$udrv" unbind $ahci
check 'unbind' "$udrv" unbind $ide
check 'rmmod' rmmod udrv_blk udrv

phase 'a device that cannot be quieted'
# read_behind_stop: a read that the stopped driver has, in the background. It must not hold
# the test's output: nobody can kill it, and the machine ends when its output does.
read_behind_stop() {
    kill -STOP ${driver_pid[$ahci]}
    dd if=/dev/udb0 of=/tmp/read iflag=direct bs=64k count=16 status=none 2>/tmp/read.err &
    reader=$!
    sleep 1
}
read_state() { sed -n 's/^State:[ \t]*\(.\).*/\1/p' /proc/$reader/status; }
load_disk_modules
dd if=/dev/urandom of=/tmp/wanted bs=1M count=1 status=none
require 'bind' "$udrv" bind --unsafe-no-iommu $ahci
require 'start' run_driver ahci $ahci
dd if=/tmp/wanted of=/dev/udb0 bs=1M oflag=direct status=none
read_behind_stop
require 'insmod' insmod "$build/modules/udrv_unquiet.ko"
stop_driver $ahci KILL
check 'the kernel says that it keeps requests' wait_for 20 \
    sh -c 'dmesg | grep -q "udb0: [1-9][0-9]* requests are kept"'
require 'a successor' run_driver ahci $ahci
check_eq 'it serves others' "$(dd if=/dev/udb0 bs=64k count=1 skip=4 iflag=direct status=none | sha256sum)" \
    "$(dd if=/tmp/wanted bs=64k count=1 skip=4 status=none | sha256sum)"
sleep 2
check_eq 'what the dead one had waits' "$(read_state)" D
rmmod udrv_unquiet
check 'the successor ends, and the device is quiet' stop_driver $ahci
require 'the next' run_driver ahci $ahci
check 'the read goes on' wait $reader
check 'with the right data' cmp /tmp/wanted /tmp/read
read_behind_stop
require 'insmod' insmod "$build/modules/udrv_unquiet.ko"
stop_driver $ahci KILL
check 'unbind does not wait for them' timeout 60 "$udrv" unbind --force $ahci
check_eq 'the read is never completed' "$(read_state)" D
check 'the kernel says so' sh -c 'dmesg | grep -q "udb0: stays for ever"'
check 'nor is the module unloaded' not rmmod udrv_blk
summary
