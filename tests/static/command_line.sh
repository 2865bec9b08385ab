#!/bin/bash
# SPDX-License-Identifier: MIT
# What the command says to a person who gets it wrong, and that it tells when its output is
# lost. Needs no device and no privilege.
set -uo pipefail
udrv=${UDRV_BUILD:-build}/bin/udrv
[ -x "$udrv" ] || { echo "no $udrv: build it first"; exit 1; }
failed=0
fail() { echo "FAIL: $*"; failed=1; }

# says NAME STATUS PATTERN ARG...: one line on stderr, that status
says() {
    local name=$1 status=$2 pattern=$3 got=0
    shift 3
    "$udrv" "$@" >/dev/null 2>"$tmp" || got=$?
    [ $got = "$status" ] || fail "$name: status $got, not $status"
    grep -qE -e "$pattern" "$tmp" || fail "$name: $(cat "$tmp")"
    [ "$(wc -l <"$tmp")" = 1 ] || fail "$name: $(wc -l <"$tmp") lines"
}
tmp=$(mktemp)
trap 'rm -f "$tmp"' EXIT

says 'a word that is no command' 2 "no command 'fly'; there are: bind, unbind, run, upgrade, status" fly
says 'no command' 2 'udrv --help'
says 'a way to wait' 2 "'foo' .*auto, uring or read" run e1000 00:10.0 --wait foo
says 'an option' 2 '--fly' status --fly
version=$("$udrv" --version) || fail "--version: status $?"
[[ $version =~ ^udrv\ [0-9]+\.[0-9]+\.[0-9]+$ ]] || fail "--version: '$version'"
for help in '' bind unbind run upgrade status; do
    text=$("$udrv" $help --help) || fail "$help --help: status $?"
    ! grep -qE '\{(false|true)\}|->' <<<"$text" || fail "$help --help: $(grep -E '\{|->' <<<"$text")"
done

# A command whose output is its work has not done it.
for command in status 'status --json' --help --version; do
    for output in /dev/full closed; do
        got=0
        if [ $output = closed ]; then
            "$udrv" $command >&- 2>"$tmp" || got=$?
        else
            "$udrv" $command >$output 2>"$tmp" || got=$?
        fi
        [ $got = 1 ] || fail "$command, output $output: status $got"
        grep -q 'standard output' "$tmp" || fail "$command, output $output: '$(cat "$tmp")'"
    done
done
# Nor is it an error to have nobody who reads the errors.
got=0
"$udrv" fly >&- 2>&- <&- || got=$?
[ $got = 2 ] || fail "closed files: status $got"
got=0
"$udrv" fly 2>/dev/full || got=$?
[ $got = 2 ] || fail "errors to a full disk: status $got"

[ $failed = 0 ] && echo 'the command line is clear'
exit $failed
