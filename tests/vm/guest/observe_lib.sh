# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Source it behind lib.sh. Tracepoints, by hand and by the lines of docs/observing.md, which are
# run as they stand there.
tracefs=/sys/kernel/tracing

# trace_on EVENT...: each is SYSTEM or SYSTEM/EVENT
trace_on() {
    local each
    echo >$tracefs/trace
    for each in "$@"; do
        echo 1 >"$tracefs/events/$each/enable" || return
    done
}
# All of udrv's off again. What they showed is in /tmp/traced; fails if some of it was lost.
trace_off() {
    local each
    for each in "$tracefs"/events/udrv*/enable; do echo 0 >"$each"; done
    cat $tracefs/trace >/tmp/traced
    grep -E '^# entries-in-buffer/entries-written: ([0-9]+)/\1 ' /tmp/traced
}
# How many there were of EVENT, and the sum of one of its fields.
traced() { grep -cE ": $1" /tmp/traced; } # EVENT: FIELD=VALUE...
traced_sum() { # EVENT FIELD
    sed -nE "s/.*: $1: .*$2=([0-9]+).*/\1/p" /tmp/traced | awk '{ n += $1 } END { print n + 0 }'
}

# The tracepoints of SYSTEM with their fields, as the page has them and as the kernel has them.
tracepoints_of_page() {
    sed -nE "s/^\| \`$1:([a-z_]+)\` \| ([^|]*) \| .*/\1 \2/p" docs/observing.md | tr -d '\`,' | sort
}
tracepoints_of_kernel() {
    local event
    for event in "$tracefs/events/$1"/*/; do
        echo "$(basename "$event")" "$(sed -nE 's/^\tfield:.* ([a-z_]+)(\[[0-9]+\])?;\toffset.*/\1/p' \
            "$event/format" | grep -v ^common_ | xargs)"
    done | sort
}
check_page() { # SYSTEM
    check_ge "$1: tracepoints" "$(tracepoints_of_kernel "$1" | wc -l)" 2
    check_eq "$1: the page has them, and their fields" \
        "$(diff <(tracepoints_of_page "$1") <(tracepoints_of_kernel "$1"))" ''
}

# observe TOOL WORD: runs the page's line that begins with TOOL and has WORD. What it said is in
# /tmp/observed.
observe() {
    local line
    line=$(grep -E "^$1 " docs/observing.md | grep -m 1 -- "$2")
    [ -n "$line" ] || { echo "docs/observing.md has no line '$1 ... $2'"; return 1; }
    PATH=$(cd "$build/bin" && pwd):$PATH bash -c "$line" >/tmp/observed 2>&1 ||
        { tail -n 3 /tmp/observed; return 1; }
}
observed() { grep -cE "$1" /tmp/observed; }
perf_counted() { awk -v event="udrv:$1" '$2 == event { print $1 }' /tmp/observed; } # EVENT

# ---- What a working interface shows, and a working disk ---------------------------------

# Of $bdf, which is udn0 and reaches its peer.
check_traced_network() {
    local from=/sys/class/net/udn0/statistics sent received
    check_page udrv_net
    check 'tracepoints on' trace_on udrv udrv_net
    sent=$(cat $from/tx_packets)
    received=$(cat $from/rx_packets)
    check_eq 'traced pings, lost of 20' "$(lost -c 20 -i 0.05 -W 5 10.0.0.2)" 0
    sent=$(($(cat $from/tx_packets) - sent))
    received=$(($(cat $from/rx_packets) - received))
    check 'all of the trace' trace_off
    check_ge "packets sent, of $sent" "$(traced_sum udrv_net_sent packets)" $((sent > 1 ? sent : 1))
    check_ge "packets received, of $received" "$(traced_sum udrv_net_received packets)" $((received > 20 ? received : 20))
    check_eq 'all of them of its interface' \
        "$(traced 'udrv_net_(sent|received): dev=udn0 queue=[0-9]+ packets=[0-9]+$')" "$(traced udrv_net_)"
    check_traced_wakeups "$bdf"
}
check_traced_disk() { # BDF DISK
    local request="udrv_blk_request: disk=${2#/dev/} tag=[0-9]+ op=0 sector"
    check_page udrv_blk
    check 'tracepoints on' trace_on udrv udrv_blk
    check 'traced reads' dd if="$2" of=/dev/null bs=4k skip=100 count=8 iflag=direct
    check 'all of the trace' trace_off
    check_eq 'sectors of the requests' "$(sed -nE "s/.*: $request=([0-9]+) nr_sectors=8$/\1/p" /tmp/traced | xargs)" \
        '800 808 816 824 832 840 848 856'
    check_eq 'done, without an error' "$(traced "udrv_blk_done: disk=${2#/dev/} tag=[0-9]+ status=0$")" 8
    check_traced_wakeups "$1"
}
# Both sides woke each other.
check_traced_wakeups() { # BDF
    check_ge 'doorbells' "$(traced "udrv_doorbell: bdf=$1 line=[0-9]+$")" 1
    check_ge 'published' "$(traced "udrv_publish: bdf=$1 line=[0-9]+$")" 1
    check_ge 'woken' "$(traced "udrv_wakeup: bdf=$1 line=[0-9]+ interrupts=[0-9]+ doorbells=[0-9]+$")" 1
    check_ge 'doorbells that it was told of' "$(traced_sum udrv_wakeup doorbells)" 1
}
