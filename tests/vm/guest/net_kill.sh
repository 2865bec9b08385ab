#!/bin/bash
# SPDX-License-Identifier: MIT
# Drivers that are killed, stopped, unbound and unloaded under traffic.
. tests/vm/guest/lib.sh
. tests/vm/guest/observe_lib.sh
rounds=20
cycles=20
starts=50

same_attr() { [ "$(attr "$1")" = "$2" ]; }

load_modules
require 'bind' "$udrv" bind --unsafe-no-iommu $bdf
require 'the driver starts' start_driver
require_peer
serve_iperf
mark_kernel_log

phase "kill -9 under traffic, $rounds times"
ip link set udn0 mtu 3000
ip link set udn0 address 52:54:00:77:00:01
ip addr add 10.9.9.9/32 dev udn0
interface() { # what has to survive: index, MTU, MAC, addresses
    cat /sys/class/net/udn0/{ifindex,mtu,address}
    ip -4 -o addr show dev udn0
}
wanted=$(interface)
(while :; do timeout 20 iperf3 -c 10.0.0.2 -t 10 >/dev/null 2>&1; sleep 0.2; done) &
load=$!
in_peer ping -q -i 0.002 -w 600 10.0.0.1 >/dev/null 2>&1 &
pings=$!
# Each counts the rounds in which it was as it should be.
died=0 idle=0 owner=0 unpinned=0 unlined=0 quiet=0 kept=0 off=0 again=0 answers=0
packets=0
for ((i = 0; i < rounds; i++)); do
    sleep 0.$((RANDOM % 5))
    before=$(cat /sys/class/net/udn0/statistics/tx_packets)
    [ "$before" = "${last:-}" ] || packets=$((packets + 1))
    last=$before
    stop_driver $bdf KILL
    [ $? != 137 ] || died=$((died + 1))
    [ "$(attr state)" != idle ] || idle=$((idle + 1))
    [ "$(attr owner)" != 0 ] || owner=$((owner + 1))
    [ "$(attr pinned_bytes)" != 0 ] || [ "$(attr mappings)" != 0 ] || unpinned=$((unpinned + 1))
    [ "$(irq_actions)" != 0 ] || unlined=$((unlined + 1))
    [ "$(bus_master)" != 0 ] || quiet=$((quiet + 1))
    [ "$(interface)" != "$wanted" ] || kept=$((kept + 1))
    no_carrier && off=$((off + 1))
    start_driver && again=$((again + 1))
    wait_for 10 carrier && wait_reachable && answers=$((answers + 1))
done
check_eq 'killed' $died $rounds
check_eq 'traffic had moved before' $packets $rounds
check_eq 'state idle' $idle $rounds
check_eq 'no owner' $owner $rounds
check_eq 'nothing pinned or mapped' $unpinned $rounds
check_eq 'handler gone from /proc/interrupts' $unlined $rounds
check_eq 'bus mastering off' $quiet $rounds
check_eq 'index, MTU, MAC and addresses kept' $kept $rounds
check_eq 'carrier off' $off $rounds
check_eq 'the next start works' $again $rounds
check_eq 'and is answered' $answers $rounds
kill $load $pings
pkill -P $load
wait $load $pings 2>/dev/null
check_eq 'bus mastering on while it runs' "$(bus_master)" 1
check_eq 'handler there while it runs' "$(irq_actions)" 1
check_ge 'something pinned while it runs' "$(attr pinned_bytes)" 4096
check_eq 'violations' "$(attr violations)" 0
in_peer pkill -x iperf3 # it may wait for a client that lost its driver
serve_iperf
iperf3 -c 10.0.0.2 -t 2 -J >/tmp/iperf 2>&1
check_ge 'TCP after all that, bytes' "$(json_sum sum_received bytes /tmp/iperf)" 1000000
check_eq 'MTU, MAC and addresses' "$(interface)" "$wanted"
check_quiet_kernel 'no kernel message'
ip link set udn0 mtu 1500

phase 'a stopped driver'
kill -STOP "${driver_pid[$bdf]}"
check 'ip link does not hang' timeout 20 ip link set udn0 mtu 1400
check 'ethtool does not hang' timeout 20 ethtool udn0
check 'down and up do not hang' timeout 20 sh -c 'ip link set udn0 down; ip link set udn0 up'
ip link set udn0 mtu 1500
kill -CONT "${driver_pid[$bdf]}"
check 'it goes on' wait_reachable
# What it was given and did not send goes with it, and is counted.
counter() { cat /sys/class/net/udn0/statistics/tx_$1; }
kill -STOP "${driver_pid[$bdf]}"
sent=$(counter packets)
lost=$(counter dropped)
for ((i = 0; i < 20; i++)); do echo lost >/dev/udp/10.0.0.2/9; done
stop_driver $bdf KILL
check_eq 'killed with 20 packets: sent' $(($(counter packets) - sent)) 0
check_ge 'counted as dropped' $(($(counter dropped) - lost)) 20
check_le 'and not much else' $(($(counter dropped) - lost)) 25
require 'the next one starts' start_driver
check 'and is answered' wait_reachable

# Too few packets to stop the queue, and no supervisor: TCP would wait for ever.
phase 'a hung driver that holds three packets'
check_eq 'violations before' "$(attr violations)" 0
check 'tracepoints on' trace_on udrv/udrv_violation udrv/udrv_session_end
pid=$(attr owner)
kill -STOP "${driver_pid[$bdf]}"
for ((i = 0; i < 3; i++)); do echo held >/dev/udp/10.0.0.2/9; done
check 'its session ends' wait_for 30 same_attr violations 1
check_eq 'the kernel says why' "$(new_kernel_messages | grep -c 'no transmit progress')" 1
check 'and is over' wait_for 30 same_attr state idle
check 'all of the trace' trace_off
check_eq 'so does the tracepoint' "$(traced "udrv_violation: bdf=$bdf pid=$pid cause=no transmit progress$")" 1
check_eq 'and that of the end' "$(traced "udrv_session_end: bdf=$bdf pid=$pid cause=violation$")" 1
stop_driver $bdf KILL
require 'the next one starts' start_driver
check 'and is answered' wait_reachable

phase 'short packets that cannot be padded'
require 'insmod' insmod "$build/modules/udrv_nopad.ko"
in_flight() { cat /sys/class/net/udn0/queues/tx-0/byte_queue_limits/inflight; }
nothing_in_flight() { same "$(in_flight)" 0; }
violations=$(attr violations)
lost=$(counter dropped)
stuck=0
for ((i = 0; i < 8; i++)); do
    pingers=()
    for _ in 1 2 3 4; do
        ping -q -f -l 64 -c 64 -s 8 -W 1 -w 3 10.0.0.2 >/dev/null &
        pingers+=($!)
    done
    wait "${pingers[@]}"
    wait_for 3 nothing_in_flight || stuck=$((stuck + 1))
done
check 'rmmod' rmmod udrv_nopad
check_ge 'counted as dropped' $(($(counter dropped) - lost)) 100
check_eq 'batches without their doorbell, violations' "$stuck $(attr violations)" "0 $violations"
check 'it answers' wait_reachable

phase 'unloading while in use'
check 'rmmod udrv_net is refused with a driver' not rmmod udrv_net
check 'rmmod udrv is refused with a driver' not rmmod udrv
check 'and nothing happened' wait_reachable
stop_driver
check 'rmmod udrv_net is refused while the interface is there' not rmmod udrv_net
check 'the interface is still there' test -e /sys/class/net/udn0
check 'start again' start_driver
wait_for 10 carrier
check 'answers' wait_reachable
mark_kernel_log

phase 'unbind with a driver running'
in_peer ping -q -i 0.002 -w 30 10.0.0.1 >/dev/null 2>&1 &
pings=$!
pid=${driver_pid[$bdf]}
check 'unbind' timeout 30 "$udrv" unbind $bdf
check 'the driver has ended within 2 s' wait_for 2 not alive $pid
{ wait $pid; } 2>/dev/null
status=$?
check_eq 'its status' $status 1
grep -v 'info:' "/tmp/driver-$bdf.err" >/tmp/last
check_eq 'lines that it said' "$(wc -l </tmp/last)" 1
check "which are to the point" grep -qE 'unbound' /tmp/last
check 'udn0 is gone' not test -e /sys/class/net/udn0
check 'the device file is gone' not test -e /dev/udrv/$bdf
check_eq 'no handler' "$(irq_actions)" 0
kill $pings
wait $pings 2>/dev/null
# Nobody could reset this chip: it is not handed to a driver that might let it write
# where its last one told it to.
check 'the chip is not handed on' not test -e /sys/bus/pci/devices/$bdf/driver

phase "bind and unbind, $cycles times"
lines=$(wc -l </proc/interrupts)
works=0
"$udrv" bind --unsafe-no-iommu $bdf 2>/dev/null
for ((i = 0; i < cycles; i++)); do
    pid=
    if [ $((i % 4)) = 0 ]; then
        start_driver && up_udn0 && wait_reachable || break
        pid=${driver_pid[$bdf]}
    fi
    # By sysfs: the command would have the stock driver probe it each time.
    echo $bdf >/sys/bus/pci/drivers/udrv/unbind || break
    if [ -n "$pid" ]; then
        { wait $pid; } 2>/dev/null
        [ $? = 1 ] || break
    fi
    [ ! -e /sys/class/net/udn0 ] && [ ! -e /dev/udrv/$bdf ] || break
    echo $bdf >/sys/bus/pci/drivers/udrv/bind || break
    works=$((works + 1))
done
check 'unbind at last' "$udrv" unbind $bdf
check_eq 'cycles' $works $cycles
check_eq 'lines of /proc/interrupts, as before' "$(wc -l </proc/interrupts)" "$lines"
check_eq 'users of udrv' "$(cat /sys/module/udrv/refcnt)" 1 # udrv_net
check_eq 'users of udrv_net' "$(cat /sys/module/udrv_net/refcnt)" 0

phase 'modules out in every order'
check 'rmmod udrv before udrv_net is refused' not rmmod udrv
check 'rmmod udrv_net' rmmod udrv_net
check 'rmmod udrv' rmmod udrv
load_modules
check 'bind after the reload' "$udrv" bind --unsafe-no-iommu $bdf
check 'start' start_driver
pid=${driver_pid[$bdf]}
stop_driver
check 'a dead driver: unbind' "$udrv" unbind $bdf
check 'rmmod both' rmmod udrv_net udrv
load_modules
"$udrv" bind --unsafe-no-iommu $bdf 2>/dev/null
check 'rmmod of udrv_net, bound but never started' rmmod udrv_net
check 'rmmod of udrv with a bound device' rmmod udrv
check 'the device file went with it' not test -e /dev/udrv/$bdf
# Its device is probed at once.
insmod "$build/modules/udrv.ko" allow_unsafe_no_iommu=1
insmod "$build/modules/udrv_net.ko"
check 'bound again by driver_override' "$udrv" bind --unsafe-no-iommu $bdf

phase "start and stop, $starts times"
check 'start' start_driver
up_udn0
wait_reachable
stop_driver
footprint() {
    attr pinned_bytes
    attr mappings
    wc -l </proc/interrupts
    wc -l </proc/net/dev
    cat /sys/module/udrv/refcnt /sys/module/udrv_net/refcnt
    ls /proc/irq/*/ -d | wc -l
    find /proc/irq -name 'irq*' | wc -l
}
before=$(footprint)
sync
slab=$(slab_kib)
works=0
for ((i = 0; i < starts; i++)); do
    start_driver || break
    stop_driver $bdf $([ $((i % 2)) = 0 ] && echo TERM || echo KILL)
    status=$?
    [ $status = $([ $((i % 2)) = 0 ] && echo 0 || echo 137) ] || break
    works=$((works + 1))
done
check_eq 'starts and stops' $works $starts
check_eq 'pinned, mapped, interrupts, interfaces, users: as before' "$(footprint | tr '\n' ' ')" \
    "$(tr '\n' ' ' <<<"$before")"
# 1 MiB of receive buffers and 100 KiB of rings a start: lost ones would show.
check_le 'slab memory grown by KiB' $(($(slab_kib) - slab)) 4096
check 'the next start' start_driver
check 'which works' wait_for 15 reachable
check 'ends well' stop_driver
"$udrv" unbind $bdf

phase 'two drivers on one device, one after the other'
modprobe -r e1000 2>/dev/null # takes the peer with it
"$udrv" bind --unsafe-no-iommu $bdf 2>/dev/null
check 'ours first' start_driver
check 'ends well' stop_driver
"$udrv" unbind $bdf
modprobe e1000
wait_for 10 test -d /sys/bus/pci/devices/$bdf/net
name=$(basename /sys/bus/pci/devices/$bdf/net/*)
check 'then the stock driver' up_udn0 "$name" 10.0.0.1/24
modprobe -r e1000
"$udrv" bind --unsafe-no-iommu $bdf 2>/dev/null
check 'then ours again' start_driver
check 'with a link' up_udn0
check 'ends well at last' stop_driver
"$udrv" unbind $bdf
check 'rmmod at the end' rmmod udrv_net udrv
new_kernel_messages | grep -E 'udrv|udn0' | grep -vE 'link becomes ready|no IOMMU|loading out-of-tree|taints' >/tmp/said
check_eq 'complaints in the kernel log' "$(head -n 3 /tmp/said)" ''
summary
