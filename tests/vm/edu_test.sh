#!/bin/bash
# SPDX-License-Identifier: MIT
# The core: interrupts as files, DMA, registers, configuration, revocation.
. "$(dirname "$0")/lib.sh"

guest 'without an IOMMU' 600 --smp 2 --device edu,addr=0x14 --device sdhci-pci,addr=0x15 \
    --device sdhci-pci,addr=0x16 -- edu.sh
guest 'with an IOMMU' 600 --smp 2 --iommu --device edu,addr=0x14 -- edu.sh
finish
