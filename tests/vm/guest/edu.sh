#!/bin/bash
# SPDX-License-Identifier: MIT
# The core on QEMU's teaching device: every promise of udrv/udrv.h that needs no
# port. Its own lines come from tests/vm/helpers/core_probe.cpp.
. tests/vm/guest/lib.sh
. tests/vm/guest/observe_lib.sh
bdf=0000:00:14.0

probed() { # NAME FILE STATUS: takes over the lines that a probe printed
    checks=$((checks + $(grep -c '^ok ' "$2") + $(grep -c '^FAIL' "$2")))
    failures=$((failures + $(grep -c '^FAIL' "$2")))
    grep -E '^(ok|FAIL)' "$2" | sed "s/^\(ok\|FAIL\):\? /\1 $1: /"
    check_ge "$1: lines" "$(grep -c '^ok ' "$2")" "$4"
    check_eq "$1: status" "$3" 0
}
idle() { echo "$(attr state) $(attr owner) $(attr pinned_bytes) $(attr mappings) $(irq_actions) $(bus_master)"; }

insmod "$build/modules/udrv.ko"
require 'bind' "$udrv" bind --unsafe-no-iommu $bdf
confined=$(attr iommu)
echo 4 >/proc/sys/vm/nr_hugepages
mark_kernel_log
for mode in intx msi; do
    phase "$mode"
    # Without the right to lock more than the limit.
    setpriv --bounding-set=-ipc_lock timeout 100 "$helpers/core_probe" $bdf $mode >/tmp/probe 2>&1
    probed $mode /tmp/probe $? $([ "$confined" = 1 ] && echo 80 || echo 55)
    check_eq "$mode: nothing left" "$(idle)" 'idle 0 0 0 0 0'
    check_eq "$mode: no path left" "$(find /proc/irq -name 'irq*' -type f | wc -l)" 0
done
if [ "$confined" = 1 ]; then
    check_ge 'the IOMMU stopped the transfer to an unmapped page' \
        "$(new_kernel_messages | grep -cE 'DMAR: \[DMA (Read|Write).*fault addr')" 1
fi
check_eq 'other kernel messages' "$(new_kernel_messages | grep -vE 'DMAR|hugepage' | head -n 3)" ''

phase 'udrv run edu'
# run_edu OPTION...: its output in /tmp/edu. A pipe that is full holds it where it says that
# all is open, before its work. $held: user, capabilities, no new privileges, seccomp there.
run_edu() {
    rm -f /tmp/pipe
    mkfifo /tmp/pipe
    exec 7<>/tmp/pipe 8</tmp/pipe
    dd if=/dev/zero of=/tmp/pipe bs=4k count=1024 oflag=nonblock 2>/dev/null
    "$udrv" run edu $bdf "$@" >/tmp/pipe 2>/tmp/edu.err 7>&- 8<&- &
    local pid=$!
    wait_for 20 grep -q '^1 0x1 ' "/proc/$pid/syscall" || fail 'it waits for the pipe' "$(cat /tmp/edu.err)"
    held=$(awk '/^(Uid|CapEff|NoNewPrivs|Seccomp):/ { print $2 }' "/proc/$pid/status" | tr '\n' ' ')
    exec 7>&-
    tr -d '\0' <&8 >/tmp/edu # until it ends
    exec 8<&-
    wait $pid
}
check 'without the sandbox' run_edu --no-sandbox
check_eq 'user, no new privileges, seccomp' "$(cut -d' ' -f1,3,4 <<<"$held")" '0 0 0'
check_eq 'last line' "$(tail -n 1 /tmp/edu)" 'edu: all good'
check 'tracepoints on' trace_on udrv
check 'in its sandbox' run_edu
check 'all of the trace' trace_off
check_eq 'user, capabilities, no new privileges, seccomp' "$held" '65534 0000000000000000 1 2 '
check_eq 'factorial by interrupt' "$(grep -c '10! = 3628800, by interrupt' /tmp/edu)" 1
check_eq 'coherent memory there and back' "$(grep -c 'coherent memory there and back, equal' /tmp/edu)" 1
if [ "$confined" = 1 ]; then
    check_eq 'pinned memory there and back' "$(grep -c 'pinned memory there and back, equal' /tmp/edu)" 1
fi
check_eq 'last line' "$(tail -n 1 /tmp/edu)" 'edu: all good'

phase 'what the tracepoints showed of it'
check_page udrv
line=$(sed -n 's/.* is interrupt \([0-9]*\)$/\1/p' /tmp/edu)
pid=$(sed -nE "s/.*: udrv_session_begin: bdf=$bdf pid=([0-9]+) comm=udrv-edu$/\1/p" /tmp/traced)
check_ge 'a session of its process began' "$pid" 1
check_eq 'it ended' "$(traced "udrv_session_end: bdf=$bdf pid=$pid cause=(close|death)$")" 1
check_eq 'and was over, the device quiet' "$(traced "udrv_session_over: bdf=$bdf pid=$pid quiet=1$")" 1
check_ge 'interrupts' "$(traced "udrv_interrupt: bdf=$bdf line=$line$")" 3
check_eq 'interrupts that the driver was told of' "$(traced_sum udrv_wakeup interrupts)" "$(traced udrv_interrupt)"
check_eq 'doorbells, without a port' "$(traced_sum udrv_wakeup doorbells)$(traced udrv_doorbell)$(traced udrv_publish)" 000
if [ "$confined" != 1 ]; then # once is enough
    check 'perf stat' observe perf udrv_interrupt
    check_ge 'interrupts counted' "$(perf_counted udrv_interrupt)" 3
    check_ge 'wakeups counted' "$(perf_counted udrv_wakeup)" 3
    check 'perf record' observe perf 'perf record'
    check 'perf script' observe perf 'perf script'
    check_eq 'a session from its beginning to its end' \
        "$(observed 'udrv_session_(begin: .*comm=udrv-edu|end: .*cause=|over: .*quiet=1)')" 3
    check 'bpftrace: from an interrupt to its driver' observe bpftrace udrv_interrupt
    check_ge 'a histogram of it' "$(observed '\|@')" 1
fi

phase 'unbound under a sleeping reader, and maps'
"$helpers/core_probe" $bdf bus-error >/tmp/probe 2>&1 &
probe=$!
require 'it sleeps' wait_for 10 grep -q ready /tmp/probe
pid=$(attr owner)
check 'tracepoint on' trace_on udrv/udrv_session_end
check 'unbind' timeout 30 "$udrv" unbind $bdf
check 'all of the trace' trace_off
check_eq 'why its session ended' "$(traced "udrv_session_end: bdf=$bdf pid=$pid cause=unbind$")" 1
wait $probe
probed 'bus error' /tmp/probe $? 6
check 'bind again' "$udrv" bind --unsafe-no-iommu $bdf

phase 'a path held beyond its session'
"$helpers/core_probe" $bdf outlived >/tmp/probe 2>&1
probed 'outlived' /tmp/probe $? 13
check_eq 'nothing left' "$(idle)" 'idle 0 0 0 0 0'

phase 'the chip is stopped as its driver said'
mark_kernel_log
"$helpers/core_probe" $bdf stopped >/tmp/probe 2>&1
probed 'stopped' /tmp/probe $? 24
check_eq 'one did not stop, says the log' \
    "$(new_kernel_messages | grep -c 'the chip did not stop when it was told to')" 1
check_eq 'nothing left' "$(idle)" 'idle 0 0 0 0 0'

phase 'the memory of a driver goes'
check 'tracepoint on' trace_on udrv/udrv_session_end
"$helpers/core_probe" $bdf exec >/tmp/probe 2>&1
probed 'execve does not wait for the end of the session' /tmp/probe $? 1
is_idle() { same "$(idle)" 'idle 0 0 0 0 0'; }
check 'it ends' wait_for 30 is_idle
check 'all of the trace' trace_off
check_eq 'why' "$(traced "udrv_session_end: bdf=$bdf pid=[0-9]+ cause=death$")" 1

phase 'I/O ports end with the session'
"$helpers/core_probe" $bdf ports >/tmp/probe 2>&1
probed 'ports' /tmp/probe $? 8
check_eq 'nothing left' "$(idle)" 'idle 0 0 0 0 0'

# Two devices with 256 bytes of registers each: the firmware gives each a page, the
# kernel puts them side by side when it finds them again.
small=0000:00:15.0
neighbour=0000:00:16.0
page_of() { echo $(($(sed -n '1s/ .*//p' "/sys/bus/pci/devices/$1/resource") >> 12)); }
bind_small() { # BDF
    echo udrv >"/sys/bus/pci/devices/$1/driver_override"
    echo "$1" >/sys/bus/pci/drivers_probe
    test -e "/sys/bus/pci/devices/$1/udrv"
}
if [ -e /sys/bus/pci/devices/$small ]; then
    phase 'registers smaller than a page'
    check 'bind' bind_small $small
    check_ge 'the rest of the page is reserved' "$(grep -c 'udrv: rest of a page' /proc/iomem)" 1
    "$helpers/core_probe" $small small-bar >/tmp/probe 2>&1
    probed 'a page of its own' /tmp/probe $? 7
    echo $small >/sys/bus/pci/drivers/udrv/unbind
    check_eq 'unbound: no longer' "$(grep -c 'udrv: rest of a page' /proc/iomem)" 0
    for dev in $small $neighbour; do echo 1 >/sys/bus/pci/devices/$dev/remove; done
    echo 1 >/sys/bus/pci/rescan
    check_eq 'both on one page' "$(page_of $small)" "$(page_of $neighbour)"
    check 'bind beside a neighbour' bind_small $neighbour
    "$helpers/core_probe" $neighbour shared-page >/tmp/probe 2>&1
    probed 'a neighbour on the page' /tmp/probe $? 4
    echo $neighbour >/sys/bus/pci/drivers/udrv/unbind
    echo 1 >/sys/bus/pci/devices/$small/remove
    check 'bind without it' bind_small $neighbour
    "$helpers/core_probe" $neighbour small-bar >/tmp/probe 2>&1
    probed 'behind the start of a page' /tmp/probe $? 7
    echo 1 >/sys/bus/pci/rescan
    check 'a device that comes back gets another page'         not same "$(page_of $small)" "$(page_of $neighbour)"
    echo $neighbour >/sys/bus/pci/drivers/udrv/unbind
fi

# The plainest driver there is: a shell that opens the path and reads it.
phase 'a shell reads the path'
"$helpers/core_probe" $bdf bus-error >/tmp/probe 2>&1 & # only to have a session open
probe=$!
wait_for 10 grep -q ready /tmp/probe
path=$(find /proc/irq -name 'irq*' -type f)
check_eq 'paths' "$(wc -w <<<"$path")" 1
check_eq 'its mode' "$(find "$path" -printf %m)" 600
check 'a second opener is told that it is busy' grep -q busy <(cat "$path" 2>&1)
kill -9 $probe
{ wait $probe; } 2>/dev/null
check_eq 'nothing left' "$(idle)" 'idle 0 0 0 0 0'
check 'path gone' not test -e "$path"

# Drivers of other repositories, in other languages, under the same supervisor.
export UDRV_DRIVER_PATH=$build/tests/examples
another() { # PID that it was
    local now
    now=$(attr owner)
    [ "$now" != 0 ] && [ "$now" != "$1" ]
}
ready_again() { same "$(grep -c ready /tmp/driver-$bdf.out)" 2; }
for name in edu_cpp edu_c edu_py edu_rs; do
    phase "the example $name"
    refused "$name: no such device" 1 '0000:00:1f.7' "$udrv" run $name 0000:00:1f.7
    require "$name: starts" run_driver $name $bdf --restart
    sleep 1.2 # a life of a second: its successor is ready, the next one starts at once
    pid=$(attr owner)
    kill -KILL "$pid"
    check "$name: killed, another serves" wait_for 20 another "$pid"
    check_eq "$name: why, says the supervisor" "$(grep -c 'killed by SIGKILL' /tmp/driver-$bdf.err)" 1
    check "$name: serves" wait_for 20 ready_again
    sleep 1.2
    kill -STOP "$(attr owner)"
    check "$name: stopped: it hangs, and is replaced" wait_for 40 grep -q 'no progress' /tmp/driver-$bdf.err
    wait_for 20 another 0
    check "$name: upgrade" "$udrv" upgrade $bdf
    check "$name: ends well" stop_driver $bdf
    check_eq "$name: nothing left" "$(idle)" 'idle 0 0 0 0 0'
done
unset UDRV_DRIVER_PATH

phase 'a 32-bit process'
insmod "$build/modules/udrv_net.ko"
"$helpers/compat32" /dev/udrv/$bdf >/tmp/probe 2>&1
probed '32 bits' /tmp/probe $? 18
check_eq 'nothing left' "$(idle)" 'idle 0 0 0 0 0'
"$udrv" unbind $bdf
check 'rmmod' rmmod udrv_net udrv
summary
