#!/bin/bash
# SPDX-License-Identifier: MIT
# What docs/writing-a-driver.md quotes is what the sources say, and the files that the documents
# name are there.
set -uo pipefail
# shellcheck source=tests/static/lib/common.sh
. "$(dirname "$0")/lib/common.sh"

# A block of C++ has its file in a comment above it. Each of its lines is in there; what stands
# behind it as a comment is the page's own, and `...` is what was left out.
squeeze() { sed -E 's,[[:space:]]+//.*$,,; s,[[:space:]]+, ,g; s,^ ,,; s, $,,' "$@"; }
excerpts() {
    awk '/^<!-- from .* -->$/ { file = $3 } /^```$/ { inside = 0; file = "" }
        inside && NF { print (file ? file : "-") "\t" $0 } /^```cpp$/ { inside = 1 }' docs/writing-a-driver.md
}
lines=0
while IFS=$'\t' read -r file line; do
    [ "$file" != - ] || { fail "docs/writing-a-driver.md: an excerpt does not say from where: $line"; continue; }
    line=$(squeeze <<<"$line")
    [ "$line" != ... ] || continue
    lines=$((lines + 1))
    squeeze "$file" | grep -xF -e "$line" >/dev/null || fail "docs/writing-a-driver.md: $file has no line '$line'"
done < <(excerpts)
[ $lines -ge 10 ] || fail "only $lines lines of excerpts"

# In backquotes, from a folder of this tree on. NAME, CHIP and mychip are the reader's to fill in; a
# program goes without its suffix.
files=0
folders='drivers|libudrv|include|kmod|netloop|blkloop|cli|scripts|tests|docs|packaging|bench|examples|cmake'
while IFS=: read -r page path; do
    [[ ! $path =~ NAME|CHIP|mychip ]] || continue
    files=$((files + 1))
    for one in $(eval "echo $path"); do # braces
        compgen -G "${one%/}" >/dev/null || compgen -G "$one.*" >/dev/null || fail "$page names $path: there is no $one"
    done
done < <(grep -oHE "\`($folders)/[A-Za-z0-9_./{},*-]*" README.md CONTRIBUTING.md tests/README.md docs/*.md |
    tr -d '`' | sort -u)
[ $files -ge 100 ] || fail "only $files names of files"
finish "$lines lines of excerpts and $files names of files are there"
