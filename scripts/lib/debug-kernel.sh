# SPDX-License-Identifier: MIT
# The debug kernel: Debian's own source with debug-kernel.config beside this file,
# built in the cache. What scripts/lib/kernel.sh calls for the version `debug`.
# shellcheck shell=bash

kernel_debug_config=$UDRV_ROOT/scripts/lib/debug-kernel.config

# What the build needs on top of what scripts/deps installs.
kernel_debug_packages=(bc bison flex libelf-dev libssl-dev lz4)

# Another configuration is another kernel.
kernel_debug_name() { printf 'debug-%s\n' "$(sha256sum "$kernel_debug_config" | head -c 8)"; }

kernel_build_debug() {
    local dir=$2 log=$3.log package series source release
    for package in "${kernel_debug_packages[@]}"; do
        have_package "$package" || die "$package is missing: run scripts/debug-kernel"
    done
    series=$(kernel_default | cut -d. -f1,2)
    kernel_fetch "$dir" "linux-source-$series"
    cd "$dir" || return
    tar -xf "root/usr/src/linux-source-$series.tar.xz"
    rm -r root
    source=$dir/linux-source-$series
    cd "$source" || return
    # Failures only below certain functions: Linux 6.1 has this for x86, but does not
    # offer it, as later kernels do; and here it also holds for /proc/<pid>/fail-nth.
    sed -i '/^config FAULT_INJECTION_STACKTRACE_FILTER/,/^config/{/depends on !X86_64/d}' lib/Kconfig.debug
    sed -i 's/^\t\tif (fail_nth) {$/\t\tif (fail_nth \&\& fail_stacktrace(attr)) {/' lib/fault-inject.c
    # The interrupts of PC machines are in a table that ACPI makes anew for each device,
    # of some 100,000 objects: a minute, if each is looked after.
    sed -i 's/kmem_cache_create(name, size, 0, 0, NULL)/kmem_cache_create(name, size, 0, SLAB_NOLEAKTRACE, NULL)/' \
        drivers/acpi/osl.c
    sed -i '/^\tkmemleak_not_leak(object);$/d' drivers/acpi/acpica/utobject.c
    cp "$kernel_debug_config" kernel/configs/udrv.config
    export KBUILD_BUILD_USER=udrv KBUILD_BUILD_HOST=udrv
    say "building Linux $series for debugging, a quarter of an hour on two processors; see $log"
    make x86_64_defconfig kvm_guest.config udrv.config >"$log" 2>&1
    kernel_debug_took
    make -j"$(nproc)" bzImage modules >>"$log" 2>&1 || { tail -n 20 "$log"; return 1; }
    make INSTALL_MOD_PATH="$dir" modules_install >>"$log" 2>&1
    release=$(make -s kernelrelease)
    rm -f "$dir/lib/modules/$release"/{build,source}
    # Packed: at the entry that QEMU has for an ELF image, KASAN is not ready yet.
    cp arch/x86/boot/bzImage "$dir/vmlinux"
    cp .config "$dir/config"
    kernel_debug_headers "$dir/build"
    cd "$dir" || return
    rm -r "$source"
    kernel_initrd "$dir" "$release"
}

# In the configured source: what this kernel did not take over, which a test may miss.
kernel_debug_took() {
    local line
    grep -E '^CONFIG_' "$kernel_debug_config" | while read -r line; do
        grep -qxF "$line" .config || say "this kernel has no $line"
    done
}

# In the built source: copies what a module is built against to DIR.
kernel_debug_headers() { # DIR
    mkdir "$1"
    find Makefile .config Module.symvers include scripts arch/x86/Makefile* arch/x86/include \
        tools/objtool/objtool -name '*.o' -prune -o -name '.*.cmd' -prune -o -print |
        cpio -pdm --quiet "$1"
}
