#!/bin/bash
# SPDX-License-Identifier: MIT
# Devices come and go with their drivers running.
. "$(dirname "$0")/lib.sh"

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
truncate -s 128M "$out/disk" "$out/disk2"
# Freed memory is poisoned: whoever still looks at it does not find what was there.
guest 'two processors' 300 --smp 2 --append slub_debug=FZP --nic e1000,addr=0x11 --qemu "$(monitor_options "$out")" \
    --qemu "-netdev hubport,hubid=0,id=hotport -device e1000,id=hotnic,netdev=hotport,mac=52:54:00:00:00:09,addr=0x15" \
    --qemu "-blockdev driver=file,node-name=hotdisk,filename=$out/disk -device ahci,id=hotahci,addr=0x14 -device ide-hd,bus=hotahci.0,drive=hotdisk" \
    -- hotplug.sh
guest 'a slot' 300 --smp 2 --machine q35 --qemu "-device pcie-root-port,id=hotport,slot=1,chassis=1,addr=0x14" \
    --qemu "-blockdev driver=file,node-name=hotdisk,filename=$out/disk2 -device ich9-ahci,id=hotahci,bus=hotport -device ide-hd,bus=hotahci.0,drive=hotdisk" \
    -- hotplug_slot.sh
finish
