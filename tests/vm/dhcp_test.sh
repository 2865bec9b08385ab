#!/bin/bash
# SPDX-License-Identifier: MIT
# An address by DHCP on an interface driven by udrv.
. "$(dirname "$0")/lib.sh"

guest 'user network' 600 --smp 2 --nic e1000 --user-net -- dhcp.sh
finish
