#!/bin/bash
# SPDX-License-Identifier: MIT
# A received packet that the device writes into after the stack checked it: what is read
# changes if the driver is trusted, and does not if it is not. UDRV_REWRITES is the number
# of packets of the race (default 500).
. "$(dirname "$0")/lib.sh"
guest 'packets rewritten after the check' 1700 --smp 2 --iommu --append swiotlb=force --nic e1000 -- \
    rewrite.sh "${UDRV_REWRITES:-500}"
finish
