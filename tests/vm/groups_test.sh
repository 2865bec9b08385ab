#!/bin/bash
# SPDX-License-Identifier: MIT
# Devices that share an IOMMU group: q35's own AHCI controller with the chipset's other
# functions, and two cards behind a PCIe-to-PCI bridge.
. "$(dirname "$0")/lib.sh"
image=$(mktemp)
trap 'rm -f "$image"' EXIT
truncate -s 64M "$image"

guest 'IOMMU groups' 400 --smp 2 --iommu --device pcie-pci-bridge,id=br,addr=0x15 \
    --nic e1000,bus=br,addr=1 --nic e1000,bus=br,addr=2 \
    --qemu "-drive if=none,id=own,format=raw,file=$image -device ide-hd,drive=own,bus=ide.0" -- groups.sh
finish
