# SPDX-License-Identifier: MIT
# Kernels for the lab: a kernel's Debian package is fetched and unpacked into the
# cache, never installed (an installation also builds an initramfs for this
# machine and changes its boot loader; the lab needs neither).
# shellcheck shell=bash

# What the guest needs before it can see the host's root.
kernel_boot_modules=(virtio_pci 9pnet_virtio 9p overlay virtio_console)

# Where the newest kernel is looked for: the next release's backports, at this machine's
# own package source.
kernel_newest_suite=trixie-backports

# Raised whenever what a cached kernel consists of changes.
kernel_layout=1

# shellcheck source=scripts/lib/debug-kernel.sh
. "$UDRV_ROOT/scripts/lib/debug-kernel.sh"

# The kernel that the installed linux-headers-amd64 is for.
kernel_default() {
    local version
    version=$(dpkg-query -W -f '${Depends}' linux-headers-amd64 2>/dev/null |
        grep -o 'linux-headers-[0-9][^ ,]*' | head -n 1) || true
    [ -n "$version" ] || die "linux-headers-amd64 is not installed (run scripts/deps)"
    printf '%s\n' "${version#linux-headers-}"
}

# kernel_resolve [VERSION]: a whole version as it is; the newest of a series; `newest`
# (of kernel_newest_suite); `debug`; or, without one, the default. What the cache has
# goes before what is newer.
kernel_resolve() {
    local version found
    case ${1:-} in
    '') kernel_default; return ;;
    *-amd64 | debug-*) printf '%s\n' "$1"; return ;;
    debug) kernel_debug_name; return ;;
    esac
    version=${1//./\\.}[.-]
    [ "$1" != newest ] || version='[0-9].*\+deb13'
    found=$(find "$UDRV_CACHE"/{kernels,headers} -mindepth 1 -maxdepth 1 -printf '%f\n' 2>/dev/null |
        grep -E "^$version.*-amd64$" | sort -V | tail -n 1) || true
    if [ -z "$found" ]; then
        local -a apt_opts=()
        if [ "$1" = newest ]; then
            kernel_use_suite "$kernel_newest_suite" || die "cannot read the package lists of $kernel_newest_suite"
        else
            kernel_use_backports || true
        fi
        found=$(apt-cache "${apt_opts[@]}" search --names-only "^linux-headers-$version" |
            awk '{ print $1 }' | grep -E -- '-[0-9.+~a-z]*-amd64$' |
            grep -vE -- '-(cloud|rt)-amd64$' | sort -V | tail -n 1) || true
        found=${found#linux-headers-}
    fi
    [ -n "$found" ] || die "no kernel $1 in this machine's package sources or their backports"
    printf '%s\n' "$found"
}

# kernel_unpacked NAME VERSION BUILDER: the cache's directory NAME/VERSION, made
# by BUILDER VERSION TEMP FINAL if it is not there yet. Prints it.
kernel_unpacked() {
    local name=$1 version=$2 builder=$3 dir tmp
    dir=$UDRV_CACHE/$name/$version
    if [ "$(cat "$dir/layout" 2>/dev/null)" != "$kernel_layout" ]; then
        mkdir -p "$UDRV_CACHE/$name"
        # Two runs may want it at the same time; the second finds it ready. A lock for
        # each version: a debug kernel takes long, and the others need not wait for it.
        exec 8>"$UDRV_CACHE/$name/.lock-$version"
        flock 8
        if [ "$(cat "$dir/layout" 2>/dev/null)" != "$kernel_layout" ]; then
            say "preparing $name/$version (once)"
            rm -rf "$UDRV_CACHE/$name/.making-$version".*
            tmp=$(mktemp -d "$UDRV_CACHE/$name/.making-$version.XXXXXX")
            # In the background, because bash ignores set -e inside a condition.
            "$builder" "$version" "$tmp" "$dir" >&2 8>&- &
            if ! wait $!; then
                rm -rf "$tmp"
                die "cannot prepare $name/$version: see above; is it in this machine's package sources?"
            fi
            echo "$kernel_layout" >"$tmp/layout"
            chmod 755 "$tmp"
            rm -rf "$dir"
            mv "$tmp" "$dir"
        fi
        exec 8>&-
    fi
    printf '%s\n' "$dir"
}

# kernel_ensure VERSION: makes it ready if it is not, prints its directory:
#   vmlinux          uncompressed: unpacking it in an emulated CPU costs seconds
#   initrd           busybox and kernel_boot_modules
#   lib/modules/VERSION, config
#   build            of a debug kernel: what modules are built against
kernel_ensure() {
    case $1 in
    debug-*) kernel_unpacked kernels "$1" kernel_build_debug ;;
    *) kernel_unpacked kernels "$1" kernel_build ;;
    esac
}

# kernel_headers VERSION: prints the folder to build modules against.
kernel_headers() {
    if [[ $1 = debug-* ]]; then
        printf '%s/build\n' "$(kernel_ensure "$1")"
    elif [ -e "/usr/src/linux-headers-$1/Makefile" ]; then
        printf '%s\n' "/usr/src/linux-headers-$1"
    else
        local dir
        dir=$(kernel_unpacked headers "$1" kernel_build_headers)
        printf '%s\n' "$dir/usr/src/linux-headers-$1"
    fi
}

# debian_source: the address of the package source that this machine has Debian from.
debian_source() {
    local codename
    # shellcheck disable=SC1091
    codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
    # shellcheck disable=SC2016 # the $ are apt's
    apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' \
        'Created-By: Packages' 2>/dev/null |
        awk -v r="$codename" '$1 == r && $2 == "main" { print $3; exit }'
}
debian_keys=/usr/share/keyrings/debian-archive-keyring.gpg

# kernel_use_suite SUITE: sets apt_opts to a private configuration that has only this
# suite of this machine's own Debian source, and leaves the system's as it is.
kernel_use_suite() {
    local apt=$UDRV_CACHE/apt/$1 uri key=''
    uri=$(debian_source) || true
    [ -n "$uri" ] || return 1
    mkdir -p "$apt/lists/partial" "$apt/parts"
    [ ! -e "$debian_keys" ] || key=" [signed-by=$debian_keys]"
    echo "deb$key $uri $1 main" >"$apt/sources.list"
    # The last two: the system's own are of other lists, and need not be made anew.
    apt_opts=(-o "Dir::Etc::sourcelist=$apt/sources.list" -o "Dir::Etc::sourceparts=$apt/parts"
        -o "Dir::State::lists=$apt/lists" -o Debug::NoLocking=1
        -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=)
    apt-get -q "${apt_opts[@]}" update >"$apt/log" 2>&1 || { cat "$apt/log" >&2; return 1; }
}
kernel_use_backports() {
    # shellcheck disable=SC1091
    kernel_use_suite "$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")-backports"
}

# kernel_fetch DIR PACKAGES...: unpacks them into DIR/root. Each PACKAGES is a list
# in one word, and the first list that is there wins: what a kernel's packages are
# called has changed. Looked for in the system's sources as they are, then in
# backports, where the newest kernel is, and in the system's with fresh lists.
kernel_fetch() {
    local dir=$1 attempt list package
    local -a apt_opts=() packages
    shift
    mkdir "$dir/pkg"
    cd "$dir/pkg" || return
    for attempt in system backports newest update; do
        case $attempt in
        system) ;;
        backports) kernel_use_backports || continue ;;
        newest) kernel_use_suite "$kernel_newest_suite" || continue ;;
        update)
            [ "$(id -u)" = 0 ] || break
            apt_opts=()
            apt-get -q update >>apt.log 2>&1 || true
            ;;
        esac
        for list in "$@"; do
            read -ra packages <<<"$list"
            # It also complains about the directory's owner; that is noise.
            ! apt-get -q "${apt_opts[@]}" download "${packages[@]}" >>apt.log 2>&1 || break 2
            rm -f ./*.deb
        done
    done
    if ! compgen -G '*.deb' >/dev/null; then
        grep '^E:' apt.log | sort -u
        return 1
    fi
    for package in ./*.deb; do
        dpkg-deb -x "$package" "$dir/root"
    done
    cd "$dir" || return
    rm -r pkg
}

kernel_build() {
    local version=$1 dir=$2 image
    # Since 7.1 a kernel is three packages, and all of it is below /usr/lib/modules.
    kernel_fetch "$dir" "linux-binary-$version linux-modules-$version linux-base-$version" \
        "linux-image-$version" "linux-image-$version-unsigned"

    mkdir lib
    image=root/boot/vmlinuz-$version
    if [ -e "$image" ]; then
        mv root/lib/modules lib/modules
        mv "root/boot/config-$version" config
    else
        mv root/usr/lib/modules lib/modules
        mv "lib/modules/$version/config" config
        image=lib/modules/$version/vmlinuz
    fi
    # Debian's links to the headers are dangling or another machine's: drop them.
    rm -f "lib/modules/$version"/{build,source}
    kernel_extract "$image" vmlinux || { rm -f vmlinux; cp "$image" vmlinux; }
    rm -r root
    rm -f "lib/modules/$version/vmlinuz"
    depmod -b "$dir" "$version"

    kernel_initrd "$dir" "$version"
}

# kernel_initrd DIR VERSION: makes DIR/initrd of what DIR/lib/modules has.
kernel_initrd() {
    local dir=$1 version=$2 module unpacked
    cd "$dir" || return
    # The initramfs is not compressed: loading it costs less than unpacking it.
    mkdir -p initrd.d/{bin,modules,lab,newroot}
    cp "$(busybox_static)" initrd.d/bin/busybox
    for module in "${kernel_boot_modules[@]}"; do
        modprobe -d "$dir" -S "$version" --show-depends "$module"
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >order
    while read -r module; do
        unpacked=${module##*/}
        unpacked=${unpacked%.ko*}.ko
        case $module in
        *.xz) xz -dc "$module" ;;
        *.zst) zstd -dcq "$module" ;;
        *) cat "$module" ;;
        esac >"initrd.d/modules/$unpacked"
        printf '%s\n' "$unpacked"
    done <order >initrd.d/modules/order
    (cd initrd.d && find . | cpio -o -H newc --quiet -R 0:0) >initrd
    rm -r initrd.d order
}

kernel_build_headers() {
    local version=$1 dir=$2 final=$3 base=${1%-amd64} series
    series=$(printf '%s' "$version" | cut -d. -f1,2)
    kernel_fetch "$dir" "linux-headers-$version linux-headers-$base-common linux-kbuild-$base" \
        "linux-headers-$version linux-headers-$base-common linux-kbuild-$series"
    mv root/usr usr
    rm -r root
    # Without the kernel's own BTF, modules get none either, and pahole is not needed.
    rm -f "usr/src/linux-headers-$version/vmlinux"
    # They name each other by where they are meant to be installed.
    sed -i "s#/usr/src/#$final/usr/src/#" "usr/src/linux-headers-$version/Makefile"
}

busybox_static() {
    local path
    path=$(command -v busybox) || die "busybox is missing (run scripts/deps)"
    printf '%s\n' "$path"
}

# kernel_extract BZIMAGE OUT: the ELF image inside, which QEMU starts through its
# PVH entry. Fails when the kernel has none or is packed in an unknown way.
kernel_extract() {
    local image=$1 out=$2 magic tool offset
    for magic in '\xfd7zXZ\x00:xz -dc' '\x28\xb5\x2f\xfd:zstd -dcq' '\x1f\x8b\x08:gzip -dc'; do
        tool=${magic#*:}
        for offset in $(LC_ALL=C grep -abo -P "${magic%%:*}" "$image" | cut -d: -f1 | head -n 20); do
            # The unpacker complains about what follows the stream; look at what came out.
            tail -c "+$((offset + 1))" "$image" | $tool >"$out" 2>/dev/null || true
            if [ "$(head -c 4 "$out" | tail -c 3)" = ELF ]; then
                return 0
            fi
        done
    done
    return 1
}
