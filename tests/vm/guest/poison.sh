#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: poison.sh
# A driver that dies of one block, as soon as a request for it comes, and is started
# again at once, by a loop: what becomes of that request, and of all others meanwhile.
. tests/vm/guest/disk_lib.sh
. tests/vm/guest/hostile_lib.sh
disk_bdf=0000:00:18.0
poison=100000

serve_again_and_again() {
    while [ ! -e /tmp/enough ]; do
        "$helpers/twisted_ahci" $disk_bdf poison $poison >/tmp/twisted 2>&1
        echo $? >>/tmp/ends
    done
}
deaths() { grep -c '^7$' /tmp/ends; }
# What dd says of a read of the poisonous block.
poisoned() { timeout 300 dd if=/dev/udb0 of=/dev/null bs=512 skip=$poison count=1 iflag=direct 2>&1 | head -n 1; }
# others DEPTH: requests for other blocks, each of whose errors is counted
others() {
    exec fio --name=others --filename=/dev/udb0 --ioengine=libaio --iodepth="$1" --rw=randread --bs=4k \
        --direct=1 --offset=64m --size=64m --time_based --runtime=3600 --continue_on_error=all \
        --output-format=json >/tmp/others.json 2>&1
}
of_others() { sed -n "s/.*\"$1\" : \([0-9]*\),*/\1/p" /tmp/others.json | head -n 1; }

load_disk_modules
require 'bind' bind_device $disk_bdf
: >/tmp/ends
serve_again_and_again &
loop=$!
require 'a disk' wait_for 40 test -b /dev/udb0
mark_kernel_log
check 'writes before' verify /dev/udb0 libaio 16 16m --offset=64m --direct=1
for depth in 1 16; do
    phase "with $depth other requests"
    before=$(deaths)
    others $depth &
    others=$!
    sleep 1
    check_eq 'the poisonous request' "$(poisoned)" "dd: error reading '/dev/udb0': Input/output error"
    check_eq 'deaths' $(($(deaths) - before)) 10
    sleep 1
    kill -INT $others
    wait $others
    check_ge 'other requests, meanwhile and afterwards' "$(of_others total_ios)" 100
    failed=$(of_others total_err)
    check_eq 'of them failed' "${failed:-x}" 0
done

phase 'afterwards'
before=$(deaths)
check 'the same driver reads and writes' verify /dev/udb0 libaio 16 16m --offset=64m --direct=1
check_eq 'no more deaths' $(($(deaths) - before)) 0
check_eq 'the poisonous request, once more' "$(poisoned)" "dd: error reading '/dev/udb0': Input/output error"
touch /tmp/enough
kill -TERM "$(attr owner $disk_bdf)"
wait $loop
check_nothing_left $disk_bdf
require 'the honest driver' run_driver ahci $disk_bdf
check 'reads the very block' dd if=/dev/udb0 of=/dev/null bs=512 skip=$poison count=1 iflag=direct
check 'and ends' stop_driver $disk_bdf
check_eq 'other kernel messages' "$(other_messages 'I/O error, dev udb0|no IOMMU|udb0: |callbacks suppressed')" ''
"$udrv" unbind --force $disk_bdf
check 'rmmod' rmmod udrv_blk udrv
summary
