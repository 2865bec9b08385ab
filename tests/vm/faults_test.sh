#!/bin/bash
# SPDX-License-Identifier: MIT
# Drivers start and are killed, again and again, and nothing piles up; on a debug kernel
# (scripts/test --debug-kernel) also: every allocation fails once. UDRV_CYCLES is the
# number of starts of each driver (default 100).
. "$(dirname "$0")/lib.sh"

guest 'failures, starts and kills' 3000 --smp 2 --iommu --nic e1000 --nic e1000 \
    --device edu,addr=0x14 --disk ahci -- faults.sh "${UDRV_CYCLES:-100}"
finish
