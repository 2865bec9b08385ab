#!/bin/bash
# SPDX-License-Identifier: MIT
# Drivers start and are killed, again and again. UDRV_CYCLES is how often, each of three
# (default 40).
. "$(dirname "$0")/lib.sh"

guest 'starts and kills' 3400 --smp 2 --iommu --nic e1000 --nic e1000 \
    --device edu,addr=0x14 --disk ahci -- start_kill.sh "${UDRV_CYCLES:-40}"
finish
