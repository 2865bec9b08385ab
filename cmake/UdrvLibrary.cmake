# SPDX-License-Identifier: MIT
#
# udrv_sources(<file>...): adds to the sources of the one library that the command,
# the tests and the benchmarks link. They are collected rather than made into a
# library per folder, so that a test can build them once more under a sanitizer.
define_property(GLOBAL PROPERTY UDRV_SOURCES BRIEF_DOCS "Sources of the udrv library")

function(udrv_sources)
  foreach(file IN LISTS ARGN)
    cmake_path(ABSOLUTE_PATH file BASE_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR})
    set_property(GLOBAL APPEND PROPERTY UDRV_SOURCES ${file})
  endforeach()
endfunction()

# udrv_library(<name> <sanitizers> [EXCLUDE <regex>]): a static library of all
# collected sources but those that match. Call it after every folder has been added.
function(udrv_library name sanitizers)
  cmake_parse_arguments(PARSE_ARGV 2 arg "" "EXCLUDE" "")
  get_property(sources GLOBAL PROPERTY UDRV_SOURCES)
  if(arg_EXCLUDE)
    list(FILTER sources EXCLUDE REGEX "${arg_EXCLUDE}")
  endif()
  add_library(${name} STATIC ${sources})
  target_link_libraries(${name} PUBLIC udrv_dependencies)
  udrv_sanitizer_flags(flags "${sanitizers}")
  target_compile_options(${name} PUBLIC ${flags})
  target_link_options(${name} PUBLIC ${flags})
endfunction()
