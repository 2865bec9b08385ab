#!/bin/bash
# SPDX-License-Identifier: MIT
# Every source names its licence, the right one for its kind, and no line knows
# where a developer keeps the checkout.
set -euo pipefail
# shellcheck source=tests/static/lib/common.sh
. "$(dirname "$0")/lib/common.sh"
seen=0

if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    mapfile -t files < <(git ls-files)
else
    mapfile -t files < <(find . -type f ! -path './build*' ! -path './.git/*' | sed 's|^\./||')
fi
# A path below a home, /work or /tmp/<something with capitals> is somebody's own.
own_paths='(/home|/work|/Users)/[a-z]|/root/[a-z.]'
for file in "${files[@]}"; do
    [ -f "$file" ] || continue # deleted, not committed yet
    case $file in
    *.md | LICENSES/* | LICENSE* | COPYING* | .gitignore | packaging/debian/changelog | packaging/debian/source/format | *.json | *.png | *.svg) wanted='' ;;
    include/udrv/*.h) wanted='GPL-2.0-only WITH Linux-syscall-note' ;;
    kmod/*.[ch] | netloop/*.[ch] | blkloop/*.[ch] | kmod/Kbuild | netloop/Kbuild | blkloop/Kbuild | \
        tests/vm/*/udrv_*.c | tests/vm/*/Kbuild)
        wanted='GPL-2.0-only' ;;
    *) wanted=MIT ;;
    esac
    if [ -n "$wanted" ]; then
        seen=$((seen + 1))
        line=$(head -n 5 "$file" | grep -m 1 -o 'SPDX-License-Identifier: .*' | sed 's| *\*/.*||') || true
        [ "$line" = "SPDX-License-Identifier: $wanted" ] || fail "$file: '$line', $wanted expected"
    fi
    if grep -InE "$own_paths" "$file" | grep -v 'own_paths=' >/dev/null; then
        fail "$file: a path of somebody's own machine: $(grep -InE "$own_paths" "$file" | head -n 1)"
    fi
done
[ $seen -ge 50 ] || fail "only $seen sources found"
finish "$seen sources are labelled"
