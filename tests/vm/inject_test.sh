#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: inject_test.sh [LIVES [FAULTS [SEED [DRIVER...]]]]
# Faults are put into running drivers, and nothing but the drivers is hurt.
. "$(dirname "$0")/lib.sh"
lives=${1:-7} faults=${2:-100} seed=${3:-1}
drivers=("${@:4}")
[ ${#drivers[@]} != 0 ] || drivers=(e1000 ahci ide)
guest "${drivers[*]}, behind an IOMMU" $((lives * 60 + 400)) --smp 2 --mem 1536 --iommu --nic e1000 --nic e1000 \
    --disk ahci --disk ide -- inject.sh "$lives" "$faults" "$seed" "${drivers[@]}"
finish
