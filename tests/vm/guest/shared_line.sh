#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: shared_line.sh [pci22]
# Three functions on one INTx line: two driven by udrv, one by the stock driver,
# each with a peer on the same hub. `pci22`: ours cannot be masked by PCI's own bit.
. tests/vm/guest/lib.sh
second=0000:00:14.0 # shares the line of 10.0, as does 18.0
third=0000:00:18.0

line_of() { cat "/sys/bus/pci/devices/$1/irq"; }
load_modules
if [ "${1:-}" = pci22 ]; then
    require 'of PCI 2.2' insmod "$build/modules/udrv_pci22.ko" bdf=$bdf,$second
fi
for dev in $bdf $second; do
    require "bind $dev" "$udrv" bind --unsafe-no-iommu $dev
done
require 'the first driver starts' start_driver $bdf
require 'the second driver starts' start_driver $second
require 'a peer' setup_peer
third_if=$(basename /sys/bus/pci/devices/$third/net/*)
irq=$(line_of $bdf)
check_eq 'line of the second' "$(line_of $second)" "$irq"
check_eq 'line of the third' "$(line_of $third)" "$irq"

# An address in a network of its own each, so that the answer comes over it. They share a
# hub, so each must ask and answer for its own only: else the peer may know the first at
# the address of the third, which goes.
echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore
echo 2 >/proc/sys/net/ipv4/conf/all/arp_announce
require 'link of the first' up_udn0 udn0 10.0.0.1/24
require 'link of the second' up_udn0 udn1 10.1.0.1/24
require 'link of the third' up_udn0 "$third_if" 10.2.0.1/24
in_peer ip addr add 10.1.0.2/24 dev "$peer_if"
in_peer ip addr add 10.2.0.2/24 dev "$peer_if"
check_eq 'handlers on the line' \
    "$(grep -E "^ *$irq:" /proc/interrupts | grep -oE "udrv-0000[^,]*|$third_if" | sort -u | wc -l)" 3
check_eq 'files of the line' "$(find "/proc/irq/$irq" -name 'irq*' | wc -l)" 2
for address in 10.0.0.2 10.1.0.2 10.2.0.2; do
    require "$address answers" wait_reachable $address
done
mark_kernel_log

# all_answer WHAT ADDRESS...: at once, 300 pings each
all_answer() {
    local what=$1 address pids=()
    shift
    for address; do
        ping -q -c 300 -i 0.003 -W 3 "$address" >"/tmp/ping-$address" 2>&1 &
        pids+=($!)
    done
    wait "${pids[@]}"
    for address; do
        check_eq "$what: $address, lost of 300" \
            "$(sed -n 's/^300 packets transmitted, \([0-9]*\) received.*/\1/p' "/tmp/ping-$address" |
                { read -r n && echo $((300 - n)); })" 0
    done
}
interrupts() { attr interrupts "$1"; }
a=$(interrupts $bdf)
b=$(interrupts $second)
all_answer 'all at once' 10.0.0.2 10.1.0.2 10.2.0.2
check_ge 'interrupts of the first' $(($(interrupts $bdf) - a)) 10
check_ge 'interrupts of the second' $(($(interrupts $second) - b)) 10

# The first stops with its interrupt asserted: it is masked at the device, so the
# line is free for the others.
command_bit() { [ $((0x$(setpci -s "$1" COMMAND) & 0x400)) != 0 ]; }
status_bit() { [ $((0x$(setpci -s "$1" STATUS) & 0x8)) != 0 ]; }
if [ "${1:-}" = pci22 ]; then # masked in the chip, which does not assert it any more
    intx_disabled() { not command_bit "$1"; }
    intx_pending() { not status_bit "$1"; }
else
    intx_disabled() { command_bit "$1"; }
    intx_pending() { status_bit "$1"; }
fi
a=$(interrupts $bdf)
kill -STOP "${driver_pid[$bdf]}"
in_peer ping -q -c 20 -i 0.02 -W 1 10.0.0.1 >/dev/null 2>&1
check_ge 'it interrupted' $(($(interrupts $bdf) - a)) 1
check 'its interrupt is pending, or masked' wait_for 5 intx_pending $bdf
check 'and masked at the device' intx_disabled $bdf
a=$(interrupts $bdf)
all_answer 'beside one that is stopped' 10.1.0.2 10.2.0.2
check_eq 'interrupts of the stopped one meanwhile' "$(interrupts $bdf)" "$a"
kill -CONT "${driver_pid[$bdf]}"
check 'it goes on' wait_reachable 10.0.0.2

# Killed while it is pending, too.
kill -STOP "${driver_pid[$bdf]}"
in_peer ping -q -c 20 -i 0.02 -W 1 10.0.0.1 >/dev/null 2>&1
check 'its interrupt is pending or masked again' wait_for 5 intx_pending $bdf
stop_driver $bdf KILL
all_answer 'beside one that was killed' 10.1.0.2 10.2.0.2
check 'it starts again' start_driver $bdf
wait_for 10 carrier udn0
check 'and answers' wait_reachable 10.0.0.2

# The neighbour with the stock driver comes and goes.
check_eq 'the peer knows the first at its own address' \
    "$(in_peer ip neigh show 10.0.0.1 | sed 's/.*lladdr \([^ ]*\).*/\1/')" "$(cat /sys/class/net/udn0/address)"
echo $third >/sys/bus/pci/drivers/e1000/unbind
all_answer 'without the stock driver' 10.0.0.2 10.1.0.2
echo $third >/sys/bus/pci/drivers/e1000/bind
all_answer 'while it is back' 10.0.0.2 10.1.0.2
check 'the second unbound under the first' "$udrv" unbind $second
{ wait "${driver_pid[$second]}"; } 2>/dev/null
all_answer 'alone' 10.0.0.2
check 'ends well' stop_driver $bdf
"$udrv" unbind $bdf
check_eq "'nobody cared' in the kernel log" "$(dmesg | grep -c 'nobody cared')" 0
check_eq 'violations and complaints' \
    "$(new_kernel_messages | grep -E 'udrv|broke' | grep -vE 'no IOMMU|udrv_net' | head -n 3)" ''
summary
