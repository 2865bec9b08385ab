# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2154
# How long a disk or an interface was away. Source it behind lib.sh; what is about disks,
# behind disk_lib.sh.

latencies() { # NAME DISK: small reads without a pause, until it is killed
    fio --name=l --filename="$2" --direct=1 --ioengine=psync --rw=randread --bs=4k --offset=64m \
        --size=32m --time_based --runtime=36000 --rate_iops=100 --write_lat_log="/tmp/lat-$1" \
        --log_unix_epoch=1 --output="/tmp/lat-$1.out" >/dev/null 2>&1
}
latencies_begun() { # NAME: its reads have come to the disk
    local pid bytes
    for pid in $(pgrep -f "write_lat_log=/tmp/lat-$1"); do
        bytes=$(sed -n "s/^read_bytes: //p" "/proc/$pid/io" 2>/dev/null)
        [ "${bytes:-0}" -lt 65536 ] || return 0
    done
    return 1
}
# answer_outages PINGS KILLS: of `ping -D`; from each kill to the end of the longest pause in
# the answers that began until half a second after it (some are under way when the driver
# dies), in ms.
answer_outages() {
    sed -n 's/^\[\([0-9.]*\)\].*bytes from.*/\1/p' "$1" |
        awk 'NR == FNR { t[n++] = $1; next }
            {
                while (i < n && t[i] <= $1)
                    i++
                end = longest = 0
                for (j = i > 0 ? i : 1; j < n && t[j - 1] <= $1 + 0.5; j++)
                    if (t[j] - t[j - 1] > longest) {
                        longest = t[j] - t[j - 1]
                        end = t[j]
                    }
                if (end > 0)
                    printf "%d\n", (end - $1) * 1000
            }' - "$2"
}
# read_outages LATENCIES KILLS: of the reads that began until half a second after a kill
# (some are under way when the driver dies), from the kill to the end of the longest, in ms.
read_outages() {
    awk 'NR == FNR { split($0, field, ","); t[n] = field[1] / 1000; took[n++] = field[2] / 1e9; next }
        {
            while (i < n && t[i] <= $1)
                i++
            end = longest = 0
            for (j = i; j < n && t[j] - took[j] <= $1 + 0.5; j++)
                if (took[j] > longest) {
                    longest = took[j]
                    end = t[j]
                }
            if (end > 0)
                printf "%d\n", (end - $1) * 1000
        }' "$1_clat.1.log" "$2"
}

# kill_often COUNT KILLS BDF COMMAND...: kill -9 for drivers of the device, COUNT times, each
# after COMMAND, which is told how many have been; the moments go to the file KILLS.
kill_often() {
    local count=$1 kills=$2 dev=$3 i=0 pid now
    shift 3
    while [ $i -lt "$count" ]; do
        "$@" $i
        pid=$(attr owner "$dev")
        now=$EPOCHREALTIME
        [ "$pid" != 0 ] && kill -KILL "$pid" 2>/dev/null || continue
        echo "$now" >>"$kills"
        i=$((i + 1))
        [ $((i % 100)) != 0 ] || echo "$dev: killed $i times, $SECONDS s"
    done
}
# make_hang PID stop|loop: it does not run any more, or runs and does nothing.
make_hang() {
    case $2 in
    stop) kill -STOP "$1" ;;
    loop) "$helpers/stall_process" "$1" ;;
    esac
}

# verified NAME FILE: random writes, each read back soon after, until /tmp/stop is there;
# then rounds and the status of fio in /tmp/verified-NAME
verified() {
    local status=0 n=0
    until [ -e /tmp/stop ] || [ $status != 0 ]; do
        fio --name=v --filename="$2" --direct=1 --ioengine=libaio --iodepth=16 --rw=randwrite \
            --bsrange=4k-256k --blockalign=4k --size=40m --io_size=24m --verify=crc32c --verify_backlog=64 \
            --verify_fatal=1 --randrepeat=0 --fsync=32 >"/tmp/fio-$1" 2>&1 || status=$?
        n=$((n + 1))
    done
    echo "$n $status" >"/tmp/verified-$1"
}
