#!/bin/bash
# SPDX-License-Identifier: MIT
# A kernel older than the oldest that udrv builds for is refused when the build is
# configured, in one line, and by the compiler in a build without CMake; and the two
# and the README name the same one.
set -euo pipefail
# shellcheck source=tests/static/lib/common.sh
. "$(dirname "$0")/lib/common.sh"

mkdir -p "$tmp/headers/include/generated"
echo '#define UTS_RELEASE "5.10.0-30-amd64"' >"$tmp/headers/include/generated/utsrelease.h"
if cmake -S . -B "$tmp/build" -DUDRV_KERNEL="$tmp/headers" -DUDRV_TESTS=OFF -DUDRV_BENCH=OFF \
    >"$tmp/log" 2>&1; then
    fail 'headers of Linux 5.10 are taken'
fi
tr -s ' \n' ' ' <"$tmp/log" | grep -q 'need Linux 6.1 or newer, and .* is 5.10.0-30-amd64' ||
    fail "it said: $(tail -n 5 "$tmp/log")"
grep -q '#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0)' kmod/udrv_compat.h || fail 'kmod/udrv_compat.h'
grep -q 'Linux 6\.1 to ' README.md || fail 'README.md does not name the range'
finish 'Linux 5.10 is refused'
