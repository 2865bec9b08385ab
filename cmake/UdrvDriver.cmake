# SPDX-License-Identifier: MIT
#
# udrv_add_driver(<chip> <source with main()> [<source>...]): a driver's program, udrv-<chip>,
# with its PCI ids beside it. <chip>.ids is in the same folder as the CMakeLists.txt; the
# program finds it as "driver_ids.hpp". All sources but the first one are a library
# <chip>_chip as well, for tests. `cmake --install` puts it where `udrv run` looks. A project
# of its own has it by find_package(udrv).
set(UDRV_DRIVER_TEMPLATES ${CMAKE_CURRENT_LIST_DIR})

function(udrv_add_driver chip main)
  set(ids ${CMAKE_CURRENT_SOURCE_DIR}/${chip}.ids)
  if(NOT EXISTS ${ids})
    message(FATAL_ERROR "udrv_add_driver(${chip}): there is no ${ids}; write a line VENDOR:DEVICE for each id")
  endif()
  set(output ${CMAKE_CURRENT_BINARY_DIR})
  if(UDRV_DRIVER_OUTPUT)
    set(output ${UDRV_DRIVER_OUTPUT})
  endif()
  configure_file(${ids} ${output}/${chip}.ids COPYONLY)
  file(READ ${ids} ids_text)
  configure_file(${UDRV_DRIVER_TEMPLATES}/driver_ids.hpp.in
    ${CMAKE_CURRENT_BINARY_DIR}/udrv-${chip}-ids/driver_ids.hpp @ONLY)

  set(library udrv::udrv)
  if(ARGN)
    add_library(${chip}_chip STATIC ${ARGN})
    target_link_libraries(${chip}_chip PUBLIC udrv::udrv)
    set(library ${chip}_chip)
  endif()
  add_executable(udrv-${chip} ${main})
  target_include_directories(udrv-${chip} PRIVATE ${CMAKE_CURRENT_BINARY_DIR}/udrv-${chip}-ids)
  target_link_libraries(udrv-${chip} PRIVATE ${library})
  set_target_properties(udrv-${chip} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${output})
  include(GNUInstallDirs)
  install(TARGETS udrv-${chip} RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/udrv
    COMPONENT drivers)
  install(FILES ${ids} DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/udrv COMPONENT drivers)
  set_property(GLOBAL APPEND PROPERTY UDRV_DRIVERS ${chip})
endfunction()

# udrv_add_driver_tests(<chip> <source>...): GoogleTest's main, the sources and those of the chip,
# under AddressSanitizer and UBSan, for ctest. <libudrv/testing/...> has what models need. For a
# project of its own: in udrv's tree, tests are in tests/unit.
function(udrv_add_driver_tests chip)
  find_package(GTest REQUIRED)
  include(GoogleTest)
  get_target_property(sources ${chip}_chip SOURCES)
  add_executable(${chip}_tests ${ARGN} ${sources})
  target_include_directories(${chip}_tests PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
  target_link_libraries(${chip}_tests PRIVATE udrv::udrv GTest::gtest_main)
  set(sanitizers -fsanitize=address,undefined -fno-sanitize-recover=undefined)
  target_compile_options(${chip}_tests PRIVATE ${sanitizers})
  target_link_options(${chip}_tests PRIVATE ${sanitizers})
  gtest_discover_tests(${chip}_tests)
endfunction()
