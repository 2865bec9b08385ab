#!/bin/bash
# SPDX-License-Identifier: MIT
# Memory that a killed driver's device had, and that is another's now. UDRV_KILLS is the
# number of kills (default 3). No IOMMU: nothing but the order of things keeps the device
# away. Who frees a page fills it with a pattern, who takes it looks for that.
. "$(dirname "$0")/lib.sh"
guest 'freed pages' 3400 --smp 2 --mem 512 --append page_poison=1 --nic e1000 --nic e1000 --disk ahci -- \
    freed_pages.sh "${UDRV_KILLS:-3}"
disk=driver=null-co,node-name=slow,size=67108864,latency-ns=2000000000,read-zeroes=on
guest 'a chip that ends late' 1200 --smp 2 --mem 320 --append page_poison=1 \
    --nic e1000 --qemu "-blockdev $disk -device ich9-ahci,id=late,addr=0x14 -device ide-hd,bus=late.0,drive=slow" -- \
    late_end.sh "${UDRV_KILLS:-3}"
finish
