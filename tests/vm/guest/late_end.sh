#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: late_end.sh KILLS
# A disk that takes two seconds for a write, behind a controller that goes on when bus
# mastering goes off (QEMU's AHCI): its driver is killed meanwhile, and somebody else has
# the memory when the disk is done. The chip has to be stopped by then, as its driver said.
# First the control: without bus mastering it does go on, and writes to its driver's memory.
# (That a write to memory of others is seen, shows the control of freed_pages.sh.)
. tests/vm/guest/disk_lib.sh
. tests/vm/guest/hostile_lib.sh
kills=$1
disk_bdf=0000:00:14.0
leave=96   # MiB that the rest of the machine needs
seconds=3  # more than the disk takes

written() { awk '{ print $5 + $9 }' /sys/block/udb0/stat; } # writes done, or in flight
# Kills the driver under writes; who takes all memory then looks at it when the disk is done.
kill_under_writes() {
    local before holder
    before=$(written)
    wait_for 60 eval "[ \$(written) -ge $((before + 8)) ]" && flowed=$((flowed + 1))
    sleep "0.$((RANDOM % 10))"
    kill -KILL "${driver_pid[$disk_bdf]}"
    { wait "${driver_pid[$disk_bdf]}"; } 2>/dev/null
    rm -f /tmp/frames
    "$helpers/freed_pages" hold $leave /tmp/frames >/tmp/hold 2>&1 &
    holder=$!
    wait_for 60 test -e /tmp/frames && sleep $seconds
    rm -f /tmp/frames
    wait $holder && held=$((held + 1))
    changed=$((changed + $(total changed /tmp/hold)))
}

line=$(cat /sys/bus/pci/devices/$disk_bdf/irq) # of its INTx
load_disk_modules recovery_window_s=3000
require 'bind' "$udrv" bind --unsafe-no-iommu $disk_bdf
dmesg -n 1 # the page allocator shows all that it finds, on a slow serial line

phase 'the control: a chip that goes on without bus mastering'
"$helpers/twisted_ahci" $disk_bdf late 4096 >/tmp/late 2>&1 &
driver_pid[$disk_bdf]=$!
require 'its driver' wait_for 40 grep -q ready /tmp/late
wait_for 60 test -b /dev/udb0
dd if=/dev/zero of=/dev/udb0 bs=2M seek=1 count=1 oflag=direct status=none
check_ge 'writes that ended in memory without it' "$(sed -n 's/ ended in .*//p' /tmp/late)" 1
sed -n '/ended in/p' /tmp/late
check 'the driver ends' stop_driver $disk_bdf

phase "killed under writes, $kills times"
flowed=0 held=0 changed=0
for ((n = 0; n < kills; n++)); do
    run_driver ahci $disk_bdf || break
    if [ $n = 0 ]; then
        fio --name=writes --filename=/dev/udb0 --ioengine=libaio --iodepth=8 --rw=randwrite \
            --bs=4k --direct=1 --time_based --runtime=36000 >/tmp/fio 2>&1 &
        writes=$!
    fi
    kill_under_writes
done
check_eq 'writes were under way at each kill' $flowed "$kills"
check_eq 'memory was taken after each' $held "$kills"
check_eq 'pages that changed, taken by somebody' $changed 0
check_eq 'pages that changed, free' "$(corruptions)" 0
require 'an honest driver again' run_driver ahci $disk_bdf

# A neighbour on the line hears what nobody handles, and the kernel would take the line from it.
phase 'its INTx while MSI goes off, and requests end'
modprobe e1000
check_eq 'a neighbour on its line' "$(cat /sys/bus/pci/devices/$bdf/irq)" "$line"
ip link set "$(ls /sys/bus/pci/devices/$bdf/net)" up
require 'insmod' insmod "$build/modules/udrv_slow_intx.ko"
before=$(written)
wait_for 60 eval "[ \$(written) -ge $((before + 8)) ]"
kill -KILL "${driver_pid[$disk_bdf]}"
{ wait "${driver_pid[$disk_bdf]}"; } 2>/dev/null
check 'the end of its session' wait_for 60 session_over $disk_bdf
sleep $seconds
check_eq 'interrupts that nobody handled' "$(awk '/^unhandled/ { print $2 }' "/proc/irq/$line/spurious")" 0
check_eq 'the line was not taken away' "$(dmesg | grep -c 'nobody cared')" 0
check 'rmmod' rmmod udrv_slow_intx
require 'an honest driver after it' run_driver ahci $disk_bdf
kill -INT $writes
wait $writes
check 'no write failed' grep -q 'err= 0' /tmp/fio
check 'the driver ends' stop_driver $disk_bdf
check_nothing_left $disk_bdf
"$udrv" unbind --force $disk_bdf
check 'rmmod' rmmod udrv_blk udrv
summary
