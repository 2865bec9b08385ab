# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Source it behind disk_lib.sh. What a queue says in sysfs, against the table in
# docs/limits.md. An attribute that is not in the table fails: somebody has to think
# about it first.

# One line an attribute: its name, a blank, its value.
queue_attributes() { # DISK
    local file
    for file in /sys/block/"$1"/queue/*; do
        [ -f "$file" ] && [ -r "$file" ] || continue
        echo "${file##*/} $(cat "$file" 2>/dev/null)"
    done
}

# stock_limits BDF KERNEL-DRIVER: of its first disk, into /tmp/stock-BDF
stock_limits() {
    local disk
    modprobe sd_mod
    modprobe "$2"
    echo "$1" >/sys/bus/pci/drivers_probe
    require "$2: a disk" wait_for 20 kernel_disk "$1" 1
    disk=$(kernel_disk "$1" 1)
    queue_attributes "${disk##*/}" >"/tmp/stock-$1"
    hdparm -g "$disk" | sed -n 's/.*geometry *= *\([0-9/]*\).*/\1/p' >"/tmp/geometry-$1"
}

# limits_table CHIP KERNEL-DRIVER: of the rows for this kernel, "attribute<tab>our
# value<tab>in-kernel value". `same` stands for our value.
limits_table() {
    awk -F'|' -v ours="$1" -v theirs="$2" -v release="$(uname -r)" '
        function number(version, part) { split(version, part, "."); return part[1] * 1000 + part[2] }
        function trim(text) { gsub(/^[ `]+|[ `]+$/, "", text); return text }
        /^\| attribute/ { for (i = 2; i < NF; i++) at[trim($i)] = i; next }
        /^\| `/ && ours in at {
            name = trim($at["attribute"])
            since = trim($at["since"])
            if (since != "" && number(since) > number(release)) next
            value = trim($at[ours])
            stock = trim($at[theirs])
            row[name] = value "\t" (stock == "same" ? value : stock)
        }
        END { for (name in row) print name "\t" row[name] }' docs/limits.md
}

# our_limits DISK CHIP KERNEL-DRIVER BDF: both are as the table says, all of them
our_limits() {
    local name value stock wrong='' count=0 same=0
    declare -A limit=() theirs=() measured=()
    while IFS=$'\t' read -r name value stock; do
        limit[$name]=$value
        theirs[$name]=$stock
    done < <(limits_table "$2" "$3")
    while read -r name value; do
        measured[$name]=$value
    done <"/tmp/stock-$4"
    while read -r name value; do
        count=$((count + 1))
        stock=${measured[$name]-absent}
        if [ -z "${limit[$name]+there}" ]; then
            wrong+="; $name (ours '$value', in-kernel '$stock') is not in docs/limits.md"
            continue
        fi
        [ "$value" = "${limit[$name]}" ] || wrong+="; $name is '$value', wanted '${limit[$name]}'"
        [ "$stock" = "${theirs[$name]}" ] ||
            wrong+="; $name is '$stock' in-kernel, wanted '${theirs[$name]}'"
        [ "$value" != "$stock" ] || same=$((same + 1))
    done < <(queue_attributes "$1")
    check_eq "$1: limits, ours and in-kernel" "${wrong#; }" ''
    check_ge "$1: limits looked at" $count 35
    check_ge "$1: of them as in-kernel" $same 25
}
