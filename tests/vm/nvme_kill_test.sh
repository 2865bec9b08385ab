#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: nvme_kill_test.sh [KILLS [HANGS [UPGRADES [DRIVER KIND]]]]
# The NVMe driver dies, hangs and is replaced under load, and nothing is lost. The long form:
# UDRV_NVME_KILLS=2000. Another DRIVER, for a --disk of that KIND of scripts/vm, is for runs by
# hand: nvme_kill_test.sh 20 2 2 virtio_blk virtio-blk-pci
. "$(dirname "$0")/lib.sh"
kills=${1:-${UDRV_NVME_KILLS:-30}}
hangs=${2:-4}
upgrades=${3:-3}
driver=${4:-nvme}
kind=${5:-nvme}
guest 'one processor, no IOMMU' $((kills * 5 + 600)) --smp 1 --disk "$kind" -- \
    disk_kill.sh "$driver" 0000:00:1a.0 "$kills" "$hangs" "$upgrades"
guest 'two processors, behind an IOMMU' $((kills * 5 + 600)) --smp 2 --iommu --disk "$kind" -- \
    disk_kill.sh "$driver" 0000:00:1a.0 "$kills" "$hangs" "$upgrades"
finish
