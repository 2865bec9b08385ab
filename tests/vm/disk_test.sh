#!/bin/bash
# SPDX-License-Identifier: MIT
# Disks driven by udrv: two on an AHCI controller, two on an IDE channel. When the
# guest is gone, the images are compared with what was written.
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

# disks KIND ARG...: boots with two disks, then looks at them.
disks() {
    local kind=$1 title=$2
    shift 2
    rm -rf "${images:?}"/{first,second,random,tree,xfs}
    truncate -s 700M "$images/first" # xfs has no room on less
    truncate -s 256M "$images/second"
    guest "$title" 420 --smp 2 --out "$images" --disk "$kind:$images/first:discard=unmap" \
        --disk "$kind:$images/second:discard=unmap" "$@" "$images"
    # shellcheck disable=SC2086 # words of both
    check 'the first image, sector by sector' "$probe" check "$images/first" $part3
    # shellcheck disable=SC2086
    check 'the second image, sector by sector' "$probe" check "$images/second" $whole
    check 'ext4 is clean' e2fsck -fn "$images/first?offset=1048576"
    check 'its tree' same_tree "$images/first"
    check 'xfs is clean' xfs_clean "$images/first"
}

disks ahci 'AHCI' --device ide-cd,bus=ide.0 -- disk.sh ahci 0000:00:18.0 ahci
disks ide 'IDE' --device ich9-ahci,addr=0x15 --device ich9-ahci,id=cd,addr=0x16 \
    --device ide-cd,bus=cd.2 -- disk.sh ide 0000:00:01.1 ata_piix
finish
