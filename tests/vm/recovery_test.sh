#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: recovery_test.sh [KILLS [HANGS [UPGRADES]]]
# Drivers die, hang and are replaced under load, and nothing is lost.
. "$(dirname "$0")/lib.sh"
guest 'two processors' $((${1:-60} * 8 + ${2:-6} * 20 + 600)) --smp 2 --mem 1536 --nic e1000 --nic e1000 --disk ahci --disk ide -- \
    recovery.sh "${1:-60}" "${2:-6}" "${3:-3}"
finish
