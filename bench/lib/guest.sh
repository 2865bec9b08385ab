# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# The side of bench/run in the machine under test: takes commands, a line each, from a
# virtio port that the host has the other end of, or from the socket UDRV_BENCH_FD, runs
# them as bash would, and answers with what they print and a last line of \001 and their
# status. Below, what the commands are.
. tests/vm/guest/lib.sh
set +u
programs=$build/bin
mkdir -p /tmp/run

# --- Devices -----------------------------------------------------------------

bound_to_udrv() { [ "$(readlink "/sys/bus/pci/devices/$1/driver")" = ../../../bus/pci/drivers/udrv ]; }
# give_to_udrv BDF [CONFIG]: untrusted if that is what it says
give_to_udrv() {
    take "$1" && echo "$([ "${2:-}" = untrusted ] && echo 1 || echo 0)" >"/sys/bus/pci/devices/$1/udrv/untrusted"
}
# In the lab it does not matter what the device could reach; elsewhere it is the user's to say.
take() {
    # shellcheck disable=SC2086 # options
    bound_to_udrv "$1" || "$udrv" bind ${bind_options---unsafe-no-iommu} "$1" 2>/tmp/run/bind.err || {
        cat /tmp/run/bind.err
        return 1
    }
}
# `udrv unbind` leaves a chip that the kernel cannot reset to nobody. Here its driver
# has stopped in peace, so the kernel's may have it.
give_to_kernel() {
    ! bound_to_udrv "$1" || "$udrv" unbind "$1" || return
    [ -e "/sys/bus/pci/devices/$1/driver" ] || echo "$1" >/sys/bus/pci/drivers_probe
}
interface_of() { basename "$(echo "/sys/bus/pci/devices/$1/net/"*)"; }

# start_program BDF PROGRAM ARG...: in the background, until it says that it is ready
start_program() {
    local dev=$1
    shift
    rm -f "/tmp/driver-$dev.out"
    "$@" --stats "/tmp/stats-$dev" >"/tmp/driver-$dev.out" 2>"/tmp/driver-$dev.err" &
    driver_pid[$dev]=$!
    wait_for 30 grep -q ready "/tmp/driver-$dev.out" || {
        tail -n 3 "/tmp/driver-$dev.err"
        return 1
    }
}

# --- Network -----------------------------------------------------------------

# net_up CONFIG BDF ADDRESS/PREFIX: the interface becomes $net_if
net_up() {
    net_if=un${2:8:2}
    case $1 in
    stock)
        modprobe e1000 && give_to_kernel "$2" || return
        wait_for 10 test -d "/sys/bus/pci/devices/$2/net" || return
        ! command -v udevadm >/dev/null || udevadm settle -t 10 # it may give another name
        net_if=$(interface_of "$2")
        ;;
    udrv | untrusted)
        give_to_udrv "$2" "$1" && start_program "$2" "$udrv" run e1000 "$2" --name "$net_if" || return
        ;;
    tap) give_to_udrv "$2" && modprobe tun && start_program "$2" "$programs/e1000_tap" "$2" "$net_if" || return ;;
    reflect) give_to_udrv "$2" && start_program "$2" "$programs/e1000_reflect" "$2"; return ;;
    *) echo "no configuration '$1'"; return 1 ;;
    esac
    ip addr replace "$3" dev "$net_if" && ip link set "$net_if" up
    wait_for 15 carrier "$net_if"
}
net_down() { # CONFIG BDF
    case $1 in
    stock) ip link set "$net_if" down; ip addr flush dev "$net_if" ;;
    *) stop_driver "$2" && wait_for 5 give_to_kernel "$2" ;;
    esac
}
# net_back BDF: at the end, or when something failed. Not if our driver does not stop in
# peace: see give_to_kernel.
net_back() {
    if ! bound_to_udrv "$1"; then
        [ -z "$net_if" ] || ip addr flush dev "$net_if" 2>/dev/null
    elif stop_driver "$1"; then
        give_to_kernel "$1"
    else
        echo "$1 stays with udrv: its driver did not stop in peace"
    fi
}

# counters BDF: interrupts of its line, context switches and interrupts of the machine,
# system calls of its driver. Without a fork but for the driver's.
counters() {
    local word rest line=0 n intr ctxt calls=0
    while read -r word rest; do
        case $rest in
        *"udrv-$1"* | *" $net_if")
            for n in $rest; do
                case $n in *[!0-9]*) break ;; esac
                line=$((line + n))
            done
            ;;
        esac
    done </proc/interrupts
    while read -r word n rest; do
        case $word in intr) intr=$n ;; ctxt) ctxt=$n ;; esac
    done </proc/stat
    if bound_to_udrv "$1"; then
        : >"/tmp/stats-$1" # emptied, not removed: a driver in its sandbox has it open
        kill -USR1 "${driver_pid[$1]}"
        for ((n = 0; n < 100; n++)); do
            [ ! -s "/tmp/stats-$1" ] || break
            sleep 0.02
        done
        calls=$(stat system_calls "$1")
    fi
    echo "counters $line $ctxt $intr $calls"
}

# tcp SECONDS PEER [OPTION]...: bit/s towards the peer, or from it with -R
tcp() {
    local seconds=$1 peer=$2
    shift 2
    iperf3 -J -c "$peer" -t "$seconds" -O 1 "$@" >/tmp/run/iperf.json || return
    echo "tcp $(json_sum sum_received bits_per_second /tmp/run/iperf.json)"
}

# --- Disks -------------------------------------------------------------------

disk_of() { # BDF: the disk that the kernel's driver has there
    local host
    for host in "/sys/bus/pci/devices/$1/"ata*/host*/target*/*/block/*; do
        [ -e "$host" ] && basename "$host" && return
    done
    return 1
}
# disk_up CONFIG KIND BDF: the disk becomes $disk
disk_up() {
    local module=ahci
    [ "$2" = ahci ] || module=ata_piix
    case $1 in
    stock | nbd | ublk)
        modprobe sd_mod && modprobe "$module" && give_to_kernel "$3" || return
        wait_for 30 disk_of "$3" || return
        disk=/dev/$(disk_of "$3")
        wait_for 10 test -b "$disk" || return
        ;;
    udrv | untrusted)
        give_to_udrv "$3" "$1" && start_program "$3" "$udrv" run "$2" "$3" || return
        wait_for 30 test -b /dev/udb0 || return
        disk=/dev/udb0
        ;;
    *) echo "no configuration '$1'"; return 1 ;;
    esac
    case $1 in
    ublk)
        rm -f /tmp/run/ublk.out
        modprobe ublk_drv || return
        "$programs/ublk_loop" "$disk" >/tmp/run/ublk.out 2>/tmp/run/ublk.err &
        driver_pid[ublk]=$!
        wait_for 30 grep -q ready /tmp/run/ublk.out || { cat /tmp/run/ublk.err; return 1; }
        disk=$(sed -n 's/.*ready, //p' /tmp/run/ublk.out)
        wait_for 10 test -b "$disk"
        return
        ;;
    nbd) ;;
    *) return 0 ;;
    esac
    modprobe nbd nbds_max=1 || return
    qemu-nbd --cache=none --aio=native -f raw -c /dev/nbd0 "$disk" || return
    disk=/dev/nbd0
    wait_for 10 grep -qv '^0$' /sys/block/nbd0/size
}
disk_down() { # CONFIG BDF
    case $1 in
    nbd) qemu-nbd -d /dev/nbd0 >/dev/null; wait_for 5 not pidof qemu-nbd >/dev/null ;;
    ublk) stop_driver ublk ;;
    udrv | untrusted) stop_driver "$2"; wait_for 5 give_to_kernel "$2" ;;
    esac
}
# random MILLISECONDS: fio's report of 4 KiB reads and writes at depth 1 and 32
random() {
    local way depth jobs=()
    for way in randread randwrite; do
        for depth in 1 32; do
            jobs+=(--name="$way-$depth" --rw="$way" --iodepth="$depth" --stonewall)
        done
    done
    fio --output-format=json --ioengine=io_uring --direct=1 --bs=4k --filename="$disk" \
        --size=256m --thread --time_based --runtime="$1ms" --ramp_time=200ms --norandommap --randrepeat=0 \
        --allow_mounted_write=0 "${jobs[@]}" 2>&1
}

# --- The instruction lens ------------------------------------------------------

# lens_begin COUNTER COMMAND...: the loop, in the background, until it works
lens_begin() {
    local file=${1%:*}
    before=$(cat "$file")
    shift
    "$@" >/tmp/run/lens.out 2>&1 &
    lens_pid=$!
    grows() { [ "$(cat "$file")" != "$before" ]; }
    wait_for 60 grows && sleep 0.3
}
lens_end() {
    kill $lens_pid 2>/dev/null
    wait $lens_pid 2>/dev/null
    return 0
}
# lens_perf SECONDS COUNTER: samples of all processors, with the soaker there as well, so
# that nobody's idle time jumps; then the loop ends, so that perf has the machine
lens_perf() {
    "$programs/busy_meter" "$1" "$2" >/dev/null &
    perf record -q -a -g -e cpu-clock -F 4999 -o /tmp/run/perf.data -- sleep "$1" >/tmp/run/perf.err 2>&1
    wait $!
    lens_end
    perf script -i /tmp/run/perf.data -F comm,ip,sym 2>/dev/null
}

# --- The agent -----------------------------------------------------------------

if [ -n "${UDRV_BENCH_FD:-}" ]; then
    exec 3<&"$UDRV_BENCH_FD"
else
    for port in /sys/class/virtio-ports/*; do
        [ "$(cat "$port/name")" != udrv.bench ] || exec 3<>"/dev/${port##*/}"
    done
fi
printf 'ready\n\001 0\n' >&3
while IFS= read -r -u 3 line; do
    eval "$line" </dev/null >&3 2>&1
    printf '\001 %s\n' $? >&3
done
