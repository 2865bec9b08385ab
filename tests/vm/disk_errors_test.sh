#!/bin/bash
# SPDX-License-Identifier: MIT
# Errors that QEMU injects, and commands that do not end in time.
. "$(dirname "$0")/lib.sh"

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# broken BUS: QEMU's options for a disk with two bad sectors (see guest/disk_errors.sh)
broken() {
    local rule=inject-error
    echo "-blockdev driver=file,node-name=file0,filename=$dir/image" \
        "-blockdev driver=blkdebug,node-name=debug0,image=file0,$rule.0.event=none,$rule.0.iotype=read,$rule.0.sector=4099,$rule.1.event=none,$rule.1.iotype=write,$rule.1.sector=12291" \
        "-blockdev driver=raw,node-name=raw0,file=debug0" \
        "-device ide-hd,id=hd0,drive=raw0,bus=$1 $(monitor_options "$dir")"
}
for kind in ahci ide; do
    rm -f "$dir/image"
    truncate -s 256M "$dir/image"
    if [ $kind = ahci ]; then
        guest 'errors, AHCI behind an IOMMU' 360 --smp 2 --iommu --device ich9-ahci,id=ahci,addr=0x18 --qemu "$(broken ahci.0)" \
            -- disk_errors.sh ahci 0000:00:18.0 hd0
    else
        guest 'errors, IDE' 240 --smp 2 --qemu "$(broken ide.1)" -- disk_errors.sh ide 0000:00:01.1 hd0
    fi
done
finish
