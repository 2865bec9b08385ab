#!/bin/bash
# SPDX-License-Identifier: MIT
# Hostile drivers: a test program on the same ABI that mutates what it shares with the
# kernel. UDRV_LIES is the number of mutations of each kind (default 500,000, half a
# minute), UDRV_SEED repeats a run.
. "$(dirname "$0")/lib.sh"
mutations=${UDRV_LIES:-500000}

# The log has a line for each session: none may be lost.
guest 'a network driver that lies' 3400 --smp 2 --append log_buf_len=64M --nic e1000 --nic e1000 \
    -- lies.sh net "$mutations" ${UDRV_SEED:+"$UDRV_SEED"}
guest 'a disk driver that lies' 3400 --smp 2 --append log_buf_len=64M --disk ahci \
    -- lies.sh blk "$mutations" ${UDRV_SEED:+"$UDRV_SEED"}
finish
