#!/bin/bash
# SPDX-License-Identifier: MIT
# An interface driven by udrv does what an interface does: everything on one
# machine, the essentials on the others.
. "$(dirname "$0")/lib.sh"

# The guest pulls the cable itself: QEMU's monitor behind a virtio-serial port.
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
guest 'two processors, INTx' 1200 --smp 2 --nic e1000 --nic e1000 --qemu "$(monitor_options "$dir")" \
    -- net_traffic.sh full
guest 'one processor' 600 --smp 1 --nic e1000 --nic e1000 -- net_traffic.sh
# Bounce buffers are there on machines with memory above 4 GiB, or if asked for.
guest 'untrusted, behind an IOMMU' 600 --smp 2 --iommu --append swiotlb=force --nic e1000 --nic e1000 -- \
    net_traffic.sh untrusted
guest '82545EM' 600 --smp 2 --nic e1000-82545em --nic e1000-82545em -- net_traffic.sh
finish
