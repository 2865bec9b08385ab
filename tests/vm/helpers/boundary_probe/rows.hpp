// SPDX-License-Identifier: MIT
//
// The parts of boundary_probe that have a file of their own.
#pragma once

#include "libudrv/device/pci_address.hpp"

void net_rows(const udrv::PciAddress& address);
void blk_rows(const udrv::PciAddress& address);
