#!/bin/bash
# SPDX-License-Identifier: MIT
# The battery of disks on virtio-blk.
exec "$(dirname "$0")/disk_test.sh" virtio_blk virtio-blk-pci,disable-legacy=on
