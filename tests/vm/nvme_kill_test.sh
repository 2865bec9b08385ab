#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: nvme_kill_test.sh [KILLS [HANGS [UPGRADES]]]
# The NVMe driver dies, hangs and is replaced under load, and nothing is lost. The long form:
# UDRV_NVME_KILLS=2000.
. "$(dirname "$0")/lib.sh"
kills=${1:-${UDRV_NVME_KILLS:-30}}
hangs=${2:-4}
upgrades=${3:-3}
guest 'one processor, no IOMMU' $((kills * 5 + 600)) --smp 1 --disk nvme -- \
    disk_kill.sh nvme 0000:00:1a.0 "$kills" "$hangs" "$upgrades"
guest 'two processors, behind an IOMMU' $((kills * 5 + 600)) --smp 2 --iommu --disk nvme -- \
    disk_kill.sh nvme 0000:00:1a.0 "$kills" "$hangs" "$upgrades"
finish
