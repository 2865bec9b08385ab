// SPDX-License-Identifier: MIT
//
// splitmix64: small, and the same everywhere for the same number.
#pragma once

#include <cstdint>

constexpr std::uint64_t mix_step = 0x9e3779b97f4a7c15;

constexpr std::uint64_t mix(std::uint64_t value) {
    value += mix_step;
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
    value = (value ^ value >> 27) * 0x94d049bb133111eb;
    return value ^ value >> 31;
}
