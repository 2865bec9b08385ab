#!/bin/bash
# SPDX-License-Identifier: MIT
# An interrupt that is held asserted, on a line with two neighbours. UDRV_STORM is its
# length in seconds (default 2) in each of four ways.
. "$(dirname "$0")/lib.sh"

guest 'interrupt storm' 3000 --smp 2 --nic e1000 --nic e1000 --device edu,addr=0x14 \
    --nic e1000,addr=0x18 -- storm.sh "${UDRV_STORM:-2}"
finish
