# SPDX-License-Identifier: MIT
# Roots of Debian releases, for their compilers and for scripts/lib/system.sh: made by mmdebstrap from this
# machine's own package source, once, in the cache. Sourced after kernel.sh.
# shellcheck shell=bash

# What builds udrv there: two compilers, and the libraries that scripts/deps names.
root_tools=(g++ clang cmake make pkg-config)
root_packages() {
    printf '%s\n' "${root_tools[@]}"
    "$UDRV_ROOT/scripts/deps" --list | grep -E '^(lib.*|nlohmann-json3)-dev$'
}

# root_missing ROOT PACKAGE...: those of the packages that it does not have.
root_missing() {
    local root=$1
    shift
    printf '%s\n' "$@" | sort | comm -23 - <(dpkg-query --admindir="$root/var/lib/dpkg" -W \
        -f '${db:Status-Status} ${Package}\n' 2>/dev/null | sed -n 's/^installed //p' | sort)
}

# root_make NAME SUITE PACKAGE...: makes $UDRV_CACHE/roots/NAME with these packages, or
# installs there what is missing, if need be, and prints it.
root_make() {
    local name=$1 suite=$2 dir=$UDRV_CACHE/roots/$1 log=$UDRV_CACHE/roots/$1.log tmp missing
    shift 2
    mkdir -p "$UDRV_CACHE/roots"
    exec 8>"$UDRV_CACHE/roots/.lock-$name"
    flock 8
    if [ ! -e "$dir" ]; then
        [ "$(id -u)" = 0 ] || die "making a root of $suite takes root: run this as root once"
        say "making a root of $suite: $name (once); see $log"
        tmp=$UDRV_CACHE/roots/.making-$name
        rm -rf "$tmp"
        mmdebstrap --variant=apt --include="$(printf '%s\n' "$@" | paste -sd,)" --keyring="$debian_keys" \
            --aptopt='APT::Install-Recommends "false"' \
            "$suite" "$tmp" "$(debian_source)" >"$log" 2>&1 8>&- </dev/null ||
            { tail -n 5 "$log" >&2; die "cannot make a root of $suite: see $log"; }
        mv "$tmp" "$dir"
    fi
    missing=$(root_missing "$dir" "$@")
    if [ -n "$missing" ]; then
        # shellcheck disable=SC2086 # words
        say "installing in the root $name:" $missing
        # shellcheck disable=SC2086 # words
        { chroot "$dir" apt-get -q update &&
            chroot "$dir" env DEBIAN_FRONTEND=noninteractive \
                apt-get -q -y install --no-install-recommends $missing; } >"$log" 2>&1 8>&- </dev/null ||
            { tail -n 5 "$log" >&2; die "cannot install in $dir: see $log"; }
    fi
    exec 8>&-
    printf '%s\n' "$dir"
}

# root_ensure SUITE [PACKAGE...]: the root with that release's compilers, and these packages.
root_ensure() {
    local suite=$1 names
    shift
    mapfile -t names < <(root_packages)
    root_make "$suite" "$suite" "${names[@]}" "$@"
}

# root_run ROOT WRITABLE COMMAND...: COMMAND in ROOT, in the folder of the sources, which
# it sees at the same path, as it sees the cache's headers; WRITABLE it can write.
root_run() {
    local root=$1 writable=$2
    shift 2
    # shellcheck disable=SC2016 # expanded by the inner shell
    unshare --mount --propagation private bash -euc '
        root=$1 sources=$2 headers=$3 writable=$4
        shift 4
        mkdir -p "$root$sources" "$root$headers"
        mount -t proc proc "$root/proc"
        mount --rbind "$sources" "$root$sources"
        mount --bind -o ro "$headers" "$root$headers"
        mkdir -p "$root$writable"
        mount --bind "$writable" "$root$writable"
        exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
            sh -c "cd \"\$0\" && exec \"\$@\"" "$sources" "$@"
    ' bash "$root" "$UDRV_ROOT" "$UDRV_CACHE/headers" "$writable" "$@"
}
