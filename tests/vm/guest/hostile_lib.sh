# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2154
# What the tests of hostile drivers share, in the guest. Source it after lib.sh.

# With or without an IOMMU.
bind_device() { "$udrv" bind --unsafe-no-iommu "$1" 2>/dev/null || "$udrv" bind "$1" 2>/dev/null; }

# All that a session could leave behind.
left_of() { # [BDF]
    local dev=${1:-$bdf}
    echo "$(attr state "$dev") $(attr owner "$dev") $(attr pinned_bytes "$dev") $(attr mappings "$dev") $(irq_actions "$dev") $(bus_master "$dev")"
}
check_nothing_left() { # [BDF]
    check_eq "${1:-$bdf}: nothing left" "$(left_of "${1:-$bdf}")" 'idle 0 0 0 0 0'
}

# Kernel messages but for the line that a violation earns, and those that match PATTERN.
other_messages() { # PATTERN
    new_kernel_messages |
        grep -vE "driver [a-z_]+ \(pid [0-9]+\) broke the protocol: [a-z ,]+; session ended" |
        grep -vE "$1" | head -n 5
}

# What the page allocator found changed while it was free.
corruptions() { dmesg | grep -cE 'pagealloc: (memory corruption|single bit error)'; }

# Takes over the checks that a program printed, and shows the rest.
probed() { # NAME FILE STATUS
    local line
    while read -r line; do
        case $line in
        'ok '*) ok "$1: ${line#ok }" ;;
        FAIL*) fail "$1" "${line#FAIL }" ;;
        *) echo "$line" ;;
        esac
    done <"$2"
    check_eq "$1: status" "$3" 0
}
# A number of its line "total: N WHAT N WHAT ..."
total() { # WHAT FILE
    sed -n "s/^total: \(.* \)\?\([0-9]*\) $1\( .*\)\?$/\2/p" "$2"
}
