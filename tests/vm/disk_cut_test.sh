#!/bin/bash
# SPDX-License-Identifier: MIT
# One processor. A flush is real: QEMU is killed at once when the guest has reported an fsync, and
# what was written before it is in the image; on AHCI and on IDE. The images are
# qcow2, of which QEMU keeps the tables in memory until the guest flushes: so a write
# that was never flushed is lost with them, like one in the cache of a real disk.
. "$(dirname "$0")/lib.sh"

out=$(mktemp -d)
vm=''
trap '[ -z "$vm" ] || kill "$vm" 2>/dev/null; wait; rm -rf "$out"' EXIT
PATH=$PATH:/usr/sbin:/sbin

head -c 1M /dev/urandom >"$out/pattern"
for kind in ahci ide; do
    qemu-img create -q -f qcow2 "$out/$kind" 128M
done
scripts/vm --timeout 120 --env UDRV_BUILD="$build" --smp 1 --out "$out" --pidfile "$out/pid" \
    --console "$out/console" --qemu "$(monitor_options "$out")" \
    --disk "ahci:$out/ahci:format=qcow2,cache=writeback" \
    --disk "ide:$out/ide:format=qcow2,cache=writeback" -- bash tests/vm/guest/disk_cut.sh "$out" 2>"$out/err" &
vm=$!
while [ ! -e "$out/written" ] && kill -0 "$vm" 2>/dev/null; do
    sleep 0.05
done
if [ ! -e "$out/written" ]; then
    tail -n 3 "$out/err"
    echo 'FAIL: the guest did not come to the end'
    exit 1
fi
kill -KILL "$(cat "$out/pid")"
status=0
wait "$vm" || status=$?
vm=''
check "the machine was cut off" [ "$status" = 125 ]

region() { cmp -n 1M "$out/pattern" "$1" 0 "$2"; }
for kind in ahci ide; do
    raw=$out/$kind.raw
    check "$kind: image" qemu-img convert -O raw "$out/$kind" "$raw"
    check "$kind: written and fsync: is there" region "$raw" 1M
    check "$kind: O_DSYNC: is there" region "$raw" 3M
    check "$kind: never flushed: is lost" not region "$raw" 5M
    # As after any power cut, the journal is played back first.
    check "$kind: partition" dd if="$raw" of="$raw.p1" bs=1M skip=16 conv=sparse status=none
    check "$kind: journal" eval 'e2fsck -fy "$raw.p1"; [ $? -le 1 ]'
    check "$kind: ext4 is clean" e2fsck -fn "$raw.p1"
    check "$kind: fsync of a file: is there" eval \
        'debugfs -R "dump /file $out/file" "$raw.p1" && cmp "$out/pattern" "$out/file"'
    rm -f "$out/file"
done
finish
