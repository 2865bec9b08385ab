#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: disk_errors.sh DRIVER BDF DEVICE
# A disk with one sector that cannot be read and one that cannot be written; then
# one that does not answer in time. DEVICE is QEMU's name of it.
. tests/vm/guest/disk_lib.sh
driver=$1
bdf=$2
device=$3
disk=/dev/udb0
mib=$((1 << 20))
bad_read=4099   # in the first 4 MiB
bad_write=12291 # in the next
# NVMe says that it is the medium, as for the kernel's own driver (ENODATA). QEMU's ATA disks
# say less.
errno=5 words='Input/output error'
[ "$driver" != nvme ] || { errno=61 words='No data available'; }
ignore=$errno,$errno # errors that do not end fio

load_disk_modules
require "QEMU's monitor" open_monitor
require 'bind' "$udrv" bind --unsafe-no-iommu $bdf
require 'start' run_driver "$driver" $bdf
echo 2 >/sys/block/udb0/queue/nomerges # each request is one of those that fio makes
failures_counted() { write_stats $bdf && stat failures $bdf; }

# of_sector SECTOR: reads it alone, prints what dd says if that fails
of_sector() { dd if=$disk of=/dev/null bs=512 skip="$1" count=1 iflag=direct 2>&1 | grep error; }
# queue OPTION...: depth 32, random, each block once; prints errors, the first one, KiB done
queue() {
    fio --name=q --filename=$disk --ioengine=libaio --direct=1 --iodepth=32 --size=4M \
        --continue_on_error=io --ignore_error=$ignore --output-format=json "$@" >/tmp/queue.json 2>/tmp/queue.err
    sed -n 's/^ *"\(total_err\|first_error\|total_ios\)" : \([0-9]*\).*/\2/p' /tmp/queue.json | xargs
}

phase 'a sector that cannot be read'
check_eq 'errors of 1,024 reads of 4 KiB' "$(queue --rw=randread --bs=4k --offset=0)" "1024 0 0 0 1 $errno"
check_eq 'errors of 8,192 reads of 512 B' "$(queue --rw=randread --bs=512 --offset=0)" "8192 0 0 0 1 $errno"
check_eq 'errors of 32 reads of 128 KiB' "$(queue --rw=randread --bs=128k --offset=0)" "32 0 0 0 1 $errno"
for engine in io_uring psync; do
    check_eq "errors of 1,024 reads of 4 KiB, $engine" \
        "$(queue --rw=randread --bs=4k --offset=0 --ioengine=$engine)" "1024 0 0 0 1 $errno"
done
check_eq 'the sector' "$(of_sector $bad_read)" "dd: error reading '$disk': $words"
check_eq 'the one before' "$(of_sector $((bad_read - 1)))" ''
check_eq 'the one after' "$(of_sector $((bad_read + 1)))" ''
check_eq 'again' "$(of_sector $bad_read)" "dd: error reading '$disk': $words"
check 'through the page cache: the part before' cmp -n $((bad_read / 8 * 4096)) $disk /dev/zero
check_eq 'through the page cache: all of it' "$(cat $disk 2>&1 >/dev/null | tail -n 1)" "cat: $disk: Input/output error"
check_ge 'the driver counts them' "$(failures_counted)" 7

phase 'a sector that cannot be written'
check_eq 'errors of 1,024 writes of 4 KiB' \
    "$(queue --rw=randwrite --bs=4k --offset=4M --buffer_pattern=0xab)" "0 1024 0 0 1 $errno"
dd if=$disk of=/tmp/written bs=$mib skip=4 count=4 iflag=direct status=none
head -c 4M /dev/zero | tr '\0' '\253' >/tmp/wanted
check_eq 'all others are written: bytes that are not' "$(cmp -l /tmp/written /tmp/wanted | wc -l)" 4096
check_eq 'and it is the one of the sector' "$(cmp /tmp/written /tmp/wanted | grep -o 'byte [0-9]*')" \
    "byte $(((bad_write / 8 * 8 - 8192) * 512 + 1))"
check_eq 'write back: fsync says it' \
    "$(dd if=/tmp/wanted of=$disk bs=$mib seek=4 conv=fsync,notrunc 2>&1 | grep error)" \
    "dd: fsync failed for '$disk': Input/output error"

phase 'and the device goes on'
check_eq 'reads and writes beside' "$(queue --rw=randrw --bs=4k --offset=16M | cut -d' ' -f5)" 0
check 'verified' verify $disk libaio 32 8M --direct=1 --offset=16M
check 'the driver lives' alive ${driver_pid[$bdf]}
check_eq 'no command timed out' "$(grep -c . /tmp/driver-$bdf.err)" 0

phase 'a command that does not end in time'
# So few bytes a second that what comes after the first 4 KiB has to wait for longer than
# the driver's time-out. To take a command back, QEMU stands still until then.
case $driver in
ahci | ide) time_out=15 rate=220 ;;
virtio_blk) time_out=35 rate=90 ;;
nvme) time_out=18 rate=160 ;; # 15 s by looks twice a second; QEMU's does not abort: 5 s later a reset
esac
slow() { monitor "block_set_io_throttle $device $1 0 0 0 0 0" >/dev/null; }
read_4k() { dd if=$disk of=/dev/null bs=4k skip=$((RANDOM + 8192)) count=1 iflag=direct 2>&1 | grep error; }
slow $rate
check_eq 'the first' "$(read_4k)" ''
begun=$SECONDS
read_4k >/tmp/slow.out &
reader=$!
sleep $((time_out + 1))
slow 0
wait $reader
check_eq 'given to the disk again, it succeeds' "$(cat /tmp/slow.out)" ''
check_ge 'seconds' $((SECONDS - begun)) $time_out
check_eq 'the driver says so' \
    "$(grep -c 'timed out: 1,' /tmp/driver-$bdf.err)" 1
slow $rate
check_eq 'the first' "$(read_4k)" ''
check_eq 'a disk that does not answer twice' "$(read_4k)" "dd: error reading '$disk': Input/output error"
slow 0
check_eq 'the driver says so' "$(grep -c 'timed out: 3,' /tmp/driver-$bdf.err)" 1
check 'the device goes on' verify $disk libaio 32 8M --direct=1 --offset=16M

if [ "$driver" != ide ]; then
    # The disk cannot reach memory then, and nothing tells the driver.
    phase 'bus mastering goes off and on under load'
    reads() { awk '{ print $1 }' /sys/block/udb0/stat; }
    before=$(reads)
    hundred_more() { [ "$(reads)" -ge $((before + 100)) ]; }
    queue --rw=randread --bs=4k --offset=16M --iodepth=8 --time_based --runtime=12 >/tmp/off.out &
    reader=$!
    check 'reads flow' wait_for 10 hundred_more
    for _ in {1..12}; do
        setpci -s $bdf COMMAND=0:4
        sleep .2
        setpci -s $bdf COMMAND=4:4
        sleep .2
    done
    wait $reader
    check_eq 'reads that fail' "$(cut -d' ' -f5 /tmp/off.out)" 0
    check_ge 'reads' "$(cut -d' ' -f1 /tmp/off.out)" 100
    check_eq 'disks lost' "$(grep -c 'did not come back' /tmp/driver-$bdf.err)" 0
    check 'the device goes on' verify $disk libaio 32 8M --direct=1 --offset=16M
fi
check 'SIGTERM ends the driver with status 0' stop_driver $bdf
check 'unbind' "$udrv" unbind $bdf
summary
