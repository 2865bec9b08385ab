#!/bin/bash
# SPDX-License-Identifier: MIT
# A kernel older than the oldest that udrv builds for is refused when the build is
# configured, in one line, and by the compiler for who builds without CMake; and the two
# and the README name the same one.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
fail() { echo "FAIL: $*"; exit 1; }

mkdir -p "$folder/headers/include/generated"
echo '#define UTS_RELEASE "5.10.0-30-amd64"' >"$folder/headers/include/generated/utsrelease.h"
if cmake -S . -B "$folder/build" -DUDRV_KERNEL="$folder/headers" -DUDRV_TESTS=OFF -DUDRV_BENCH=OFF \
    >"$folder/log" 2>&1; then
    fail 'headers of Linux 5.10 are taken'
fi
tr -s ' \n' ' ' <"$folder/log" | grep -q 'need Linux 6.1 or newer, and .* is 5.10.0-30-amd64' ||
    fail "it said: $(tail -n 5 "$folder/log")"
grep -q '#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0)' kmod/udrv_compat.h || fail 'kmod/udrv_compat.h'
grep -q 'Linux 6\.1 to ' README.md || fail 'README.md does not name the range'
echo 'Linux 5.10 is refused'
