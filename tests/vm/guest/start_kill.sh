#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: start_kill.sh CYCLES
# Drivers are started and killed CYCLES times, and nothing piles up.
. tests/vm/guest/honest_lib.sh
cycles=$1

bind_all

pins() { awk '/^nr_foll_pin_/ { n += $1 ~ /acquired/ ? $2 : -$2 } END { print n }' /proc/vmstat; }
available_kib() { awk '/^MemAvailable:/ { print $2 }' /proc/meminfo; }
files() { cut -f1 /proc/sys/fs/file-nr; }
# What a mapping of a device takes in DMA-API debugging: exact, where there is that.
dma_entries() { cat /sys/kernel/debug/dma-api/num_free_entries 2>/dev/null || echo 0; }
settle() {
    drop_caches
    sleep 2
    drop_caches
}
cycle() { # COUNT READY DRIVER BDF
    "$helpers/start_kill" "$1" $RANDOM "$2" "$udrv" run "$3" "$4" >/tmp/cycles 2>/tmp/cycles.err
    probed "$3" /tmp/cycles $?
    grep -v 'info:' /tmp/cycles.err
    check_nothing_left "$4"
}
all_cycles() { # COUNT
    cycle "$1" 'all good' edu $edu
    cycle "$1" ready e1000 $bdf
    cycle "$1" ready ahci $ahci
}
phase 'a few starts and kills, to warm up'
all_cycles 10
settle
slab=$(slab_kib)
available=$(available_kib)
files=$(files)
entries=$(dma_entries)
phase "$cycles starts and kills of each driver"
all_cycles "$cycles"
settle
check_eq 'pins not given back' "$(pins)" 0
check_eq 'free entries of DMA-API debugging' "$(dma_entries)" "$entries"
# Each processor counts up to some 32 of them for itself; a leak would be of hundreds.
check_le "open files, $files before" "$(files)" $((files + 128))
# What a debug kernel keeps is its own.
room=2048
! debug_kernel || room=65536
check_le "slabs, KiB, $slab before" "$(slab_kib)" $((slab + room))
# It goes up and down by 10 MiB from one second to the next: caches, lists of each processor.
check_ge "free memory, KiB, $available before" "$(available_kib)" $((available - 16 * room))
honest_net 'after the cycles'
honest_disk 'after the cycles'
for dev in $bdf $edu $ahci; do
    "$udrv" unbind --force "$dev"
done
check 'rmmod' rmmod udrv_net udrv_blk udrv
summary
