#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: power.sh sleep|events|kexec|after-kexec
# The machine goes to sleep and comes back, while its disk and its interface are driven by
# processes and used: readers of a disk see no error, packets flow again, and both are
# the same as before. `sleep`: the steps of pm_test, suspend to idle, hibernation refused. `events`:
# resets and bus errors of a function that is in use. `kexec`: another kernel takes over,
# finds the disk as it was (`after-kexec`), and reboots with both drivers at work; the host
# looks at how.
#
# Suspending takes the lab's root away (9p over virtio has no notion of it), so all that
# runs is copied into memory first.
. tests/vm/guest/lib.sh
nic=0000:01:00.0 # alone behind a root port, so that it can be reset
root_port=0000:00:15.0
ahci=0000:00:18.0
mnt=/mnt
to_do=$1

programs=(nice awk basename bash cat chmod cut dirname dmesg e2fsck env find fio grep head insmod ip ls mkdir mkfs.ext4
    mkswap modprobe mount ping readlink realpath rm rmmod sed setpci sh sha256sum sleep sort swapoff
    swapon sync tail timeout tr umount wc)
modules=(button crc32c_generic crc32c_intel e1000 ext4)

# into_memory: the programs, their libraries, the tests, and the modules.
into_memory() {
    local ram=/run/ram program files=()
    mkdir -p $ram
    mount -t tmpfs -o size=400m ram $ram
    mkdir -p $ram/{usr/{bin,sbin,lib,lib64},proc,sys,dev,run,etc,mnt,tmp}
    chmod 1777 $ram/tmp # not that of the lab, in which the root's copy of us may be
    ln -s usr/bin usr/sbin usr/lib usr/lib64 $ram
    for program in "${programs[@]}"; do
        program=$(command -v "$program") || true
        [[ $program != /* ]] || files+=("$program")
    done
    files+=("$(realpath "$udrv")" "$(realpath "$drivers")"/udrv-*)
    { printf '%s\n' "${files[@]}"; ldd "${files[@]}" | grep -o '/[^ ):]*'; } | sort -u |
        while read -r file; do
            mkdir -p "$ram$(dirname "$file")"
            cp -L "$file" "$ram$file"
        done
    files=(tests/vm/guest/{lib,power}.sh "$build"/modules/*.ko "$drivers"/*.ids)
    for file in "${files[@]}"; do
        file=$(realpath "$file")
        mkdir -p "$ram$(dirname "$file")"
        cp -L "$file" "$ram$file"
    done
    for dir in proc sys dev run; do
        mount --rbind /$dir $ram/$dir
    done
    # What the kernel would fetch when it is wanted.
    modprobe -a "${modules[@]}"
    exec chroot $ram /bin/bash -c "cd $PWD && POWER_IN_MEMORY=1 exec bash tests/vm/guest/power.sh $*"
}
[ "$to_do" != sleep ] || [ -n "${POWER_IN_MEMORY:-}" ] || into_memory "$@"

ifindex() { cat /sys/class/net/udn0/ifindex; }
same_things() { echo "udn0 $(ifindex) udb0 $(cat /sys/class/block/udb0/dev)"; }
owners() { echo "$(attr owner $nic) $(attr owner $ahci)"; }
served() { same "$(attr state $nic) $(attr state $ahci)" 'running running'; }
supervisors_live() { alive "${driver_pid[$nic]}" && alive "${driver_pid[$ahci]}"; }
in_use() { alive $readers && alive $writer && alive $pinger; }
# as_before NAME: both are served again, are what they were, and are used all the while.
as_before() {
    check "$1: both are served" wait_for 40 served
    check "$1: the supervisors are those of before" supervisors_live
    check "$1: the peer answers" wait_reachable
    check_eq "$1: the same interface and disk" "$(same_things)" "$things"
    check "$1: readers, writer and ping go on" in_use
    check_eq "$1: violations" "$(dmesg | grep 'broke the protocol')" ''
}

# Reads of the whole disk and writes with checks in a file of its file system, all
# waiting for each request. No request may fail.
use_disk() {
    nice -n 19 fio --name=read --filename=/dev/udb0 --readonly --rw=randread --bs=4k --direct=1 --ioengine=psync \
        --numjobs=4 --size=64M --time_based --runtime=36000 --output=/tmp/fio-read --output-format=json &
    readers=$!
    nice -n 19 fio --name=write --filename=$mnt/checked --rw=randwrite --bs=4k --direct=1 --ioengine=psync \
        --size=16M --loops=1000000 --verify=crc32c --verify_fatal=1 --do_verify=1 --verify_backlog=64 \
        --fsync=64 --output=/tmp/fio-write --output-format=json &
    writer=$!
    ping -q -i 0.2 10.0.0.2 >/tmp/ping-long 2>&1 &
    pinger=$!
}
fio_errors() { sed -n 's/.*"error" *: *\([0-9]*\).*/\1/p' "$1" | awk '{ n += $1 } END { print NR ? n : "no report" }'; }
frozen_in() { new_kernel_messages | sed -n 's/.*[Ff]r.*user space.*(elapsed \([0-9.]*\) seconds).*/\1/p' | sort -n | tail -n 1; }

# both_change: other drivers than those of $before have both devices.
both_change() {
    local now
    now=$(owners)
    [ "${now% *}" != "${before% *}" ] && [ "${now#* }" != "${before#* }" ]
}

# go_to_sleep NAME COMMAND...: all is as before afterwards. Sessions end when devices
# are suspended, and not when tasks are only frozen.
go_to_sleep() {
    local name=$1 before status=0 frozen flushes
    shift
    before=$(owners)
    flushes=$(flushed udb1)
    mark_kernel_log
    "$@" >/tmp/sleep.out 2>&1 || status=$?
    check_eq "$name: status" $status 0
    [ $status = 0 ] || { tail -n 3 /tmp/sleep.out; new_kernel_messages | tail -n 20; }
    frozen=$(frozen_in)
    check "$name: all were frozen, in $frozen s" awk "BEGIN { exit !(\"$frozen\" != \"\" && $frozen < 5) }"
    case $name in
    *freezer)
        check_eq "$name: the drivers have not noticed" "$(owners)" "$before"
        check_eq "$name: flushes of a disk that nobody uses" $(($(flushed udb1) - flushes)) 0
        ;;
    *)
        check "$name: other drivers than before" wait_for 40 both_change
        check_ge "$name: flushes of a disk that nobody uses" $(($(flushed udb1) - flushes)) 1
        ;;
    esac
    as_before "$name"
}
flushed() { awk '{ print $16 }' "/sys/block/$1/stat"; } # DISK
test_level() { echo "$1" >/sys/power/pm_test && echo "${2:-mem}" >/sys/power/state; }
has_sleep() { grep -qw "$2" "/sys/power/$1"; }

sleeps() {
    local level
    echo 0 >/sys/module/suspend/parameters/pm_test_delay # a busy loop, which a busy host makes long
    for level in freezer devices platform; do
        phase "pm_test: $level"
        go_to_sleep "pm_test $level" test_level $level
    done
    echo none >/sys/power/pm_test

    phase 'suspend to idle'
    require 'the machine can' has_sleep state freeze
    # QEMU's clock wakes a machine from S3 only; the host has the power button.
    echo 's2idle: the host presses the power button'
    go_to_sleep s2idle sh -c 'echo freeze >/sys/power/state'
}

hibernation() {
    local before
    # A disk whose driver is frozen cannot take the image.
    phase 'hibernation to a disk of ours'
    require 'swap on it' mkswap /dev/udb1
    check 'swapon' swapon /dev/udb1
    before=$(owners)
    mark_kernel_log
    check 'refused' not sh -c 'echo disk >/sys/power/state'
    check_eq 'the log says why' "$(new_kernel_messages | grep -c 'udb1: hibernation refused: its swap')" 1
    check_eq 'the drivers have not noticed' "$(owners)" "$before"
    check 'swapoff' swapoff /dev/udb1
    as_before 'after it'
}

nic_changes() { [ "$(attr owner $nic)" != "$before" ] && [ "$(attr owner $nic)" != 0 ]; }
resets() { # ROUNDS
    local round before
    phase 'the function is reset under its driver'
    for round in $(seq "$1"); do
        before=$(attr owner $nic)
        check "reset $round" timeout 60 sh -c "echo 1 >/sys/bus/pci/devices/$nic/reset"
        check "reset $round: a new driver" wait_for 40 nic_changes
        as_before "reset $round"
    done
}

# little_endian NUMBER: as printf has its four bytes
little_endian() { printf '\\x%02x\\x%02x\\x%02x\\x%02x' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24 & 255)); }
# inject_error UNCORRECTABLE: on the link below the root port (struct aer_error_inj)
inject_error() {
    printf "\\x00\\x15\\x00\\x00$(little_endian "$1")$(little_endian 0)$(for _ in 1 2 3 4 5; do little_endian 0; done)" \
        >/tmp/error && cat /tmp/error >/dev/aer_inject
}
bars() { setpci -s $nic BASE_ADDRESS_0; }
bus_errors() { # ROUNDS
    local round before
    phase 'errors of the bus'
    modprobe aer_inject
    for round in $(seq "$1"); do
        before=$(attr owner $nic)
        had=$(bars)
        mark_kernel_log
        check "error $round: injected" inject_error 0x10 # Data Link Protocol: fatal
        check "error $round: a new driver" wait_for 60 nic_changes
        check_eq "error $round: the session ended of it" "$(new_kernel_messages | grep -c "$nic: bus error: session ended")" 1
        check_eq "error $round: recovered" "$(new_kernel_messages | grep -c 'device recovery successful')" 1
        check_eq "error $round: registers are where they were" "$(bars)" "$had"
        as_before "error $round"
        # Each end of a session resets the function: that must leave what the next error needs.
        kill -KILL "$(attr owner $nic)"
        check "error $round: killed, and a new driver" wait_for 40 nic_changes
    done
}

# The kernel of the lab once more, with an initramfs that has another command.
start_kernel() {
    local made=/tmp/initrd.d
    # shellcheck source=/dev/null
    . /run/udrv/settings # LAB_KERNEL
    mkdir -p $made/lab
    cp /run/udrv/init $made/init
    cp /run/udrv/settings $made/lab/
    echo 'exec bash tests/vm/guest/power.sh after-kexec' >$made/lab/command
    (cat "$LAB_KERNEL/initrd" && cd $made && find . | cpio -o -H newc --quiet -R 0:0) >/tmp/initrd
    "$helpers/kexec" "$LAB_KERNEL/vmlinux" /tmp/initrd "$(cat /proc/cmdline)"
}
stock_disk() { # sets $disk
    disk=$(find /sys/bus/pci/devices/$ahci/ -path '*/block/sd*' -name 'sd?' | sort | head -n 1)
    disk=/dev/${disk##*/}
    test -b "$disk"
}
modprobe -q ext4
if [ "$to_do" = after-kexec ]; then
    phase 'after kexec'
    check_le 'another kernel: up for seconds' "$(cut -d. -f1 /proc/uptime)" 200
    modprobe -a ahci sd_mod
    require 'the disk, by the stock driver' wait_for 20 stock_disk
    require 'mounted' mount "$disk" $mnt
    check_eq 'after kexec: the file that was there' "$(sha256sum <$mnt/kept)" "$(cat $mnt/sum)"
    check 'unmount' umount $mnt
    check 'the file system is clean' e2fsck -fn "$disk"
fi

phase 'a disk with a file system, an interface, in use'
load_all_modules
require 'bind the card' "$udrv" bind --unsafe-no-iommu $nic
require 'bind the disk' "$udrv" bind --unsafe-no-iommu $ahci
require 'e1000 starts' run_driver e1000 $nic --restart
require 'ahci starts' run_driver ahci $ahci --restart
setup_peer 2>/dev/null # in memory, modprobe finds no folder
up_udn0
require 'the peer answers' wait_reachable
require 'a file system' mkfs.ext4 -qF /dev/udb0
require 'mounted' mount /dev/udb0 $mnt
head -c 8M /dev/urandom >$mnt/kept
sync -f $mnt/kept
kept=$(sha256sum <$mnt/kept)
echo "$kept" >$mnt/sum
sync -f $mnt/sum
things=$(same_things)
use_disk
sleep 2
require 'in use' in_use

case $to_do in
sleep)
    sleeps
    hibernation
    ;;
events)
    resets 2
    bus_errors 2
    ;;
kexec)
    echo "$checks checks, $failures failed: the next kernel"
    start_kernel
    exit 1
    ;;
after-kexec)
    echo "$checks checks, $failures failed: going down"
    /run/udrv/busybox reboot -f
    sleep 60
    ;;
esac

phase 'what the users saw'
check 'still in use' in_use
kill -INT $readers $writer $pinger 2>/dev/null
ended_well() { [ "$1" = 0 ] || [ "$1" = 128 ]; } # fio, that a signal told to end
wait $readers
check 'readers end well' ended_well $?
wait $writer
check 'writer ends well' ended_well $?
wait $pinger
check_eq 'readers: errors' "$(fio_errors /tmp/fio-read)" 0
check_eq 'writer: errors' "$(fio_errors /tmp/fio-write)" 0
tail -n 2 /tmp/ping-long
check 'unmount' umount $mnt
check 'mount again' mount /dev/udb0 $mnt
check_eq 'the file that was there' "$(sha256sum <$mnt/kept)" "$kept"
umount $mnt
check 'no complaint of the kernel' not grep -E 'udb0|udn0.*(error|timed out|transmit queue)|EXT4-fs error' \
    <(dmesg | grep -vE 'EXT4-fs \(udb0\): (un)?mount')
stop_driver $nic
check_eq 'e1000 ends well' $? 0
stop_driver $ahci
check_eq 'ahci ends well' $? 0
summary
