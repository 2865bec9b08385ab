#!/bin/bash
# SPDX-License-Identifier: MIT
# What a wrong or hostile driver may try, one attempt after the other, and what must
# happen: the rows of docs/threats.md.
. "$(dirname "$0")/lib.sh"

guest 'files, maps, limits, life' 400 --smp 2 --device edu,addr=0x14 -- boundary.sh core
guest 'a network driver' 400 --smp 2 --nic e1000 -- boundary.sh net
guest 'a disk driver' 400 --smp 2 --disk ahci --append init_on_alloc=0 -- boundary.sh blk
finish
