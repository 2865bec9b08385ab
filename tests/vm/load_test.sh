#!/bin/bash
# SPDX-License-Identifier: MIT
# System calls, interrupts and context switches per packet.
. "$(dirname "$0")/lib.sh"

guest 'two processors' 600 --smp 2 --nic e1000 --nic e1000 -- load.sh
guest 'one processor' 600 --smp 1 --nic e1000 --nic e1000 -- load.sh
finish
