# SPDX-License-Identifier: MIT
#
# Kernel modules. The kernel's own build writes beside the sources, so it runs on
# build/modules/src, a tree of symbolic links to them; the results are copied to
# build/modules/. An edit of any .c, .h or Kbuild rebuilds.
set(udrv_module_dir ${PROJECT_BINARY_DIR}/modules)
set(udrv_oldest_kernel 6.1) # as in kmod/udrv_compat.h
set(udrv_kcflags)
if(UDRV_WERROR)
  set(udrv_kcflags KCFLAGS=-Werror)
endif()

# Sets <out> to the headers folder that UDRV_KERNEL names, or else to that of the
# running kernel, or else to the newest installed.
function(udrv_find_kernel out)
  execute_process(COMMAND uname -r OUTPUT_VARIABLE running OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(UDRV_KERNEL)
    set(candidates ${UDRV_KERNEL} /lib/modules/${UDRV_KERNEL}/build
        /usr/src/linux-headers-${UDRV_KERNEL})
  else()
    file(GLOB installed /lib/modules/*/build /usr/src/linux-headers-*)
    list(SORT installed COMPARE NATURAL ORDER DESCENDING)
    set(candidates /lib/modules/${running}/build ${installed})
  endif()
  foreach(dir IN LISTS candidates)
    if(EXISTS ${dir}/include/generated/utsrelease.h)
      set(${out} ${dir} PARENT_SCOPE)
      return()
    endif()
  endforeach()
  if(UDRV_KERNEL)
    set(what "kernel headers for UDRV_KERNEL=${UDRV_KERNEL} not found")
  else()
    set(what "no kernel headers are installed")
  endif()
  message(FATAL_ERROR "udrv: ${what}; install them (Debian: apt install linux-headers-amd64), "
    "name others with -DUDRV_KERNEL=VERSION-or-folder, or build user space alone with "
    "-DUDRV_MODULES=OFF")
endfunction()

# Makes build/modules/src/<folder> hold a link to each source of <folder>, no more.
function(udrv_link_sources folder)
  set(target ${udrv_module_dir}/src/${folder})
  file(MAKE_DIRECTORY ${target})
  set(names)
  foreach(file IN LISTS ARGN)
    cmake_path(GET file FILENAME name)
    list(APPEND names ${name})
    file(CREATE_LINK ${file} ${target}/${name} SYMBOLIC)
  endforeach()
  file(GLOB old ${target}/*.c ${target}/*.h ${target}/Kbuild)
  foreach(file IN LISTS old)
    cmake_path(GET file FILENAME name)
    if(NOT name IN_LIST names)
      file(REMOVE ${file})
    endif()
  endforeach()
endfunction()

function(udrv_modules)
  udrv_find_kernel(kernel)
  file(STRINGS ${kernel}/include/generated/utsrelease.h release REGEX UTS_RELEASE)
  string(REGEX REPLACE ".*\"(.*)\".*" "\\1" release "${release}")
  string(REGEX MATCH "^[0-9]+[.][0-9]+" series "${release}")
  if(series VERSION_LESS udrv_oldest_kernel)
    message(FATAL_ERROR "udrv: the kernel modules need Linux ${udrv_oldest_kernel} or newer, and "
      "${kernel} is ${release}; name other headers with -DUDRV_KERNEL=VERSION-or-folder")
  endif()
  message(STATUS "Kernel modules for ${release} (${kernel})")

  set(folders)
  set(inputs)
  set(results)
  set(copies)
  file(GLOB files CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/include/udrv/*.h)
  udrv_link_sources(include/udrv ${files})
  list(APPEND inputs ${files})
  foreach(pair kmod:udrv netloop:udrv_net blkloop:udrv_blk tests/vm/nopad:udrv_nopad
          tests/vm/pci22:udrv_pci22 tests/vm/slow_intx:udrv_slow_intx
          tests/vm/slow_notify:udrv_slow_notify tests/vm/unquiet:udrv_unquiet)
    string(REPLACE ":" ";" pair ${pair})
    list(GET pair 0 folder)
    list(GET pair 1 module)
    set(source ${PROJECT_SOURCE_DIR}/${folder})
    file(GLOB files CONFIGURE_DEPENDS ${source}/*.c ${source}/*.h ${source}/Kbuild)
    udrv_link_sources(${folder} ${files})
    if(EXISTS ${source}/Kbuild)
      list(APPEND folders ${folder}/)
      list(APPEND inputs ${files})
      list(APPEND results ${udrv_module_dir}/${module}.ko)
      list(APPEND copies COMMAND ${CMAKE_COMMAND} -E copy
        ${udrv_module_dir}/src/${folder}/${module}.ko ${udrv_module_dir}/${module}.ko)
    endif()
  endforeach()
  list(JOIN folders " " folders)
  file(CONFIGURE OUTPUT ${udrv_module_dir}/src/Kbuild CONTENT "obj-m := ${folders}\n")
  file(CONFIGURE OUTPUT ${udrv_module_dir}/kernel-release CONTENT "${release}\n")
  if(NOT results)
    message(STATUS "No kernel module sources here yet")
    return()
  endif()

  find_program(UDRV_MAKE NAMES gmake make REQUIRED)
  include(ProcessorCount)
  ProcessorCount(cpus)
  add_custom_command(OUTPUT ${results}
    COMMAND ${CMAKE_COMMAND} -E env --unset=MAKEFLAGS --unset=MAKELEVEL --unset=MFLAGS
      ${UDRV_MAKE} --no-print-directory -s -j${cpus} -C ${kernel} M=${udrv_module_dir}/src
      W=1 ${udrv_kcflags} modules
    ${copies}
    DEPENDS ${inputs} ${udrv_module_dir}/src/Kbuild
    COMMENT "Building kernel modules for ${release}" VERBATIM)
  add_custom_target(modules ALL DEPENDS ${results})
endfunction()

udrv_modules()
