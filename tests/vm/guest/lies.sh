#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: lies.sh MUTATIONS SEED net|chip|blk...
# A hostile driver mutates what it shares with the kernel while traffic runs. Its
# sessions end, the kernel says one line for each and no other, and the honest driver
# works afterwards on the same interface, or on the same controller.
. tests/vm/guest/lib.sh
. tests/vm/guest/disk_lib.sh
. tests/vm/guest/hostile_lib.sh
mutations=$1
seed=$2
net_bdf=$bdf

honest_net() {
    phase 'the honest driver'
    require 'starts on the same interface' start_driver
    check 'link' wait_for 10 carrier
    require 'answers' wait_reachable
    check_eq 'ping, lost of 500' "$(lost -c 500 -i 0.005 10.0.0.2)" 0
    head -c 8M /dev/urandom >/tmp/file
    send_file /tmp/file here peer 10.0.0.2 7001
    check_eq 'a file by TCP' "$sums" equal
    check 'ends well' stop_driver
    "$udrv" unbind "$bdf"
}

lies_net() {
    bdf=$net_bdf
    require 'bind' bind_device "$bdf"
    require 'a peer' setup_peer
    # The interface exists from the first session on.
    timeout 20 "$helpers/hostile_net" "$bdf" 1 1 >/tmp/first 2>&1
    ip addr add 10.0.0.1/24 dev udn0
    ip link set udn0 up
    ip neigh replace 10.0.0.2 lladdr 52:54:00:00:00:02 dev udn0 nud permanent
    mark_kernel_log
    phase 'a hostile network driver'
    ping -f -q -s 1400 10.0.0.2 >/dev/null 2>&1 &
    pings=$!
    (while :; do # whoever asks, and whoever changes something
        ethtool -S udn0
        ethtool udn0
        ip link set udn0 mtu $((1400 + RANDOM % 100))
        ip link set udn0 multicast off
        ip link set udn0 multicast on
        sleep 0.05
    done) >/dev/null 2>&1 &
    asks=$!
    begun=$SECONDS
    timeout 3000 "$helpers/hostile_net" "$bdf" "$mutations" "$seed" >/tmp/lies.out 2>&1
    probed 'net' /tmp/lies.out $?
    kill "$pings" "$asks"
    wait "$pings" "$asks" 2>/dev/null
    echo "$((SECONDS - begun)) s"
    check_ge 'mutations' "$(total mutations /tmp/lies.out)" "$mutations"
    check_eq 'one line in the log for each violated session' \
        "$(new_kernel_messages | grep -c 'broke the protocol')" "$(total violated /tmp/lies.out)"
    check_nothing_left "$bdf"
    check_eq 'other kernel messages' "$(other_messages 'link becomes ready')" ''

    ip link set udn0 mtu 1500
    ip neigh del 10.0.0.2 dev udn0
    honest_net
}

lies_chip() {
    bdf=$net_bdf
    require 'bind' bind_device "$bdf"
    require 'a peer' setup_peer
    require 'the interface' start_driver
    require 'link' up_udn0
    check 'its maker ends well' stop_driver
    serve_iperf
    mark_kernel_log
    phase 'a driver that is half honest'
    in_peer ping -f -q -s 1400 10.0.0.1 >/dev/null 2>&1 &
    loads=($!)
    for direction in '' -R; do
        (while :; do timeout 4 iperf3 -c 10.0.0.2 ${direction:+"$direction"} -t 3; sleep 0.2; done) >/dev/null 2>&1 &
        loads+=($!)
    done
    packets=$(cat /sys/class/net/udn0/statistics/{rx,tx}_packets)
    begun=$SECONDS
    timeout 3000 "$helpers/hostile_chip" "$bdf" "$mutations" "$seed" 2>&1 | grep -v 'info.*link up' >/tmp/lies.out
    probed 'chip' /tmp/lies.out "${PIPESTATUS[0]}"
    kill "${loads[@]}"
    wait "${loads[@]}" 2>/dev/null
    pkill -x ping
    pkill -f 'iperf3 -c'
    check 'the load is over' wait_for 20 not pgrep -f 'iperf3 -c|ping -f'
    echo "$((SECONDS - begun)) s; packets received and sent: before $(tr '\n' ' ' <<<"$packets")," \
        "after $(cat /sys/class/net/udn0/statistics/{rx,tx}_packets | tr '\n' ' ')"
    check_eq 'one line in the log for each violated session' \
        "$(new_kernel_messages | grep -c 'broke the protocol')" "$(total violated /tmp/lies.out)"
    check_nothing_left "$bdf"
    check_eq 'other kernel messages' "$(other_messages 'DMAR|dmar|link becomes ready|bad gso|hw csum failure')" ''

    honest_net
}

lies_blk() {
    bdf=0000:00:18.0
    local disk rw
    require 'bind' bind_device "$bdf"
    mark_kernel_log
    phase 'a hostile disk driver'
    "$helpers/hostile_blk" "$bdf" "$mutations" "$seed" >/tmp/lies.out 2>&1 &
    hostile=$!
    require 'it attaches' wait_for 20 test -b /dev/udb2
    begun=$SECONDS
    local loads=()
    for disk in udb0 udb1 udb2; do
        for rw in randread randwrite; do
            (while [ -b "/dev/$disk" ]; do
                fio --name=l --filename="/dev/$disk" --rw="$rw" --bsrange=512-256k --blockalign=512 \
                    --ioengine=io_uring --iodepth=16 --direct=1 --size=64m --time_based --runtime=5 \
                    --continue_on_error=all --allow_file_create=0
            done) >/dev/null 2>&1 &
            loads+=($!)
        done
    done
    (while [ -b /dev/udb2 ]; do
        dd if=/dev/udb0 of=/dev/null bs=64k count=16
        dd if=/dev/zero of=/dev/udb1 bs=64k count=16 conv=fsync,nocreat
        blkdiscard -f -l 1M /dev/udb2
        blkdiscard -f -z -l 1M /dev/udb2
        blockdev --flushbufs /dev/udb0
        sleep 0.05
    done) >/dev/null 2>&1 &
    loads+=($!)
    wait "$hostile"
    probed 'blk' /tmp/lies.out $?
    echo "$((SECONDS - begun)) s"
    check_ge 'mutations' "$(total mutations /tmp/lies.out)" "$mutations"
    check_eq 'one line in the log for each violated session' \
        "$(new_kernel_messages | grep -c 'broke the protocol')" "$(total violated /tmp/lies.out)"
    check_nothing_left "$bdf"
    # What waits for the disks that nobody serves ends with them, at the latest.
    check 'unbind under load' timeout 60 "$udrv" unbind --force "$bdf"
    kill "${loads[@]}" 2>/dev/null
    wait "${loads[@]}" 2>/dev/null
    check 'every process ended' wait_for 20 not pgrep -x 'fio|dd|blkdiscard'
    check_eq 'other kernel messages' \
        "$(other_messages ' udb[0-2]|dev udb[0-2]|callbacks suppressed|attempt to access beyond end of device')" ''

    phase 'the honest driver'
    require 'bind' bind_device "$bdf"
    require 'starts' run_driver ahci "$bdf"
    check 'written and verified' verify /dev/udb0 io_uring 32 16M --direct=1
    check 'ends well' stop_driver "$bdf"
    "$udrv" unbind "$bdf"
}

load_all_modules
for kind in "${@:3}"; do
    case $kind in
    net) lies_net ;;
    chip) lies_chip ;;
    blk) lies_blk ;;
    esac
done
check 'rmmod' rmmod udrv_blk udrv_net udrv
summary
