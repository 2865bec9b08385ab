#!/bin/bash
# SPDX-License-Identifier: MIT
# An IOMMU tells groups apart, not functions: a device can be driven by a process if all
# others of its group are unused, ours as well, or bridges. The kernel sees to it, at
# probe, at open, and when a neighbour gets a driver later.
. tests/vm/guest/lib.sh
ahci=0000:00:1f.2  # the chipset's
smbus=0000:00:1f.3 # beside it
nic=0000:01:01.0 neighbour=0000:01:02.0 # behind one bridge

group() { basename "$(readlink /sys/bus/pci/devices/$1/iommu_group)"; }
driver_of() { basename "$(readlink /sys/bus/pci/devices/$1/driver)" 2>/dev/null; }
override() { echo udrv >/sys/bus/pci/devices/$1/driver_override; }
probe() { # BDF: as without the command
    override $1
    echo $1 >/sys/bus/pci/drivers_probe
    same "$(driver_of $1)" udrv
}
unbind() { echo $1 >/sys/bus/pci/devices/$1/driver/unbind; }
kernel_said() { new_kernel_messages | grep -q "$1"; }

load_all_modules
check_eq 'nothing unsafe is allowed' "$(cat /sys/module/udrv/parameters/allow_unsafe_no_iommu)" N

phase "the chipset's own controller"
modprobe i2c_i801
check_eq "the controller and the SMBus are one group" "$(group $ahci)" "$(group $smbus)"
check_eq 'the SMBus has a driver' "$(driver_of $smbus)" i801_smbus
mark_kernel_log
check 'driver_override: refused' not probe $ahci
check 'the log names the neighbour' kernel_said "$smbus in its IOMMU group has the driver i801_smbus"
refused 'bind' 1 "cannot tell it from $smbus.*driver i801_smbus.*unsafe-no-iommu" "$udrv" bind $ahci
unbind $smbus
check 'driver_override once the neighbour is unused' probe $ahci
check_eq 'it is confined' "$(attr iommu $ahci)" 1
require 'ahci runs' run_driver ahci $ahci
check 'and reads' dd if=/dev/udb0 of=/dev/null bs=64k count=16 iflag=direct status=none

phase 'a neighbour gets a driver meanwhile'
mark_kernel_log
echo $smbus >/sys/bus/pci/drivers/i801_smbus/bind
check_eq 'the neighbour has it' "$(driver_of $smbus)" i801_smbus
check_eq 'there is no session any more' "$(attr state $ahci) $(bus_master $ahci)" 'idle 0'
check 'the log says so' kernel_said "$smbus in its IOMMU group gets the driver i801_smbus; session ended"
check 'its process ends' wait_for 20 not alive "${driver_pid[$ahci]}"
check_eq 'it is not confined' "$(attr iommu $ahci)" 0
refused 'run' 1 'no IOMMU confines it' "$udrv" run ahci $ahci
unbind $smbus
check 'and once the neighbour has gone' run_driver ahci $ahci
check 'it reads' dd if=/dev/udb0 of=/dev/null bs=64k count=16 iflag=direct status=none
check 'it ends well' stop_driver $ahci
check 'unbind' "$udrv" unbind $ahci

phase 'behind a bridge'
modprobe e1000
check_eq 'both cards are one group' "$(group $nic)" "$(group $neighbour)"
check_eq 'and have drivers' "$(driver_of $nic) $(driver_of $neighbour)" 'e1000 e1000'
refused 'bind' 1 "cannot tell it from $neighbour.*driver e1000" "$udrv" bind $nic
check_eq 'its driver still' "$(driver_of $nic)" e1000
unbind $neighbour
check 'bind with the neighbour unused' "$udrv" bind $nic
check 'run' run_driver e1000 $nic
check 'bind the neighbour, too' "$udrv" bind $neighbour
check 'run it' run_driver e1000 $neighbour --name udn1
check_eq 'both are served' "$(attr state $nic) $(attr state $neighbour)" 'running running'
check_eq 'and confined' "$(attr iommu $nic) $(attr iommu $neighbour)" '1 1'
ip netns add peer
ip link set udn1 netns peer
in_peer ip addr add 10.0.0.2/24 dev udn1
in_peer ip link set udn1 up
up_udn0
check 'they reach each other' wait_reachable
check 'the first ends well' stop_driver $nic
check 'the second ends well' stop_driver $neighbour
"$udrv" unbind $nic 2>/dev/null
"$udrv" unbind $neighbour 2>/dev/null

phase 'told to'
modprobe i2c_i801
unbind $smbus 2>/dev/null
echo $smbus >/sys/bus/pci/drivers/i801_smbus/bind
check 'bind --unsafe-no-iommu' "$udrv" bind --unsafe-no-iommu $ahci
check_eq 'the parameter says so' "$(cat /sys/module/udrv/parameters/allow_unsafe_no_iommu)" Y
check_eq 'it is not confined' "$(attr iommu $ahci)" 0
check 'and runs' run_driver ahci $ahci
check 'it ends well' stop_driver $ahci
echo N >/sys/module/udrv/parameters/allow_unsafe_no_iommu
refused 'run, the parameter off again' 1 'no IOMMU confines it' "$udrv" run ahci $ahci
check 'unbind' "$udrv" unbind $ahci
check 'rmmod' rmmod udrv_net udrv_blk udrv
summary
