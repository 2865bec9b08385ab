#!/bin/bash
# SPDX-License-Identifier: MIT
# An interface with several queues: which processor uses which, and what becomes of them
# when their driver dies. The driver has no hardware (helpers/null_net.cpp); the device that it
# holds only has interrupt vectors to lend, an NVMe controller without disks.
. "$(dirname "$0")/lib.sh"

guest 'four processors' 600 --smp 4 --device nvme,serial=none,addr=0x14 -- queues.sh
finish
