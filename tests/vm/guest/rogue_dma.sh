#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: rogue_dma.sh TRIES [SEED]
# A driver points its chip at memory that it was not given: the IOMMU stops it.
. tests/vm/guest/lib.sh
. tests/vm/guest/hostile_lib.sh
tries=$1

load_modules
# This machine has little memory, and so no bounce buffers.
no_buffers="udrv: bind --untrusted $bdf: the kernel has no bounce buffers, without which an untrusted \
device gets no data; boot with swiotlb=force on the kernel's command line, or with memory above 4 GiB"
binding() { echo "$(readlink /sys/bus/pci/devices/$bdf/driver) $(cat /sys/bus/pci/devices/$bdf/driver_override)"; }
refused() { # NAME
    local before
    before=$(binding)
    check_eq "$1: refused" "$("$udrv" bind --untrusted $bdf 2>&1; echo "status $?")" "$no_buffers"$'\n''status 1'
    check_eq "$1: nothing was done" "$(binding)" "$before"
}
modprobe e1000
wait_for 10 test -d /sys/bus/pci/devices/$bdf/net
refused 'untrusted without bounce buffers'
umount /sys/kernel/debug
refused 'the same, no debugfs mounted'
check 'and none is mounted afterwards' not grep -q debugfs /proc/mounts
require 'bind' bind_device $bdf
check_eq 'an IOMMU confines it' "$(attr iommu)" 1
refused 'untrusted, when it is bound already'
check 'status says trusted' grep -q "^$bdf .* trusted$" <("$udrv" status)
mark_kernel_log
timeout 3000 "$helpers/rogue_dma" $bdf "$tries" "${2:-$RANDOM}" >/tmp/rogue 2>&1
probed 'rogue' /tmp/rogue $?
check_nothing_left "$bdf"
# The kernel logs few of them: it limits the rate. The host counts them.
check_ge 'faults in the kernel log' "$(new_kernel_messages | grep -cE 'DMAR: \[DMA (Read|Write)')" 1
for kind in Read Write; do
    new_kernel_messages | grep -m 2 "\[DMA $kind"
done
check_eq 'other kernel messages' "$(other_messages 'DMAR|dmar')" ''

phase 'the honest driver'
require 'a peer' setup_peer
require 'starts' start_driver
check 'link' up_udn0
require 'answers' wait_reachable
check_eq 'ping, lost of 200' "$(lost -c 200 -i 0.005 10.0.0.2)" 0
check 'ends well' stop_driver
"$udrv" unbind $bdf
check 'rmmod' rmmod udrv_net udrv
summary
