#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: inject.sh FAULTS A_LIFE SEED DRIVER...
# Each DRIVER (e1000, ahci, ide) serves checked traffic behind an IOMMU under its
# supervisor. FAULTS faults in all are put into its running code and memory, A_LIFE at once (fewer
# where it dies of the first of them). Counted: how it ended, what readers and the peer saw meanwhile, whether the next driver is correct.
. tests/vm/guest/disk_lib.sh
faults=$1 a_life=$2 seed=$3
shift 3
drivers=("$@")
deadline_ms=1000
declare -A device=([e1000]=$bdf [ahci]=0000:00:18.0 [ide]=0000:00:19.0)
declare -A code=(
    [e1000]='5e1000 NetService NetPort ServiceLoop'
    [ahci]='4ahci 3ata BlkService BlkPort ServiceLoop'
    [ide]='3ide 3ata BlkService BlkPort ServiceLoop'
)
declare -A disk=()
another() { [ "$(attr owner "$1")" != "$2" ]; }
endings() { grep -c 'the driver ended: ' "/tmp/driver-$1.err"; }
last_ending() { sed -n 's/.*the driver ended: \(.*\); starting it.*/\1/p' "/tmp/driver-$1.err" | tail -n 1; }
outcome() { # TEXT of the supervisor
    case $1 in
    *'broke the protocol'*) echo violation ;;
    *'no progress'*) echo hang ;;
    *'killed by SIG'*) sed 's/.*killed by \(SIG[A-Z0-9]*\).*/\1/' <<<"$1" ;;
    *) echo error ;;
    esac
}

# ---- Traffic ---------------------------------------------------------------------

# A small checked transfer each way, by the driver as it is now: equal or not.
net_correct() {
    local way
    wait_for 20 reachable || return
    for way in 'here in_peer 10.0.0.2' 'in_peer here 10.0.0.1'; do
        read -r from to address <<<"$way"
        "$to" timeout 60 "$helpers/net_probe" receive 5602 >/tmp/correct.got & receiver=$!
        "$from" timeout 60 "$helpers/net_probe" send "$address" 5602 </tmp/correct.data >/tmp/correct.out 2>&1
        wait $receiver
        cmp -s /tmp/correct.data /tmp/correct.got || return 1
    done
}
disk_correct() { # DISK
    dd if=/tmp/correct.data of="$1" bs=64k oflag=direct seek=2048 conv=notrunc status=none &&
        dd if="$1" of="/tmp/correct.${1##*/}" bs=64k iflag=direct skip=2048 count=16 status=none &&
        cmp -s /tmp/correct.data "/tmp/correct.${1##*/}"
}
streams() { # one TCP transfer after the other, while faults are at work
    local ok=0 cut=0 wrong=0
    until [ -e /tmp/stop ]; do
        timeout 30 ip netns exec peer "$helpers/net_probe" receive 5601 >/tmp/stream.got & receiver=$!
        if timeout 30 "$helpers/net_probe" send 10.0.0.2 5601 </tmp/stream.data >/dev/null 2>&1 && wait $receiver; then
            if cmp -s /tmp/stream.data /tmp/stream.got; then ok=$((ok + 1)); else wrong=$((wrong + 1)); fi
        else
            cut=$((cut + 1))
            wait $receiver
        fi
        echo "$ok $cut $wrong" >/tmp/traffic-e1000
    done
}
# Random writes read back through dm-integrity. What it finds fio sees as an I/O error
# (EILSEQ); what only fio's own checksum finds has passed it.
verified() { # DRIVER
    local rounds=0 failed=0 found=0 missed=0 map=/dev/mapper/int-$1
    until [ -e /tmp/stop ]; do
        fio --name=v --filename="$map" --direct=1 --ioengine=libaio --iodepth=8 --rw=randwrite \
            --bsrange=4k-64k --blockalign=4k --io_size=8m --verify=crc32c --verify_backlog=32 \
            --verify_fatal=0 --continue_on_error=all --randrepeat=0 >"/tmp/fio-$1" 2>&1
        rounds=$((rounds + 1))
        failed=$((failed + $(grep -c 'io_u error.*Input/output' "/tmp/fio-$1")))
        found=$((found + $(grep -c 'io_u error.*multibyte' "/tmp/fio-$1")))
        missed=$((missed + $(grep -c 'verify failed at file' "/tmp/fio-$1")))
        if grep -q 'failed to open\|No such\|Read-only' "/tmp/fio-$1" || ! [ -e "$map" ]; then
            integrity_open "$1" # its journal met an error
        fi
        echo "$rounds $failed $found $missed" >"/tmp/traffic-$1"
    done
}
integrity_open() { # DRIVER: also from a damaged superblock
    integritysetup close "int-$1" 2>/dev/null
    integritysetup open "${disk[$1]}p1" "int-$1" 2>/dev/null || {
        integritysetup format -q --integrity crc32c "${disk[$1]}p1" >/dev/null 2>&1
        integritysetup open "${disk[$1]}p1" "int-$1"
    }
}

# ---- Faults ----------------------------------------------------------------------

torment() { # DRIVER
    local dev=${device[$1]} life=0 pid before how line n total=0
    while [ $total -lt "$faults" ]; do
        wait_for 120 running "$dev" || { echo "never-again 0 wrong" >>"/tmp/lives-$1"; return; }
        # A life of a second and more, so that the next one starts at once; traffic flows.
        sleep 1.2
        pid=$(attr owner "$dev")
        [ "$pid" != 0 ] || continue
        before=$(endings "$dev")
        # shellcheck disable=SC2086 # patterns
        line=$("$helpers/inject_faults" "$pid" "$a_life" $((seed * 1000000 + life)) ${code[$1]} 2>/dev/null)
        n=$(sed -n 's/.*"faults": \([0-9]*\).*/\1/p' <<<"$line")
        life=$((life + 1))
        total=$((total + ${n:-0}))
        how=survived
        if wait_for 1 another "$dev" "$pid"; then
            how=ended
        else
            kill -KILL "$pid" 2>/dev/null
        fi
        ended_more() { [ "$(endings "$dev")" -gt "$before" ]; }
        wait_for 30 ended_more
        [ $how = survived ] || how=$(outcome "$(last_ending "$dev")")
        echo "$line" >>"/tmp/kinds-$1"
        if ! wait_for 120 running "$dev"; then
            echo "$how ${n:-0} never-again" >>"/tmp/lives-$1"
            return
        fi
        if { [ "$1" = e1000 ] && net_correct; } || { [ "$1" != e1000 ] && disk_correct "${disk[$1]}"; }; then
            echo "$how ${n:-0} correct" >>"/tmp/lives-$1"
        else
            echo "$how ${n:-0} wrong" >>"/tmp/lives-$1"
        fi
        [ $((life % 50)) != 0 ] || echo "$1: $life lives, $total faults, $SECONDS s"
    done
}

# ---- The run ---------------------------------------------------------------------

load_all_modules recovery_window_s=300
head -c 1M /dev/urandom >/tmp/correct.data
head -c 4M /dev/urandom >/tmp/stream.data
modprobe dm-integrity
for driver in "${drivers[@]}"; do
    require "bind $driver" "$udrv" bind "${device[$driver]}"
    require "$driver starts" run_driver "$driver" "${device[$driver]}" --restart --deadline $deadline_ms --restart-limit 1000000
    case $driver in
    e1000)
        require_peer
        ;;
    *)
        disk[$driver]=/dev/udb${#disk[@]}
        require "$driver: a disk" wait_for 20 test -b "${disk[$driver]}"
        printf 'start=2048,size=96MiB\n' | sfdisk -q "${disk[$driver]}"
        require "$driver: a partition" wait_for 10 test -b "${disk[$driver]}p1"
        require "$driver: dm-integrity" integrity_open "$driver"
        ;;
    esac
done
mark_kernel_log
phase "$faults faults in each of ${drivers[*]}, $a_life a life, seed $seed"
for driver in "${drivers[@]}"; do
    if [ "$driver" = e1000 ]; then streams & else verified "$driver" & fi
    loads+=($!)
    torment "$driver" &
    tormentors+=($!)
done
wait "${tormentors[@]}"
touch /tmp/stop
wait "${loads[@]}"

for driver in "${drivers[@]}"; do
    count=$(awk '{ n += $2 } END { print n + 0 }' "/tmp/lives-$driver")
    check_ge "$driver: faults, in $(wc -l <"/tmp/lives-$driver") lives" "$count" "$faults"
    echo "$driver: by kind: $(python3 -c '
import collections, json, sys
total = collections.Counter()
for line in sys.stdin:
    if line.strip():
        total.update({k: v for k, v in json.loads(line).items() if k not in ("seed", "instructions", "faults")})
print(", ".join(f"{kind} {n}" for kind, n in total.items()))' <"/tmp/kinds-$driver")"
    echo "$driver: ends: $(awk '{ n[$1]++ } END { for (how in n) printf "%s %d, ", how, n[how] }' "/tmp/lives-$driver")"
    check_eq "$driver: lives after which the next driver was not correct" \
        "$(grep -cv ' correct$' "/tmp/lives-$driver")" 0
    if [ "$driver" = e1000 ]; then
        read -r ok cut wrong </tmp/traffic-e1000
        echo "e1000: transfers meanwhile: $ok whole, $cut cut off, $wrong with a wrong sum"
    else
        read -r rounds failed found missed <"/tmp/traffic-$driver"
        echo "$driver: $rounds rounds of fio meanwhile: $failed I/O errors, $found wrong blocks found by dm-integrity, $missed found by fio only (lost writes)"
    fi
done
echo "IOMMU faults logged: $(dmesg | grep -c 'DMAR:.*fault')"
check_eq 'kernel: warnings and oopses' "$(dmesg | grep -v 'traps: udrv' | grep -cE 'BUG:|WARNING:|Oops|general protection|UBSAN|KASAN')" 0
check 'the machine: a process starts, a file is written, the log is read' bash -c 'date >/tmp/alive && dmesg | tail -n 1'
summary
