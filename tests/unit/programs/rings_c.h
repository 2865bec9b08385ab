/* SPDX-License-Identifier: MIT */
/* What rings_c.c, which is C, has for a test in C++. Entries are 64-bit numbers. */
#ifndef RINGS_C_H
#define RINGS_C_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Both make an end at each call, as a driver that was started anew does. */
int c_ring_depth_is_good(void *at, uint32_t depth);
uint32_t c_push(void *at, uint32_t depth, const uint64_t *numbers, uint32_t count, uint64_t *violations);
uint32_t c_pop(void *at, uint32_t depth, uint64_t *numbers, uint32_t count, uint64_t *violations);
/* All of it, in batches, with an end that stays. */
void c_produce(void *at, uint32_t depth, uint64_t first, uint64_t last);
bool c_consume(void *at, uint32_t depth, uint64_t first, uint64_t last);

void c_announce_sleep(uint32_t *flag);
void c_withdraw_sleep(uint32_t *flag);
bool c_must_wake(const uint32_t *flag);

bool c_state_changed(const void *page, uint32_t seen);
bool c_state_read(const void *page, void *copy, size_t bytes, uint32_t *seen);
void c_state_write(void *page, const void *content, size_t bytes);

#ifdef __cplusplus
}
#endif

#endif
