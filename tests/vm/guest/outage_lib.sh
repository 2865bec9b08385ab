# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# How long a disk or an interface was away. Source it behind disk_lib.sh.

now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }

# percentile P FILE, of numbers, one a line
percentile() { sort -n "$2" | awk -v p="$1" '{ v[NR] = $1 } END { i = int(NR * p / 100 + 0.999); print v[i < 1 ? 1 : i] }'; }
outages() { # NAME FILE
    printf 'outage %-6s %5d times: median %5d ms, p99 %5d ms, longest %5d ms\n' "$1" \
        "$(wc -l <"$2")" "$(percentile 50 "$2")" "$(percentile 99 "$2")" "$(percentile 100 "$2")"
}

latencies() { # NAME DISK: small reads without a pause, until it is killed
    fio --name=l --filename="$2" --direct=1 --ioengine=psync --rw=randread --bs=4k --offset=64m \
        --size=32m --time_based --runtime=36000 --rate_iops=100 --write_lat_log="/tmp/lat-$1" \
        --log_unix_epoch=1 --output="/tmp/lat-$1.out" >/dev/null 2>&1
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
