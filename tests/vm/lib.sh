# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# What the host sides of the tests share. Source it from tests/vm/<name>_test.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=${UDRV_BUILD:-build}
failed=0

# guest TITLE TIMEOUT VM-OPTION... -- SCRIPT [ARG]...: boots a machine and runs
# tests/vm/guest/SCRIPT in it. The next one runs even if this one failed.
guest() {
    local title=$1 timeout=$2 begun=$SECONDS status=0 options=()
    shift 2
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    shift
    echo "=== $title"
    scripts/vm --timeout "$timeout" --env UDRV_BUILD="$build" "${options[@]}" -- \
        bash "tests/vm/guest/$1" "${@:2}" || status=$?
    echo "=== $title: status $status, $((SECONDS - begun)) s"
    [ "$status" = 0 ] || failed=$((failed + 1))
}

finish() {
    [ "$failed" = 0 ] || { echo "FAIL: $failed machines"; exit 1; }
    exit 0
}
