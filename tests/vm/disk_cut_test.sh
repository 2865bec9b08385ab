#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: disk_cut_test.sh [CUTS]
# A flush is real, on AHCI and on IDE: the power is cut, and what was promised before is in
# the image. The images are qcow2, of which QEMU keeps the tables in memory until the
# guest flushes: so a write that was never flushed is lost with them, like one in the cache
# of a real disk.
. "$(dirname "$0")/lib.sh"
cuts=${1:-36}

out=$(mktemp -d)
vm=''
trap '[ -z "$vm" ] || kill "$vm" 2>/dev/null; wait; rm -rf "$out"' EXIT
PATH=$PATH:/usr/sbin:/sbin

# boot TITLE TIMEOUT VM-OPTION... -- SCRIPT [ARG]...: in the background
boot() {
    local timeout=$2 options=()
    [ "${UDRV_KERNEL:-}" != debug ] || timeout=$((timeout * 6))
    echo "=== $1"
    shift 2
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    rm -f "$out/pid"
    scripts/vm --timeout "$timeout" --env UDRV_BUILD="$build" --out "$out" --pidfile "$out/pid" \
        --console "$out/console" "${options[@]}" -- bash "tests/vm/guest/$2" "${@:3}" 2>"$out/err" &
    vm=$!
}
format=format=qcow2,cache=writeback
new_images() { # QCOW2-OPTION SIZE
    local kind
    for kind in ahci ide; do
        qemu-img create -q -f qcow2 -o "$1" "$out/$kind" "$2"
    done
}
# until_vm COMMAND...: waits until it succeeds, for as long as the machine is there.
until_vm() {
    until "$@"; do
        if ! kill -0 "$vm" 2>/dev/null; then
            tail -n 3 "$out/err"
            echo 'FAIL: the guest came to an end'
            exit 1
        fi
        sleep 0.02
    done
}
cut_off() {
    local status=0
    kill -KILL "$(cat "$out/pid")" || true
    wait "$vm" || status=$?
    vm=''
    check "the machine was cut off" [ "$status" = 125 ]
}

# ---- One processor: killed at once when the guest has reported an fsync ---------------

head -c 1M /dev/urandom >"$out/pattern"
new_images cluster_size=64k 128M
boot 'one processor' 120 --smp 1 --qemu "$(monitor_options "$out")" --disk "ahci:$out/ahci:$format" \
    --disk "ide:$out/ide:$format" -- disk_cut.sh "$out"
until_vm test -e "$out/written"
cut_off

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
    rm -f "$out/file" "$raw" "$raw.p1"
done

# ---- Two processors: cut at random moments, while drivers are killed -------------------
#
# A lost flush shows only until the next one that is not, so one cut a boot is too few. A
# process that is stopped has left in its files what it would have if it were killed: so
# QEMU is stopped, the images and the writers' records are copied, and it goes on. The
# last cut is a real one. Each third follows a kill, so that many come before the next
# driver does its first flush. Each block is in a cluster of its own: a write to one that
# the tables have already would be there without a flush.
# AHCI is behind a bridge, so that it can be reset alone. QEMU's goes on with a flush when
# bus mastering is switched off, and would write its FIS to memory that was given back.

kills() { if [ -e "$out/kills-$1" ]; then wc -l <"$out/kills-$1"; else echo 0; fi; }
more_kills() { [ "$(kills "$1")" -gt "$2" ]; }
stopped() { # every thread of the process; then nothing of it is under way either
    local states
    states=$(sed -n 's/^State:[[:space:]]*//p' "/proc/$1"/task/*/status 2>/dev/null)
    [ -n "$states" ] && ! grep -qv '^T' <<<"$states"
}
copy_images() {
    mkdir -p "$out/cut"
    cp --sparse=always "$out"/{ahci,ide} "$out"/{ahci,ide}-[0-2] "$out/cut/"
}
# Adds to the sums, for each writer: N acknowledged N lost N pending N lost
look() { # KIND
    local lane sums
    qemu-img convert -O raw "$out/cut/$1" "$out/cut/raw"
    for lane in 0 1 2; do
        sums=$("$build/tests/helpers/cut_probe" check "$out/cut/raw" $lane $seed "$out/cut/$1-$lane") ||
            echo "cut $cut, $1, writer $lane: ${sums:=0 acknowledged 1 lost, without a record}"
        echo "$sums" >>"$out/sums-$1"
    done
    rm "$out/cut/raw"
}
column() { awk -v n="$1" '{ sum += $n } END { print sum + 0 }'; } # N: its sum
# Each writer had more acknowledged at the last cut than at the first.
progress() { awk '{ n[NR] = $1 } END { for (i = 0; i < 3; i++) if (n[NR - i] <= n[3 - i]) exit 1 }' "$out/sums-$1"; }

seed=$RANDOM
new_images extended_l2=on,cluster_size=128k 1536M
boot "two processors, $cuts cuts, seed $seed" 600 --smp 2 --disk "ide:$out/ide:$format" \
    --qemu "-device pci-bridge,id=bridge,chassis_nr=1,addr=0x14 -device ich9-ahci,id=sata,bus=bridge,addr=1" \
    --qemu "-drive if=none,id=sata0,file=$out/ahci,$format -device ide-hd,drive=sata0,bus=sata.0" \
    -- disk_cut_kills.sh "$out" $seed
for kind in ahci ide; do
    for lane in 0 1 2; do
        until_vm test -s "$out/$kind-$lane"
    done
done
kinds=(ahci ide)
for ((cut = 1; cut <= cuts; cut++)); do
    kind=${kinds[cut / 3 % 2]}
    [ $((cut % 3)) != 0 ] || until_vm more_kills "$kind" "$(kills "$kind")"
    sleep "0.$((RANDOM % 5))$((RANDOM % 10))"
    if [ $cut = "$cuts" ]; then
        for kind in ahci ide; do until_vm more_kills $kind 11; done
        cut_off
        copy_images
    else
        pid=$(cat "$out/pid")
        kill -STOP "$pid" || true # if it is gone, until_vm says so
        until_vm stopped "$pid"
        copy_images
        stopped "$pid" || continue # somebody else let it go on, as ^Z and fg do
        kill -CONT "$pid"
    fi
    look ahci
    look ide
done
check 'the kernel warned of nothing' not grep '^    ' "$out/err"
for kind in ahci ide; do
    sums=$out/sums-$kind
    lost=$(column 3 <"$sums")
    others_lost=$(column 7 <"$sums")
    echo "$kind: $(kills $kind) kills; at the last cut $(tail -n 3 "$sums" | column 1) writes were acknowledged"
    echo "$kind: at all cuts together $lost of $(column 1 <"$sums") acknowledged writes were lost," \
        "and $others_lost of $(column 5 <"$sums") others"
    check "$kind: no acknowledged write is lost" [ "$lost" = 0 ]
    check "$kind: some that were not flushed are" [ "$others_lost" -gt 0 ]
    check "$kind: each writer went on" progress $kind
done
finish
