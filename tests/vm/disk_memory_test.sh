#!/bin/bash
# SPDX-License-Identifier: MIT
# Disks of a machine with one processor, little memory, and a strict IOMMU.
. "$(dirname "$0")/lib.sh"

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
truncate -s 512M "$dir/ahci" "$dir/ide"
guest 'little memory' 400 --smp 1 --mem 256 --iommu --disk "ahci:$dir/ahci" --disk "ide:$dir/ide" \
    -- disk_memory.sh
finish
