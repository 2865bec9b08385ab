/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * udrv_version.h - the version of all of udrv: of the modules, the command, the library
 * and the packages. CMake and scripts/package read it here.
 */
#ifndef UDRV_VERSION_H
#define UDRV_VERSION_H

#define UDRV_VERSION	"0.1.0"

#endif
