# SPDX-License-Identifier: MIT
#
# udrv_options: the warnings and flags of all user-space code.
add_library(udrv_options INTERFACE)
target_include_directories(udrv_options INTERFACE
  ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/include)
target_compile_features(udrv_options INTERFACE cxx_std_20)
target_compile_options(udrv_options INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow
  -Wnon-virtual-dtor -Woverloaded-virtual -Wcast-align -Wcast-qual
  -Wformat=2 -Wimplicit-fallthrough -Wextra-semi)
if(UDRV_WERROR)
  target_compile_options(udrv_options INTERFACE -Werror)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(udrv_options INTERFACE -Wduplicated-cond -Wduplicated-branches -Wlogical-op)
endif()
if(NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
  target_compile_definitions(udrv_options INTERFACE _GLIBCXX_ASSERTIONS)
endif()

# Where drivers' programs are, as seen from the command's folder: `udrv run` looks there. The
# build has them in the same place.
include(GNUInstallDirs)
file(RELATIVE_PATH UDRV_DRIVER_DIR "/${CMAKE_INSTALL_BINDIR}" "/${CMAKE_INSTALL_LIBEXECDIR}/udrv")

# udrv_sanitizer_flags(<out> <sanitizers>): compile and link flags of a list of sanitizers.
function(udrv_sanitizer_flags out sanitizers)
  if(NOT sanitizers)
    set(${out} "" PARENT_SCOPE)
    return()
  endif()
  string(REPLACE ";" "," joined "${sanitizers}")
  # Little optimisation: the sanitizers make the compiler slow enough as it is.
  set(flags -fsanitize=${joined} -fno-omit-frame-pointer -O1 -g1)
  if("undefined" IN_LIST sanitizers)
    list(APPEND flags -fno-sanitize-recover=undefined)
    # GCC 12 sees uninitialised memory that is not there in instrumented code.
    list(APPEND flags -Wno-maybe-uninitialized)
  endif()
  set(${out} ${flags} PARENT_SCOPE)
endfunction()

udrv_sanitizer_flags(udrv_global_sanitizers "${UDRV_SANITIZE}")
if(udrv_global_sanitizers)
  add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:${udrv_global_sanitizers}>")
  add_link_options(${udrv_global_sanitizers})
endif()

find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
if(POLICY CMP0167) # Boost's own description of itself, as FindBoost is no more
  cmake_policy(SET CMP0167 NEW)
endif()
find_package(Boost 1.74 REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(liburing REQUIRED IMPORTED_TARGET liburing)
pkg_check_modules(libseccomp REQUIRED IMPORTED_TARGET libseccomp)
pkg_check_modules(libcap_ng REQUIRED IMPORTED_TARGET libcap-ng)

add_library(udrv_dependencies INTERFACE)
target_link_libraries(udrv_dependencies INTERFACE
  udrv_options PkgConfig::liburing PkgConfig::libseccomp PkgConfig::libcap_ng fmt::fmt spdlog::spdlog nlohmann_json::nlohmann_json
  Boost::headers Threads::Threads CLI11::CLI11)
