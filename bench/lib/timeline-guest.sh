# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# The part of bench/timeline that runs in the virtual machine: one TCP connection and one
# fio over user-level drivers, and what happens to those drivers meanwhile. Writes the
# throughput of both and the moments of the events to $UDRV_TIMELINE.
. tests/vm/guest/lib.sh
out=$UDRV_TIMELINE
ahci=0000:00:18.0
seconds=40
now() { printf '%s\n' "$EPOCHREALTIME"; }
event() { # KIND COMMAND...: for both drivers
    echo "$(now) $1" >>"$out/events"
    "${@:2}" $bdf
    "${@:2}" $ahci
}
kill_driver() { kill -KILL "$(attr owner "$1")"; }
hang_driver() { kill -STOP "$(attr owner "$1")"; }
upgrade_driver() { "$udrv" upgrade "$1"; }

rm -f "$out"/{events,tcp.json,disk.json} "$out"/disk_bw.*
load_all_modules
for dev in $bdf $ahci; do
    require "bind $dev" "$udrv" bind --unsafe-no-iommu $dev
done
require 'e1000 starts' start_driver $bdf --restart --deadline 1000
require 'ahci starts' run_driver ahci $ahci --restart --deadline 1000
require_peer
serve_iperf
mark_kernel_log
fio --name=disk --filename=/dev/udb0 --rw=read --bs=128k --direct=1 --ioengine=psync \
    --time_based --runtime=$((seconds + 2)) --write_bw_log="$out/disk" --log_avg_msec=250 --log_unix_epoch=1 \
    --output-format=json --output="$out/disk.json" &
fio=$!
sleep 1
now >"$out/tcp-begun"
iperf3 -J -i 0.25 -t $seconds -c 10.0.0.2 >"$out/tcp.json" &
iperf=$!
sleep 5
event kill kill_driver
sleep 7
event hang hang_driver
sleep 8
event upgrade upgrade_driver
sleep 6
event kill kill_driver
check 'the connection lived to its end' wait $iperf
check 'no read failed' wait $fio
check_quiet_kernel 'no kernel message'
summary
