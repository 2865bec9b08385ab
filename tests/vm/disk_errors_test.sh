#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: disk_errors_test.sh [DRIVER]
# Errors that QEMU injects, and commands that do not end in time. virtio_blk, whose time-out is
# twice as long, is for runs by hand; QEMU joins its requests, so that one's error hits the next.
. "$(dirname "$0")/lib.sh"

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# broken DEVICE: QEMU's options for a disk with two bad sectors (see guest/disk_errors.sh)
broken() {
    local rule=inject-error
    echo "-blockdev driver=file,node-name=file0,filename=$dir/image" \
        "-blockdev driver=blkdebug,node-name=debug0,image=file0,$rule.0.event=none,$rule.0.iotype=read,$rule.0.sector=4099,$rule.1.event=none,$rule.1.iotype=write,$rule.1.sector=12291" \
        "-blockdev driver=raw,node-name=raw0,file=debug0" \
        "-device $1,id=hd0,drive=raw0 $(monitor_options "$dir")"
}
for kind in ${1:-ahci ide nvme}; do
    rm -f "$dir/image"
    truncate -s 256M "$dir/image"
    case $kind in
    ahci)
        guest 'errors, AHCI behind an IOMMU' 360 --smp 2 --iommu --device ich9-ahci,id=ahci,addr=0x18 \
            --qemu "$(broken ide-hd,bus=ahci.0)" -- disk_errors.sh ahci 0000:00:18.0 hd0
        ;;
    ide) guest 'errors, IDE' 360 --smp 2 --qemu "$(broken ide-hd,bus=ide.1)" -- disk_errors.sh ide 0000:00:01.1 hd0 ;;
    nvme)
        guest 'errors, NVMe behind an IOMMU' 420 --smp 2 --iommu --device nvme,id=nvme0,serial=udrv0,addr=0x1a \
            --qemu "$(broken nvme-ns,bus=nvme0)" -- disk_errors.sh nvme 0000:00:1a.0 hd0
        ;;
    virtio_blk)
        guest 'errors, virtio-blk behind an IOMMU' 600 --smp 2 --iommu --qemu \
            "$(broken virtio-blk-pci,disable-legacy=on,iommu_platform=on,rerror=report,werror=report,request-merging=off,serial=udrv0,addr=0x1a)" \
            -- disk_errors.sh virtio_blk 0000:00:1a.0 /machine/peripheral/hd0/virtio-backend
        ;;
    esac
done
finish
