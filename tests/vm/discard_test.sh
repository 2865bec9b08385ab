#!/bin/bash
# SPDX-License-Identifier: MIT
# What the disks promise: the limits of docs/limits.md beside those of the kernel's
# drivers, their names in /dev/disk, and what a discard must not touch. The long form,
# 10,000 files a filesystem, of which every second is deleted: UDRV_DISCARD_ROUNDS=100.
. "$(dirname "$0")/lib.sh"

rounds=${UDRV_DISCARD_ROUNDS:-1}
images=$(mktemp -d)
trap 'rm -rf "$images"' EXIT
truncate -s $((700 + 8 * rounds))M "$images/first" "$images/ide"
truncate -s 64M "$images/second"
guest 'limits, names, discards' $((600 + 300 * rounds)) --smp 2 --env UDRV_DISCARD_ROUNDS=$rounds \
    --disk "ahci:$images/first:discard=unmap" --disk "ahci:$images/second:discard=unmap" \
    --disk "ide:$images/ide:discard=unmap" -- discard.sh
finish
