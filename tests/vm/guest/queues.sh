#!/bin/bash
# SPDX-License-Identifier: MIT
# An interface of four queues, with a thread and a vector each, or with one thread for all.
. tests/vm/guest/lib.sh
bdf=0000:00:14.0
dev=udn0
queues=4
kills=10

start_null() { # QUEUES THREADS
    rm -f /tmp/null.out
    "$helpers/null_net" $bdf "$@" >/tmp/null.out 2>/tmp/null.err &
    null=$!
    wait_for 20 grep -q ready /tmp/null.out || { cat /tmp/null.err; return 1; }
}
end_null() { # SIGNAL: its status
    kill "-$1" $null || fail 'the driver was still there' "$(cat /tmp/null.err)"
    { wait $null; } 2>/dev/null
}
count() { ethtool -S $dev | sed -n "s/^ *$1: //p"; }
sysfs() { cat "/sys/class/net/$dev/$1"; }
combined() { ethtool -l $dev | sed -n "/$1/,\$s/^Combined:[[:space:]]*//p" | head -n 1; }
in_use() { same "$(count queues_in_use)" "$1"; }
# send PROCESSOR PACKETS: from one processor
send() { taskset -c "$1" "$helpers/queue_probe" send $dev "$2"; }
# On which processor each thread of the driver was last: "0 1 2 3"
thread_processors() { awk '{ sub(/.*\) /, ""); print $37 }' /proc/$null/task/*/stat | sort -n | tr '\n' ' '; }

load_modules
[ ! -e /sys/bus/pci/devices/$bdf/driver ] || echo $bdf >/sys/bus/pci/devices/$bdf/driver/unbind
echo udrv >/sys/bus/pci/devices/$bdf/driver_override
echo 1 >/sys/module/udrv/parameters/allow_unsafe_no_iommu
echo $bdf >/sys/bus/pci/drivers_probe
require 'bound' test -e /sys/bus/pci/devices/$bdf/udrv
sysctl -q net.ipv6.conf.default.disable_ipv6=1 # nothing is sent but by us

phase "$queues queues, $queues threads"
require 'the driver starts' start_null $queues $queues
check_eq 'the MTU, of a driver that takes 1400 bytes' "$(sysfs mtu)" 1400
check_eq 'a vector a queue' "$(grep -c '^queue \([0-9]\) by vector \1$' /tmp/null.out)" $queues
ip link set $dev up
require 'link up' wait_for 10 carrier $dev
mark_kernel_log
check_eq 'transmit queues' "$(find /sys/class/net/$dev/queues -name 'tx-*' | wc -l)" $queues
check_eq 'receive queues' "$(find /sys/class/net/$dev/queues -name 'rx-*' | wc -l)" $queues
check_eq 'ethtool -l: of at most' "$(combined maximums)" $queues
check_eq 'ethtool -l: in use' "$(combined Current)" $queues
for ((n = 0; n < queues; n++)); do
    check_eq "processor $n sends by queue" "$((16#$(sysfs queues/tx-$n/xps_cpus)))" $((1 << n))
done
check_eq 'a discipline a queue' "$(tc qdisc show dev $dev | grep -c 'parent :[1-9]')" $queues

phase 'each processor sends, and receives on the same queue'
packets=5000
: >/tmp/heard
"$helpers/queue_probe" listen $dev $queues $((queues * packets)) >/tmp/heard &
listener=$!
require 'somebody listens' wait_for 10 grep -q listening /tmp/heard
interrupts_before=$(attr interrupts)
for ((n = 0; n < queues; n++)); do
    check "processor $n sends" send $n $packets
done
all_received() {
    local n sum=0
    for ((n = 0; n < queues; n++)); do sum=$((sum + $(count "rx_queue_${n}_packets"))); done
    [ $sum -ge $((queues * packets)) ]
}
check 'all came back' wait_for 20 all_received
printf '%-10s %12s %12s %12s\n' processor 'sent' 'received' 'with hash'
kill -TERM $listener 2>/dev/null # unless it has heard all
wait $listener
for ((n = 0; n < queues; n++)); do
    heard=$(sed -n "s/^queue $n hash 0x5100000$n: //p" /tmp/heard)
    printf '%-10s %12s %12s %12s\n' $n "$(count tx_queue_${n}_packets)" "$(count rx_queue_${n}_packets)" "$heard"
    check_eq "queue $n: sent" "$(count tx_queue_${n}_packets)" $packets
    check_eq "queue $n: received" "$(count rx_queue_${n}_packets)" $packets
    check_eq "queue $n: marked with its number and the chip's hash" "$heard" $packets
done
check_eq 'in sum: sent' "$(sysfs statistics/tx_packets)" $((queues * packets))
check_eq 'in sum: received' "$(sysfs statistics/rx_packets)" $((queues * packets))
check_eq 'in sum: bytes' "$(sysfs statistics/rx_bytes)" "$(sysfs statistics/tx_bytes)"
check_eq 'no hardware interrupt' "$(attr interrupts)" "$interrupts_before"
check_eq 'a thread a processor' "$(for t in /proc/$null/task/*; do
    grep -h Cpus_allowed_list "$t/status"; done | awk '{ print $2 }' | grep -x '[0-3]' | sort | tr '\n' ' ')" '0 1 2 3 '
echo "processors of its threads: $(thread_processors)"

phase 'fewer queues, and all again'
index=$(sysfs ifindex)
check 'ethtool -L 2' ethtool -L $dev combined 2
check 'the driver knows' wait_for 10 in_use 2
check_eq 'still up, and the same' "$(sysfs ifindex) $(sysfs operstate)" "$index up"
before=$(($(count tx_queue_2_packets) + $(count tx_queue_3_packets)))
for ((n = 0; n < queues; n++)); do send $n 100; done
check_eq 'the others are not used' "$(($(count tx_queue_2_packets) + $(count tx_queue_3_packets)))" "$before"
check 'ethtool -L refuses none' not ethtool -L $dev combined 0
check 'ethtool -L refuses more than there are' not ethtool -L $dev combined $((queues + 1))
check 'ethtool -L 4' ethtool -L $dev combined $queues
check 'the driver knows' wait_for 10 in_use $queues
before=$(count tx_queue_3_packets)
send 3 100
check_eq 'the last one is used again' "$(count tx_queue_3_packets)" $((before + 100))
check_quiet_kernel 'the kernel has nothing to say'

phase "killed under traffic, $kills times"
flood() { while :; do send "$1" 1000; done; }
floods=()
for ((n = 0; n < queues; n++)); do
    flood $n >/dev/null 2>&1 &
    floods+=($!)
done
numbers=($queues 16 2 $queues 1 3) # of queues, of one driver after the other
kept=0 again=0 idle=0 moving=0
for ((i = 0; i < kills; i++)); do
    sleep 0.$((RANDOM % 5))
    end_null KILL
    wait_for 10 session_over && idle=$((idle + 1))
    [ "$(sysfs ifindex)" != "$index" ] || kept=$((kept + 1))
    start_null "${numbers[i % ${#numbers[@]}]}" $((1 + i % queues)) && again=$((again + 1))
    wait_for 10 carrier $dev
    before=$(sysfs statistics/rx_packets)
    more() { [ "$(sysfs statistics/rx_packets)" -gt "$before" ]; }
    wait_for 10 more && moving=$((moving + 1))
done
check_eq 'the session was over' $idle $kills
check_eq 'the interface was kept' $kept $kills
check_eq 'the next driver came' $again $kills
check_eq 'packets moved' $moving $kills

phase 'a driver with another number of queues'
end_null TERM
require 'two queues' start_null 2 2
check_eq 'at most' "$(combined maximums)" 2
check 'the driver knows' wait_for 10 in_use 2
end_null TERM
require 'sixteen queues, one thread' start_null 16 1
check_eq 'as many as the interface has' "$(combined maximums)" $queues
check_eq 'all by one vector' "$(grep -c '^queue [0-9]* by vector 0$' /tmp/null.out)" $queues
check 'link up' wait_for 10 carrier $dev
before=$(sysfs statistics/rx_packets)
check 'packets move' wait_for 10 more

phase 'a driver that hangs'
end_null TERM
require 'four again' start_null $queues $queues
wait_for 10 carrier $dev
violations=$(attr violations)
violated() { [ "$(attr violations)" -gt "$violations" ]; }
kill -STOP $null
check 'its session ends: no transmit progress' wait_for 30 violated
kill -CONT $null
kill "${floods[@]}"
{ wait "${floods[@]}" $null; } 2>/dev/null
check_eq 'violations' "$(attr violations)" $((violations + 1))
check_eq 'nothing left' "$(attr state) $(attr owner) $(attr pinned_bytes) $(attr mappings) $(irq_actions)" 'idle 0 0 0 0'
check_eq 'other kernel messages' "$(new_kernel_messages |
    grep -vE 'broke the protocol: no transmit progress|no IOMMU|link becomes ready' | tail -n 3)" ''
echo $bdf >/sys/bus/pci/drivers/udrv/unbind
check 'rmmod' rmmod udrv_net udrv
summary
