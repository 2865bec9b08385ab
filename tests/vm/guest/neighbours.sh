#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: neighbours.sh
# Drivers that have their devices read and write the whole page that a packet or a block
# lies on. Trusted first: the control, which shows that there is something to see.
. tests/vm/guest/disk_lib.sh
. tests/vm/guest/hostile_lib.sh
disk_bdf=0000:00:18.0
sector=2048

# twisted WHAT SECTOR: returns when it serves
twisted() {
    rm -f /tmp/twisted
    "$helpers/twisted_ahci" $disk_bdf "$1" "$2" >/tmp/twisted 2>&1 &
    driver_pid[$disk_bdf]=$!
    wait_for 40 grep -q ready /tmp/twisted && wait_for 20 test -b /dev/udb0 || { cat /tmp/twisted; return 1; }
}
ends() { "$helpers/page_ends" "$1" /dev/udb0 "${2:-$sector}" >"/tmp/ends-$1" 2>&1 || { cat "/tmp/ends-$1"; return 1; }; }

load_all_modules
for trust in trusted untrusted; do
    phase "$trust"
    option='' beside=3584 # bytes of the page besides the block
    [ $trust = trusted ] || option=--untrusted beside=0
    # shellcheck disable=SC2086 # none, or one
    require 'bind the network card' "$udrv" bind $option $bdf
    # shellcheck disable=SC2086
    require 'bind the disks' "$udrv" bind $option $disk_bdf
    check_eq "status says $trust" "$("$udrv" status | grep -c " $trust$")" 2
    mark_kernel_log

    timeout 200 "$helpers/neighbours" $bdf $trust >/tmp/neighbours 2>&1
    probed "packets, $trust" /tmp/neighbours $?
    check_nothing_left $bdf

    require 'the twisted driver' twisted page $sector
    check 'a block is written' ends write
    check 'and looked at' ends look
    check 'a block is read' ends read
    check 'the driver ends' stop_driver $disk_bdf
    check_eq 'of the written block on the disk' "$(total data /tmp/ends-look)" 512
    check_eq 'of the read block in memory' "$(total data /tmp/ends-read)" 512
    check_eq 'neighbours of a written block on the disk' "$(total secret /tmp/ends-look)" $beside
    check_eq 'neighbours of a read block that changed' "$(total changed /tmp/ends-read)" $beside
    check_nothing_left $disk_bdf

    require 'the honest driver' run_driver ahci $disk_bdf
    check 'a megabyte to the middle of a page and back' timeout 60 "$helpers/page_ends" large /dev/udb0 65536
    check 'honest: writes of all sizes read back' verify /dev/udb0 libaio 16 16m --direct=1
    check 'the driver ends' stop_driver $disk_bdf
    check_eq 'kernel messages' "$(other_messages 'DMAR|dmar| udb0| udn0|udn0:')" ''
    "$udrv" unbind --force $disk_bdf
    "$udrv" unbind $bdf
done
require 'bind, as it was in the beginning' "$udrv" bind $bdf
check_eq 'who is not trusted is so until unbind' "$(attr untrusted)" 0
"$udrv" unbind $bdf
check 'rmmod' rmmod udrv_blk udrv_net udrv
summary
