#!/bin/bash
# SPDX-License-Identifier: MIT
# Disks driven by udrv: AHCI and IDE, with and without an IOMMU.
. "$(dirname "$0")/lib.sh"

image=$(mktemp)
trap 'rm -f "$image"' EXIT
truncate -s 700M "$image" # xfs has no room on the default disk
guest 'AHCI, two processors' 420 --smp 2 --disk "ahci:$image" -- disk.sh ahci 0000:00:18.0 full
guest 'AHCI behind an IOMMU, one processor' 300 --smp 1 --iommu --disk ahci -- disk.sh ahci 0000:00:18.0
guest 'IDE' 420 --smp 2 --disk ide -- disk.sh ide 0000:00:01.1
finish
