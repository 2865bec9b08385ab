#!/bin/bash
# SPDX-License-Identifier: MIT
# Requests wait for the next driver for as long as the recovery window is open.
. "$(dirname "$0")/lib.sh"
guest 'the recovery window' 600 --smp 2 --disk ahci -- window.sh
finish
