#!/bin/bash
# SPDX-License-Identifier: MIT
# An IOMMU that maps DMA but no interrupt messages: a device can still send any vector.
. tests/vm/guest/lib.sh

modprobe e1000
load_modules
check_eq "the device's IOMMU group" "$(cat /sys/bus/pci/devices/$bdf/iommu_group/type)" DMA
refused 'bind' 1 'does not remap interrupts.*--unsafe-no-iommu' "$udrv" bind $bdf
check_eq 'its driver is the one before' "$(basename "$(readlink /sys/bus/pci/devices/$bdf/driver)")" e1000
"$udrv" bind --unsafe-no-iommu $bdf 2>/tmp/bind.err
check_eq 'bind if told to' $? 0
check 'and warns' grep -q 'warning: .*does not remap interrupts' /tmp/bind.err
check_eq 'nor does the kernel call it confined' "$(attr iommu)" 0
check 'rmmod' rmmod udrv_net udrv
summary
