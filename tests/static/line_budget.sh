#!/bin/bash
# SPDX-License-Identifier: MIT
# The kernel part stays smaller than that of the paper, 2,058 lines: what cloc
# counts as code in the C sources of all modules. Headers (declarations, the ring
# helpers, version differences, the ABI) are counted beside it and printed.
set -euo pipefail
cd "$(dirname "$0")/../.."
budget=2058
mapfile -t sources < <(find kmod netloop blkloop -name '*.c' | sort)
mapfile -t headers < <(find kmod netloop blkloop -name '*.h' | sort)
[ "${#sources[@]}" -ge 10 ] || { echo "FAIL: only ${#sources[@]} files found"; exit 1; }

# code LANGUAGE FILE...: their sum, or nothing if cloc did not count each of them
code() {
    cloc --quiet --by-file --csv "${@:2}" | awk -F, -v language="$1" -v files=$(($# - 1)) '
        $1 == language { printf "%5d %s\n", $5, $2 > "/dev/stderr"; lines += $5; seen++ }
        END { if (seen == files) print lines }'
}
in_sources=$(code C "${sources[@]}")
in_headers=$(code 'C/C++ Header' "${headers[@]}")
[ -n "$in_sources" ] && [ -n "$in_headers" ] || { echo 'FAIL: cloc missed files'; exit 1; }
echo "$in_sources lines of C in ${#sources[@]} sources, fewer than $budget wanted; $in_headers in ${#headers[@]} headers"
[ "$in_sources" -lt $budget ] || { echo 'FAIL: over the budget'; exit 1; }
