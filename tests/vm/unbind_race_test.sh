#!/bin/bash
# SPDX-License-Identifier: MIT
# The end of a session against everything else: drivers that call, map, attach and read
# from several threads, and are interrupted, while their devices are unbound, reset,
# removed and found again, on a kernel that poisons what is freed. UDRV_ROUNDS is the number of rounds (default 60),
# UDRV_SEED repeats a run.
. "$(dirname "$0")/lib.sh"

guest 'unbind, remove and kill under busy drivers' 1700 --smp 2 --mem 1536 --iommu \
    --append slub_debug=FZPU --device pcie-root-port,id=rpa,chassis=1,addr=0x15 \
    --device pcie-root-port,id=rpb,chassis=2,addr=0x16 --device edu,bus=rpb,addr=0 \
    --nic e1000,bus=rpa,addr=0 -- \
    unbind_race.sh "${UDRV_ROUNDS:-60}" ${UDRV_SEED:+"$UDRV_SEED"}
finish
