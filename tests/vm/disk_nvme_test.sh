#!/bin/bash
# SPDX-License-Identifier: MIT
# The battery of disks on NVMe.
exec "$(dirname "$0")/disk_test.sh" nvme nvme
