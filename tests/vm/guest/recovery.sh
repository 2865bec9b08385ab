#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: recovery.sh KILLS HANGS UPGRADES
# Drivers under their supervisors are killed at random moments, stopped, sent into busy
# loops and upgraded: e1000 under a checksummed TCP stream, AHCI and IDE under fio
# with crc32c, all at the same time. Nothing is lost. Prints the outages.
. tests/vm/guest/disk_lib.sh
. tests/vm/guest/outage_lib.sh
# A copy of the programs, which an upgrade can replace.
installed=/tmp/installed
mkdir -p $installed/bin $installed/libexec
cp "$udrv" $installed/bin
cp -r "$drivers" $installed/libexec
programs=$drivers
udrv=$installed/bin/udrv
drivers=$installed/libexec/udrv
kills=$1
hangs=$2
upgrades=$3
deadline_ms=1000
slow=1 # how much longer drivers live between two kills
window_s=30 # a disk's requests wait so long for a driver
! debug_kernel || { deadline_ms=5000; slow=5; window_s=300; }
ahci=0000:00:18.0
ide=0000:00:01.1
declare -A name=([$bdf]=e1000 [$ahci]=ahci [$ide]=ide)
options=(--restart --deadline $deadline_ms --restart-limit 1000)

locked() { sed -n 's/^VmLck:[ \t]*//p' "/proc/$1/status"; } # PID
children() { same "$(ps -o comm= --ppid "${driver_pid[$1]}" | sort | xargs)" "$2"; } # BDF NAMES

load_all_modules recovery_window_s=$window_s
for dev in $bdf $ahci $ide; do
    require "bind ${name[$dev]}" "$udrv" bind --unsafe-no-iommu $dev
done
require 'e1000 starts' start_driver $bdf "${options[@]}"
require 'ahci starts' run_driver ahci $ahci "${options[@]}"
require 'ide starts' run_driver ide $ide "${options[@]}"
require 'a peer' setup_peer
ip link set udn0 mtu 1400
ip link set udn0 address 52:54:00:77:00:01
require 'link up' up_udn0
ip addr add 10.9.9.9/32 dev udn0
ip route add 10.8.0.0/16 via 10.0.0.2 dev udn0
tc qdisc replace dev udn0 root pfifo limit 500
ip maddr add 33:33:00:00:77:01 dev udn0
ethtool -K udn0 rxvlan off txvlan off
require 'first answer' wait_reachable
interface() { # what has to survive
    cat /sys/class/net/udn0/{ifindex,mtu,address}
    ip -4 -o addr show dev udn0
    ip route show dev udn0
    tc qdisc show dev udn0
    ip maddr show dev udn0
    ethtool -k udn0
}
wanted=$(interface)
mkfs.ext4 -q /dev/udb0 && mount /dev/udb0 $mnt
mark_kernel_log

phase 'in the sandbox'
for dev in $bdf $ahci $ide; do
    status=/proc/$(attr owner $dev)/status
    check_eq "${name[$dev]}: capabilities" "$(grep -cE 'Cap(Inh|Prm|Eff|Amb):.0{16}' "$status")" 4
    check_eq "${name[$dev]}: user" "$(sed -n 's/^Uid:\t//p' "$status" | tr '\t' ' ')" '65534 65534 65534 65534'
    check_eq "${name[$dev]}: no new privileges, filter" \
        "$(sed -n 's/^\(NoNewPrivs\|Seccomp\):\t//p' "$status" | tr '\n' ' ')" '1 2 '
    check_eq "${name[$dev]}: files that it does not need" \
        "$(find "/proc/$(attr owner $dev)/fd" -type l -printf '%l\n' |
            grep -cvE '/dev/null|/tmp/(driver|stats)-|/dev/udrv/|anon_inode:(\[udrv-irq\]|\[io_uring\]|\[signalfd\])|pipe:|/dev/port')" 0
    # The supervisor holds none of the device's, but what sysfs says of it.
    supervisor=${driver_pid[$dev]}
    check_eq "${name[$dev]}: files of the device that the supervisor holds" \
        "$(find "/proc/$supervisor/fd" -type l -printf '%l\n' | grep -vE '/udrv/state$|^/tmp/installed/|udrv-heartbeat' | grep -c udrv)" 0
done

# ---- The loads, each until /tmp/stop is there ------------------------------------
streams() { # one TCP stream after the other, each with its sum
    local n=0 wrong=0
    head -c 24M /dev/urandom >/tmp/data
    until [ -e /tmp/stop ]; do
        # With a driver that dies every few seconds 24 MiB take about one minute.
        send_limit_s=600 send_file /tmp/data here peer 10.0.0.2 5601
        [ "$sums" = equal ] || { wrong=$((wrong + 1)); echo "$sums"; cat /tmp/send.out; }
        n=$((n + 1))
    done
    echo "$n $wrong" >/tmp/streams
}
start_loads() {
    rm -f /tmp/stop
    streams & load_streams=$!
    verified ahci $mnt/v & load_ahci=$!
    verified ide /dev/udb1 & load_ide=$!
}
stop_loads() { # TITLE
    touch /tmp/stop
    wait $load_streams $load_ahci $load_ide
    read -r n wrong </tmp/streams
    check_ge "$1: TCP streams" "$n" 1
    check_eq "$1: of them wrong" "$wrong" 0
    for which in ahci ide; do
        read -r n status </tmp/verified-$which
        check_ge "$1: $which: rounds of fio" "$n" 1
        check_eq "$1: $which: status of fio" "$status" 0
        [ "$status" = 0 ] || head -n 5 /tmp/fio-$which
    done
}

let_live() { sleep "$(((RANDOM % 2 * 10 + RANDOM % 5 + 5) * slow / 10)).$((RANDOM % 5 + 5))"; }
kill_phase() {
    phase "kill -9 at random moments, $kills times each"
    start_loads
    in_peer ping -n -D -i 0.02 10.0.0.1 >/tmp/pings 2>/dev/null & pings=$!
    latencies ahci /dev/udb0 & reads_ahci=$!
    latencies ide /dev/udb1 & reads_ide=$!
    # An outage before they have begun to read is not seen.
    check 'reads of ahci begin' wait_for 120 latencies_begun ahci
    check 'reads of ide begin' wait_for 120 latencies_begun ide
    for dev in $bdf $ahci $ide; do kill_often "$kills" "/tmp/kills-${name[$dev]}" $dev let_live & killers+=($!); done
    wait "${killers[@]}"
    for dev in $bdf $ahci $ide; do check "${name[$dev]} runs again" wait_for 20 running $dev; done
    wait_for 20 reachable
    sleep 1 # the reads that the last kill delayed are in the log
    kill $pings
    pkill -x ping # it has a mount namespace of its own, and in it the disk's filesystem
    kill -INT $reads_ahci $reads_ide 2>/dev/null
    pkill -INT -f write_lat_log
    wait $pings $reads_ahci $reads_ide 2>/dev/null
    stop_loads kills
    for dev in $bdf $ahci $ide; do
        check_ge "${name[$dev]}: started again" "$(restarts $dev)" "$kills"
        # On a busy host a driver may miss its deadline just before it would be killed.
        check_ge "${name[$dev]}: and why" "$(said 'killed by SIGKILL\|no progress for' $dev)" "$kills"
        echo "${name[$dev]}: $(said 'no progress for' $dev) missed the deadline of $deadline_ms ms"
        check_eq "${name[$dev]}: violations" "$(attr violations $dev)" 0
        # The driver, and its successor.
        check "${name[$dev]}: two children of its supervisor, no dead one" \
            wait_for 20 children $dev "udrv-${name[$dev]} udrv-successor"
        echo "${name[$dev]}: locked memory of the driver: $(locked "$(attr owner $dev)"), of its successor: $(locked "$(pgrep -x udrv-successor -P "${driver_pid[$dev]}")")"
    done
    check_eq 'interface: index, MTU, MAC, addresses, multicast, routes, qdisc, features' "$(interface)" "$wanted"
    check_quiet_kernel 'kills: no kernel message'
    answer_outages /tmp/pings /tmp/kills-e1000 >/tmp/outage-e1000
    for which in ahci ide; do
        read_outages /tmp/lat-$which /tmp/kills-$which >/tmp/outage-$which
    done
    for which in e1000 ahci ide; do
        # Where starts take seconds, many a kill hits a driver that does not serve yet.
        check_ge "outages of $which seen" "$(wc -l </tmp/outage-$which)" $((kills * (slow == 1 ? 9 : 5) / 10))
        outages $which /tmp/outage-$which
    done
    for which in ahci ide; do
        check_le "reads: the longest outage of $which is within the recovery window, ms" \
            "$(percentile 100 /tmp/outage-$which)" $((window_s * 1000))
    done
}
[ $kills = 0 ] || kill_phase

hang() {
    phase "hangs: $hangs times, half SIGSTOP, half a busy loop"
    ways=(stop loop)
    start_loads
    noticed=0 late=0 asked=0
    for ((i = 0; i < hangs; i++)); do
        devs=($bdf $ahci $ide)
        dev=${devs[i % 3]}
        wait_for 20 running $dev
        sleep 1.2
        pid=$(attr owner $dev)
        begun=$(now_ms)
        make_hang "$pid" "${ways[i / 3 % 2]}" || continue
        (timeout 10 ip link show udn0 && timeout 10 ethtool udn0 && timeout 30 sync -f $mnt) >/dev/null 2>&1 &
        asking=$!
        wait_for 30 not alive "$pid" && noticed=$((noticed + 1))
        took=$(($(now_ms) - begun))
        [ $took -le $((deadline_ms + 1000)) ] || late=$((late + 1))
        echo $took >>/tmp/noticed
        wait $asking && asked=$((asked + 1))
    done
    check_eq 'noticed' $noticed $hangs
    check_eq 'ip, ethtool and sync came back' $asked $hangs
    echo "noticed after: median $(percentile 50 /tmp/noticed) ms, longest $(percentile 100 /tmp/noticed) ms, $late of $hangs later than the deadline and a second"
    for dev in $bdf $ahci $ide; do wait_for 20 running $dev; done
    check_ge 'the supervisors said why' "$(cat /tmp/driver-*.err | grep -c 'no progress for')" $hangs
    stop_loads hangs
    check_quiet_kernel 'hangs: no kernel message'
}
[ $hangs = 0 ] || hang

upgrade() {
    phase "upgrade, $upgrades times each"
    start_loads
    done=0
    for ((i = 0; i < upgrades; i++)); do
        for dev in $bdf $ahci $ide; do
            program=udrv-${name[$dev]}
            cp "$programs/$program" $drivers/new && mv $drivers/new "$drivers/$program"
            wait_for 20 running $dev
            sleep 0.3
            timeout 70 "$udrv" upgrade $dev >>/tmp/upgrades 2>&1 && done=$((done + 1))
        done
    done
    check_eq 'replaced' $done $((3 * upgrades))
    for dev in $bdf $ahci $ide; do
        wait_for 20 running $dev
        check_eq "${name[$dev]}: runs the new program" "$(readlink "/proc/$(attr owner $dev)/exe")" "$drivers/udrv-${name[$dev]}"
    done
    sed -n 's/.*without a driver for \([0-9]*\) ms/\1/p' /tmp/upgrades >/tmp/outage-upgrade
    outages upgrade /tmp/outage-upgrade
    stop_loads upgrades
    check_eq 'the interface is as it was' "$(interface)" "$wanted"
    check_quiet_kernel 'upgrades: no kernel message'
}
[ $upgrades = 0 ] || upgrade

phase 'the end'
check 'unmount' umount $mnt
check_eq 'in other namespaces, too' "$(cat /proc/[0-9]*/mounts 2>/dev/null | grep -c udb0)" 0
mark_kernel_log # of which it said that
check 'e2fsck' e2fsck -fn /dev/udb0
for dev in $bdf $ahci $ide; do
    check "${name[$dev]}: SIGTERM to the supervisor: status 0" stop_driver $dev
    check_eq "${name[$dev]}: nobody left" "$(attr owner $dev)" 0
done
# A driver that cannot start is not started for ever; one that is unbound neither.
"$udrv" unbind $bdf
"$udrv" unbind $ide # else the kernel says, at the end of its window, that no driver came
"$udrv" run e1000 $bdf --restart >/dev/null 2>/tmp/err
check_eq 'not bound: status' $? 1
check_eq 'not bound: lines' "$(wc -l </tmp/err)" 1
check 'upgrade without a driver is refused' not "$udrv" upgrade $ahci

phase 'short lives'
require 'ahci starts' run_driver ahci $ahci --restart --restart-limit 3
supervisor=${driver_pid[$ahci]}
last=0
for ((i = 0; i < 400; i++)); do
    alive $supervisor || break
    pid=$(attr owner $ahci)
    [ "$pid" = 0 ] || [ "$pid" = $last ] || { kill -KILL "$pid" && last=$pid; }
    sleep 0.05
done
wait $supervisor
check_eq 'the supervisor gives up, status' $? 1
check_eq 'after growing delays, ms' \
    "$(sed -n 's/.*starting it again in \([0-9]*\) ms/\1/p' "/tmp/driver-$ahci.err" | tail -n 3 | tr '\n' ' ')" '10 20 40 '
check_eq 'and says why' "$(said 'it died 4 times within a second of its start' $ahci)" 1
require 'ahci starts' run_driver ahci $ahci --restart
sleep 1.2
kill -TERM "$(attr owner $ahci)"
check 'a driver that leaves is started again, and it says why' wait_for 10 said 'ended: exit status 0' $ahci
wait_for 20 running $ahci
# Without the one that waits for its turn it goes on, too.
waits() { wait_for 20 pgrep -x udrv-successor; }
another_serves() { running $ahci && [ "$(attr owner $ahci)" != "$pid" ]; }
check 'a successor' waits
pid=$(attr owner $ahci)
kill -KILL "$(pgrep -x udrv-successor)" "$pid"
check 'both are killed: another serves' wait_for 20 another_serves
# Signals that are meant for whoever has the name are not kept for its turn.
check 'a successor' waits
restarted=$(said 'starting it again in [1-9]' $ahci)
pkill -USR1 -x udrv-successor
pkill -HUP -x udrv-successor
pid=$(attr owner $ahci)
kill -KILL "$pid"
check 'signals before its turn are forgotten' wait_for 20 another_serves
check_eq 'it was not started twice' "$(said 'starting it again in [1-9]' $ahci)" $restarted
# A program that cannot be executed is no upgrade.
check 'a successor' waits
pid=$(attr owner $ahci)
mv $drivers/udrv-ahci $drivers/away
kill -HUP ${driver_pid[$ahci]}
check 'the old program goes on, and says why' wait_for 20 said 'the old program goes on' $ahci
check_eq 'which nobody noticed' "$(attr owner $ahci)" "$pid"
check 'with a successor' waits
kill -KILL "$pid"
check 'which takes over' wait_for 20 another_serves
mv $drivers/away $drivers/udrv-ahci
check 'it ends well' stop_driver $ahci
check 'nobody waits for a turn' not pgrep -x udrv-successor
require 'ahci starts' run_driver ahci $ahci --restart
check 'with a successor' wait_for 20 pgrep -x udrv-successor
kill -KILL ${driver_pid[$ahci]}
wait ${driver_pid[$ahci]} 2>/dev/null
check 'without a supervisor there is neither for long' wait_for 20 not pgrep -x 'udrv-(ahci|successor)'
check 'start without a supervisor' run_driver ahci $ahci
check 'upgrade without a supervisor is refused' not "$udrv" upgrade $ahci
stop_driver $ahci
check_quiet_kernel 'no kernel message at the end'
summary
