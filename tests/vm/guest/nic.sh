#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: nic.sh DRIVER [full|untrusted]
# The battery that every network driver has to pass: an interface of DRIVER's against a
# stock driver's on the same wire. `full`: everything; `untrusted`: the driver is, behind an
# IOMMU. It knows no chip: what one has more is in a test of its own.
. tests/vm/guest/lib.sh
. tests/vm/guest/outage_lib.sh
. tests/vm/guest/observe_lib.sh
nic=$1
mode=${2:-}
kills=12
deadline_ms=1000
! debug_kernel || { kills=5; deadline_ms=5000; }

counted() { cat "/sys/class/net/udn0/statistics/$1"; }
offload() { ethtool -k udn0 | grep -q "^$1: on"; }
send_both_ways() { # TITLE [ADDRESS HERE, ADDRESS THERE]
    send_file /tmp/data here peer "${3:-10.0.0.2}" 5601
    check_eq "$1: 6 MiB out" "$sums" equal
    send_file /tmp/data peer here "${2:-10.0.0.1}" 5601
    check_eq "$1: 6 MiB in" "$sums" equal
}
set_mtu() { # of both ends
    ip link set udn0 mtu "$1" && in_peer ip link set "$peer_if" mtu "$1" &&
        wait_for 10 peer_carrier && wait_reachable
}

# What the kernel says of links, tags and filters is not about udrv.
quiet() { # NAME: no new message that is not one of these
    new_kernel_messages | grep -vE 'NIC Link is|link becomes ready|promiscuous mode|8021q|802.1Q|MACVLAN|macvlan' >/tmp/said
    check_eq "$1" "$(head -n 3 /tmp/said)" ''
    mark_kernel_log
}

load_modules
case $mode in
untrusted) bind_options=(--untrusted) ;;
*) bind_options=(--unsafe-no-iommu) ;;
esac
require 'bind' "$udrv" bind "${bind_options[@]}" $bdf
require 'the driver starts' start_driver
require_peer
mark_kernel_log
dd if=/dev/urandom of=/tmp/data bs=1M count=6 status=none

phase ping
check_eq '1000 pings, packets lost' "$(lost -c 1000 -i 0.002 -W 5 10.0.0.2)" 0
check_eq '1000 flooded pings, packets lost' "$(lost -c 1000 -f -W 5 10.0.0.2)" 0
check_eq 'full-size packets lost' "$(lost -c 50 -i 0.01 -s 1472 -M do 10.0.0.2)" 0
check 'one byte more does not fit' not ping -c 1 -W 1 -s 1473 -M do 10.0.0.2

phase 'files, checked'
packets=$(counted tx_packets)
bytes=$(counted tx_bytes)
send_both_ways 'as offered'
if offload tcp-segmentation-offload; then
    # Most packets of the file were longer than the wire's.
    check_ge 'bytes of a packet out, with segmentation' \
        $((($(counted tx_bytes) - bytes) / ($(counted tx_packets) - packets))) 1600
fi
check 'offloads off' ethtool -K udn0 tx off sg off tso off gso off rx off gro off
send_both_ways 'offloads off'
check 'offloads on' ethtool -K udn0 sg on tx on tso on gso on rx on gro on
check_eq 'wrong checksums' "$(wrong_sums)" 0

if [ "$mode" = full ]; then
    phase 'traced'
    check_traced_network
    check 'bpftrace: packets at once' observe bpftrace udrv_net_sent
    check_ge 'histograms of them' "$(observed '^@(sent|received):')" 2
fi

phase jumbo
check 'MTU 9000' set_mtu 9000
check_eq 'jumbo packets lost' "$(lost -c 50 -i 0.01 -s 8972 -M do 10.0.0.2)" 0
check_eq 'short ones meanwhile' "$(lost -c 50 -i 0.01 10.0.0.2)" 0
send_both_ways 'MTU 9000'
check 'MTU 1500' set_mtu 1500
mtu=$(ip -d link show udn0 | sed -n 's/.*maxmtu \([0-9]*\).*/\1/p')
check 'its largest MTU' ip link set udn0 mtu "$mtu"
check 'reachable with it' wait_reachable
check 'a larger one is refused' not ip link set udn0 mtu $((mtu + 1))
ip link set udn0 mtu 1500

if [ "$mode" = full ]; then
    phase VLAN
    setup_vlan
    check 'an answer on VLAN 5' wait_reachable 10.5.0.2
    check_eq 'lost of 200 on VLAN 5, full size' "$(lost -c 200 -i 0.005 -s 1472 -M do 10.5.0.2)" 0
    send_both_ways 'VLAN 5' 10.5.0.1 10.5.0.2
    ip link del udn0.5

    phase IPv6
    ip -6 addr add 2001:db8:1::1/64 dev udn0 nodad
    in_peer ip -6 addr add 2001:db8:1::2/64 dev "$peer_if" nodad
    check 'an answer' wait_for 10 ping -6 -c 1 -W 1 2001:db8:1::2
    send_both_ways 'IPv6' 2001:db8:1::1 2001:db8:1::2
    check_eq 'wrong checksums' "$(wrong_sums)" 0

    phase 'who is heard'
    check_eq 'frames for another, promiscuous' "$(strangers)" 3
    check_eq 'frames for another, otherwise' "$(strangers -p)" 0
    modprobe macvlan
    ip link add link udn0 name mv0 type macvlan mode bridge
    ip link set mv0 up
    check 'a second address is applied' wait_for 10 applied
    sleep 1.2
    a=$(cat /sys/class/net/mv0/statistics/rx_packets)
    in_peer "$helpers/net_probe" frame "$peer_if" "$(cat /sys/class/net/mv0/address)" hello
    heard() { [ "$(cat /sys/class/net/mv0/statistics/rx_packets)" -gt "$a" ]; }
    check 'frames for the second address' wait_for 10 heard
    check_eq 'frames for another, beside it' "$(strangers -p)" 0
    ip link del mv0
    group=239.1.2.3
    "$helpers/net_probe" join udn0 $group 7000 60 >/tmp/joined 2>&1 &
    join=$!
    for _ in $(seq 30); do
        alive $join || break
        in_peer "$helpers/net_probe" cast "$peer_if" $group 7000 'to the group'
        sleep 0.3
    done
    wait $join
    check_eq 'multicast after a join' "$(cat /tmp/joined)" 'to the group'
    for mac in 52:54:00:aa:00:01 52:54:00:00:00:01; do
        check "address $mac" ip link set udn0 address $mac
        check "reachable with $mac" wait_reachable
    done

    phase 'cable out'
    require "QEMU's monitor" open_monitor
    link=$(monitor 'info network' | sed -n 's/^ *\\ *\([a-z0-9]*\):.*/\1/p' | head -n 1)
    monitor "set_link $link off" >/dev/null
    check 'carrier off' wait_for 5 no_carrier
    monitor "set_link $link on" >/dev/null
    check 'carrier on' wait_for 5 carrier
    check 'reachable' wait_reachable
fi

phase 'changes under traffic'
in_peer ping -q -i 0.002 -w 600 10.0.0.1 >/dev/null 2>&1 &
pings=$!
serve_iperf
(while :; do timeout 20 iperf3 -c 10.0.0.2 -t 10 >/dev/null 2>&1; sleep 0.5; done) &
load=$!
applied=0
for ((i = 0; i < 20; i++)); do
    ip link set udn0 down && ip link set udn0 up && applied=$((applied + 1))
    [ $((i % 10)) != 0 ] || { wait_for 5 carrier && wait_for 5 reachable; }
done
check_eq 'down and up, cycles' $applied 20
check 'reachable after them' wait_reachable
for mtu in 9000 576 3000 1500; do
    check "MTU $mtu" ip link set udn0 mtu $mtu
    check "reachable with MTU $mtu" wait_reachable
done
kill $load $pings
pkill -P $load
pkill -x iperf3
wait $load $pings 2>/dev/null
check_eq 'wrong checksums' "$(wrong_sums)" 0
check_eq 'violations' "$(attr violations)" 0
check_eq 'receive errors' "$(counted rx_errors)" 0
check 'SIGTERM ends the driver with status 0' stop_driver
check_eq 'bus mastering afterwards' "$(bus_master)" 0
check_eq 'pinned bytes afterwards' "$(attr pinned_bytes)" 0
quiet 'no kernel message'

phase "kill -9 at random moments, $kills times"
require 'it starts under a supervisor' start_driver $bdf --restart --deadline $deadline_ms --restart-limit 1000
wait_reachable
interface() { # what has to survive
    cat /sys/class/net/udn0/{ifindex,mtu,address}
    ip -4 -o addr show dev udn0
    ethtool -k udn0
}
wanted=$(interface)
rm -f /tmp/stop /tmp/kills /tmp/streams
(
    n=0 wrong=0
    until [ -e /tmp/stop ]; do
        send_file /tmp/data here peer 10.0.0.2 5601
        [ "$sums" = equal ] || wrong=$((wrong + 1))
        n=$((n + 1))
    done
    echo "$n $wrong" >/tmp/streams
) &
streams=$!
in_peer ping -n -D -i 0.01 10.0.0.1 >/tmp/pings 2>/dev/null &
pings=$!
let_live() {
    wait_for 5 pgrep -x udrv-successor # it is there, but for storms of deaths
    sleep "0.$((RANDOM % 5 + 3))"
}
kill_often $kills /tmp/kills $bdf let_live
check 'it runs again' wait_for 20 running
check 'reachable' wait_reachable
touch /tmp/stop
wait $streams
kill $pings
pkill -x ping
wait $pings 2>/dev/null
read -r n wrong </tmp/streams
check_ge 'TCP streams meanwhile' "$n" 1
check_eq 'of them wrong' "$wrong" 0
check_ge 'started again' "$(restarts)" $kills
check_eq 'violations' "$(attr violations)" 0
check_eq 'interface: index, MTU, MAC, addresses, features' "$(interface)" "$wanted"
answer_outages /tmp/pings /tmp/kills >/tmp/outages
check_ge 'outages seen' "$(wc -l </tmp/outages)" $((kills / 2))
outages "$nic" /tmp/outages

phase 'hangs: SIGSTOP and a busy loop'
noticed=0
for how in stop loop; do
    check "$how: it runs" wait_for 20 running
    sleep 1.2
    pid=$(attr owner)
    begun=$(now_ms)
    make_hang "$pid" $how
    wait_for 30 not alive "$pid" && noticed=$((noticed + 1))
    echo "$how: noticed after $(($(now_ms) - begun)) ms"
    check "$how: ip and ethtool answer" timeout 20 sh -c 'ip link show udn0 && ethtool udn0' >/dev/null
    check "$how: reachable" wait_reachable
done
check_eq 'hangs noticed' $noticed 2

phase upgrade
for _ in 1 2; do
    check 'upgrade' timeout 70 "$udrv" upgrade $bdf
    check 'reachable' wait_reachable
done
check_eq 'the interface is as it was' "$(interface)" "$wanted"
check_eq 'violations' "$(attr violations)" 0
check 'SIGTERM to the supervisor: status 0' stop_driver
quiet 'kills, hangs, upgrades: no kernel message'

phase 'unbind with a driver running'
require 'start' start_driver
check 'reachable' wait_reachable
pid=${driver_pid[$bdf]}
check 'unbind' timeout 30 "$udrv" unbind $bdf
check 'the driver has ended' wait_for 5 not alive $pid
check 'udn0 is gone' not test -e /sys/class/net/udn0
check_eq 'no handler' "$(irq_actions)" 0
check 'rmmod' rmmod udrv_net udrv
new_kernel_messages | grep -E 'udrv|udn0' | grep -vE 'udn0:? (entered|left)|link becomes ready|no IOMMU' >/tmp/said
check_eq 'complaints in the kernel log' "$(head -n 3 /tmp/said)" ''
summary
