#!/bin/bash
# SPDX-License-Identifier: MIT
# DMA to memory that was not given, behind an IOMMU. UDRV_ROGUE is the number of tries
# (default 2,000, a few seconds), UDRV_SEED repeats a run.
. "$(dirname "$0")/lib.sh"
tries=${UDRV_ROGUE:-2000}
traces=$(mktemp -d)
trap 'rm -rf "$traces"' EXIT

# QEMU writes down each fault of its IOMMU; the kernel's log leaves most of them out.
guest 'rogue DMA' 3400 --smp 2 --iommu --nic e1000 --nic e1000 \
    --qemu "-trace vtd_dmar_fault -D $traces/faults" -- \
    rogue_dma.sh "$tries" ${UDRV_SEED:+"$UDRV_SEED"}
faults=$(grep -c 'vtd_dmar_fault' "$traces/faults")
echo "$faults faults: $(grep -c 'write 1' "$traces/faults") writes, $(grep -c 'write 0' "$traces/faults") reads"
# One try is many accesses.
check "faults counted by the IOMMU: $faults, in $tries tries" test "$faults" -ge "$tries"
finish
