#!/bin/bash
# SPDX-License-Identifier: MIT
# `cmake --install` installs all of it, each file in its component, and a driver is written
# against what is installed alone: the examples are built outside of the tree.
set -uo pipefail
# shellcheck source=tests/static/lib/common.sh
. "$(dirname "$0")/lib/common.sh"
build=$(cd "${UDRV_BUILD:-build}" && pwd -P) || exit 1

# --- Files, by component ------------------------------------------------------

examples=share/doc/udrv/examples
wanted_command() {
    printf '%s\n' bin/udrv lib/systemd/system/udrv@.service lib/udev/rules.d/60-udrv.rules \
        share/bash-completion/completions/udrv share/zsh/site-functions/_udrv \
        share/fish/vendor_completions.d/udrv.fish share/man/man8/udrv.8
    (cd packaging/examples && find . -type f) | sed "s|^\.|$examples|"
}
wanted_drivers() {
    for ids in drivers/*/*.ids; do
        chip=$(basename "$ids" .ids)
        printf 'libexec/udrv/%s\n' "udrv-$chip" "$chip.ids"
    done
}
wanted_runtime() { printf '%s\n' lib/libudrv.so.1 lib/libudrv.so.1.0.0; }
wanted_devel() {
    printf '%s\n' lib/libudrv.a lib/libudrv.so lib/pkgconfig/udrv.pc
    printf 'lib/cmake/udrv/%s\n' udrvConfig.cmake udrvConfigVersion.cmake udrvTargets.cmake \
        "udrvTargets-$config.cmake" UdrvDriver.cmake driver_ids.hpp.in
    find include libudrv -name '*.h' -o -name '*.hpp' |
        sed -e 's|^libudrv/sdk|include/udrv|' -e 's|^libudrv|include/libudrv|'
    (cd examples && find . -type f) | sed "s|^\.|$examples|"
}
config=$(sed -n 's/^CMAKE_BUILD_TYPE:.*=//p' "$build/CMakeCache.txt" | tr '[:upper:]' '[:lower:]')
libdir=$(sed -n 's/^CMAKE_INSTALL_LIBDIR:.*=//p' "$build/CMakeCache.txt")
files=0
for component in command drivers runtime devel; do
    try "install $component" cmake --install "$build" --prefix "$tmp/$component" --component $component
    (cd "$tmp/$component" && find . ! -type d | sed 's|^\./||') | sed "s|^$libdir/|lib/|" | sort >"$tmp/got"
    wanted_$component | sort >"$tmp/wanted"
    files=$((files + $(wc -l <"$tmp/got")))
    diff "$tmp/wanted" "$tmp/got" >"$tmp/diff" || fail "$component (<: missing, >: too much): $(grep '^[<>]' "$tmp/diff" | head -n 10)"
done
prefix=$tmp/usr
try 'install all' cmake --install "$build" --prefix "$prefix"
[ "$(find "$prefix" ! -type d | wc -l)" = $files ] || fail 'something is in no component'
pc=$prefix/$libdir/pkgconfig
export PKG_CONFIG_PATH=$pc

# --- The command and the drivers ----------------------------------------------

udrv=$prefix/bin/udrv
names=$("$udrv" list --names | xargs) || fail 'udrv list --names'
[ "$names" = "$(wanted_drivers | sed -n 's|.*/\(.*\)\.ids|\1|p' | sort | xargs)" ] || fail "the installed command finds '$names'"
unit=$prefix/lib/systemd/system/udrv@.service
grep -qE '^ExecStart=/[^@]*/udrv run --restart .*%i$' "$unit" && ! grep -q '@CMAKE' "$unit" || fail "the unit: $(grep Exec "$unit")"
rules=$prefix/lib/udev/rules.d/60-udrv.rules
grep -q 'RUN+="/[^@]*/udrv bind --saved \$kernel"' "$rules" || fail "the rule: $(grep -- --saved "$rules")"

# Each command and option that --help knows is in the manual page and the completions.
# A file, not a pipe: grep would close that early, and pipefail call it a failure.
sed 's/\\-/-/g' packaging/man/udrv.8 >"$tmp/man"
options=0
for command in bind unbind run upgrade status top list doctor; do
    for file in man/udrv.8 completion/{udrv.bash,_udrv,udrv.fish}; do
        grep -qw -- "$command" "packaging/$file" || fail "packaging/$file lacks the command $command"
    done
    for option in $("$udrv" $command --help | grep -oE -- '--[a-z][a-z-]+' | sort -u); do
        # Only for completion, in which it is used itself.
        [ "$option" != --names ] || continue
        options=$((options + 1))
        grep -q -- "$option" "$tmp/man" || fail "packaging/man/udrv.8 lacks $option"
        for file in udrv.bash _udrv udrv.fish; do
            grep -qE -- "($option|-l ${option#--})([^a-z-]|$)" "packaging/completion/$file" ||
                fail "packaging/completion/$file lacks $option of $command"
        done
    done
done
[ $options -ge 20 ] || fail "only $options options found"

# --- What bash completes ------------------------------------------------------

# completes WANTED WORD...: after these words
completes() {
    local got
    # shellcheck disable=SC2016 # the other shell's
    got=$(bash -c '. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _udrv; echo "${COMPREPLY[*]}"' \
        - "$prefix/share/bash-completion/completions/udrv" "${@:2}")
    [ "$got" = "$1" ] || fail "completion of '${*:2}': '$got', not '$1'"
}
completes 'unbind upgrade' udrv u
completes '--restart --restart-limit' udrv run --res
completes 'uring' udrv run --wait u
completes '--json' udrv doctor --j
completes '--interval' udrv top --i

# The same of the other two shells.
completes_in_fish() { # WANTED LINE
    local got
    got=$(HOME=$tmp PATH=$prefix/bin:$PATH fish --no-config -c "source '$prefix/share/fish/vendor_completions.d/udrv.fish'; complete -C '$2'" |
        cut -f 1 | xargs)
    [ "$got" = "$1" ] || fail "completion of '$2' by fish: '$got', not '$1'"
}
completes_in_fish 'unbind upgrade' 'udrv u'
completes_in_fish '--restart --restart-limit' 'udrv run --res'
completes_in_fish 'uring' 'udrv run --wait u'
completes_in_fish '--save --saved' 'udrv bind --sa'
# zsh completes in a terminal only; its own module makes one.
cat >"$tmp/complete.zsh" <<'END'
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "fpath=($2 \$fpath); autoload -U compinit; compinit -u -d $3; compdef _udrv udrv; print rea''dy"
zpty -r shell line '*ready*'
zpty -w -n shell "$1"$'\t'
zpty -r shell line "*$4*"
zpty -d shell
END
completes_in_zsh() { # WANTED LINE
    timeout 120 zsh -f "$tmp/complete.zsh" "$2" "$prefix/share/zsh/site-functions" "$tmp/zcompdump" "$1" >"$tmp/log" 2>&1 ||
        fail "completion of '$2' by zsh: not '$1'"
}
completes_in_zsh 'udrv upgrade' 'udrv up'
completes_in_zsh '--openmetrics' 'udrv status --o'
completes_in_zsh '--deadline' 'udrv run --dea'

# --- Drivers outside of the tree ----------------------------------------------

work=$tmp/elsewhere
cp -r "$prefix/$examples" "$work"
cxx=$(sed -n 's/^CMAKE_CXX_COMPILER:[A-Z]*=//p' "$build/CMakeCache.txt" | head -n 1)
launcher=$(sed -n 's/^CMAKE_CXX_COMPILER_LAUNCHER:[A-Z]*=//p' "$build/CMakeCache.txt" | head -n 1)
try 'C++: configure' cmake -S "$work/cpp" -B "$work/cpp/build" "-DCMAKE_PREFIX_PATH=$prefix" "-DCMAKE_CXX_COMPILER=$cxx" \
    "-DCMAKE_CXX_COMPILER_LAUNCHER=$launcher" &&
    try 'C++: build' cmake --build "$work/cpp/build"
[ "$("$work/cpp/build/udrv-edu_cpp" --version)" = 'udrv-edu_cpp 1.0' ] || fail 'C++: --version'
! grep -r "$PWD" "$work/cpp/build" --include='*.make' --include=CMakeCache.txt || fail 'C++: it knows this tree'
named=$(UDRV_DRIVER_PATH=$work/cpp/build "$udrv" list --names | xargs)
[[ " $named " = *' edu_cpp '* ]] || fail "C++: UDRV_DRIVER_PATH gives '$named'"
try 'C++: install' cmake --install "$work/cpp/build" --prefix "$prefix"
named=$("$udrv" list --names | xargs)
[[ " $named " = *' edu_cpp '* ]] || fail "C++: installed, there are '$named'"

try 'C: build' make -C "$work/c" CFLAGS='-O2 -Wall -Wextra -Werror'
got=0
"$work/c/udrv-edu_c" 2>/dev/null || got=$?
[ $got = 2 ] || fail "C: without a device: status $got"
try 'C: install' make -C "$work/c" install CFLAGS='-O2'
named=$("$udrv" list --names | xargs)
[[ " $named " = *' edu_c '* ]] || fail "C: installed, there are '$named'"

try 'Rust: build' make -C "$work/rust"
got=0
"$work/rust/udrv-edu_rs" 2>/dev/null || got=$?
[ $got = 2 ] || fail "Rust: without a device: status $got"
try 'Rust: install' make -C "$work/rust" install
named=$("$udrv" list --names | xargs)
[[ " $named " = *' edu_rs '* ]] || fail "Rust: installed, there are '$named'"

try 'Python: compile' python3 -m py_compile "$work/python/udrv-edu_py"
got=0
"$work/python/udrv-edu_py" 2>/dev/null || got=$?
[ $got = 2 ] || fail "Python: without a device: status $got"

# Each header alone, and the shared library.
for header in udrv.h net.h blk.h rings.h; do
    for language in 'cc -std=c11 -x c' "$cxx -std=c++20 -x c++"; do
        # shellcheck disable=SC2086 # words
        try "<udrv/$header>, $language" $language -Wall -Wextra -Werror -fsyntax-only -I"$prefix/include" - <<<"#include <udrv/$header>"
    done
done
read -ra flags <<<"$(pkg-config --cflags udrv)"
for header in net.hpp blk.hpp; do
    try "<udrv/$header>" "$cxx" -std=c++20 -x c++ -fsyntax-only "${flags[@]}" - <<<"#include <udrv/$header>"
done
cat >"$tmp/shared.cpp" <<'END'
#include <cstdio>
#include <udrv/driver.hpp>
int main() {
    std::puts(udrv::parse_ids("*:*:010802 any", "text").at(0).str().c_str());
}
END
read -ra libs <<<"$(pkg-config --libs udrv)"
try 'the shared library: build' "$cxx" -std=c++20 "${flags[@]}" -o "$tmp/shared" "$tmp/shared.cpp" "${libs[@]}"
[ "$(LD_LIBRARY_PATH=$prefix/$libdir "$tmp/shared")" = '*:*:010802' ] || fail 'the shared library'
readelf -d "$tmp/shared" | grep -q 'NEEDED.*libudrv\.so\.1\]' || fail 'the shared library is not needed by that name'

finish "$files files are installed; drivers in C++, C, Rust and Python build against them"
