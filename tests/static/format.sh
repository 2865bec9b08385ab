#!/bin/bash
# SPDX-License-Identifier: MIT
# User space is formatted as .clang-format says. (tests/static/new_driver.sh looks at the
# templates of scripts/new-driver, when they have names.)
set -uo pipefail
# shellcheck source=tests/static/lib/common.sh
. "$(dirname "$0")/lib/common.sh"
format=$(command -v clang-format-14 || command -v clang-format) ||
    { fail 'clang-format is missing: run scripts/deps'; finish; }
mapfile -t files < <(find libudrv drivers examples cli bench tests -name '*.[ch]pp' | sort)
[ ${#files[@]} -ge 200 ] || fail "only ${#files[@]} files found"
"$format" --dry-run --style=file "${files[@]}" 2>"$tmp/log" || fail "$(tail -n 3 "$tmp/log")"
for file in $(sed -n 's/:[0-9]*:[0-9]*: warning: .*clang-format-violations\]$//p' "$tmp/log" | sort -u); do
    fail "$file: run $format -i $file"
done
finish "${#files[@]} files are formatted"
