#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: tests/static/layers.sh [--print [CHECKOUT]]
#
# No arrow runs up (include/udrv, then libudrv, then drivers and the command beside each
# other), no folders include each other in a circle, and docs/structure.md has the arrows that
# there are (--print shows them, also of another checkout). The command knows no chip: its program has no code of one.
set -uo pipefail
here=$PWD
# shellcheck source=tests/static/lib/common.sh
. "$(dirname "$0")/lib/common.sh"
if [ "${1:-}" = --print ] && [ $# = 2 ]; then # of a checkout elsewhere
    cd "$here" && cd "$2" || exit 1
fi
build=${UDRV_BUILD:-build}

# arrows: each folder that includes something of another one, and that one, a line a pair
arrows() {
    { by_path; of_kmod; } | sort -u
}
by_path() {
    grep -rnoE --include='*.[ch]' --include='*.[ch]pp' '^#include [<"][^>"]*/[^>"]*[>"]' \
        include/udrv kmod netloop blkloop libudrv drivers cli 2>/dev/null |
        sed -E -e 's,^([^:]*)/[^/:]*:[0-9]*:#include [<"](.*)/[^/]*[>"]$,\1 \2,' |
        awk '$2 == "udrv" { $2 = "include/udrv" }
             $2 ~ /^(include\/udrv|kmod|netloop|blkloop|libudrv|drivers|cli)(\/|$)/ && $1 != $2' |
        grep -v '^libudrv/sdk ' # the headers of the SDK: doors, not rooms
}
of_kmod() { # its Kbuild lets a module include headers of kmod by their names
    grep -oE '^#include "[^"/]*"' netloop/*.[ch] blkloop/*.[ch] | tr -d '"' |
        while read -r from header; do
            from=${from%%/*} header=${header##* }
            [ -e "$from/$header" ] || [ ! -e "kmod/$header" ] || echo "$from kmod"
        done
}
# A folder and all that it includes, in the words of the page.
picture() {
    arrows | awk '$1 != last { if (last) print line; line = sprintf("%-19s ->", $1); last = $1 }
        { line = line " " $2 } END { print line }'
}
if [ "${1:-}" = --print ]; then
    picture
    exit
fi
[ "$(arrows | wc -l)" -ge 30 ] || fail "only $(arrows | wc -l) arrows found"
circle=$(arrows | tsort 2>&1 >/dev/null) || fail "folders include each other in a circle: $(xargs <<<"$circle")"
diff <(sed -n '/^```arrows$/,/^```$/{//!p}' docs/structure.md) <(picture) ||
    fail 'docs/structure.md (<) is not what there is (>): see tests/static/layers.sh --print'
# What the page says to open is there, and has what it says to look for.
rows=0
while IFS='|' read -r _ _ open look; do
    rows=$((rows + 1))
    files=$(grep -oE '`[^`]+`' <<<"$open" | tr -d '`' | xargs)
    # shellcheck disable=SC2086 # one word a file
    ls $files >/dev/null || fail "docs/structure.md: no such file"
    for word in $(grep -oE '`[^`]+`' <<<"$look" | tr -d '`'); do
        # shellcheck disable=SC2086
        grep -qw "$word" $files || fail "docs/structure.md: there is no $word in $files"
    done
done < <(sed -n '/^| Question /,/^$/{/^| [A-Z].*`/p}' docs/structure.md)
[ $rows -ge 8 ] || fail "docs/structure.md: only $rows questions"
# What is shared between chips is no chip, and a chip knows no other one.
while read -r from to; do
    [[ $from == drivers/* && $to == drivers/* && -e $to/CMakeLists.txt ]] && fail "$from includes the chip $to"
done < <(arrows)

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
finish "no arrow runs up; $chips drivers are programs of their own"
