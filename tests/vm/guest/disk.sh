#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: disk.sh DRIVER BDF KERNEL-DRIVER IMAGES
# Two disks, driven by user processes, do what disks do. IMAGES is a folder of the host's with
# the image of the second one, which the host looks at afterwards; see disk_test.sh.
. tests/vm/guest/disk_lib.sh
. tests/vm/guest/limits.sh
. tests/vm/guest/observe_lib.sh
. tests/vm/guest/udev_disks.sh
driver=$1
bdf=$2
kernel_driver=$3
images=$4
disk=/dev/udb0  # two file systems, a part for random writes, scratch
second=/dev/udb1 # random writes
layout='' part3='' whole=''
# shellcheck source=/dev/null
. "$images/layout" # sets them

# What a driver has to say of itself: of its functions the disks are udb0, udb1 and so on.
bdfs=("$bdf")
model='QEMU HARDDISK' serials='udrv0 udrv1' names='"udb0","udb1"' ata=yes
case $driver in
nvme) # the serial number is the controller's
    model='QEMU NVMe Ctrl' serials='udrv0 udrv0' names='"udb0","udb1","udb2"' ata=''
    ;;
virtio_blk) # a function a disk
    bdfs=("$bdf" 0000:00:1b.0)
    model=virtio-blk names='"udb0" "udb1"' ata=''
    ;;
esac

start() {
    local each
    for each in "${bdfs[@]}"; do run_driver "$driver" "$each" || return 1; done
}
stop() { # [SIGNAL]: the worst exit status
    local each status=0
    for each in "${bdfs[@]}"; do stop_driver "$each" "${1:-TERM}" || status=$?; done
    return $status
}
# The second disk, as a driver of the kernel has it.
stock_disk() {
    if [ ${#bdfs[@]} = 1 ]; then kernel_disk "$bdf" 2; else kernel_disk "${bdfs[1]}" 1; fi
}
allocated() { command stat -c %b "$images/second"; } # in units of 512 bytes

phase 'bad input'
load_disk_modules
# refused NAME DRIVER BDF PATTERN...: status 1, one line with all of them
refused() {
    "$udrv" bind --unsafe-no-iommu "$3" 2>/dev/null
    timeout 60 "$udrv" run "$2" "$3" >/tmp/refused.out 2>/tmp/refused.err
    check_eq "$1: status, lines, output" "$? $(wc -l </tmp/refused.err) $(wc -c </tmp/refused.out)" '1 1 0'
    for pattern in "${@:4}"; do
        check "$1: $(cat /tmp/refused.err)" grep -qE "^udrv-$2: .*$pattern" /tmp/refused.err
    done
    check_eq "$1: nothing left" "$(attr state "$3") $(attr pinned_bytes "$3") $(bus_master "$3")" 'idle 0 0'
    check "$1: unbind" "$udrv" unbind "$3"
}
case $driver in
ahci) refused 'no disk, and a CD drive' ide 0000:00:01.1 'find|look' 'none on either channel' 'ATAPI' ;;
ide)
    refused 'no disk' ahci 0000:00:15.0 'find a disk' 'none on its 6 ports'
    refused 'a CD drive' ahci 0000:00:16.0 'port 2: an ATAPI device'
    ;;
nvme) refused 'metadata' nvme 0000:00:1b.0 'find a namespace' 'namespace 1: its format has 8 bytes of metadata' ;;
virtio_blk) refused 'a legacy device' virtio_blk 0000:00:1c.0 'find the device.s registers' 'legacy device is not supported' ;;
esac

phase "the kernel's driver, for comparison"
modprobe sd_mod
modprobe $kernel_driver
for each in "${bdfs[@]}"; do echo "$each" >/sys/bus/pci/drivers_probe; done
check "$kernel_driver: a disk" wait_for 20 stock_disk
[ "$driver" != nvme ] || queue_attributes "$(basename "$(kernel_disk $bdf 1)")" >/tmp/stock-$bdf
speed_header
speed $kernel_driver "$(stock_disk)"
speed $kernel_driver "$(stock_disk)"
# What smartctl says of an ATA disk, without the disk's name and the time of day.
smart() { smartctl -d ata -a "$1" | grep -vE '^(Local Time is|smartctl )'; }
if [ -n "$ata" ]; then
    "$helpers/disk_probe" ata "$(stock_disk)" >/tmp/ata-stock
    smart "$(stock_disk)" >/tmp/smart-stock
fi

for each in "${bdfs[@]}"; do require 'bind' "$udrv" bind --unsafe-no-iommu "$each"; done
require 'start' start
mark_kernel_log
speed udrv $second
speed udrv $second
last=${bdfs[-1]} # the second disk's
check 'the counters' write_stats "$last"
echo "each request of these: $(stat system_calls_per_request "$last") system calls," \
    "$(stat interrupts_per_request "$last") interrupts, $(stat context_switches_per_request "$last") context switches"

phase 'what it is'
check 'both disks are there when the driver says ready' test -b $disk -a -b $second
if [ "$driver" = nvme ]; then
    check_eq 'namespaces' "$(cat /sys/block/udb[012]/device/unit | xargs)" '1 2 5'
fi
check_eq 'lsblk: model' "$(lsblk -dno MODEL $disk | xargs)" "$model"
check_eq 'lsblk: serials' "$(lsblk -dno SERIAL $disk $second | xargs)" "$serials"
check_eq 'status names all' "$("$udrv" status --json | tr -d ' \n' | grep -o '"names":\[[a-z0-9",]*\]' |
    sed 's/.*\[\(.*\)\]/\1/' | paste -sd' ')" "$names"
check_eq 'no driver of the kernel has it' "$(basename "$(readlink /sys/bus/pci/devices/$bdf/driver)")" udrv

case $driver in
nvme)
    our_limits udb0 NVMe nvme "$bdf" # vm.discard does it for the ATA disks
    nvme_links "$bdf" udb0 udb1
    ;;
virtio_blk) virtio_links "${bdfs[@]}" ;;
esac

if [ -n "$ata" ]; then
    check 'identity, health and power' "$helpers/disk_probe" ata $second
    "$helpers/disk_probe" ata $second >/tmp/ata
    check_eq 'and what the kernel'"'"'s driver says of it' "$(diff /tmp/ata-stock /tmp/ata)" ''
    check_ge 'lines of it' "$(wc -l </tmp/ata)" 10
    check 'hdparm -I' grep -q 'QEMU HARDDISK' <(hdparm -I $second)
    smart $second >/tmp/smart
    check 'smartctl: health' grep -q 'overall-health.*PASSED' /tmp/smart
    check_eq 'smartctl: the same as of the kernel'"'"'s disk' "$(diff /tmp/smart-stock /tmp/smart)" ''
    check 'what could change the disk is refused' "$helpers/disk_probe" ata-refused $second
fi

phase 'traced'
check_traced_disk "$bdf" $disk
if [ "$driver" = ahci ]; then # one is enough
    check 'bpftrace: how long requests take' observe bpftrace udrv_blk_request
    check_ge 'a histogram of it' "$(observed '\|@')" 1
fi

phase 'written and verified, block by block'
for engine in libaio io_uring; do
    check "$engine, depth 1" verify $disk $engine 1 4M --direct=1
    check "$engine, depth 32" verify $disk $engine 32 16M --direct=1
done
check 'page cache, fsync' verify $disk psync 1 8M --fsync=64
check 'page cache, depth 32' verify $disk io_uring 32 16M

if [ "$driver" = nvme ]; then
    phase 'blocks of 4,096 bytes'
    third=/dev/udb2
    check_eq 'logical and physical block' \
        "$(cat /sys/block/udb2/queue/{logical,physical}_block_size | xargs)" '4096 4096'
    check 'depth 32' verify $third libaio 32 16M --direct=1 --bsrange=4k-1m --blockalign=4k
    check 'mkfs' mkfs.ext4 -q $third
    check 'mount' mount $third $mnt
    head -c 8M /dev/urandom >/tmp/4k
    cp /tmp/4k $mnt/file
    check 'umount' umount $mnt
    drop_caches
    check 'mount again' mount $third $mnt
    check 'same file' cmp /tmp/4k $mnt/file
    check 'umount again' umount $mnt
    check 'fsck' fsck.ext4 -fn $third
fi

phase 'discard and zeroes'
dd if=/dev/urandom of=$second bs=1M count=32 oflag=direct status=none
full=$(allocated)
check_ge 'the image has grown: sectors' "$full" 65536
check 'blkdiscard' blkdiscard -o 0 -l 16M $second
check_ge 'discard reaches the image: sectors it lost' $((full - $(allocated))) 32768
check 'reads back zeroes' cmp -n 16M $second /dev/zero
check 'but only there' not cmp -s -n 4096 -i 16M:0 $second /dev/zero
check 'write zeroes' blkdiscard -z -o 16M -l 8M $second
drop_caches
check 'reads back zeroes' cmp -n 8M -i 16M:0 $second /dev/zero
check 'but only there' not cmp -s -n 4096 -i 24M:0 $second /dev/zero
check 'sfdisk' sfdisk -q $second <<<$'type=83\n'
check 'partition' wait_for 10 test -b ${second}p1
check 'mkfs' mkfs.ext4 -qF ${second}p1
check 'mount' mount ${second}p1 $mnt
dd if=/dev/urandom of=$mnt/file bs=1M count=32 conv=fsync status=none
full=$(allocated)
rm $mnt/file
sync
check 'fstrim' fstrim $mnt
check_ge 'fstrim reaches the image: sectors it lost' $((full - $(allocated))) 32768
check 'umount' umount $mnt
check 'all of it discarded' blkdiscard -f $second
check_le 'the image is empty: sectors' "$(allocated)" 64

phase 'partitions and filesystems'
check 'sfdisk' sfdisk -q $disk <<<"$layout"
check 'partitions appear' wait_for 10 test -b ${disk}p4
make_tree
cp $tree/random "$images/random"
for fs in ext4 xfs; do
    part=${disk}p1
    [ $fs = ext4 ] || part=${disk}p2
    modprobe $fs 2>/dev/null
    wipefs -qa $part
    check "mkfs.$fs" mkfs.$fs -q $part
    check "$fs: mount" mount $part $mnt
    check "$fs: copy" cp -r $tree $mnt/
    check "$fs: umount" umount $mnt
    drop_caches
    check "$fs: mount again" mount $part $mnt
    check_eq "$fs: same tree" "$(tree_sum $mnt/tree)" "$(tree_sum $tree)"
    if [ $fs = ext4 ]; then
        err=$("$udrv" unbind $bdf 2>&1)
        check_eq 'unbind while mounted is refused' "$?" 1
        check_eq 'in one line that names the mount' "$(grep -c "$mnt\|mounted" <<<"$err") $(wc -l <<<"$err")" '1 1'
    fi
    check "$fs: umount again" umount $mnt
    if [ $fs = ext4 ]; then check 'fsck' fsck.ext4 -fn $part; else check 'xfs_repair' xfs_repair -n $part; fi
done

phase 'the root file system is on it'
check 'mount' mount ${disk}p1 $mnt
make_root $mnt
work_in_root $mnt >/tmp/root.out 2>&1 &
root=$!
check 'a program from it runs' wait_for 30 test -s $mnt/tmp/rounds
stop KILL
require 'the driver dies and starts again' start
rounds=$(cat $mnt/tmp/rounds)
check 'the work goes on' wait_for 30 not grep -qx "$rounds" $mnt/tmp/rounds
touch $mnt/tmp/enough
wait $root
check_eq 'all that was read back is what was written' "$? $(cat /tmp/root.out)" '0 '
check_eq 'its root' "$(grep ' / ' $mnt/tmp/mounts)" "${disk}p1 / ext4"
check_eq 'nothing else is mounted there' "$(grep -cvE ' (/|/proc|/dev) ' $mnt/tmp/mounts)" 0
check_eq 'its program' "$(cat $mnt/tmp/exe)" /bin/busybox
check 'the driver lives' alive ${driver_pid[$bdf]}
check 'umount' umount $mnt

phase 'both disks at once, and the driver dies under load'
probe() { # DISK FIRST SECTORS SEED STEPS
    "$helpers/disk_probe" write "$1" "$2" "$3" "$4" "$5" direct || echo "status $?"
}
probe $disk $part3 >/tmp/probe0.out &
load0=$!
probe $second $whole >/tmp/probe1.out &
load1=$!
kills=0
while sleep 0.7 && { alive $load0 || alive $load1; } && [ $kills -lt 5 ]; do
    stop KILL
    kills=$((kills + 1))
    for each in "${bdfs[@]}"; do
        check_eq "kill $kills: nothing pinned, bus mastering off" \
            "$(attr pinned_bytes "$each") $(bus_master "$each")" '0 0'
    done
    require "kill $kills: a successor starts" start
done
check_ge 'kills under load' $kills 2
wait $load0 $load1
check_eq 'no write failed' "$(cat /tmp/probe0.out /tmp/probe1.out)" ''
drop_caches
check 'the first reads back' "$helpers/disk_probe" check $disk $part3
check 'the second reads back' "$helpers/disk_probe" check $second $whole

phase 'planned end and a new start'
check 'SIGTERM ends the driver with status 0' stop
require 'start' start
check_eq 'no other kernel message in all of it' \
    "$(new_kernel_messages | grep -vE ' udb[012]:| (EXT4-fs|XFS|SGI XFS|loop|raid6|xor:|JFS|random:)|drop_caches' | head -n 3)" ''

if [ "$driver" = virtio_blk ]; then
    phase 'a disk grows'
    require "QEMU's monitor" open_monitor
    sectors=$(blockdev --getsz $second)
    monitor 'block_resize d1 264M' >/dev/null
    check 'the driver says so' wait_for 20 grep -q 'another size needs an unbind' "/tmp/driver-$last.err"
    stop KILL
    require 'a successor starts' start
    check 'it says what there is' grep -q 'grown from 256 to 264 MiB' "/tmp/driver-$last.err"
    check_eq 'the size is what it was' "$(blockdev --getsz $second)" "$sectors"
    check 'all of it is there' "$helpers/disk_probe" check $second $whole
fi

phase 'unbind by force while mounted'
check 'mkfs' mkfs.ext4 -q ${disk}p4
check 'mount' mount ${disk}p4 $mnt
dd if=/dev/zero of=$mnt/file bs=1M count=100 conv=fsync >/tmp/dd.out 2>&1 &
load=$!
sleep 0.5
check 'unbind --force' timeout 60 "$udrv" unbind --force $bdf
wait $load
check_eq 'a write under way fails: status' $? 1
for each in "${bdfs[@]:1}"; do check 'the other function as well' timeout 60 "$udrv" unbind --force "$each"; done
check 'the disks are gone' not test -b $disk -o -b $second
drop_caches
check 'reading fails' not cat $mnt/file
{ wait ${driver_pid[$bdf]}; } 2>/dev/null
check_eq 'the driver says why, in one line' \
    "$? $(wc -l </tmp/driver-$bdf.err) $(grep -c 'unbound' /tmp/driver-$bdf.err)" '1 1 1'
check 'umount' timeout 60 umount $mnt
check 'rmmod' rmmod udrv_blk udrv
summary
