# SPDX-License-Identifier: MIT
#
# `cmake --build build --target tidy`: clang-tidy over the library, the drivers and the command.
find_program(UDRV_RUN_CLANG_TIDY NAMES run-clang-tidy run-clang-tidy-14)

if(UDRV_RUN_CLANG_TIDY)
  get_property(sources GLOBAL PROPERTY UDRV_SOURCES)
  get_property(mains GLOBAL PROPERTY UDRV_MAINS)
  list(REMOVE_DUPLICATES sources)
  add_custom_target(tidy
    COMMAND ${UDRV_RUN_CLANG_TIDY} -quiet -extra-arg=-Wno-unknown-warning-option
      -p ${PROJECT_BINARY_DIR} ${sources} ${mains}
    WORKING_DIRECTORY ${PROJECT_SOURCE_DIR} VERBATIM)
endif()
