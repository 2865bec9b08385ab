#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: storm.sh SECONDS
# A device holds its interrupt asserted and its driver never acknowledges it. The line
# is that of two network devices, one driven by udrv and one by the stock driver: both go
# on, and so does the machine.
. tests/vm/guest/lib.sh
. tests/vm/guest/hostile_lib.sh
seconds=$1
edu=0000:00:14.0
third=0000:00:18.0

load_modules
require 'bind' bind_device $bdf
require 'bind edu' bind_device $edu
require 'the driver starts' start_driver
require 'a peer' setup_peer
require 'link' up_udn0
third_if=$(basename /sys/bus/pci/devices/$third/net/*)
require 'link of the stock driver' up_udn0 "$third_if" 10.2.0.1/24
in_peer ip addr add 10.2.0.2/24 dev "$peer_if"
require 'answer to udrv' wait_reachable 10.0.0.2
require 'answer to the stock driver' wait_reachable 10.2.0.2
irq=$(cat /sys/bus/pci/devices/$edu/irq)
check_eq 'one line for all three' "$(cat /sys/bus/pci/devices/{$bdf,$third}/irq | tr '\n' ' ')" "$irq $irq "
mark_kernel_log

line_count() { awk -v irq="$irq:" '$1 == irq { print $2 + $3 }' /proc/interrupts; }
# The longest of 15 rounds of what somebody at the console does, in ms.
console_ms() {
    local n begun took worst=0
    for ((n = 0; n < 15; n++)); do
        begun=$(date +%s%N)
        /bin/true
        took=$((($(date +%s%N) - begun) / 1000000))
        [ $took -le $worst ] || worst=$took
    done
    echo $worst
}
# Pings of both neighbours, at once.
neighbours() { # NAME
    local begun count
    begun=$(line_count)
    count=$((seconds * 100))
    ping -q -c $count -i 0.005 -W 3 10.2.0.2 >/tmp/ping2 2>&1 &
    check_eq "$1: udrv's neighbour, lost of $count" "$(lost -c $count -i 0.005 -W 3 10.0.0.2)" 0
    wait $!
    check_eq "$1: the stock driver's, lost of $count" \
        "$(sed -n 's/^\([0-9]*\) packets transmitted, \([0-9]*\) received.*/\1 \2/p' /tmp/ping2 |
            { read -r sent received && echo $((sent - received)); })" 0
    interrupts=$(($(line_count) - begun))
}
neighbours 'quiet'
quiet=$interrupts
console=$(console_ms)
echo "console: at most $console ms, line: $quiet interrupts"

for mode in unread read poll msi; do
    phase "$mode"
    "$helpers/storm" $edu $mode $((seconds + 2)) >/tmp/storm 2>&1 &
    storm=$!
    require "$mode: asserted" wait_for 10 grep -q asserted /tmp/storm
    check_le "$mode: console, at most ms, quiet $console" "$(console_ms)" $((console * 4 + 1000))
    neighbours "$mode"
    # Each ping is four interrupts at most; the storm adds none that count.
    check_le "$mode: interrupts of the line, quiet $quiet" "$interrupts" $((quiet * 3 + 1000))
    wait $storm
    probed "$mode" /tmp/storm $?
    check_nothing_left $edu
done
check_eq "'nobody cared' in the kernel log" "$(dmesg | grep -c 'nobody cared')" 0
# A message that was on its way when its vector was freed is one that the kernel does not
# expect: it describes the interrupt that was, and goes on. (Seen once.)
late_message='irq [0-9]+, desc: |->(handle_irq|irq_data\.chip|action)\(\): |IRQ_NO[A-Z]+ set|unexpected IRQ trap'
check_eq 'other kernel messages' "$(other_messages "perf: interrupt took|$late_message")" ''
check 'edu works' "$udrv" run edu $edu
check 'ends well' stop_driver
"$udrv" unbind $bdf
"$udrv" unbind $edu
check 'rmmod' rmmod udrv_net udrv
summary
