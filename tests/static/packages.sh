#!/bin/bash
# SPDX-License-Identifier: MIT
# The Debian packages: built by scripts/package, without an error or a warning of lintian; all
# that `cmake --install` installs is in one of them; the kernel modules build from what udrv-dkms
# has, and say the version that the package, the command and the manual page say.
set -uo pipefail
# shellcheck source=tests/static/lib/common.sh
. "$(dirname "$0")/lib/common.sh"

folder=$(UDRV_BUILD=${UDRV_BUILD:-build} scripts/package 2>"$tmp/log") || { cat "$tmp/log"; fail 'scripts/package'; exit 1; }
version=$(sed -n 's/^#define UDRV_VERSION\t"\(.*\)"$/\1/p' kmod/udrv_version.h)
grep -q "^\.TH UDRV 8 .*\"udrv $version\"" packaging/man/udrv.8 || fail "packaging/man/udrv.8 is not of version $version"
for package in udrv libudrv1 libudrv-dev udrv-dkms; do
    file=$(echo "$folder/${package}_"*.deb)
    [ -f "$file" ] || { fail "no package $package"; continue; }
    [ "$(dpkg-deb -f "$file" Version)" = "$version" ] || fail "$package is of version $(dpkg-deb -f "$file" Version)"
    dpkg-deb -x "$file" "$tmp/$package"
done

lintian --allow-root --fail-on error,warning "$folder"/*.changes >"$tmp/log" 2>&1 || fail "lintian: $(cat "$tmp/log")"

# --- Files --------------------------------------------------------------------

libdir=$(find "$tmp/libudrv1/usr/lib" -mindepth 1 -maxdepth 1 -printf '%f\n')
installed() { # what the build installs, in Debian's folders
    cmake --install "${UDRV_BUILD:-build}" --prefix "$tmp/all/usr" >/dev/null || return
    (cd "$tmp/all" && find . ! -type d) | sed -E -e "s#^\./usr/lib/(libudrv|cmake|pkgconfig)#./usr/lib/$libdir/\1#" \
        -e 's#udrvTargets-.*\.cmake#udrvTargets-TYPE.cmake#' -e 's#/man8/udrv\.8$#&.gz#' \
        -e 's#/doc/[^/]*/examples/#/doc/examples/#' | sort
}
packed() {
    for package in udrv libudrv1 libudrv-dev; do
        (cd "$tmp/$package" && find . ! -type d)
    done | sed -e 's|^\./lib/|./usr/lib/|' -e 's|udrvTargets-.*\.cmake|udrvTargets-TYPE.cmake|' \
        -e 's|/doc/[^/]*/examples/\(.*\)|/doc/examples/\1|' |
        grep -vE '/doc/[^/]*/(changelog\.gz|copyright)$' | sort
}
installed >"$tmp/wanted"
packed >"$tmp/got"
[ "$(wc -l <"$tmp/wanted")" -ge 80 ] || fail "only $(wc -l <"$tmp/wanted") files are installed"
diff "$tmp/wanted" "$tmp/got" >"$tmp/diff" || fail "<: in no package, >: not of the build: $(grep '^[<>]' "$tmp/diff" | head -n 10)"
! grep -rqI "$PWD" "$tmp"/{udrv,libudrv-dev} || fail "a package knows this tree: $(grep -rlI "$PWD" "$tmp"/{udrv,libudrv-dev} | head -n 3)"
[[ $("$tmp/udrv/usr/bin/udrv" --version) = "udrv $version"$'\n'* ]] || fail "the command says $("$tmp/udrv/usr/bin/udrv" --version | head -n 1)"
[ "$("$tmp/udrv/usr/bin/udrv" list --names | xargs)" = "$(basename -as .ids drivers/*/*.ids | sort | xargs)" ] ||
    fail "the command finds the drivers $("$tmp/udrv/usr/bin/udrv" list --names | xargs)"
for script in packaging/debian/*.{postinst,prerm,postrm}; do
    dash -n "$script" || fail "$script"
done

# --- Modules ------------------------------------------------------------------

source=$tmp/udrv-dkms/usr/src/udrv-$version
headers=$(scripts/kernel --headers)
conf() { # the variable $1 of dkms.conf
    bash -c 'kernel_source_dir=$2 dkms_tree=/dkms; . "$1/dkms.conf"; eval "echo \"\${$3}\""' - "$source" "$headers" "$1"
}
[ "$(conf PACKAGE_VERSION)" = "$version" ] || fail "dkms.conf: version $(conf PACKAGE_VERSION)"
make=$(conf 'MAKE[0]')
make_words=${make#make }
# shellcheck disable=SC2086 # words
make -j"$(nproc)" ${make_words//\/dkms\/udrv\/$version\/build/$source} >"$tmp/log" 2>&1 || fail "the modules: $(tail -n 5 "$tmp/log")"
for n in 0 1 2; do
    module=$source/$(conf "BUILT_MODULE_LOCATION[$n]")/$(conf "BUILT_MODULE_NAME[$n]").ko
    [ "$(modinfo -F version "$module" 2>&1)" = "$version" ] || fail "$module: version '$(modinfo -F version "$module" 2>&1)'"
done
exclusive=$(conf BUILD_EXCLUSIVE_KERNEL)
for kernel in 6.1.0-56-amd64 6.12.95+deb12-amd64 7.3.4+deb13-amd64 10.0; do
    [[ $kernel =~ $exclusive ]] || fail "dkms.conf excludes $kernel"
done
for kernel in 5.10.0-30-amd64 4.19.0 6.0.0-1-amd64; do
    [[ ! $kernel =~ $exclusive ]] || fail "dkms.conf takes $kernel"
done

finish "four packages of version $version, $(wc -l <"$tmp/got") files; the modules build from theirs"
