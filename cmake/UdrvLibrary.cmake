# SPDX-License-Identifier: MIT
#
# udrv_sources(<file>...): adds to the collected sources, all of user space but the files
# with a main(): a test builds them once more under a sanitizer.
define_property(GLOBAL PROPERTY UDRV_SOURCES BRIEF_DOCS "Sources of user space but the mains")
define_property(GLOBAL PROPERTY UDRV_MAINS BRIEF_DOCS "Sources of user space that have a main()")

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
  list(REMOVE_DUPLICATES sources)
  if(arg_EXCLUDE)
    list(FILTER sources EXCLUDE REGEX "${arg_EXCLUDE}")
  endif()
  add_library(${name} STATIC ${sources})
  target_link_libraries(${name} PUBLIC udrv_dependencies)
  udrv_sanitizer_flags(flags "${sanitizers}")
  target_compile_options(${name} PUBLIC ${flags})
  target_link_options(${name} PUBLIC ${flags})
endfunction()
