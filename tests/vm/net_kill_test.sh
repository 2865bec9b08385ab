#!/bin/bash
# SPDX-License-Identifier: MIT
# Whatever happens to a driver process, the machine goes on and nothing is left.
. "$(dirname "$0")/lib.sh"

guest 'INTx' 600 --smp 2 --nic e1000 --nic e1000 -- net_kill.sh
finish
