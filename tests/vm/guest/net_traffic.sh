#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: net_traffic.sh [full|untrusted]
# An interface driven by udrv against the stock driver on the same hub. `untrusted`: the
# driver is, and an IOMMU confines it.
. tests/vm/guest/lib.sh
full=
[ "${1:-}" != full ] || full=yes
trust=--unsafe-no-iommu
[ "${1:-}" != untrusted ] || trust=--untrusted

load_modules
require 'bind' "$udrv" bind $trust $bdf
check_eq 'untrusted' "$(attr untrusted)" "$([ $trust = --untrusted ] && echo 1 || echo 0)"
require 'the driver starts' start_driver
require_peer
mark_kernel_log

if [ -n "$full" ]; then
    phase 'against the stock driver'
    # What is told of an interface, a line each, without its name and its own numbers.
    facts() {
        local option file
        for option in '' -T -a -g -k -l -m -x -n --show-fec --show-eee --show-priv-flags; do
            # shellcheck disable=SC2086 # none, or one
            ethtool $option "$1" 2>&1 | sed "s/^[ \t]*/ethtool${option:+ $option}: /"
        done
        ip -d link show "$1" | grep -oE '(m(in|ax)mtu|(gso|tso|gro)_max_[a-z0-9_]*|num[rt]xqueues|qlen|promiscuity) [0-9]+'
        for file in $(cd "/sys/class/net/$1/" && find . -maxdepth 3 -type f | sort); do
            case $file in
            ./device/* | ./statistics/* | ./power/* | ./udrv/*) ;;
            ./address | ./ifindex | ./iflink | ./carrier_*) ;;
            *) echo "$file: $(head -n 1 "/sys/class/net/$1/$file" 2>&1)" ;;
            esac
        done
    }
    told() { facts "$1" | sed "s/\b$1\b/IF/g; s/[ \t][ \t]*/ /g; s/ $//"; }
    told udn0 >/tmp/ours
    in_peer bash -c "$(declare -f facts told); told $peer_if" >/tmp/stocks
    check_ge 'facts' "$(wc -l </tmp/ours)" 120
    check_eq 'differences that are not in net_differences' \
        "$(diff /tmp/stocks /tmp/ours | grep '^[<>]' | grep -vxFf tests/vm/guest/net_differences)" ''
fi

phase ping
check_eq '1000 pings, packets lost' "$(lost -c 1000 -i 0.002 -W 5 10.0.0.2)" 0
check_eq '1000 flooded pings, packets lost' "$(lost -c 1000 -f -W 5 10.0.0.2)" 0
check_eq 'full-size packets lost' "$(lost -c 50 -i 0.01 -s 1472 -M do 10.0.0.2)" 0
check_eq 'full-size packets lost, from the peer' \
    "$(in_peer ping -q -c 50 -i 0.01 -s 1472 -M do 10.0.0.1 | sed -n 's/.*, \([0-9]*\)% packet loss.*/\1/p')" 0
check 'one byte more does not fit' not ping -c 1 -W 1 -s 1473 -M do 10.0.0.2

phase jumbo
ip link set udn0 mtu 9000
in_peer ip link set "$peer_if" mtu 9000
wait_for 10 peer_carrier
check 'reachable with MTU 9000' wait_reachable
check_eq 'jumbo packets lost' "$(lost -c 50 -i 0.01 -s 8972 -M do 10.0.0.2)" 0
dd if=/dev/urandom of=/tmp/data bs=1M count=6 status=none
for way in 'here peer 10.0.0.2' 'peer here 10.0.0.1'; do
    read -r from to address <<<"$way"
    send_file /tmp/data "$from" "$to" "$address" 5601
    check_eq "6 MiB in jumbo packets from $from to $to" "$sums" equal
done
ip link set udn0 mtu 1500
in_peer ip link set "$peer_if" mtu 1500
wait_for 10 peer_carrier
check 'reachable with MTU 1500 again' wait_reachable

phase iperf3
sysctl -qw net.core.rmem_max=8388608 net.core.wmem_max=8388608 # the loss of a busy receiver is not ours
serve_iperf
before=$(cat /sys/class/net/udn0/statistics/tx_packets)
iperf3 -c 10.0.0.2 -t 3 -J >/tmp/iperf 2>&1
check_ge 'TCP out, bytes' "$(json_sum sum_received bytes /tmp/iperf)" 1000000
after=$(cat /sys/class/net/udn0/statistics/tx_packets)
check_ge 'packets counted meanwhile' $((after - before)) 100
iperf3 -c 10.0.0.2 -t 3 -R -J >/tmp/iperf 2>&1
check_ge 'TCP in, bytes' "$(json_sum sum_received bytes /tmp/iperf)" 1000000
for reverse in '' -R; do
    iperf3 -c 10.0.0.2 -u -b 5M -l 1024 -w 4M -t 2 $reverse -J >/tmp/iperf 2>&1
    check_ge "UDP ${reverse:+in}, datagrams" "$(json_sum sum packets /tmp/iperf)" 300
    check_le "UDP ${reverse:+in}, lost" "$(json_sum sum lost_packets /tmp/iperf)" 20
done

phase 'large datagrams that wait in a socket'
# hoarded FROM TO ADDRESS: of ten datagrams of 63 KiB from FROM to TO
hoarded() {
    "$2" "$helpers/net_probe" hoard 5603 8 >/tmp/hoard &
    wait_for 10 grep -q listening /tmp/hoard
    "$1" "$helpers/net_probe" volley "$3" 5603 64512 10
    wait $!
    tail -n 1 /tmp/hoard
}
stocks=$(hoarded here peer 10.0.0.2)
check_ge 'the stock driver keeps' "$stocks" 2
check_ge 'and we' "$(hoarded peer here 10.0.0.1)" "$stocks"

# The peer looks at each checksum itself, and so does our stack where rx is off.
in_peer ethtool -K "$peer_if" rx off
check_eq 'wrong checksums until now' "$(wrong_sums)" 0
phase 'a file, with offloads on and off'
for offloads in 'tx on sg on tso on gso on rx on gro on' 'tx on sg on tso off gso on rx on gro on' \
    'tx off sg off tso off gso off rx off gro off'; do
    [ -n "$full" ] || [[ $offloads = tx\ o?*off ]] || continue
    # shellcheck disable=SC2086
    check "ethtool -K udn0 $offloads" ethtool -K udn0 $offloads
    for way in 'here peer 10.0.0.2' 'peer here 10.0.0.1'; do
        read -r from to address <<<"$way"
        send_file /tmp/data "$from" "$to" "$address" 5602
        check_eq "6 MiB from $from to $to" "$sums" equal
    done
done
check_eq 'checksums off' "$(ethtool -k udn0 | grep -c '^[rt]x-checksumming: off')" 2
check 'offloads on again' ethtool -K udn0 tx on sg on tso on gso on rx on gro on

if [ -n "$full" ]; then
    phase 'promiscuous and multicast'
    check_eq 'frames for another, promiscuous' "$(strangers)" 3
    check_eq 'frames for another, otherwise' "$(strangers -p)" 0
    group=239.1.2.3
    group_frames() { chip_stat rx_multicast; }
    sleep 3
    # Not joined: the chip itself holds them back.
    a=$(group_frames)
    for _ in 1 2 3 4 5; do in_peer "$helpers/net_probe" cast "$peer_if" $group 7000 early; done
    sleep 1.5
    check_le 'multicast before the join' $(($(group_frames) - a)) 2
    joined() { ip maddr show dev udn0 | grep -q $group; }
    "$helpers/net_probe" join udn0 $group 7000 60 >/tmp/joined 2>&1 &
    join=$!
    check 'joined' wait_for 5 joined
    for _ in $(seq 10); do
        alive $join || break
        in_peer "$helpers/net_probe" cast "$peer_if" $group 7000 'to the group'
        sleep 0.3
    done
    wait $join
    check_eq 'multicast after it' "$(cat /tmp/joined)" 'to the group'

    phase 'unicast addresses'
    # Pairs of an offset and a value.
    chip_register() { ethtool -d udn0 raw on | od -An -v -tx4 -w8 | awk -v at="$1" '$1 == at { print $2 }'; }
    modprobe macvlan
    promiscuous() { [ $((0x$(chip_register 00000100) >> 3 & 1)) = "$1" ]; } # RCTL.UPE
    ip link add link udn0 name mv0 type macvlan mode bridge
    ip link set mv0 up
    check 'the chip knows of the second address' wait_for 5 applied
    check_eq 'frames for another, beside a macvlan' "$(strangers -p)" 0
    a=$(cat /sys/class/net/mv0/statistics/rx_packets)
    in_peer "$helpers/net_probe" frame "$peer_if" "$(cat /sys/class/net/mv0/address)" hello
    check_ge 'frames for the macvlan' "$(($(cat /sys/class/net/mv0/statistics/rx_packets) - a))" 1
    for i in $(seq 14); do # 15 fit
        ip link add link udn0 name "mv$i" type macvlan mode bridge
        ip link set "mv$i" up
    done
    check 'fifteen addresses: not promiscuous' wait_for 5 promiscuous 0
    ip link add link udn0 name mv15 type macvlan mode bridge
    ip link set mv15 up
    check 'sixteen: promiscuous' wait_for 5 promiscuous 1
    for i in $(seq 0 15); do ip link del "mv$i"; done
    check 'none: not promiscuous' wait_for 5 promiscuous 0

    phase VLAN
    setup_vlan
    check 'an answer on VLAN 5' wait_reachable 10.5.0.2
    check_eq 'lost of 200 on VLAN 5, full size' "$(lost -c 200 -i 0.005 -s 1472 -M do 10.5.0.2)" 0
    send_file /tmp/data here peer 10.5.0.2 5603
    check_eq '6 MiB on VLAN 5' "$sums" equal
    ethtool -K udn0 txvlan off rxvlan off
    check 'an answer on VLAN 5, tags by software' wait_reachable 10.5.0.2
    check_eq 'lost of 200, tags by software' "$(lost -c 200 -i 0.005 -s 1472 -M do 10.5.0.2)" 0
    ethtool -K udn0 txvlan on rxvlan on
    check_ge 'packets that the peer had with the tag' \
        "$(in_peer cat /sys/class/net/vlan5/statistics/rx_packets)" 400
    ip link del udn0.5

    phase IPv6
    linklocal() { in_peer ip -6 -o addr show dev "$peer_if" scope link -tentative | grep -o 'fe80[^/]*'; }
    wait_for 5 linklocal
    check 'link-local ping' wait_for 10 ping -6 -c 1 -W 1 "$(linklocal)%udn0"
    check_eq 'lost of 100 by IPv6' "$(lost -6 -c 100 -i 0.005 -s 1452 -M do "$(linklocal)%udn0")" 0
    in_peer ip -6 addr add 2001:db8:1::1/64 dev "$peer_if" nodad
    in_peer "$helpers/net_probe" advertise "$peer_if" 2001:db8:1::
    global() { ip -6 -o addr show dev udn0 scope global -tentative | grep -o '2001:db8:1:[^/]*'; }
    wait_for 10 global
    check_eq 'address from an advertisement' "$(global)" 2001:db8:1:0:5054:ff:fe00:1
    check 'ping to it' wait_for 10 in_peer ping -c 1 -W 1 2001:db8:1:0:5054:ff:fe00:1
    send_file /tmp/data here peer 2001:db8:1::1 5604
    check_eq '6 MiB by IPv6 out' "$sums" equal
    send_file /tmp/data peer here 2001:db8:1:0:5054:ff:fe00:1 5605
    check_eq '6 MiB by IPv6 in' "$sums" equal

    # Longer than what the chip can sum over (255) or segment (240 bytes of headers).
    in_peer ethtool -K "$peer_if" rx off
    head -c 50000 /dev/urandom >/tmp/short
    for options in 184 192 256 1024; do
        in_peer timeout 60 "$helpers/net_probe" receive 5606 >/tmp/received &
        server=$!
        timeout 30 "$helpers/net_probe" send 2001:db8:1::1 5606 $options </tmp/short
        kill $server 2>/dev/null
        wait $server 2>/dev/null
        check "50,000 bytes with $options bytes of destination options" cmp /tmp/short /tmp/received
    done
    check_eq 'wrong checksums' "$(wrong_sums)" 0
    check_eq 'transmit errors' "$(cat /sys/class/net/udn0/statistics/tx_errors)" 0

    phase 'errors that the chip counts'
    counted() { cat "/sys/class/net/udn0/statistics/$1"; }
    check_eq 'before' "$(counted rx_errors) $(counted rx_length_errors)" '0 0'
    in_peer ip link set "$peer_if" mtu 9000
    wait_for 10 peer_carrier
    in_peer ping -q -c 10 -i 0.2 -s 8000 10.0.0.1 >/dev/null
    all_counted() { [ "$(counted rx_errors) $(counted rx_length_errors)" = '10 10' ]; }
    check 'ten frames too long: rx_errors and rx_length_errors' wait_for 5 all_counted
    in_peer ip link set "$peer_if" mtu 1500
    wait_for 10 peer_carrier
    check 'reachable' wait_reachable
    # Nothing is sent meanwhile: a driver that holds nothing is not taken for a hung one.
    kill -STOP "${driver_pid[$bdf]}"
    in_peer ping -q -f -c 1500 -w 3 10.0.0.1 >/dev/null
    kill -CONT "${driver_pid[$bdf]}"
    missed() { [ "$(counted rx_missed_errors)" -ge 1 ] && same "$(counted rx_missed_errors)" "$(chip_stat rx_missed)"; }
    check 'overload: rx_missed_errors, as the chip counts them' wait_for 10 missed
    check 'reachable' wait_reachable

    phase ethtool
    check_eq speed "$(ethtool udn0 | sed -n 's/^\tSpeed: //p')" 1000Mb/s
    check_eq duplex "$(ethtool udn0 | sed -n 's/^\tDuplex: //p')" Full
    check_eq link "$(ethtool udn0 | sed -n 's/^\tLink detected: //p')" yes
    a=$(chip_stat rx_packets)
    b=$(chip_stat tx_packets)
    ping -q -c 200 -i 0.002 10.0.0.2 >/dev/null
    sleep 2.5 # the driver publishes them once a second
    check_ge 'chip counter rx_packets moved' $(($(chip_stat rx_packets) - a)) 200
    check_ge 'chip counter tx_packets moved' $(($(chip_stat tx_packets) - b)) 200

    info() { ethtool "$1" udn0 | sed -n "s/^$2:[ \t]*//p" | tail -n 1; }
    check_eq 'driver' "$(info -i driver)" udrv
    check_eq 'place' "$(info -i bus-info)" $bdf
    check_eq "the chip's driver" "$(info -i firmware-version)" e1000
    check_eq 'stamps in software on transmit' "$(ethtool -T udn0 | grep -c software-transmit)" 1
    stamp() { # SO_TIMESTAMPING with TX_SOFTWARE and SOFTWARE: is one in the error queue?
        python3 - <<'PYTHON'
import select, socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 37, 2 | 16)
s.sendto(b"x", ("10.0.0.2", 9))
p = select.poll()
p.register(s, select.POLLERR)
p.poll(5000)
print(any(kind == 37 for _, kind, _ in s.recvmsg(256, 256, socket.MSG_ERRQUEUE)[1]))
PYTHON
    }
    check_eq 'and one comes' "$(stamp)" True
    check_eq 'counters without a meaning' "$(ethtool -S udn0 | grep -c unused)" 0
    check_eq 'link modes' "$(ethtool udn0 | grep -cE '1000baseT/Full|100baseT/Half|Supported ports: \[ TP')" 5
    check_eq 'pause frames' "$(info -a RX) $(info -a TX)" 'off off'
    check 'pause frames cannot be chosen' not ethtool -A udn0 rx on
    check 'hold-off: longer than the chip has' not ethtool -C udn0 rx-usecs 4294967295
    check 'hold-off: one microsecond longer' not ethtool -C udn0 rx-usecs 16777
    a=$(cat /sys/class/net/udn0/carrier_changes)
    check 'negotiate again' ethtool -r udn0
    renegotiated() { [ "$(cat /sys/class/net/udn0/carrier_changes)" -ge $((a + 2)) ]; }
    check 'the link went and came' wait_for 10 renegotiated
    check 'what is wanted is applied' wait_for 5 applied
    check 'reachable' wait_reachable
    most=$(ethtool -g udn0 | sed -n 's/^RX:[ \t]*//p' | head -n 1)
    check_eq 'rings: all of them' "$(info -g RX)" "$most"
    check_eq 'registers RAL and RAH: the address' "$(chip_register 00005400) $(chip_register 00005404)" \
        '00005452 80000100'
    check_eq 'register STATUS: link up, full duplex' $((0x$(chip_register 00000008) & 3)) 3
    check_ge 'registers' "$(ethtool -d udn0 | grep -c '^0x')" 16
    check 'rings: larger than there are' not ethtool -G udn0 rx $((2 * most))
    check 'rings: too small' not ethtool -G udn0 tx 32
    check 'rings: small ones' ethtool -G udn0 rx 64 tx 64
    # A stopped queue wakes again.
    send_file /tmp/data here peer 10.0.0.2 5607
    check_eq '6 MiB through a ring of 64' "$sums" equal
    check 'hold-off: 2 ms' ethtool -C udn0 rx-usecs 2000
    throttled() { [ "$(chip_register 000000c4)" = 00001e84 ]; } # of 256 ns each
    check 'register ITR: it is' wait_for 5 throttled
    interrupts=$(attr interrupts)
    begun=${EPOCHREALTIME/./}
    check_eq 'flooded pings, packets lost' "$(lost -c 1000 -f -l 8 -W 5 10.0.0.2)" 0
    # Some come together with the first, or without a hold-off: the link's.
    check_le 'interrupts meanwhile, at most one in 2 ms and 20' $(($(attr interrupts) - interrupts)) \
        $(((${EPOCHREALTIME/./} - begun) / 2000 + 20))
    check 'stop' stop_driver
    require 'a successor' start_driver
    check 'link' wait_for 10 carrier
    check_eq 'it keeps the rings' "$(info -g RX) $(info -g TX)" '64 64'
    check_eq 'it keeps the hold-off' "$(info -c rx-usecs)" 2000
    check_eq 'errors of the one before are still counted' "$(counted rx_length_errors)" 10
    check 'rings as before' ethtool -G udn0 rx "$most" tx "$most"
    check 'hold-off as before' ethtool -C udn0 rx-usecs 0
    check 'reachable' wait_reachable

    phase 'cable out'
    require "QEMU's monitor" open_monitor
    monitor 'set_link hub0 off' >/dev/null
    check 'cable out: carrier off' wait_for 5 no_carrier
    check_eq 'ethtool says so' "$(ethtool udn0 | sed -n 's/^\tLink detected: //p')" no
    monitor 'set_link hub0 on' >/dev/null
    check 'cable in: carrier on' wait_for 5 carrier
    check 'cable in: reachable' wait_reachable
fi

phase 'changes under traffic'
cycles=$([ -n "$full" ] && ! debug_kernel && echo 40 || echo 10)
in_peer ping -q -i 0.002 -w 600 10.0.0.1 >/dev/null 2>&1 &
pings=$!
(while :; do timeout 20 iperf3 -c 10.0.0.2 -t 10 >/dev/null 2>&1; sleep 0.5; done) &
load=$!
moved() { cat /sys/class/net/udn0/statistics/rx_packets; }
a=$(moved)
applied=0
for ((i = 0; i < cycles; i++)); do
    ip link set udn0 down && ip link set udn0 up && applied=$((applied + 1))
    # Most follow at once, some after the link came up.
    [ $((i % 20)) != 0 ] || { wait_for 5 carrier && wait_for 5 reachable; }
done
check_eq 'down and up, cycles' $applied $cycles
check 'reachable after them' wait_reachable
check_ge 'packets received meanwhile' $(($(moved) - a)) 50

for ((i = 0; i < cycles; i++)); do
    for what in tx rx tso sg; do ethtool -K udn0 $what off; done
    for what in sg tx tso rx; do ethtool -K udn0 $what on; done
done
check 'reachable after offloads went off and on under traffic' wait_reachable

for mac in 52:54:00:aa:00:01 52:54:00:aa:00:02 52:54:00:00:00:01; do
    check "address $mac" ip link set udn0 address $mac
    check "reachable with $mac" wait_reachable
    check_eq "the peer's view" "$(in_peer ip neigh show 10.0.0.1 | grep -o '52:54:[0-9a-f:]*')" $mac
done
for mtu in 9000 576 1500 3000 1500; do
    check "MTU $mtu" ip link set udn0 mtu $mtu
    check "reachable with MTU $mtu" wait_reachable
    bytes=$((mtu < 1500 ? mtu - 28 : 1472))
    # Under a load that fills the rings, one may be dropped.
    check_le "lost of 50 with MTU $mtu" "$(lost -c 50 -i 0.01 -s $bytes -M do 10.0.0.2)" 5
done
kill $load $pings
pkill -P $load
wait $load $pings 2>/dev/null
check 'reachable at the end' wait_reachable
check_eq 'wrong checksums in all of it' "$(wrong_sums)" 0

phase 'the end'
check_eq 'state' "$(attr state)" running
check_eq 'owner' "$(attr owner)" "${driver_pid[$bdf]}"
check_eq 'violations' "$(attr violations)" 0
check_eq 'receive errors' "$(cat /sys/class/net/udn0/statistics/rx_errors)" $([ -n "$full" ] && echo 10 || echo 0)
check 'SIGTERM ends the driver with status 0' stop_driver
check_eq 'packets that the driver counted as errors of its own' \
    "$(grep -cE 'error|warning' "/tmp/driver-$bdf.err")" 0
check 'unbind' "$udrv" unbind $bdf
check 'rmmod' rmmod udrv_net udrv
new_kernel_messages | grep -E 'udrv|udn0' | grep -vE 'udn0:? (entered|left)|link becomes ready|no IOMMU' >/tmp/said
check_eq 'complaints in the kernel log' "$(head -n 3 /tmp/said)" ''
summary
