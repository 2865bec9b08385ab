#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: disk_test.sh [DRIVER MODEL [iommu]]
# The battery of disk drivers: two disks, of one controller or of two, driven by udrv. MODEL is
# QEMU's name of the controller, with its options; `iommu` puts it behind an IOMMU. When the
# guest is gone, the images are compared with what was written. Without arguments: AHCI and IDE.
# A driver is one function here, and one case in guest/disk.sh.
. "$(dirname "$0")/lib.sh"

images=$(mktemp -d)
trap 'rm -rf "$images"' EXIT
probe=$build/tests/helpers/disk_probe
PATH=$PATH:/usr/sbin:/sbin

# What the guest and this script have to agree on. Sectors are of 512 bytes.
cat >"$images/layout" <<'LAYOUT'
layout='start=2048,size=196608,type=83
start=198656,size=655360,type=83
start=854016,size=262144,type=83
start=1116160,type=83'
part3='854016 262144 11 700'
whole='0 524288 12 1800'
LAYOUT

same_tree() { # IMAGE: its first partition has the sources, and what the guest made up
    mkdir -p "$images/tree"
    debugfs -R "rdump /tree $images/tree" "$1?offset=1048576" >/dev/null 2>&1
    diff -r drivers "$images/tree/tree/drivers" && diff -r libudrv "$images/tree/tree/libudrv" &&
        cmp "$images/random" "$images/tree/tree/random" && echo 'identical'
}
xfs_clean() { # IMAGE
    dd if="$1" of="$images/xfs" bs=1M skip=97 count=320 conv=sparse status=none &&
        xfs_repair -n -f "$images/xfs"
}
part3='' whole=''
# shellcheck source=/dev/null
. "$images/layout"

# disks TITLE VM-OPTION... -- SCRIPT [ARG]...: boots with two disks, then looks at them.
disks() {
    local title=$1
    shift
    guest "$title" 420 --smp 2 --out "$images" "$@" "$images"
    # shellcheck disable=SC2086 # words of both
    check 'the first image, sector by sector' "$probe" check "$images/first" $part3
    # shellcheck disable=SC2086
    check 'the second image, sector by sector' "$probe" check "$images/second" $whole
    check 'ext4 is clean' e2fsck -fn "$images/first?offset=1048576"
    check 'its tree' same_tree "$images/first"
    check 'xfs is clean' xfs_clean "$images/first"
}
new_images() {
    rm -rf "${images:?}"/{first,second,third,random,tree,xfs}
    truncate -s 700M "$images/first" # xfs has no room on less
    truncate -s 256M "$images/second" "$images/third"
}
ata_disks() { # KIND
    echo --disk "$1:$images/first:discard=unmap" --disk "$1:$images/second:discard=unmap"
}

# ---- Drivers, with what the battery needs besides the two disks --------------------------

# shellcheck disable=SC2046 # words
drive_ahci() {
    disks 'AHCI' $(ata_disks ahci) --device ide-cd,bus=ide.0 -- disk.sh ahci 0000:00:18.0 ahci
}
# shellcheck disable=SC2046
drive_ide() {
    disks 'IDE' $(ata_disks ide) --device ich9-ahci,addr=0x15 --device ich9-ahci,id=cd,addr=0x16 \
        --device ide-cd,bus=cd.2 -- disk.sh ide 0000:00:01.1 ata_piix
}
namespace() { # NSID IMAGE OPTIONS
    echo "-drive if=none,id=ns$1,format=raw,file=$images/$2,discard=unmap" \
        "-device nvme-ns,drive=ns$1,bus=nvme0,nsid=$1$3"
}
# A third namespace of 4 KiB blocks, and a controller whose only one has metadata.
drive_nvme() { # MODEL [iommu]
    truncate -s 16M "$images/metadata"
    disks "NVMe${2:+, $2}" ${2:+"--$2"} \
        --qemu "-device $1,id=nvme0,serial=udrv0,addr=0x1a $(namespace 1 first '') $(namespace 2 second '')" \
        --qemu "$(namespace 5 third ,logical_block_size=4096,physical_block_size=4096)" \
        --qemu "-device $1,id=nvme1,serial=udrv1,addr=0x1b" \
        --qemu "-drive if=none,id=meta,format=raw,file=$images/metadata -device nvme-ns,drive=meta,bus=nvme1,ms=8" \
        -- disk.sh nvme 0000:00:1a.0 nvme
}
# A function a disk, and one that is legacy only.
drive_virtio_blk() { # MODEL [iommu]
    local model=$1${2:+,iommu_platform=on}
    disks "virtio-blk${2:+, $2}" ${2:+"--$2"} \
        --qemu "-drive if=none,id=d0,format=raw,file=$images/first,discard=unmap -device $model,drive=d0,serial=udrv0,addr=0x1a" \
        --qemu "-drive if=none,id=d1,format=raw,file=$images/second,discard=unmap -device $model,drive=d1,serial=udrv1,addr=0x1b" \
        --qemu "-drive if=none,id=d2,format=raw,file=$images/third -device virtio-blk-pci,disable-modern=on,drive=d2,addr=0x1c" \
        --qemu "$(monitor_options "$images")" -- disk.sh virtio_blk 0000:00:1a.0 virtio_blk
}

run() { # DRIVER MODEL [iommu]
    new_images
    "drive_$1" "${@:2}"
}
if [ $# -gt 0 ]; then
    run "$@"
else
    run ahci ich9-ahci
    run ide piix3-ide
fi
finish
