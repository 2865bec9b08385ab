#!/bin/bash
# SPDX-License-Identifier: MIT
# No arrow runs up (include/udrv, then libudrv, then drivers and the command beside each
# other), and the command knows no chip: its program has no code of one.
set -uo pipefail
cd "$(dirname "$0")/../.."
build=${UDRV_BUILD:-build}
failed=0
fail() { echo "FAIL: $*"; failed=1; }

# none FOLDER PATTERN: no file there includes such a header
none() {
    local files
    files=$(find "$1" -name '*.[ch]pp' -o -name '*.[ch]' | sort)
    [ -n "$files" ] || fail "$1: no sources found"
    # shellcheck disable=SC2086 # one word a file
    grep -nE "^#include [\"<]($2)/" $files && fail "$1 includes what is above or beside it"
}
none include/udrv 'libudrv|drivers|cli|kmod|netloop|blkloop'
none libudrv 'drivers|cli|kmod|netloop|blkloop'
none drivers 'cli|kmod|netloop|blkloop'
none cli 'drivers|kmod|netloop|blkloop'

chips=0
for ids in drivers/*/*.ids; do
    chip=$(basename "$ids" .ids)
    chips=$((chips + 1))
    [ -x "$build/libexec/udrv/udrv-$chip" ] || { fail "no program of $chip: build it first"; continue; }
    cmp -s "$ids" "$build/libexec/udrv/$chip.ids" || fail "$chip: its ids are not beside its program"
    got=$(nm -C "$build/libexec/udrv/udrv-$chip" | grep -c " udrv::$chip::")
    [ "$got" -ge 3 ] || fail "udrv-$chip: $got symbols of its chip"
    got=$(nm -C "$build/bin/udrv" | grep -c "udrv::$chip::")
    [ "$got" = 0 ] || fail "the command has $got symbols of $chip"
done
[ $chips -ge 4 ] || fail "only $chips drivers found"
[ $failed = 0 ] && echo "no arrow runs up; $chips drivers are programs of their own"
exit $failed
