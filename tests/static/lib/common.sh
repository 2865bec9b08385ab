# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# What the tests in this folder share. Source it first: it goes to the root of the tree, and
# makes a folder $tmp that is gone at the end. The end is `finish`.
cd "$(dirname "${BASH_SOURCE[0]}")/../../.." || exit 1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
fail() { echo "FAIL: $*"; failed=1; }
# try NAME COMMAND...: what it said is in $tmp/log; the end of that is shown if it fails.
try() {
    local name=$1
    shift
    "$@" >"$tmp/log" 2>&1 || { fail "$name: $(tail -n 15 "$tmp/log")"; return 1; }
}
finish() { # TEXT, of a test that passed
    [ $failed != 0 ] || echo "$*"
    exit $failed
}
