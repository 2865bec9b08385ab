# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Source it behind disk_lib.sh, with both disks of the controller BDF being served.
# What udevd makes of our disks with packaging/udev/60-udrv.rules.in, beside nothing but
# the distribution's own rules.

start_udevd() {
    mkdir -p /etc/udev/rules.d
    cp "${UDRV_BUILD:-build}/install/60-udrv.rules" /etc/udev/rules.d/
    /lib/systemd/systemd-udevd --daemon --resolve-names=never
    udevadm trigger --action=add --subsystem-match=block --sysname-match='udb*'
    udevadm settle --timeout=120
}
stop_udevd() { udevadm control --exit --timeout=60; }
udev_property() { udevadm info -q property -n "$1" | sed -n "s/^$2=//p"; } # DISK NAME

# nvme_links BDF FIRST SECOND: two namespaces of one controller are told apart
nvme_links() {
    check 'udevd' start_udevd
    check_eq 'namespaces: bus, serial, path' "$(for disk in "$2" "$3"; do
        for name in ID_BUS ID_SERIAL ID_PATH; do udev_property "$disk" $name; done
    done | xargs)" "nvme QEMU_NVMe_Ctrl_udrv0 pci-$1-unit-1 nvme QEMU_NVMe_Ctrl_udrv0_2 pci-$1-unit-2"
    check_eq 'their links' "$(readlink -f /dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_udrv0 \
        /dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_udrv0_2 | xargs)" "/dev/$2 /dev/$3"
    check 'udevd ends' stop_udevd
}

# virtio_links BDF...: the names of the kernel's driver
virtio_links() {
    check 'udevd' start_udevd
    check_eq 'bus, serial, path' "$(for disk in udb0 udb1; do
        for name in ID_BUS ID_SERIAL ID_PATH; do udev_property $disk $name; done
    done | xargs)" "virtio udrv0 pci-$1-unit-0 virtio udrv1 pci-$2-unit-0"
    check_eq 'links' "$(readlink -f /dev/disk/by-id/virtio-udrv0 /dev/disk/by-id/virtio-udrv1 | xargs)" \
        '/dev/udb0 /dev/udb1'
    check 'udevd ends' stop_udevd
}

# udev_links BDF: of the first disk a partition gets a filesystem, both are looked at
udev_links() {
    local part=/dev/udb0p1 link links=0 path=/dev/disk/by-path/pci-$1-unit
    local uuid=11111111-2222-3333-4444-555555555555
    phase 'udev'
    check 'udevd' start_udevd
    check_eq 'identity of the first' \
        "$(for name in ID_BUS ID_MODEL ID_SERIAL ID_SERIAL_SHORT ID_PATH; do
            udev_property udb0 $name
        done | xargs)" "ata QEMU_HARDDISK QEMU_HARDDISK_udrv0 udrv0 pci-$1-unit-0"
    check_eq 'two disks of one controller' "$(udev_property udb1 ID_SERIAL) $(udev_property udb1 ID_PATH)" \
        "QEMU_HARDDISK_udrv1 pci-$1-unit-1"
    check 'sfdisk' sfdisk -q /dev/udb0 <<<$'label: gpt\ntype=L,name=first\n'
    check 'a partition' wait_for 10 test -b $part
    # Nobody tells udevd: it watches.
    # udevd watches it from the end of its rules on.
    check 'udevd is done with it' udevadm settle -t 60
    check 'mkfs' mkfs.ext4 -qF -L data -U $uuid $part
    check 'seen after mkfs, without being asked' wait_for 20 test -L /dev/disk/by-uuid/$uuid
    udevadm settle --timeout=60
    for link in by-uuid/$uuid by-label/data by-partlabel/first "by-partuuid/$(udev_property udb0p1 ID_PART_ENTRY_UUID)" \
        by-id/ata-QEMU_HARDDISK_udrv0-part1 "by-path/pci-$1-unit-0-part1"; do
        [ "$(readlink -f /dev/disk/$link)" = $part ] && links=$((links + 1)) || echo "no $link"
    done
    for link in by-id/ata-QEMU_HARDDISK_udrv0 by-path/pci-$1-unit-0; do
        [ "$(readlink -f /dev/disk/$link)" = /dev/udb0 ] && links=$((links + 1)) || echo "no $link"
    done
    check_eq 'links' $links 8
    check_eq 'the second has its own' "$(readlink -f /dev/disk/by-id/ata-QEMU_HARDDISK_udrv1 $path-1 | xargs)" \
        '/dev/udb1 /dev/udb1'
    check_eq 'ID_FS_TYPE' "$(udev_property udb0p1 ID_FS_TYPE)" ext4
    check_eq 'lsblk' "$(lsblk -dno VENDOR,MODEL,SERIAL,REV /dev/udb0 | xargs)" \
        "ATA QEMU HARDDISK udrv0 $(xargs </sys/block/udb0/device/rev)"
    check 'mount by UUID' mount UUID=$uuid $mnt
    check 'umount' umount $mnt
    check 'a new filesystem' mkfs.xfs -qf -m uuid=99999999-2222-3333-4444-555555555555 $part
    check 'its links come' wait_for 20 test -L /dev/disk/by-uuid/99999999-2222-3333-4444-555555555555
    check 'the old ones go' wait_for 20 not test -L /dev/disk/by-uuid/$uuid
    check 'udevd ends' stop_udevd
}
