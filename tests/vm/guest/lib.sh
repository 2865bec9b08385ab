# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# What the guest sides of the tests share. Source it, check ..., and end with
# `summary`, which exits.
set -u
build=${UDRV_BUILD:-build}
udrv=$build/bin/udrv
drivers=$build/libexec/udrv # programs of drivers, and their PCI ids
helpers=$build/tests/helpers
bdf=0000:00:10.0      # driven by udrv, 10.0.0.1
peer_bdf=0000:00:11.0 # the stock driver, in namespace `peer`, 10.0.0.2
nic=e1000             # the driver of $bdf
checks=0
failures=0
declare -A driver_pid

# --- Checks ----------------------------------------------------------------

ok() { checks=$((checks + 1)); echo "ok $*"; }
fail() { checks=$((checks + 1)); failures=$((failures + 1)); echo "FAIL $1: ${*:2}"; }

# check NAME COMMAND...: what it printed is shown if it fails.
check() {
    local name=$1
    shift
    if "$@" >/tmp/check.out 2>&1; then
        ok "$name"
    else
        fail "$name" "$* gave status $?: $(tail -n 5 /tmp/check.out | tr '\n' '|')"
    fi
}
check_eq() { # NAME GOT WANTED
    if [ "$2" = "$3" ]; then ok "$1 ($2)"; else fail "$1" "got '$2', wanted '$3'"; fi
}
check_ge() { # NAME GOT LEAST
    if [ "${2:-x}" -ge "$3" ] 2>/dev/null; then ok "$1 ($2)"; else fail "$1" "got '$2', wanted $3 or more"; fi
}
check_le() { # NAME GOT MOST
    if [ "${2:-x}" -le "$3" ] 2>/dev/null; then ok "$1 ($2)"; else fail "$1" "got '$2', wanted $3 or less"; fi
}
# refused NAME STATUS PATTERN COMMAND...: it fails so, with this one line on stderr.
refused() {
    local name=$1 wanted=$2 pattern=$3 status=0
    shift 3
    "$@" >/tmp/refused.out 2>/tmp/refused.err || status=$?
    if [ $status != "$wanted" ]; then
        fail "$name" "status $status, wanted $wanted: $(head -n 2 /tmp/refused.err)"
    elif [ "$(wc -l </tmp/refused.err)" != 1 ]; then
        fail "$name" "$(wc -l </tmp/refused.err) lines: $(head -n 3 /tmp/refused.err | tr '\n' '|')"
    elif ! grep -qE "^udrv(-[a-z0-9_]+)?: .*$pattern" /tmp/refused.err; then
        fail "$name" "it said: $(cat /tmp/refused.err)"
    elif [ -s /tmp/refused.out ]; then
        fail "$name" "it said on standard output: $(head -n 1 /tmp/refused.out)"
    else
        ok "$name: $(cat /tmp/refused.err)"
    fi
}
# The rest makes no sense without this.
require() {
    local before=$failures
    check "$@"
    [ "$failures" = "$before" ] || summary
}
summary() {
    ! debug_kernel || check_debug_kernel
    echo "$((checks - failures)) of $checks checks passed"
    [ "$failures" = 0 ] && [ "$checks" -gt 0 ]
    exit
}

# wait_for SECONDS COMMAND...: seconds of an idle host; a busy one gets three times as
# many, since no test is about the time, and a debug kernel twelve times.
wait_for() {
    local end
    debug_kernel && end=12 || end=3
    end=$((SECONDS + end * $1 + 1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.1
    done
}
not() { ! "$@"; }
same() { [ "$1" = "$2" ]; }
phase() { echo "--- $* (${SECONDS} s)"; }

# New kernel messages since the last call; mark_kernel_log forgets what there is.
kernel_lines=0
mark_kernel_log() { kernel_lines=$(dmesg | wc -l); }
# Not that the host was too busy to run the guest.
new_kernel_messages() {
    dmesg | tail -n +$((kernel_lines + 1)) | grep -vE 'hrtimer: interrupt took|clocksource:|used greatest stack depth'
}
check_quiet_kernel() {
    local new
    new=$(new_kernel_messages)
    [ -z "$new" ] && ok "$1" || fail "$1" "the kernel said: $(head -n 3 <<<"$new" | tr '\n' '|')"
    mark_kernel_log
}

# --- Debug kernel (scripts/debug-kernel) ------------------------------------

kmemleak=/sys/kernel/debug/kmemleak
debug_kernel() { [ -e $kmemleak ]; }
# What it found. It also looks for leaks, twice, since an object that is only just in
# somebody's register looks lost; and at none younger than 5 s.
check_debug_kernel() {
    local errors=/sys/kernel/debug/dma-api/error_count
    phase 'what the debug kernel found'
    check_eq 'debug kernel: splats' "$(dmesg | grep -E \
        'BUG:|WARNING:|KASAN|UBSAN|ODEBUG|possible .*lock|inconsistent lock|DMA-API: .*(device driver|error)' |
        head -n 5)" ''
    check_eq 'debug kernel: DMA errors' "$(cat $errors)" 0
    sleep 6
    echo scan >$kmemleak
    echo scan >$kmemleak
    leaks >/tmp/leaks
    check_eq 'debug kernel: leaks' "$(grep -c '^  comm' /tmp/leaks)" 0
    head -n 40 /tmp/leaks
}
# Not those of the boot and of ACPI: this kernel does not look into ACPI's memory. (Of
# unloaded modules a leak has addresses only, so it is no use to look for their names.)
not_ours='comm "swapper/| acpi_'
leaks() { awk -v RS='unreferenced object ' -v not_ours="$not_ours" 'NR > 1 && $0 !~ not_ours' $kmemleak; }

# --- udrv -------------------------------------------------------------------

attr() { cat "/sys/bus/pci/devices/${2:-$bdf}/udrv/$1"; } # ATTRIBUTE [BDF]
alive() { kill -0 "$1" 2>/dev/null; }
running() { same "$(attr state "${1:-$bdf}")" running; } # [BDF]
session_over() { same "$(attr state "${1:-$bdf}")" idle; } # [BDF]
load_modules() {
    insmod "$build/modules/udrv.ko"
    insmod "$build/modules/udrv_net.ko"
}
load_all_modules() { # [PARAMETER of udrv_blk]...
    load_modules
    insmod "$build/modules/udrv_blk.ko" "$@"
}
bus_master() { # [BDF]: 1 or 0
    echo $((0x$(setpci -s "${1:-$bdf}" COMMAND) >> 2 & 1))
}
irq_actions() { grep -c "udrv-${1:-$bdf}" /proc/interrupts; } # [BDF]

# run_driver DRIVER BDF [OPTION]...: returns when it says that it is ready, which with
# disks that answer late may take a while.
run_driver() {
    rm -f "/tmp/driver-$2.out"
    "$udrv" run "$1" "$2" --stats "/tmp/stats-$2" "${@:3}" >"/tmp/driver-$2.out" 2>"/tmp/driver-$2.err" &
    driver_pid[$2]=$!
    wait_for 40 grep -q ready "/tmp/driver-$2.out" || { tail -n 3 "/tmp/driver-$2.err"; return 1; }
}
start_driver() { run_driver "$nic" "${1:-$bdf}" "${@:2}"; } # [BDF [OPTION]...]
# How many lines of the driver and its supervisor are of PATTERN; how often it was restarted.
said() { grep -c "$1" "/tmp/driver-${2:-$bdf}.err"; } # PATTERN [BDF]
restarts() { said 'starting it again' "${1:-$bdf}"; } # [BDF]
stop_driver() { # [BDF [SIGNAL]]: returns its exit status
    local pid=${driver_pid[${1:-$bdf}]}
    kill "-${2:-TERM}" "$pid"
    { wait "$pid"; } 2>/dev/null
}

# --- QEMU's monitor, on a serial port of the machine (monitor_options in lib.sh) ------

open_monitor() {
    local port
    for port in /sys/class/virtio-ports/*; do
        if [ "$(cat "$port/name")" = udrv.monitor ]; then
            exec 9<>"/dev/${port##*/}"
            return
        fi
    done
    return 1
}
# monitor COMMAND: what it answers. The line that ends the answer is that of a second
# command, which prints a number that is not in its text.
monitor() {
    local line
    printf '%s\nprint 0x7000+0x777\n' "$1" >&9
    while read -r -t 30 line <&9; do
        line=${line%$'\r'}
        [ "$line" != 0x7777 ] || return 0
        echo "$line"
    done
    return 1
}

# --- Network ----------------------------------------------------------------

in_peer() { ip netns exec peer "$@"; }
carrier() { same "$(cat "/sys/class/net/${1:-udn0}/carrier")" 1; }
no_carrier() { same "$(cat "/sys/class/net/${1:-udn0}/carrier")" 0; }

# up_udn0 [NAME ADDRESS]
up_udn0() {
    ip addr replace "${2:-10.0.0.1/24}" dev "${1:-udn0}"
    ip link set "${1:-udn0}" up
    wait_for 10 carrier "${1:-udn0}"
}
# The device at peer_bdf, with the stock driver, becomes $peer_if in `peer`.
setup_peer() {
    local modules=/sys/bus/pci/devices/$peer_bdf
    modprobe "$(cat $modules/modalias)"
    for modules in "$modules"/virtio*/modalias; do # virtio is a bus of its own
        [ ! -e "$modules" ] || modprobe "$(cat "$modules")"
    done
    peer_if=$(ls -d /sys/bus/pci/devices/$peer_bdf/{net,virtio*/net}/* 2>/dev/null)
    peer_if=${peer_if##*/}
    ip netns add peer
    ip link set "$peer_if" netns peer
    in_peer ip addr add 10.0.0.2/24 dev "$peer_if"
    in_peer ip link set lo up
    in_peer ip link set "$peer_if" up
    wait_for 10 peer_carrier
}
peer_carrier() { in_peer grep -q 1 "/sys/class/net/$peer_if/carrier"; }
# The driver of $bdf serves: it and the peer reach each other.
require_peer() {
    require 'a peer' setup_peer
    require 'link up' up_udn0
    require 'first answer' wait_reachable
}
reachable() { ping -c 1 -W 1 "${1:-10.0.0.2}"; }
# The model of the chip holds back what it receives for a second after a change
# of its receive control, so the first packets may take that long.
wait_reachable() { wait_for 15 reachable "$@"; }

# lost PING-OPTION...: of "N packets transmitted, M received", N - M
lost() {
    ping -q "$@" >/tmp/ping.out 2>&1
    sed -n 's/^\([0-9]*\) packets transmitted, \([0-9]*\) received.*/\1 \2/p' /tmp/ping.out |
        { read -r sent received && echo $((sent - received)); }
}
serve_iperf() { in_peer iperf3 -s -D --forceflush >/dev/null 2>&1; sleep 0.5; }
# A number of iperf3's JSON report: json_sum SECTION FIELD FILE
json_sum() { sed -n "/\"$1\"/,/}/s/.*\"$2\":[^0-9]*\([0-9]*\).*/\1/p" "$3" | tail -n 1; }
# Checksums of TCP and UDP that the stacks here and there found wrong, where they look
# themselves because the device does not.
wrong_sums() {
    { cat /proc/net/snmp; in_peer cat /proc/net/snmp; } |
        awk '/^(Tcp|Udp):/ { for (i = 2; i <= NF; i++) if ($1 in row && row[$1, i] == "InCsumErrors") n += $i
            for (i = 2; i <= NF; i++) row[$1, i] = $i
            if ($1 in row) delete row[$1]; else row[$1] }
            END { print n + 0 }'
}
# From the counters that a driver wrote: stat FIELD [BDF]
stat() { sed -n "s/.*\"$1\": *\([0-9.e+-]*\).*/\1/p" "/tmp/stats-${2:-$bdf}"; }
write_stats() { # [BDF]: has the driver write them now
    : >"/tmp/stats-${1:-$bdf}"
    kill -USR1 "${driver_pid[${1:-$bdf}]}"
    wait_for 10 test -s "/tmp/stats-${1:-$bdf}"
}
# The chip agrees with what was last wanted of the interface.
applied() { [ "$(cat "/sys/class/net/${1:-udn0}/udrv/applied")" = "$(cat "/sys/class/net/${1:-udn0}/udrv/wanted")" ]; }
# strangers TCPDUMP-OPTION...: how many of three frames of the peer for another address are seen
strangers() {
    local stranger=02:aa:bb:cc:dd:ee
    tcpdump -n -e -l --immediate-mode -i udn0 "$@" ether proto 0x88b5 >/tmp/tcpdump \
        2>/tmp/tcpdump.err &
    wait_for 30 grep -q listening /tmp/tcpdump.err
    check 'the filter is applied' wait_for 10 applied >&2
    sleep 1.2 # a chip may take a moment after that
    for _ in 1 2 3; do in_peer "$helpers/net_probe" frame "$peer_if" $stranger hello; done
    # This one is for us: when it is seen, the others were, or will not be.
    in_peer "$helpers/net_probe" frame "$peer_if" "$(cat /sys/class/net/udn0/address)" last
    wait_for 10 grep -q "$(cat /sys/class/net/udn0/address)" /tmp/tcpdump || echo deaf
    kill $!
    wait $! 2>/dev/null
    grep -c $stranger /tmp/tcpdump
}
# setup_vlan: VLAN 5 on both sides, 10.5.0.1 here and 10.5.0.2 at the peer
setup_vlan() {
    modprobe 8021q
    ip link add link udn0 name udn0.5 type vlan id 5
    ip addr add 10.5.0.1/24 dev udn0.5
    ip link set udn0.5 up
    in_peer ip link add link "$peer_if" name vlan5 type vlan id 5
    in_peer ip addr add 10.5.0.2/24 dev vlan5
    in_peer ip link set vlan5 up
}

slab_kib() { awk '/^SUnreclaim:/ { print $2 }' /proc/meminfo; } # that the kernel cannot do without
now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }
# percentile P FILE, of numbers, one a line
percentile() { sort -n "$2" | awk -v p="$1" '{ v[NR] = $1 } END { i = int(NR * p / 100 + 0.999); print v[i < 1 ? 1 : i] }'; }
outages() { # NAME FILE
    printf 'outage %-10s %5d times: median %5d ms, p99 %5d ms, longest %5d ms\n' "$1" \
        "$(wc -l <"$2")" "$(percentile 50 "$2")" "$(percentile 99 "$2")" "$(percentile 100 "$2")"
}
chip_stat() { ethtool -S udn0 | sed -n "s/^ *$1: //p"; }

# send_file FILE FROM TO ADDRESS PORT: a copy by TCP, then the two sums. FROM and TO
# are `here` or `peer`. Sets $sums to "equal" or both sums.
here() { "$@"; }
peer() { in_peer "$@"; }
send_file() {
    local a b server bytes limit=${send_limit_s:-60}
    ! debug_kernel || limit=600
    rm -f /tmp/received
    "$3" timeout $limit "$helpers/net_probe" receive "$5" >/tmp/received &
    server=$!
    "$2" timeout $limit "$helpers/net_probe" send "$4" "$5" <"$1" >/tmp/send.out 2>&1
    wait $server 2>/dev/null
    a=$(sha256sum <"$1")
    b=$(sha256sum </tmp/received)
    sums="$a $b"
    if [ "$a" = "$b" ]; then
        sums=equal
    else
        bytes=$(wc -c </tmp/received)
        ! cmp -s -n "$bytes" "$1" /tmp/received || sums="cut off after $bytes bytes, right so far"
    fi
}
