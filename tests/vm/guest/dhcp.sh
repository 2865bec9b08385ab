#!/bin/bash
# SPDX-License-Identifier: MIT
# As it is used: an address by DHCP from QEMU's user network, and its gateway.
. tests/vm/guest/lib.sh

load_modules
require 'bind' "$udrv" bind --unsafe-no-iommu $bdf
require 'the driver starts' start_driver
ip link set udn0 up
require 'link up' wait_for 10 carrier
cat >/tmp/lease <<'LEASE'
#!/bin/bash
[ "$1" = bound ] || exit 0
ip addr add "$ip/$mask" dev "$interface"
ip route add default via "$router" dev "$interface"
echo "$ip $router $dns" >/tmp/lease.txt
LEASE
chmod 755 /tmp/lease
check 'udhcpc' timeout 60 busybox udhcpc -i udn0 -s /tmp/lease -n -q -t 10 -T 2
read -r address router dns </tmp/lease.txt
check_eq 'address' "${address%.*}" 10.0.2
check_eq 'router' "$router" 10.0.2.2
check_eq 'name server' "$dns" 10.0.2.3
check_eq 'address on udn0' "$(ip -4 -o addr show dev udn0 | grep -o 'inet 10\.0\.2\.[0-9]*/24')" "inet $address/24"
check 'the gateway answers' wait_for 10 reachable 10.0.2.2
check_eq 'pings to it, lost of 100' "$(lost -c 100 -i 0.005 10.0.2.2)" 0
# Its TFTP server sends an error for a file that it has not: an answer by UDP.
timeout 10 busybox tftp -g -r nothing -l /tmp/nothing 10.0.2.2 >/tmp/tftp 2>&1
check 'its TFTP service answers' grep -qiE 'error|refused|violation|not found' /tmp/tftp
pid=${driver_pid[$bdf]}
stop_driver $bdf KILL
check 'a new driver' start_driver
check_eq 'has the lease still' "$(ip -4 -o addr show dev udn0 | grep -o 'inet 10\.0\.2\.[0-9]*/24')" "inet $address/24"
check_eq 'and the route' "$(ip route show default | grep -o 'dev [a-z0-9]*')" 'dev udn0'
check 'and reaches the gateway' wait_for 15 reachable 10.0.2.2
check 'ends well' stop_driver
"$udrv" unbind $bdf
summary
