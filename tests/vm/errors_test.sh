#!/bin/bash
# SPDX-License-Identifier: MIT
# What a person gets wrong gives one clear line.
. "$(dirname "$0")/lib.sh"

guest 'errors' 600 --smp 2 --nic e1000 --device edu,addr=0x14 -- errors.sh
guest 'no interrupt remapping' 300 --smp 2 --iommu --append intremap=off --nic e1000 -- \
    interrupt_remapping.sh
finish
