# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# What the tests of disks share, in the guest, and all of lib.sh.
. tests/vm/guest/lib.sh
mnt=/tmp/mnt
tree=/tmp/tree
mkdir -p $mnt

load_disk_modules() { insmod "$build/modules/udrv.ko" && insmod "$build/modules/udrv_blk.ko" "$@"; }

drop_caches() { echo 3 >/proc/sys/vm/drop_caches; }

# Random writes of many sizes, each block with its own checksum, read back.
verify() { # DISK ENGINE DEPTH SIZE OPTION...
    fio --name=v --filename="$1" --ioengine="$2" --iodepth="$3" --rw=randwrite --bsrange=512-1m \
        --blockalign=512 --size="$4" --verify=crc32c --verify_fatal=1 --do_verify=1 \
        --randrepeat=0 --output-format=terse "${@:5}"
}

# Files of all kinds of sizes.
make_tree() {
    mkdir -p $tree
    cp -r drivers libudrv $tree/
    head -c 8M /dev/urandom >$tree/random
}
tree_sum() { (cd "$1" && find . -type f -exec sha256sum {} + | sort | sha256sum); }

# Direct reads of one second each: a row, of the block device DISK.
speed() { # NAME DISK
    local spec jobs=()
    for spec in '4k 1' '4k 32' '128k 1' '1m 1'; do
        jobs+=(--name=s --stonewall --bs="${spec% *}" --iodepth="${spec#* }")
    done
    fio --filename="$2" --ioengine=libaio --direct=1 --rw=randread --time_based --runtime=1 \
        --output-format=terse "${jobs[@]}" |
        awk -F';' -v name="$1" 'BEGIN { printf "%-10s", name }
            { printf " %8.1f %8d", $7 / 1024, $8 } END { print "" }'
}
speed_header() {
    printf '%-10s %17s %17s %17s %17s\n' 'MiB/s 1/s' '4 KiB, 1' '4 KiB, 32' '128 KiB, 1' '1 MiB, 1'
}

# The disk that a driver of the kernel made of BDF; $2 says which.
kernel_disk() { # BDF NUMBER
    local name
    name=$(find "/sys/bus/pci/devices/$1/" \( -path '*/block/sd*' -name 'sd?' \) -o \
        \( -path '*/nvme/*' -name 'nvme?n?' \) -o \( -path '*/block/vd*' -name 'vd?' \) | sort | sed -n "$2p")
    [ -n "$name" ] && echo "/dev/${name##*/}"
}

# Makes a root file system of what is mounted at $1: busybox, and a script for it.
make_root() {
    mkdir -p "$1"/{bin,proc,dev,old,tmp,data}
    cp /bin/busybox "$1/bin/busybox"
    for applet in sh cat cp rm mount umount sync sha256sum ls readlink sleep dd tr cut grep head; do
        ln -sf busybox "$1/bin/$applet"
    done
    cat >"$1/work" <<'WORK'
set -e
mount -t proc proc /proc
umount -l /old
cut -d' ' -f1-3 /proc/mounts >/tmp/mounts
dd if=/dev/urandom of=/data/0 bs=64k count=64 2>/dev/null
wanted=$(sha256sum </data/0)
n=0
while [ ! -e /tmp/enough ] || [ $n -lt 3 ]; do
    sync
    echo 3 >/proc/sys/vm/drop_caches
    cp /bin/busybox /data/
    sync
    echo 3 >/proc/sys/vm/drop_caches
    [ "$(/data/busybox sha256sum </data/$n)" = "$wanted" ]
    cp /data/$n /data/$((n + 1))
    rm /data/$n
    n=$((n + 1))
    echo $n >/tmp/rounds
done
readlink /proc/self/exe >/tmp/exe
umount /proc
WORK
}
# Its process and all that it runs come from the disk: the old root is unmounted there.
work_in_root() { # DIRECTORY
    unshare --mount --propagation private bash -c \
        "cd $1 && mount --bind /dev dev && pivot_root . old && exec /bin/sh /work"
}

# --- QEMU's view ----------------------------------------------------------------------

# disk_counter ID NAME: of QEMU's device, for instance flush_operations
disk_counter() { monitor 'info blockstats' | sed -n "s/^$1[: ].*[ ]$2=\([0-9]*\).*/\1/p"; }
