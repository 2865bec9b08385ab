#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: nic_test.sh [DRIVER [MODEL]]
# The battery of network drivers (guest/nic.sh): all of it on one machine, the essentials on
# two others. MODEL is QEMU's name of the device, with its options.
. "$(dirname "$0")/lib.sh"
driver=${1:-virtio_net}
model=${2:-virtio-net-pci,disable-legacy=on}
one_cpu=$model
confined=$model
wire=(--nic e1000)
if [ "$driver" = virtio_net ]; then
    # Offloads are there with taps only. The others: a transitional device without MSI-X, and
    # one that goes through the IOMMU.
    wire=(--nic virtio-net-pci,disable-legacy=on --taps)
    one_cpu=virtio-net-pci,vectors=0
    confined+=,iommu_platform=on
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
guest "$driver, two processors" 600 --smp 2 --nic "$model" "${wire[@]}" \
    --qemu "$(monitor_options "$dir")" -- nic.sh "$driver" full
guest "$driver, one processor" 400 --smp 1 --nic "$one_cpu" --nic e1000 -- nic.sh "$driver"
guest "$driver, untrusted, behind an IOMMU" 400 --smp 2 --iommu --append swiotlb=force \
    --nic "$confined" --nic e1000 -- nic.sh "$driver" untrusted
finish
