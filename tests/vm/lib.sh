# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# What the host sides of the tests share. Source it from tests/vm/<name>_test.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=${UDRV_BUILD:-build}
failed=0

# cpu_seconds: what all that ended used so far, QEMU included
cpu_seconds() { awk -v hz="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print int(($14 + $15) / hz) }' "/proc/$$/stat"; }

# guest TITLE TIMEOUT VM-OPTION... -- SCRIPT [ARG]...: boots a machine and runs
# tests/vm/guest/SCRIPT in it. The next one runs even if this one failed.
guest() {
    local title=$1 timeout=$2 begun=$SECONDS status=0 options=() cpu
    cpu=$(cpu_seconds)
    shift 2
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    shift
    timeout=$((timeout * 2)) # TIMEOUT is for a machine that has the host alone
    [ "${UDRV_KERNEL:-}" != debug ] || timeout=$((timeout * 3))
    echo "=== $title"
    scripts/vm --timeout "$timeout" --env UDRV_BUILD="$build" "${options[@]}" -- \
        bash "tests/vm/guest/$1" "${@:2}" || status=$?
    echo "=== $title: status $status, $((SECONDS - begun)) s, $(($(cpu_seconds) - cpu)) s of processors"
    [ "$status" = 0 ] || failed=$((failed + 1))
}

# check NAME COMMAND...: something that the host sees; the end of its output is shown.
check() {
    local name=$1 output
    shift
    if output=$("$@" 2>&1); then
        echo "ok host: $name${output:+ ($(tail -n 1 <<<"$output"))}"
    else
        echo "FAIL host: $name: $(tail -n 3 <<<"$output")"
        failed=$((failed + 1))
    fi
}
not() { ! "$@"; }

finish() {
    [ "$failed" = 0 ] || { echo "FAIL: $failed in all"; exit 1; }
    exit 0
}

# monitor_options DIR: of scripts/vm, so that the guest has QEMU's monitor (see
# guest/disk_lib.sh). DIR is for a socket, through which QEMU talks to itself.
monitor_options() {
    echo "-chardev socket,id=mon0,path=$1/monitor,server=on,wait=off -mon chardev=mon0,mode=readline" \
        "-chardev socket,id=mon1,path=$1/monitor -device virtserialport,chardev=mon1,name=udrv.monitor"
}
