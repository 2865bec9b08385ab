#!/bin/bash
# SPDX-License-Identifier: MIT
# A fuzzer over every call on every file of udrv, behind an IOMMU. UDRV_FUZZ is the
# number of calls (default 60,000, ten seconds), UDRV_SEED repeats a run.
. "$(dirname "$0")/lib.sh"

guest 'wrong calls' 3400 --smp 2 --iommu --append log_buf_len=64M --nic e1000 --nic e1000 \
    --device pcie-root-port,id=rp,chassis=1,addr=0x15 --device edu,bus=rp,addr=0 --disk ahci -- \
    fuzz_calls.sh "${UDRV_FUZZ:-60000}" ${UDRV_SEED:+"$UDRV_SEED"}
finish
