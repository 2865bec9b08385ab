#!/bin/bash
# SPDX-License-Identifier: MIT
# The lab itself: what scripts/vm promises to every other test.
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ "${1:-}" != guest ]; then
    # One boot in which all is well, with as many kinds of device as fit ...
    out=$(mktemp -d)
    console=$out/console
    trap 'rm -rf "$out"' EXIT
    scripts/vm --machine q35 --iommu --nic e1000 --nic e1000-82545em --user-net \
        --disk ahci --device edu,addr=0x14 --out "$out" --timeout 300 \
        --env LAB_OUT_DIR="$out" --console "$console" -- \
        tests/vm/lab_test.sh guest 'two  words' >"$out/stdout" 2>"$out/stderr" || status=$?
    cat "$out/stdout" "$out/stderr"
    [ "${status:-0}" = 42 ] || { echo "FAIL: exit status ${status:-0}, wanted 42"; exit 1; }
    [ "$(tail -n 1 "$out/stdout")" = 'all is well' ] || { echo 'FAIL: output cut short'; exit 1; }
    [ "$(cat "$out/result")" = written ] || { echo 'FAIL: --out'; exit 1; }
    [ ! -e scripts/.lab_test ] || { echo 'FAIL: the guest changed the checkout'; exit 1; }
    [ ! -s "$out/stderr" ] || { echo 'FAIL: noise on stderr'; exit 1; }

    # ... and one that must be noticed: a warning, then a panic.
    status=0
    scripts/vm --smp 1 --timeout 120 --console "$console" -- \
        'echo "WARNING: a test" >/dev/kmsg; echo before; echo c >/proc/sysrq-trigger; sleep 50' \
        >"$out/stdout" 2>"$out/stderr" || status=$?
    [ "$status" = 125 ] || { echo "FAIL: a panic gave status $status"; exit 1; }
    [ "$(cat "$out/stdout")" = before ] || { echo 'FAIL: output lost in a panic'; exit 1; }
    for what in 'WARNING: a test' 'Kernel panic'; do
        grep -q "$what" "$console" && grep -q "$what" "$out/stderr" ||
            { echo "FAIL: '$what' was not reported"; exit 1; }
    done
    echo "a panic is noticed"
    exit 0
fi

# --- In the guest ----------------------------------------------------------

fail() { echo "FAIL: $*"; exit 1; }
check() { local what=$1; shift; "$@" || fail "$what"; echo "ok: $what"; }
quiet() { "$@" >/dev/null 2>&1; }

check 'runs as root in the checkout' test "$(id -u):$PWD" = "0:$UDRV_ROOT"
check 'arguments arrive whole' test "$2" = 'two  words'
check 'two processors' test "$(nproc)" = 2
check 'a file system that may be written' touch scripts/.lab_test
echo written >"$LAB_OUT_DIR/result"
echo 'ok: /dev/stderr can be opened' >/dev/stderr
check 'DMA remapping' grep -q 'DMAR: IOMMU enabled' <(dmesg)
check 'interrupt remapping' grep -q 'DMAR-IR: Enabled IRQ remapping' <(dmesg)
for bdf in 0000:00:10.0 0000:00:11.0 0000:00:14.0 0000:00:18.0; do
    check "$bdf is there, without a driver" test -e "/sys/bus/pci/devices/$bdf/vendor" -a \
        ! -e "/sys/bus/pci/devices/$bdf/driver"
done

check 'modprobe ahci' modprobe ahci
for module in libahci sd_mod; do modprobe $module; done
for _ in $(seq 50); do [ -b /dev/sda ] && break; sleep 0.2; done
check 'a disk to read' dd if=/dev/sda of=/dev/null bs=1M count=4 iflag=direct status=none

check 'modprobe e1000' modprobe e1000
nic() { basename "/sys/bus/pci/devices/$1/net/"*; }
a=$(nic 0000:00:10.0)
b=$(nic 0000:00:11.0)
check 'the first MAC' test "$(cat "/sys/class/net/$a/address")" = 52:54:00:00:00:01
ip netns add peer
ip link set "$b" netns peer
ip addr add 10.9.0.1/24 dev "$a"
ip link set "$a" up
ip -n peer addr add 10.9.0.2/24 dev "$b"
ip -n peer link set "$b" up
for _ in $(seq 50); do quiet ping -c 1 -W 1 10.9.0.2 && break; done
check 'ping across the hub' quiet ping -c 20 -i 0.01 10.9.0.2

# What a lease gives, as a script that udhcpc calls.
cat >/tmp/lease <<'END'
#!/bin/bash
[ "$1" != bound ] || echo "$ip" >/tmp/address
END
chmod 755 /tmp/lease
quiet busybox udhcpc -i "$a" -s /tmp/lease -n -q -t 5
check 'an address by DHCP' grep -q '^10\.0\.2\.' /tmp/address

# Left behind on purpose: it must not keep the machine up, nor the output open.
sleep 1000 &
echo 'all is well'
exit 42
