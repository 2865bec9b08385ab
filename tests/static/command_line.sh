#!/bin/bash
# SPDX-License-Identifier: MIT
# What the command and the drivers' programs say to a person who gets it wrong, and that they
# tell when their output is lost. Needs no device and no privilege.
set -uo pipefail
# shellcheck source=tests/static/lib/common.sh
. "$(dirname "$0")/lib/common.sh"
udrv=${UDRV_BUILD:-build}/bin/udrv
drivers=${UDRV_BUILD:-build}/libexec/udrv
[ -x "$udrv" ] || { echo "no $udrv: build it first"; exit 1; }
said=$tmp/said

# says NAME STATUS PATTERN ARG...: one line on stderr, that status
says() { program=$udrv program_says "$@"; }
program_says() {
    local name=$1 status=$2 pattern=$3 got=0
    shift 3
    "$program" "$@" >/dev/null 2>"$said" || got=$?
    [ $got = "$status" ] || fail "$name: status $got, not $status"
    grep -qE -e "$pattern" "$said" || fail "$name: $(cat "$said")"
    [ "$(wc -l <"$said")" = 1 ] || fail "$name: $(wc -l <"$said") lines"
}

says 'a word that is no command' 2 "no command 'fly'; there are: bind, unbind, run, upgrade, status, top, list, doctor" fly
says 'no command' 2 'udrv --help'
says 'a way to wait' 2 "'foo' .*auto, uring or read" run e1000 00:10.0 --wait foo
says 'a way to wait' 2 "'foo' .*auto, uring or read" run 00:10.0 --wait foo
says 'a driver and no device' 2 'which device.*udrv run e1000 BDF' run e1000
says 'no driver of that name' 2 "no program udrv-e1001 in .*/libexec/udrv; there are: ahci, e1000, .*UDRV_DRIVER_PATH" \
    run e1001 00:10.0
says 'no program of that path' 2 'no such program' run ./e1000 00:10.0
says 'an address' 1 "'banana'.*lspci" run e1000 banana
says 'an option of run' 2 '--fly' run e1000 00:10.0 --fly
says 'an option' 2 '--fly' status --fly
text=$("$udrv" --version) || fail "--version: status $?"
version=${text%%$'\n'*}
grep -qE '^library: [0-9.]+ \(libudrv\.so\.[0-9]+\)$' <<<"$text" && grep -qE '^ABI: [0-9]+$' <<<"$text" &&
    grep -qE '^modules: udrv .*, udrv_net .*, udrv_blk ' <<<"$text" || fail "--version: '$text'"
[[ $version =~ ^udrv\ [0-9]+\.[0-9]+\.[0-9]+$ ]] || fail "--version: '$version'"
for help in '' bind unbind run upgrade status top list doctor; do
    text=$("$udrv" $help --help) || fail "$help --help: status $?"
    ! grep -qE '\{(false|true)\}|->' <<<"$text" || fail "$help --help: $(grep -E '\{|->' <<<"$text")"
done
grep -q 'ahci, e1000, edu, ide' <<<"$("$udrv" run --help)" || fail 'run --help does not list the drivers'

# Each driver's program by hand.
programs=0
for program in "$drivers"/udrv-*; do
    name=${program##*/}
    programs=$((programs + 1))
    program_says "$name: no device" 2 "^$name: .*BDF.*$name --help"
    program_says "$name: an option" 2 "^$name: .*--fly" 00:10.0 --fly
    program_says "$name: an address" 1 "^$name: .*'banana'.*lspci" banana
    [ "$("$program" --version)" = "$name ${version#udrv }" ] || fail "$name --version: '$("$program" --version)'"
    text=$("$program" --help) || fail "$name --help: status $?"
    grep -q 'udrv run' <<<"$text" || fail "$name --help does not name the command"
    for option in --name --wait --queues --stats --no-sandbox --verbose; do
        grep -q -e "$option" <<<"$text" || fail "$name --help: no $option"
    done
    got=0
    "$program" --help >/dev/full 2>"$said" || got=$?
    [ $got = 1 ] || fail "$name: lost output: status $got"
done
[ $programs -ge 4 ] || fail "only $programs drivers"

# What is given to `udrv run` reaches the driver, and what follows `--` reaches it alone.
more=$tmp/more
mkdir "$more"
printf '#!/bin/sh\necho "$0 $#: $*"; exit 7\n' >"$more/udrv-own"
chmod +x "$more/udrv-own"
got=0
text=$(UDRV_DRIVER_PATH=/nowhere:$more "$udrv" run -v own 0:1f.7 --stats 'a b' --no-sandbox -- --wait x) || got=$?
[ "$got $text" = "7 $more/udrv-own 6: 0000:00:1f.7 --stats=a b --no-sandbox --verbose --wait x" ] ||
    fail "a driver of UDRV_DRIVER_PATH: status $got, '$text'"

# A command whose output is its work has not done it.
for command in status 'status --json' 'status --openmetrics' 'top --interval 0.1 --count 1' list 'list --json' 'list --names' doctor 'doctor --json' --help --version; do
    for output in /dev/full closed; do
        got=0
        if [ $output = closed ]; then
            "$udrv" $command >&- 2>"$said" || got=$?
        else
            "$udrv" $command >$output 2>"$said" || got=$?
        fi
        [ $got = 1 ] || fail "$command, output $output: status $got"
        grep -q 'standard output' "$said" || fail "$command, output $output: '$(cat "$said")'"
    done
done
# Nor is it an error to have nobody who reads the errors.
got=0
"$udrv" fly >&- 2>&- <&- || got=$?
[ $got = 2 ] || fail "closed files: status $got"
got=0
"$udrv" fly 2>/dev/full || got=$?
[ $got = 2 ] || fail "errors to a full disk: status $got"

finish 'the command line is clear'
