#!/bin/bash
# SPDX-License-Identifier: MIT
# Several devices on one INTx line, some with drivers that do not answer.
. "$(dirname "$0")/lib.sh"

guest 'three on a line' 600 --smp 2 --nic e1000 --nic e1000 --nic e1000,addr=0x14 \
    --nic e1000,addr=0x18 -- shared_line.sh
guest 'three on a line, ours without the INTx-disable bit' 600 --smp 2 --nic e1000 --nic e1000 \
    --nic e1000,addr=0x14 --nic e1000,addr=0x18 -- shared_line.sh pci22
finish
