#!/bin/bash
# SPDX-License-Identifier: MIT
# What lies beside a packet or a block on its page: a driver that is trusted can have its
# device read and overwrite it, one that is not trusted cannot.
. "$(dirname "$0")/lib.sh"
guest 'neighbours on a page' 600 --smp 2 --iommu --append swiotlb=force --nic e1000 --disk ahci -- \
    neighbours.sh
finish
