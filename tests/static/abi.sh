#!/bin/bash
# SPDX-License-Identifier: MIT
# The ABI's headers: each compiles alone as C and as C++, for 32 and 64 bits, and every
# field is where tests/static/abi-<version>.layout has it. There are no longs or pointers,
# and no padding without a name.
#   abi.sh            checks
#   abi.sh --update   takes over fields that were added; refuses to move or drop one
set -euo pipefail
# shellcheck source=tests/static/lib/common.sh
. "$(dirname "$0")/lib/common.sh"
headers='udrv.h net.h blk.h'
version=$(sed -n 's/^#define UDRV_ABI_VERSION[[:space:]]*//p' include/udrv/udrv.h)
file=tests/static/abi-$version.layout
# The kernel's headers of this machine's kind serve for 32 bits as well.
multiarch=/usr/include/$(gcc -print-multiarch)
bits='-m64'
[ "$(uname -m)" != x86_64 ] || bits='-m64 -m32'

# ---- Alone ----------------------------------------------------------------------

for header in $headers; do
    for width in $bits; do
        for language in 'gcc -x c -std=c99' 'gcc -x c -std=c11 -pedantic' 'g++ -x c++ -std=c++11 -pedantic' \
            'g++ -x c++ -std=c++20 -pedantic'; do
            echo "#include <udrv/$header>" | $language $width -isystem "$multiarch" -Wall -Wextra -Werror \
                -Iinclude -fsyntax-only - 2>"$tmp/errors" ||
                fail "$header alone, $language $width: $(head -n 3 "$tmp/errors" | tr '\n' '|')"
        done
    done
done

# ---- Fields ---------------------------------------------------------------------

# "struct field" of each: the headers have one declaration a line.
for header in $headers; do
    awk '
        /^struct [a-z_]+ \{$/ { name = $2; next }
        /^\};/ { name = "" }
        name && match($0, /^\t(struct [a-z_]+|__u8|__u16|__u32|__u64|char) [a-z0-9_]+(\[[^;]*\])?;/) {
            text = substr($0, RSTART, RLENGTH)
            sub(/(\[[^;]*\])?;$/, "", text)
            n = split(text, words, " ")
            print name, words[n]
            next
        }
        name && /^\t[a-z_].*;/ { print "FAIL: " name ": not a declaration of the kind that the ABI has: " $0 > "/dev/stderr" }
    ' "include/udrv/$header"
done >"$tmp/fields" 2>"$tmp/odd"
while read -r line; do fail "${line#FAIL: }"; done <"$tmp/odd"

{
    echo '#include <stddef.h>'
    echo '#include <stdio.h>'
    for header in $headers; do echo "#include <udrv/$header>"; done
    echo 'int main(void) {'
    previous=''
    while read -r name field; do
        [ "$name" = "$previous" ] || echo "printf(\"struct $name %zu\\n\", sizeof(struct $name));"
        previous=$name
        echo "printf(\"$name.$field %zu %zu\\n\", offsetof(struct $name, $field), sizeof(((struct $name *)0)->$field));"
    done <"$tmp/fields"
    echo 'return 0; }'
} >"$tmp/print.c"
gcc -Iinclude -o "$tmp/print" "$tmp/print.c"
"$tmp/print" >"$tmp/layout"

# No padding: each field begins where the one before it ends.
awk '
    $1 == "struct" { if (end != size) print name ": " size - end " bytes at its end have no name"; name = $2; size = $3; end = 0; next }
    { if ($2 != end) print $1 ": " $2 - end " bytes before it have no name"; end = $2 + $3 }
    END { if (end != size) print name ": " size - end " bytes at its end have no name" }
' "$tmp/layout" >"$tmp/holes"
while read -r line; do fail "$line"; done <"$tmp/holes"

# Where 32 bits have them.
{
    echo '#include <stddef.h>'
    for header in $headers; do echo "#include <udrv/$header>"; done
    awk '
        $1 == "struct" { printf "_Static_assert(sizeof(struct %s) == %s, \"%s\");\n", $2, $3, $2; next }
        { split($1, part, "."); printf "_Static_assert(offsetof(struct %s, %s) == %s, \"%s\");\n", part[1], part[2], $2, $1 }
    ' "$tmp/layout"
} >"$tmp/same.c"
for width in $bits; do
    gcc $width -isystem "$multiarch" -Iinclude -fsyntax-only "$tmp/same.c" 2>"$tmp/errors" ||
        fail "not the same with $width: $(grep -m 3 error "$tmp/errors" | tr '\n' '|')"
done

# ---- As written down ------------------------------------------------------------

head="# SPDX-License-Identifier: MIT
# Offset and size of each field of ABI $version, and the size of each structure, in bytes."
# A field may take the place of one that was reserved; a structure may become longer.
kept() { grep -vE '^struct |^#|\.reserved[0-9]* ' "$1"; }
if [ "${1:-}" = --update ]; then
    if [ -e "$file" ] && lost=$(kept "$file" | grep -vxFf "$tmp/layout"); then
        fail "these are not where they were; that needs a new UDRV_ABI_VERSION: $(head -n 3 <<<"$lost" | tr '\n' '|')"
    elif [ $failed = 0 ]; then
        { echo "$head"; cat "$tmp/layout"; } >"$file"
    fi
elif [ ! -e "$file" ]; then
    fail "$file is missing: a new version's layouts are written down with --update"
elif ! changes=$(diff <({ echo "$head"; cat "$tmp/layout"; }) "$file"); then
    fail "layouts are not as in $file (one that was added: $0 --update): $(head -n 4 <<<"$changes" | tr '\n' '|')"
fi
finish "$(wc -l <"$tmp/fields") fields of $(grep -c '^struct' "$tmp/layout") structures, ABI $version"
