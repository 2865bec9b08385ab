# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2154
# A machine with a chip of each kind, and whether the real drivers work there, in the
# guest. Source it first.
. tests/vm/guest/disk_lib.sh
. tests/vm/guest/hostile_lib.sh
edu=0000:00:14.0
ahci=0000:00:18.0

bind_all() {
    local dev
    load_all_modules recovery_window_s=1
    for dev in $bdf $edu $ahci; do
        require "bind $dev" bind_device "$dev"
    done
    require 'a peer' setup_peer
}
honest_net() { # NAME
    start_driver && up_udn0 && wait_reachable || { fail "$1: e1000 works" "$(cat /tmp/driver-$bdf.err)"; return; }
    check_eq "$1: ping, lost of 100" "$(lost -c 100 -i 0.02 10.0.0.2)" 0
    stop_driver
}
honest_disk() { # NAME
    check "$1: ahci starts" run_driver ahci $ahci
    wait_for 20 test -b /dev/udb0
    check "$1: written and verified" verify /dev/udb0 io_uring 8 2M --direct=1
    stop_driver $ahci
}
