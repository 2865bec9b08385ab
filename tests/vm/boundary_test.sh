#!/bin/bash
# SPDX-License-Identifier: MIT
# What a wrong or hostile driver may try, one attempt after the other, and what must
# happen: the rows of docs/threats.md.
. "$(dirname "$0")/lib.sh"

# Memory that is given out shows what it held before, but where somebody takes care.
guest 'single attempts' 1500 --smp 2 --append init_on_alloc=0 --device edu,addr=0x14 --nic e1000 \
    --disk ahci -- boundary.sh
finish
