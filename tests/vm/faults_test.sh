#!/bin/bash
# SPDX-License-Identifier: MIT
# On a debug kernel only: every allocation of the modules fails, once and at random.
. "$(dirname "$0")/lib.sh"

guest 'failing allocations' 600 --smp 2 --iommu --nic e1000 --nic e1000 \
    --device edu,addr=0x14 --disk ahci -- faults.sh
finish
