// SPDX-License-Identifier: MIT
//
// <udrv/net.hpp>. For drivers of network cards: NetChip is what they are, serve_net() runs them.
#pragma once

#include <udrv/driver.hpp>

#include <libudrv/net/net_chip.hpp>
#include <libudrv/net/net_serve.hpp>
