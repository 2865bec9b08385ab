# SPDX-License-Identifier: MIT
#
# cmake --install build [--component ...]:
#   command   udrv, its manual page, completions, the systemd unit, udev rules
#   drivers   their programs and PCI ids (udrv_add_driver)
#   runtime   libudrv.so.N, for drivers that link it
#   devel     headers, libraries, CMake package, pkg-config file, examples
# The kernel modules are built for one kernel and are not part of it (docs/sdk.md).
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/udrv)
set(here ${PROJECT_BINARY_DIR}/install)
set(examples_dir ${CMAKE_INSTALL_DATADIR}/doc/udrv/examples)

# ---- command ----

install(TARGETS udrv RUNTIME COMPONENT command)
install(FILES packaging/man/udrv.8 DESTINATION ${CMAKE_INSTALL_MANDIR}/man8 COMPONENT command)
install(FILES packaging/completion/udrv.bash RENAME udrv
  DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions COMPONENT command)
install(FILES packaging/completion/_udrv
  DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions COMPONENT command)
install(FILES packaging/completion/udrv.fish
  DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d COMPONENT command)
configure_file(packaging/systemd/udrv@.service.in ${here}/udrv@.service @ONLY)
install(FILES ${here}/udrv@.service DESTINATION lib/systemd/system COMPONENT command)
configure_file(packaging/udev/60-udrv.rules.in ${here}/60-udrv.rules @ONLY)
install(FILES ${here}/60-udrv.rules DESTINATION lib/udev/rules.d COMPONENT command)
install(DIRECTORY packaging/examples/ DESTINATION ${examples_dir} COMPONENT command)

# ---- runtime, devel ----

install(TARGETS libudrv libudrv_shared EXPORT udrvTargets
  ARCHIVE COMPONENT devel
  LIBRARY COMPONENT runtime NAMELINK_COMPONENT devel)
install(EXPORT udrvTargets NAMESPACE udrv:: DESTINATION ${cmake_dir} COMPONENT devel)
configure_package_config_file(cmake/udrvConfig.cmake.in ${here}/udrvConfig.cmake
  INSTALL_DESTINATION ${cmake_dir})
write_basic_package_version_file(${here}/udrvConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${here}/udrvConfig.cmake ${here}/udrvConfigVersion.cmake
  cmake/UdrvDriver.cmake cmake/driver_ids.hpp.in DESTINATION ${cmake_dir} COMPONENT devel)
file(RELATIVE_PATH prefix_from_pc /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(cmake/udrv.pc.in ${here}/udrv.pc @ONLY)
install(FILES ${here}/udrv.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT devel)

install(DIRECTORY include/udrv/ libudrv/sdk/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/udrv
  COMPONENT devel FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp")
install(DIRECTORY libudrv DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT devel
  FILES_MATCHING PATTERN "*.hpp" PATTERN sdk EXCLUDE)
install(DIRECTORY examples/ DESTINATION ${examples_dir} COMPONENT devel USE_SOURCE_PERMISSIONS)
