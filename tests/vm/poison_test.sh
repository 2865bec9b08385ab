#!/bin/bash
# SPDX-License-Identifier: MIT
# A request that kills its driver, each time: it fails, the others and the disk do not.
. "$(dirname "$0")/lib.sh"
guest 'a request that kills' 600 --smp 2 --disk ahci -- poison.sh
finish
