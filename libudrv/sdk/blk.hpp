// SPDX-License-Identifier: MIT
//
// <udrv/blk.hpp>. For drivers of disks: BlkChip is what they are, serve_blk() runs them.
#pragma once

#include <udrv/driver.hpp>

#include <libudrv/blk/blk_chip.hpp>
#include <libudrv/blk/blk_serve.hpp>
#include <libudrv/blk/kept_disks.hpp>
#include <libudrv/process/memory_lock.hpp>
