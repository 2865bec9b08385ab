#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: inject_test.sh [FAULTS [A_LIFE [SEED [DRIVER...]]]]
# Faults are put into running drivers, and nothing but the drivers is hurt.
. "$(dirname "$0")/lib.sh"
faults=${1:-300} a_life=${2:-100} seed=${3:-1}
drivers=("${@:4}")
[ ${#drivers[@]} != 0 ] || drivers=(e1000 ahci ide)
guest "${drivers[*]}, behind an IOMMU" $((faults / a_life * 120 + 600)) --smp 2 --mem 1536 --iommu --nic e1000 --nic e1000 \
    --disk ahci --disk ide -- inject.sh "$faults" "$a_life" "$seed" "${drivers[@]}"
finish
