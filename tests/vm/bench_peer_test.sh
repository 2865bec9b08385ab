#!/bin/bash
# SPDX-License-Identifier: MIT
# The benchmark with a peer in place of a namespace, as on real hardware.
. "$(dirname "$0")/lib.sh"
guest 'on a machine with a peer' 900 --smp 2 --nic e1000 --nic e1000 -- bench_peer.sh
finish
