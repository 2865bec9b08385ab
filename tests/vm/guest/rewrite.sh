#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: rewrite.sh PACKETS
# A driver that has its device rewrite received packets after the stack checked them.
# Trusted first: the control, which shows that there is something to see.
. tests/vm/guest/lib.sh
. tests/vm/guest/hostile_lib.sh
packets=$1

load_modules
for trust in trusted untrusted; do
    phase "$trust"
    option=''
    [ $trust = trusted ] || option=--untrusted
    # shellcheck disable=SC2086 # none, or one
    require 'bind' "$udrv" bind $option $bdf
    mark_kernel_log
    timeout 800 "$helpers/rewrite" $bdf $trust "$packets" >/tmp/rewrite 2>&1
    probed "$trust" /tmp/rewrite $?
    check_nothing_left $bdf
    check_eq 'kernel messages' "$(other_messages 'link becomes ready')" ''
    check 'unbind' "$udrv" unbind $bdf
done
check 'rmmod' rmmod udrv_net udrv
summary
