#!/bin/bash
# SPDX-License-Identifier: MIT
# docs/limits.md has every field of struct queue_limits, of each kernel whose headers are here:
# a limit that nobody thought of is how data get lost.
set -uo pipefail
# shellcheck source=tests/static/lib/common.sh
. "$(dirname "$0")/lib/common.sh"
table=$(awk '/^## What udrv_blk sets/ { on = 1 } /^## Names/ { on = 0 } on' docs/limits.md)
looked=0
for header in /usr/src/linux-headers-*-common/include/linux/blkdev.h \
    "${UDRV_CACHE:-$HOME/.cache/udrv}"/headers/*/usr/src/*-common/include/linux/blkdev.h; do
    [ -e "$header" ] || continue
    for field in $(sed -n '/^struct queue_limits {/,/^};/p' "$header" |
        sed -nE 's/\/\*.*\*\///; s/.*[ \t]([a-z_]+);.*/\1/p'); do
        case $field in atomic_write_*) field='atomic_write_*' ;; esac
        looked=$((looked + 1))
        grep -qF -e "\`$field\`" <<<"$table" ||
            fail "$field of ${header##*linux-headers-} is not in docs/limits.md"
    done
done
[ $looked -ge 20 ] || fail "only $looked fields of struct queue_limits found"
finish "$looked fields of struct queue_limits"
