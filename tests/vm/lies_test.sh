#!/bin/bash
# SPDX-License-Identifier: MIT
# Hostile drivers: test programs on the same ABI that mutate what they share with the
# kernel. UDRV_LIES is the number of mutations (default 300,000 of the network, as many
# of the disks, a tenth with real packets: a minute), UDRV_SEED repeats a run.
. "$(dirname "$0")/lib.sh"
mutations=${UDRV_LIES:-300000}
seed=${UDRV_SEED:-$RANDOM}

# The log has a line for each session: none may be lost.
guest 'network and disk drivers that lie' 3400 --smp 2 --append log_buf_len=64M --nic e1000 \
    --nic e1000 --disk ahci -- lies.sh "$mutations" "$seed" net blk
guest 'a network driver that lies about real packets' 3400 --smp 2 --iommu \
    --append log_buf_len=64M --nic e1000 --nic e1000 -- lies.sh $((mutations / 10)) "$seed" chip
finish
