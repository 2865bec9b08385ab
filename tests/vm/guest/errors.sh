#!/bin/bash
# SPDX-License-Identifier: MIT
# Everything that a person gets wrong: one clear line that says what to do, a
# status that is not zero, and nothing left behind.
. tests/vm/guest/lib.sh
edu=0000:00:14.0

# nothing_left NAME [BDF]: after a start that failed
nothing_left() {
    check_eq "$1: nothing left" \
        "$(attr state "${2:-$bdf}") $(attr owner "${2:-$bdf}") $(attr pinned_bytes "${2:-$bdf}") $(irq_actions "${2:-$bdf}") $(bus_master "${2:-$bdf}")" \
        'idle 0 0 0 0'
}

phase 'what can be said without a module'
refused 'no command' 2 'udrv --help' "$udrv"
refused 'unknown command' 2 "no command 'fly'.*udrv --help" "$udrv" fly
refused 'upgrade without the module' 1 'upgrade.*not bound to udrv' "$udrv" upgrade $bdf
refused 'unknown driver' 2 "no program udrv-e1001 in .*e1000" "$udrv" run e1001 $bdf
refused 'a bad address' 1 'BDF|PCI address|00:10.0' "$udrv" run e1000 banana
refused 'a bad address to bind' 1 'PCI address|00:10.0' "$udrv" bind --unsafe-no-iommu 00:10
refused 'bind without the module' 1 'module udrv is not loaded.*modprobe udrv' "$udrv" bind --unsafe-no-iommu $bdf
refused 'run without the module' 1 'module udrv is not loaded.*modprobe udrv' "$udrv" run e1000 $bdf
check_eq 'the device has no driver still' "$(ls -d /sys/bus/pci/devices/$bdf/driver 2>/dev/null)" ''
check 'status says it' grep -q 'not loaded' <("$udrv" status)
check_eq 'status as JSON' "$("$udrv" status --json | tr -d ' \n')" '{"schema":1,"devices":[]}'

phase 'not bound, not there'
load_modules
refused 'run when not bound' 1 "not bound to udrv.*udrv bind $bdf" "$udrv" run e1000 $bdf
refused 'unbind when not bound' 1 'not bound to udrv.*udrv status' "$udrv" unbind $bdf
refused 'bind of what does not exist' 1 'no such PCI device.*lspci' "$udrv" bind --unsafe-no-iommu 0000:00:1f.7
refused 'run of what does not exist' 1 'no such PCI device.*lspci' "$udrv" run e1000 0000:00:1f.7
bridge=0000:00:00.0 # the host's
refused 'bind of what no driver serves' 1 'no driver here serves a 8086:.*--force' "$udrv" bind --unsafe-no-iommu $bridge
check_eq 'it is not bound' "$(ls -d /sys/bus/pci/devices/$bridge/driver 2>/dev/null)" ''
refused 'bind without an IOMMU' 1 'no IOMMU confines it.*--unsafe-no-iommu' "$udrv" bind $bdf
mark_kernel_log
echo udrv >/sys/bus/pci/devices/$bdf/driver_override
echo $bdf >/sys/bus/pci/drivers_probe
check_eq 'nor by driver_override' "$(ls -d /sys/bus/pci/devices/$bdf/driver 2>/dev/null)" ''
check 'the log says what to do' grep -q "$bdf.*refused: no IOMMU.*parameter allow_unsafe_no_iommu" \
    <(new_kernel_messages)
echo >/sys/bus/pci/devices/$bdf/driver_override
"$udrv" bind --unsafe-no-iommu $bdf 2>/tmp/bind.err
check_eq 'bind succeeds' $? 0
check_eq 'the parameter says so' "$(cat /sys/module/udrv/parameters/allow_unsafe_no_iommu)" Y
check 'and warns that no IOMMU confines the device' grep -q 'warning: .*no IOMMU' /tmp/bind.err
check 'bound twice is no error' "$udrv" bind --unsafe-no-iommu $bdf

phase 'no permission'
nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
refused 'run as nobody' 1 "no permission for /dev/udrv/$bdf.*root" nobody "$udrv" run e1000 $bdf
refused 'bind as nobody' 1 'bind.*root' nobody "$udrv" bind --unsafe-no-iommu $edu
refused 'unbind as nobody' 1 'unbind.*root' nobody "$udrv" unbind $bdf
check_eq 'still bound' "$(basename "$(readlink /sys/bus/pci/devices/$bdf/driver)")" udrv
nothing_left 'nobody'

phase 'limit of locked memory'
chmod 666 /dev/udrv/$bdf
limited() { # KIB COMMAND...: as a user without the right to lock more
    local kib=$1
    shift
    # What no IOMMU confines needs a capability.
    (ulimit -l "$kib" && nobody --inh-caps=-all,+sys_rawio --ambient-caps=-all,+sys_rawio \
        --bounding-set=-all,+sys_rawio "$@")
}
refused 'without CAP_SYS_RAWIO' 1 'no IOMMU confines it.*CAP_SYS_RAWIO' \
    nobody --inh-caps=-all --bounding-set=-all "$udrv" run e1000 $bdf
nothing_left 'without CAP_SYS_RAWIO'
echo N >/sys/module/udrv/parameters/allow_unsafe_no_iommu
refused 'the parameter off again' 1 'no IOMMU confines it.*bind --unsafe-no-iommu' "$udrv" run e1000 $bdf
echo Y >/sys/module/udrv/parameters/allow_unsafe_no_iommu
refused 'memlock of 16 KiB' 1 'locked memory is 16 KiB.*ulimit -l' limited 16 "$udrv" run e1000 $bdf
nothing_left 'memlock'
refused 'memlock of 0' 1 'locked memory is 0 KiB.*ulimit -l' limited 0 "$udrv" run e1000 $bdf
nothing_left 'memlock of 0'
rm -f /tmp/driver-$bdf.out
limited 1024 "$udrv" run e1000 $bdf >/tmp/driver-$bdf.out 2>/tmp/driver-$bdf.err &
pid=$!
check 'with 1 MiB the same user can' wait_for 20 grep -q ready /tmp/driver-$bdf.out
kill "$(attr owner)"
wait $pid
chmod 600 /dev/udrv/$bdf

phase 'the wrong device, the wrong driver'
"$udrv" bind --unsafe-no-iommu $edu 2>/dev/null
refused 'e1000 on an edu' 1 '1234:11e8.*serves 8086:100e' "$udrv" run e1000 $edu
nothing_left 'e1000 on an edu' $edu
refused 'edu on an e1000' 1 '8086:100e.*serves 1234:11e8' "$udrv" run edu $bdf
nothing_left 'edu on an e1000'

phase 'two who want one'
require 'the first runs' start_driver
refused 'the second' 1 "process ${driver_pid[$bdf]} \(udrv-e1000\) has it.*kill ${driver_pid[$bdf]}" \
    "$udrv" run e1000 $bdf
check_eq 'the first does not notice' "$(attr state) $(attr owner)" "running ${driver_pid[$bdf]}"
check 'bind of what runs is no error' "$udrv" bind --unsafe-no-iommu $bdf
check_eq 'and changes nothing' "$(attr state) $(attr owner)" "running ${driver_pid[$bdf]}"
check 'the first ends well' stop_driver

phase 'lost output'
serves() { [ "$(attr state)" = running ] && [ "$(attr owner)" != "${1:-0}" ]; } # [ANOTHER PID]
"$udrv" run e1000 $bdf >&- 2>&- <&- &
pid=$!
check 'closed standard files: it serves' wait_for 20 serves
check_eq 'they are none of the device' "$(readlink /proc/$pid/fd/[0-2] | sort -u)" /dev/null
kill $pid
check 'and ends well' wait $pid
mkfifo /tmp/reader
"$udrv" run e1000 $bdf --restart >/tmp/reader 2>&1 &
supervisor=$!
check 'its reader has seen enough' grep -m 1 -q ready /tmp/reader
driver=$(attr owner)
kill -KILL "$driver"
check 'and is gone: the driver is started again' wait_for 20 serves "$driver"
kill $supervisor
check 'and ends well' wait $supervisor

phase 'names'
ip link add taken type dummy
"$udrv" unbind $bdf
"$udrv" bind --unsafe-no-iommu $bdf 2>/dev/null
refused 'a name that is taken' 1 'name.*taken.*--name' "$udrv" run e1000 $bdf --name taken
nothing_left 'a name that is taken'
refused 'a name too long' 1 'longer than 15.*--name' "$udrv" run e1000 $bdf --name sixteencharacter
nothing_left 'a name too long'
refused 'a name with a slash' 1 'no interface can have that name.*--name' "$udrv" run e1000 $bdf --name a/b
nothing_left 'a name with a slash'
check 'a good name' start_driver $bdf --name wire0
check_eq 'which udev leaves to it: a person gave it' "$(cat /sys/class/net/wire0/name_assign_type)" 3
check 'is there' test -e /sys/class/net/wire0
check_eq 'status knows it' "$("$udrv" status --json | tr -d ' \n' | grep -o '"names":\["[a-z0-9]*"\]')" '"names":["wire0"]'
ip link set wire0 name ens16
check_eq 'renamed: status goes by the new name' "$("$udrv" status --json | tr -d ' \n' | grep -o '"names":\["[a-z0-9]*"\]')" '"names":["ens16"]'
check 'renamed: the driver ends' stop_driver
check 'renamed: another driver' start_driver
check 'renamed: it says the name' grep -q ens16 /tmp/driver-$bdf.out
stop_driver
check 'renamed: unbind by the new name' "$udrv" unbind ens16

phase 'a device that the machine needs'
modprobe e1000
echo $bdf >/sys/bus/pci/drivers_probe
wait_for 10 test -d /sys/bus/pci/devices/$bdf/net
name=$(basename /sys/bus/pci/devices/$bdf/net/*)
ip addr add 10.0.0.1/24 dev "$name"
ip link set "$name" up
ip route add default via 10.0.0.254
refused 'the default route goes over it' 1 "default route.*$name.*--force" "$udrv" bind --unsafe-no-iommu $bdf
check_eq 'its driver' "$(basename "$(readlink /sys/bus/pci/devices/$bdf/driver)")" e1000
check 'with --force' "$udrv" bind --unsafe-no-iommu --force $bdf
check_eq 'its driver then' "$(basename "$(readlink /sys/bus/pci/devices/$bdf/driver)")" udrv

phase 'without the network module'
modprobe -r e1000
rmmod udrv_net
refused 'run without udrv_net' 1 'udrv_net is not loaded.*modprobe udrv_net' "$udrv" run e1000 $bdf
nothing_left 'run without udrv_net'
insmod "$build/modules/udrv_net.ko"
check 'with it' start_driver
check 'ends well' stop_driver
"$udrv" unbind $edu

phase 'a kernel that is locked down'
mount -t securityfs securityfs /sys/kernel/security
echo integrity >/sys/kernel/security/lockdown
refused 'run' 1 'no IOMMU confines it.*dmesg' "$udrv" run e1000 $bdf
nothing_left 'locked down'
"$udrv" unbind $bdf
refused 'bind' 1 'locked down.*dmesg' "$udrv" bind --unsafe-no-iommu $bdf
check 'rmmod at the end' rmmod udrv_net udrv
summary
