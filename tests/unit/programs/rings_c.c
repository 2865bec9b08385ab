/* SPDX-License-Identifier: MIT */
/* <udrv/rings.h> in a translation unit of C, for rings_c_test.cpp. */
#include "rings_c.h"

#include <sched.h>

#include "libudrv/sdk/rings.h"

int c_ring_depth_is_good(void *at, uint32_t depth)
{
	struct udrv_producer producer;
	struct udrv_consumer consumer;

	return udrv_producer_init(&producer, at, depth, 8) == 0 &&
	       udrv_consumer_init(&consumer, at, depth, 8) == 0;
}

uint32_t c_push(void *at, uint32_t depth, const uint64_t *numbers, uint32_t count, uint64_t *violations)
{
	struct udrv_producer producer;
	uint32_t n, room;

	if (udrv_producer_init(&producer, at, depth, sizeof(*numbers)) < 0)
		return 0;
	room = udrv_producer_room(&producer);
	for (n = 0; n < count && n < room; n++)
		*(uint64_t *)udrv_producer_entry(&producer, n) = numbers[n];
	udrv_producer_commit(&producer, n);
	*violations = producer.end.violations;
	return n;
}

uint32_t c_pop(void *at, uint32_t depth, uint64_t *numbers, uint32_t count, uint64_t *violations)
{
	struct udrv_consumer consumer;
	uint32_t n, available;

	if (udrv_consumer_init(&consumer, at, depth, sizeof(*numbers)) < 0)
		return 0;
	available = udrv_consumer_available(&consumer);
	for (n = 0; n < count && n < available; n++)
		numbers[n] = *(const uint64_t *)udrv_consumer_entry(&consumer, n);
	udrv_consumer_release(&consumer, n);
	*violations = consumer.end.violations;
	return n;
}

void c_produce(void *at, uint32_t depth, uint64_t first, uint64_t last)
{
	struct udrv_producer producer;
	uint32_t n, room;

	if (udrv_producer_init(&producer, at, depth, sizeof(first)) < 0)
		return;
	while (first <= last) {
		room = udrv_producer_room(&producer);
		for (n = 0; n < room && first <= last; n++)
			*(uint64_t *)udrv_producer_entry(&producer, n) = first++;
		udrv_producer_commit(&producer, n);
		if (!n)
			sched_yield();
	}
}

bool c_consume(void *at, uint32_t depth, uint64_t first, uint64_t last)
{
	struct udrv_consumer consumer;
	uint32_t n, available;

	if (udrv_consumer_init(&consumer, at, depth, sizeof(first)) < 0)
		return false;
	while (first <= last) {
		available = udrv_consumer_available(&consumer);
		for (n = 0; n < available; n++) {
			if (*(const uint64_t *)udrv_consumer_entry(&consumer, n) != first++)
				return false;
		}
		udrv_consumer_release(&consumer, n);
		if (!n)
			sched_yield();
	}
	return consumer.end.violations == 0;
}

void c_announce_sleep(uint32_t *flag)
{
	udrv_announce_sleep(flag);
}

void c_withdraw_sleep(uint32_t *flag)
{
	udrv_withdraw_sleep(flag);
}

bool c_must_wake(const uint32_t *flag)
{
	return udrv_must_wake(flag);
}

bool c_state_changed(const void *page, uint32_t seen)
{
	return udrv_state_changed(page, seen);
}

bool c_state_read(const void *page, void *copy, size_t bytes, uint32_t *seen)
{
	return udrv_state_read(page, copy, bytes, seen);
}

void c_state_write(void *page, const void *content, size_t bytes)
{
	udrv_state_write(page, content, bytes);
}
