#!/bin/bash
# SPDX-License-Identifier: MIT
# Suspend, reset and reboot of a machine whose disk and card are driven by processes.
. "$(dirname "$0")/lib.sh"
# shellcheck disable=SC2054 # commas are QEMU's
machine=(--smp 2 --device pci-bridge,id=br,chassis_nr=1,addr=0x15 --nic e1000,bus=br,addr=1
    --nic e1000 --disk ahci)

guest 'sleep and reset' 600 "${machine[@]}" -- power.sh

# The machine goes down, so the lab has no status of it: the console tells.
console=$(mktemp)
trap 'rm -f "$console"' EXIT
echo '=== reboot'
status=0
scripts/vm --timeout 300 --env UDRV_BUILD="$build" "${machine[@]}" --console "$console" -- \
    bash tests/vm/guest/power.sh reboot || status=$?
check 'reboot: the guest went down by itself' test "$status" = 125
check 'reboot: it restarted' grep -a 'reboot: Restarting system' "$console"
check 'reboot: no complaint' not grep -aE 'WARNING|BUG:|Oops|blocked for more' "$console"
finish
