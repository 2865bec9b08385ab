#!/bin/bash
# SPDX-License-Identifier: MIT
# scripts/new-driver: what it writes builds at once and passes its tests, against the installed
# SDK in a folder of its own, and as a folder of this tree.
set -uo pipefail
# shellcheck source=tests/static/lib/common.sh
. "$(dirname "$0")/lib/common.sh"
build=$(cd "${UDRV_BUILD:-build}" && pwd -P) || exit 1
setting() { sed -n "s/^$1:[A-Z]*=//p" "$build/CMakeCache.txt" | head -n 1; }
compiler=("-DCMAKE_CXX_COMPILER=$(setting CMAKE_CXX_COMPILER)"
    "-DCMAKE_CXX_COMPILER_LAUNCHER=$(setting CMAKE_CXX_COMPILER_LAUNCHER)")

# --- Outside: names of one word and of two ------------------------------------

for component in runtime devel command; do
    try "install $component" cmake --install "$build" --prefix "$tmp/usr" --component $component
done
for kind in net:acme blk:fast_disk2; do
    name=${kind#*:} kind=${kind%:*}
    try "new-driver $kind" scripts/new-driver "$kind" "$name" "$tmp/mine" || continue
    ! grep -rniE 'mychip' "$tmp/mine/$name" || fail "$name: a name of the template is left"
    try "$name: configure" cmake -S "$tmp/mine/$name" -B "$tmp/mine/$name/build" \
        "-DCMAKE_PREFIX_PATH=$tmp/usr" "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror" "${compiler[@]}" &&
        try "$name: build" cmake --build "$tmp/mine/$name/build" --parallel 2 &&
        try "$name: its tests" ctest --test-dir "$tmp/mine/$name/build" --no-tests=error --output-on-failure
    passed=$(grep -c '^ *[0-9]*/[0-9]* Test .*Passed' "$tmp/log")
    [ "$passed" -ge 6 ] || fail "$name: only $passed tests"
    [ "$("$tmp/mine/$name/build/udrv-$name" --version)" = "udrv-$name 0.1" ] || fail "$name: --version"
    listed=$(UDRV_DRIVER_PATH=$tmp/mine/$name/build "$tmp/usr/bin/udrv" list --names | xargs)
    [[ " $listed " = *" $name "* ]] || fail "$name: udrv list gives '$listed'"
done

# --- In this tree: a copy of it -------------------------------------------------

mkdir "$tmp/tree"
find . -path './build*' -prune -o -path ./.git -prune -o -type f -print0 | tar c --null -T - | tar x -C "$tmp/tree"
for kind in net:acme blk:fast_disk2; do
    name=${kind#*:} kind=${kind%:*}
    try "new-driver $kind, in the tree" "$tmp/tree/scripts/new-driver" "$kind" "$name"
    [ "$(grep -vc '^#' "$tmp/tree/drivers/$name/CMakeLists.txt")" = 1 ] || fail "$name: more than one line of CMake"
done
[ "$(grep -cE '^drivers/(acme|fast_disk2) +->' "$tmp/tree/docs/structure.md")" = 2 ] ||
    fail 'docs/structure.md has no line of a new driver'
try 'docs/structure.md is right' diff <("$tmp/tree/tests/static/layers.sh" --print) \
    <(sed -n '/^```arrows$/,/^```$/{//!p}' "$tmp/tree/docs/structure.md")
# The runtime needs no second build for that.
try 'in the tree: configure' cmake -S "$tmp/tree" -B "$tmp/tree/build" -DUDRV_MODULES=OFF -DUDRV_TESTS=OFF \
    -DUDRV_BENCH=OFF -DUDRV_WERROR=ON -DCMAKE_OPTIMIZE_DEPENDENCIES=ON "${compiler[@]}"
for name in acme fast_disk2; do
    try "$name: build in the tree" cmake --build "$tmp/tree/build" --target "${name}_chip"
    cmake --build "$tmp/tree/build" --target help | grep " udrv-$name\$" >/dev/null || fail "$name: no program of it in the tree"
    for file in "drivers/$name/driver.cpp" "tests/unit/${name}_test.cpp"; do
        try "$file" "$(setting CMAKE_CXX_COMPILER)" -std=c++20 -fsyntax-only -I"$tmp/tree" -I"$tmp/tree/include" \
            -I"$tmp/tree/build/drivers/$name/udrv-$name-ids" "$tmp/tree/$file"
    done
    format=$(command -v clang-format || command -v clang-format-14) &&
        try "$name: its format" "$format" --dry-run -Werror --style=file:.clang-format \
            "$tmp/tree/drivers/$name"/*.?pp "$tmp/tree/tests/unit/${name}_test.cpp" "$tmp/tree/tests/unit/fake_$name.hpp"
done

# --- What it refuses --------------------------------------------------------------

for arguments in 'usb x' 'net' 'net Acme' 'net ../x' 'net 1a'; do
    # shellcheck disable=SC2086 # words
    ! scripts/new-driver $arguments >"$tmp/log" 2>&1 || fail "new-driver $arguments is taken"
done
[ -e "$tmp/mine/acme" ] && ! scripts/new-driver net acme "$tmp/mine" 2>"$tmp/log" && grep -q 'is there already' "$tmp/log" ||
    fail "a second driver of a name: $(cat "$tmp/log")"

finish 'new drivers of both kinds build and pass their tests, outside and in the tree'
