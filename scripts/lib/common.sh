# SPDX-License-Identifier: MIT
# Shared by every script here: where things are, and how to say what went wrong.
# Sourced, never run; the sourcing script has already set -euo pipefail.
# shellcheck shell=bash

# shellcheck disable=SC2034 # for the scripts that source this
UDRV_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
UDRV_CACHE=${UDRV_CACHE:-${HOME:-/root}/.cache/udrv}
udrv_me=${0##*/}

# Progress and diagnostics go to stderr: stdout belongs to the command that is run.
say() { printf '%s: %s\n' "$udrv_me" "$*" >&2; }
die() { say "$*"; exit 1; }
quietly() { # WHAT COMMAND...: its output only if it fails
    local output
    say "$1"
    shift
    output=$("$@" 2>&1 </dev/null) || { printf '%s\n' "$output" >&2; die "failed: $*"; }
}

# Prints a script's own header comment, up to the first line that is not one.
usage() { awk 'NR > 1 && !/^#/ { exit } NR > 2 { sub(/^# ?/, ""); print }' "$0"; }

# Whether a package is installed, without the network and without apt's start-up time.
have_package() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

require_debian() {
    command -v apt-get >/dev/null && command -v dpkg-query >/dev/null ||
        die "this needs a Debian machine (no apt-get here); \`scripts/deps --list\` prints the packages to install by hand"
}
