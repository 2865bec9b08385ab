// SPDX-License-Identifier: MIT
//
// <udrv/driver.hpp>. What every driver in C++ needs: its device, registers, interrupts, memory for
// DMA, its main.
#pragma once

#include <libudrv/device/device.hpp>
#include <libudrv/device/dma_mapping.hpp>
#include <libudrv/device/pci_ids.hpp>
#include <libudrv/device/port_io.hpp>
#include <libudrv/error.hpp>
#include <libudrv/process/bring_up.hpp>
#include <libudrv/process/driver.hpp>
#include <libudrv/process/output.hpp>
#include <libudrv/process/sandbox.hpp>
