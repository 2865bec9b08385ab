#!/bin/bash
# SPDX-License-Identifier: MIT
# The modules build without a warning of the compiler's second level (W=1) and of
# sparse (C=2), in a folder of their own; and read like the kernel's in two things that no tool
# of its own asks for.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${UDRV_BUILD:-build}
folder=$build/static
log=$build/static.log
mkdir -p "$folder"
command -v sparse >/dev/null || { echo 'FAIL: sparse is missing: run scripts/deps'; exit 1; }

# One initialiser a line, and no conditional operator within another.
# shellcheck disable=SC2016 # awk's
style=$(awk '
FNR == 1 { statement = "" }
{
    line = $0
    gsub(/"([^"\\]|\\.)*"/, "\"\"", line)
    gsub(/\/\*.*\*\//, "", line)
    if (line ~ /^[ \t]*\/?\*/) next
    if (line ~ /\.[a-z_]+ = [^,]*,[ \t]*\.[a-z_]+ =/)
        print FILENAME ":" FNR ": two initialisers on a line"
    if (statement == "") first = FNR
    statement = statement " " line
    if (line ~ /[;{}]/ || line ~ /^#/) {
        if (statement ~ /\?[^,;?]*:[^,;]*\?/ || statement ~ /\?[^,;:]*\?/)
            print FILENAME ":" first ": a conditional operator within another"
        statement = ""
    }
}' kmod/*.[ch] netloop/*.[ch] blkloop/*.[ch])
[ -z "$style" ] || { echo "FAIL: $style"; exit 1; }

# A block of memory is zeroed before it has a handle, which another thread may guess.
awk '/^int udrv_dma_coherent/,/^}/ { if (/memset\(page_address/) z = NR; if (/udrv_region_enter/) e = NR }
    END { exit !(z && e && z < e) }' kmod/dma.c ||
    { echo 'FAIL: kmod/dma.c: coherent memory is zeroed after it has a handle'; exit 1; }

# The headers that the build uses.
release=$(cat "$build/modules/kernel-release")
for headers in "/lib/modules/$release/build" "/usr/src/linux-headers-$release"; do
    [ ! -e "$headers/Makefile" ] || break
done
rm -rf "$folder"
mkdir -p "$folder/include/udrv"
cp include/udrv/*.h "$folder/include/udrv/"
folders=''
for name in kmod netloop blkloop; do
    [ -e "$name/Kbuild" ] || continue
    mkdir -p "$folder/$name"
    cp "$name"/*.[ch] "$name/Kbuild" "$folder/$name/"
    folders+=" $name/"
done
echo "obj-m :=$folders" >"$folder/Kbuild"
status=0
env -u MAKEFLAGS -u MAKELEVEL make -s -j2 -C "$headers" M="$(cd "$folder" && pwd)" W=1 C=2 modules \
    >"$log" 2>&1 || status=$?
# What depends on the packaging of the headers, and says nothing of us.
grep -vE 'Skipping BTF|the compiler differs|The kernel was built by|You are using|^ *CHECK ' "$log" >"$log.rest" || true
objects=$(find "$folder" -name '*.ko' | wc -l)
echo "$objects modules, status $status, $(wc -l <"$log.rest") lines of warnings"
head -n 20 "$log.rest"
[ $status = 0 ] && [ "$objects" -ge 2 ] && [ ! -s "$log.rest" ] || { echo FAIL; exit 1; }
