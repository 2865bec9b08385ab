#!/bin/bash
# SPDX-License-Identifier: MIT
# The instruction lens from end to end: is it complete? Its figures repeat on a busy host, but a
# smoke run is too short for that.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
if ! bench/run lens --smoke --configs stock udrv --as-built --out "$out/lens" >"$out/output" 2>&1; then
    tail -n 20 "$out/output" "$out/lens/log.txt"
    exit 1
fi
grep -q '^| 1 | ahci: 4 KiB: instructions' "$out/lens/summary.md" && grep -q '^| echo, 8 under way | user-level ' "$out/lens/summary.md" ||
    { cat "$out/lens/summary.md"; exit 1; }
