#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: power.sh [reboot]
# The machine goes to sleep, as far as pm_test takes it, while its disk and its interface are
# driven by processes and used: readers of a disk see no error, packets flow again, and
# both are the same as before. Then resets of a function that is in use. With `reboot`,
# the machine goes down instead: the host looks at how.
#
# Suspending takes the lab's root away (9p over virtio has no notion of it), so all that
# runs is copied into memory first.
. tests/vm/guest/lib.sh
nic=0000:01:01.0 # alone behind a bridge, so that it can be reset
ahci=0000:00:18.0
mnt=/tmp/mnt

programs=(nice awk basename bash cat dmesg fio grep head insmod ip mkdir mkfs.ext4 modprobe mount ping rm
    sed sh sha256sum sleep sync tail tr umount wc)

# into_memory: the programs, their libraries, the tests, and the modules.
into_memory() {
    local ram=/run/ram program files=()
    mkdir -p $ram
    mount -t tmpfs -o size=400m ram $ram
    mkdir -p $ram/{usr/{bin,sbin,lib,lib64},proc,sys,dev,tmp,run,etc}
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
        cp "$file" "$ram$file"
    done
    for dir in proc sys dev run tmp; do
        mount --rbind /$dir $ram/$dir
    done
    # What the kernel would fetch when it is wanted.
    modprobe -a e1000 ext4 crc32c_generic crc32c_intel
    exec chroot $ram /bin/bash -c "cd $PWD && POWER_IN_MEMORY=1 exec bash tests/vm/guest/power.sh $*"
}
[ -n "${POWER_IN_MEMORY:-}" ] || into_memory "$@"

ifindex() { cat /sys/class/net/udn0/ifindex; }
same_things() { echo "udn0 $(ifindex) udb0 $(cat /sys/class/block/udb0/dev)"; }
supervised() { # NAME: both are served, by supervisors that are the same
    check "$1: the interface is served" wait_for 20 running $nic
    wait_for 20 served
    check_eq "$1: both are served" "$(attr state $nic) $(attr state $ahci)" 'running running'
    check "$1: the supervisors are those of before" alive_both
    check "$1: the peer answers" wait_reachable
    check_eq "$1: the same interface and disk" "$(same_things)" "$things"
    check_eq "$1: violations" "$(dmesg | grep 'broke the protocol')" ''
}
running() { same "$(attr state "$1")" running; }
served() { same "$(attr state $nic) $(attr state $ahci)" 'running running'; }
alive_both() { alive "${driver_pid[$nic]}" && alive "${driver_pid[$ahci]}"; }
owners() { echo "$(attr owner $nic) $(attr owner $ahci)"; }

# Reads of the whole disk and writes with checks in a file of its file system, all
# waiting for each request, as P1's readers did. No request may fail.
use_disk() {
    nice -n 19 fio --name=read --filename=/dev/udb0 --readonly --rw=randread --bs=4k --direct=1 --ioengine=psync \
        --numjobs=4 --size=64M --time_based --runtime=3600 --output=/tmp/fio-read --output-format=json &
    readers=$!
    nice -n 19 fio --name=write --filename=$mnt/checked --rw=randwrite --bs=4k --direct=1 --ioengine=psync \
        --size=16M --loops=100000 --verify=crc32c --verify_fatal=1 --do_verify=1 --verify_backlog=64 \
        --fsync=64 --output=/tmp/fio-write --output-format=json &
    writer=$!
    ping -q -i 0.2 10.0.0.2 >/tmp/ping-long 2>&1 &
    pinger=$!
}
in_use() { alive $readers && alive $writer && alive $pinger; }
fio_errors() { sed -n 's/.*"error" *: *\([0-9]*\).*/\1/p' "$1" | awk '{ n += $1 } END { print NR ? n : "no report" }'; }
frozen_in() { dmesg | tail -n +$((kernel_lines + 1)) | sed -n 's/.*[Ff]r.*user space.*(elapsed \([0-9.]*\) seconds).*/\1/p' | tail -n 1; }

phase 'a disk with a file system, an interface, in use'
load_all_modules
require 'bind the card' "$udrv" bind --unsafe-no-iommu $nic
require 'bind the disk' "$udrv" bind --unsafe-no-iommu $ahci
require 'e1000 starts' run_driver e1000 $nic --restart
require 'ahci starts' run_driver ahci $ahci --restart
setup_peer 2>/dev/null # modprobe finds no folder any more
up_udn0
require 'the peer answers' wait_reachable
require 'a file system' mkfs.ext4 -q /dev/udb0
mkdir -p $mnt
require 'mounted' mount /dev/udb0 $mnt
head -c 8M /dev/urandom >$mnt/kept
sync -f $mnt/kept
kept=$(sha256sum <$mnt/kept)
things=$(same_things)
use_disk
sleep 2
require 'in use' in_use

if [ "${1:-}" = reboot ]; then
    echo 'going down'
    /run/udrv/busybox reboot -f
    sleep 60
fi

# go_to_sleep NAME COMMAND...: all is as before afterwards. Sessions end when devices
# are suspended, and not when tasks are only frozen.
go_to_sleep() {
    local name=$1 before after
    shift
    before=$(owners)
    mark_kernel_log
    "$@" >/tmp/sleep.out 2>&1
    check_eq "$name: status" $? 0
    check "$name: frozen in ${frozen:=$(frozen_in)} s" awk "BEGIN { exit !(\"$frozen\" != \"\" && $frozen < 5) }"
    frozen=
    supervised "$name"
    after=$(owners)
    case $name in
    freezer) check_eq "$name: the drivers have not noticed" "$after" "$before" ;;
    *) check "$name: other drivers than before" not same "$after" "$before" ;;
    esac
    check "$name: readers, writer and ping go on" in_use
}
frozen=
test_level() { echo "$1" >/sys/power/pm_test && echo mem >/sys/power/state; }

echo 0 >/sys/module/suspend/parameters/pm_test_delay # a busy loop, which a busy host makes long
for level in freezer devices platform; do
    phase "pm_test: $level"
    go_to_sleep $level test_level $level
done
echo none >/sys/power/pm_test

phase 'the function is reset under its driver'
for round in 1 2 3; do
    before=$(attr owner $nic)
    check "reset $round" sh -c "echo 1 >/sys/bus/pci/devices/$nic/reset"
    another() { [ "$(attr owner $nic)" != "$before" ]; }
    check "reset $round: a new driver" wait_for 20 another
    supervised "reset $round"
done

phase 'what the users saw'
check 'still in use' in_use
kill -INT $readers $writer $pinger 2>/dev/null
wait $readers
check_eq 'readers: status' $? 0
wait $writer
check_eq 'writer: status' $? 0
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
