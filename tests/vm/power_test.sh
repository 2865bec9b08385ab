#!/bin/bash
# SPDX-License-Identifier: MIT
# Suspend, hibernation, reset, bus errors and reboot of a machine whose disk and card are
# driven by processes.
. "$(dirname "$0")/lib.sh"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# shellcheck disable=SC2054 # commas are QEMU's
machine=(--machine q35 --smp 2 --mem 1280 --device pcie-root-port,id=rp,chassis=1,addr=0x15
    --nic e1000,bus=rp,addr=0 --nic e1000 --disk ahci --disk ahci)

# QEMU's monitor as two pipes. press: once the guest says that it waits for the power
# button, and may be asleep, presses it until it is awake.
mkfifo "$scratch"/monitor.{in,out}
monitor="-chardev pipe,id=mon,path=$scratch/monitor -mon chardev=mon,mode=readline"
press() {
    local ready=20
    while sleep 1; do
        grep -q '^s2idle: the host presses' "$scratch/sleep" || continue
        ! grep -qE '^(ok|FAIL) s2idle: status' "$scratch/sleep" || return 0
        ready=$((ready - 1))
        if [ $ready = 0 ]; then
            echo system_powerdown >"$scratch/monitor.in"
            ready=10
        fi
    done
}
touch "$scratch/sleep"
cat "$scratch/monitor.out" >/dev/null &
reader=$!
press &
presser=$!
guest 'sleep' 900 "${machine[@]}" --qemu "$monitor" -- power.sh sleep > >(tee "$scratch/sleep")
kill $reader $presser 2>/dev/null || true
guest 'resets and bus errors' 600 "${machine[@]}" -- power.sh events

# The machine goes down, so the lab has no status of it: the console tells.
echo '=== kexec, and reboot of the next kernel'
status=0
scripts/vm --timeout 600 --env UDRV_BUILD="$build" "${machine[@]}" --console "$scratch/console" -- \
    bash tests/vm/guest/power.sh kexec >"$scratch/out" || status=$?
cat "$scratch/out"
check 'the guest went down by itself' test "$status" = 125
check 'kexec: another kernel' grep -a 'kexec_core: Starting new kernel' "$scratch/console"
check 'kexec: what it saw' grep -a '^ok after kexec: the file that was there' "$scratch/out"
check 'both: drivers at work' test "$(grep -c '^ok in use' "$scratch/out")" = 2
check 'reboot: it restarted' grep -a 'reboot: Restarting system' "$scratch/console"
check 'no failure' not grep -a '^FAIL' "$scratch/out"
check 'no complaint' not grep -aE 'WARNING|BUG:|Oops|blocked for more' "$scratch/console"
finish
