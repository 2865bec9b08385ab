#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: freed_pages.sh KILLS
# Both drivers are killed while their devices write to memory as fast as they can. After
# each kill somebody takes nearly all memory, fills it, and looks whether it stays so; the
# page allocator looks whether what was free did.
. tests/vm/guest/disk_lib.sh
. tests/vm/guest/hostile_lib.sh
kills=$1
disk_bdf=0000:00:18.0
leave=96 # MiB that the rest of the machine needs

received() { cat /sys/class/net/udn0/statistics/rx_packets; }
sectors_read() { awk '{ print $3 }' /sys/block/udb0/stat; }
moved() { [ "$(received)" -gt $(($1 + 500)) ] && [ "$(sectors_read)" -gt $(($2 + 5000)) ]; }

load_all_modules recovery_window_s=3000
require 'bind the network card' bind_device $bdf
require 'bind the disks' bind_device $disk_bdf
require 'the network driver' start_driver
require 'the disk driver' run_driver ahci $disk_bdf
require_peer
mark_kernel_log
in_peer ip neigh replace 10.0.0.1 lladdr "$(cat /sys/class/net/udn0/address)" dev "$peer_if" nud permanent
in_peer "$helpers/freed_pages" blast 10.0.0.1 &
blaster=$!
fio --name=reads --filename=/dev/udb0 --ioengine=libaio --iodepth=8 --rw=randread --bs=64k --direct=1 \
    --time_based --runtime=36000 >/tmp/fio 2>&1 &
reads=$!

phase "$kills kills"
flowed=0 held=0 pages=0 changed=0 packets=$(received)
for ((n = 0; n < kills; n++)); do
    if [ $n -gt 0 ]; then
        start_driver && run_driver ahci $disk_bdf || break
    fi
    wait_for 60 moved "$(received)" "$(sectors_read)" && flowed=$((flowed + 1))
    kill -KILL "${driver_pid[$bdf]}" "${driver_pid[$disk_bdf]}"
    "$helpers/freed_pages" hold $leave >/tmp/hold 2>&1 &
    holder=$!
    { wait "${driver_pid[$bdf]}" "${driver_pid[$disk_bdf]}"; } 2>/dev/null
    wait $holder && held=$((held + 1))
    pages=$((pages + $(total pages /tmp/hold)))
    changed=$((changed + $(total changed /tmp/hold)))
done
packets=$(($(received) - packets))
check_eq 'packets and sectors came in before each kill' $flowed "$kills"
check_eq 'memory was taken after each' $held "$kills"
check_eq "of $pages pages that were taken, changed" $changed 0
check_eq 'pages that changed while they were free' "$(corruptions)" 0
echo "$packets packets"
kill $blaster
require 'the disk driver' run_driver ahci $disk_bdf
kill -INT $reads
wait $reads
check 'no read failed' grep -q 'err= 0' /tmp/fio
check 'the disk driver ends' stop_driver $disk_bdf
check_eq 'other kernel messages' "$(other_messages 'udn0:|link becomes ready')" ''

phase 'the control: a chip that writes to what was given back'
ip link set udn0 down
rm -f /tmp/frames
mkfifo /tmp/said
dmesg -n 1 # the page allocator shows all that it found, on a slow serial line
"$helpers/freed_pages" rogue $bdf /tmp/frames >/tmp/said 2>&1 &
rogue=$!
# No new process meanwhile: it would take some of the pages.
exec 5</tmp/said
read -r -t 120 -u 5 said
check 'wrote to free pages' same "$said" written
cat <&5 >/tmp/rogue &
teller=$!
"$helpers/freed_pages" hold $leave /tmp/frames >/tmp/hold 2>&1 &
holder=$!
wait $rogue $teller
grep -q total: /tmp/rogue || kill $holder # it would wait for the file to go
wait $holder
dmesg -n 7
check_ge 'free pages that it wrote to' "$(total freed /tmp/rogue)" 1
check_ge 'pages of another process that it wrote to' "$(total others /tmp/rogue)" 1
check_ge 'is seen by the page allocator' "$(corruptions)" 1
check_eq 'is seen by the process' "$(total changed /tmp/hold)" "$(total others /tmp/rogue)"
check_nothing_left $bdf
"$udrv" unbind $bdf
"$udrv" unbind --force $disk_bdf
check 'rmmod' rmmod udrv_blk udrv_net udrv
summary
