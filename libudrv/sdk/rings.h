/* SPDX-License-Identifier: MIT */
/*
 * <udrv/rings.h>: a driver's ends of the rings, of the sleep and wake protocol and of the
 * state pages (<udrv/udrv.h>, <udrv/net.h>, <udrv/blk.h>), for programs in C11. Those in C++
 * have libudrv/rings.
 *
 *	struct udrv_consumer tx;
 *
 *	if (udrv_consumer_init(&tx, map + layout->tx, tx_depth, sizeof(struct udrv_net_tx)))
 *		...;
 *	for (n = 0; n < udrv_consumer_available(&tx); n++) {
 *		const struct udrv_net_tx *entry = udrv_consumer_entry(&tx, n);
 *		...
 *	}
 *	udrv_consumer_release(&tx, n);
 *
 * One thread at a time for each end. No call blocks or allocates. An index of the other side
 * that makes no sense counts as a violation and as nothing to do; every access stays in the ring.
 */
#ifndef UDRV_RINGS_H
#define UDRV_RINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <udrv/udrv.h>

/* ---- Rings ---------------------------------------------------------------- */

/* What both ends have: where the ring is, our own index, the other side's as last seen. */
struct udrv_ring_end {
	struct udrv_ring_header *header;
	unsigned char *entries;
	uint32_t mask;		/* depth - 1 */
	uint32_t entry_bytes;
	uint32_t own;
	uint32_t other;
	uint64_t violations;
};

struct udrv_producer {
	struct udrv_ring_end end;
};

struct udrv_consumer {
	struct udrv_ring_end end;
};

/* 0, or -1 if the depth is no power of two. */
static inline int udrv_ring_end_init(struct udrv_ring_end *end, void *at, uint32_t depth,
				     size_t entry_bytes)
{
	memset(end, 0, sizeof(*end));
	if (depth == 0 || (depth & (depth - 1)) != 0)
		return -1;
	end->header = (struct udrv_ring_header *)at;
	end->entries = (unsigned char *)at + sizeof(struct udrv_ring_header);
	end->mask = depth - 1;
	end->entry_bytes = (uint32_t)entry_bytes;
	return 0;
}

static inline void *udrv_ring_entry_at(const struct udrv_ring_end *end, uint32_t index)
{
	return end->entries + (size_t)(index & end->mask) * end->entry_bytes;
}

/* `at`: the ring's header in the map, behind which the entries stand. */
static inline int udrv_producer_init(struct udrv_producer *producer, void *at, uint32_t depth,
				     size_t entry_bytes)
{
	struct udrv_ring_end *end = &producer->end;

	if (udrv_ring_end_init(end, at, depth, entry_bytes) < 0)
		return -1;
	end->own = __atomic_load_n(&end->header->producer.value, __ATOMIC_RELAXED);
	end->other = end->own - depth;	/* full, until we look */
	return 0;
}

/* How many entries there is room for. */
static inline uint32_t udrv_producer_room(struct udrv_producer *producer)
{
	struct udrv_ring_end *end = &producer->end;
	uint32_t used;

	/* Pairs with B: the consumer is done with the entries before we overwrite. */
	used = end->own - __atomic_load_n(&end->header->consumer.value, __ATOMIC_ACQUIRE);
	if (used > end->mask + 1)
		end->violations++;
	else
		end->other = end->own - used;
	return end->mask + 1 - (end->own - end->other);
}

/* The n-th of them, from 0 on: write it, then commit. */
static inline void *udrv_producer_entry(const struct udrv_producer *producer, uint32_t n)
{
	return udrv_ring_entry_at(&producer->end, producer->end.own + n);
}

/* Hands the first `count` to the consumer; at most udrv_producer_room(). */
static inline void udrv_producer_commit(struct udrv_producer *producer, uint32_t count)
{
	struct udrv_ring_end *end = &producer->end;

	end->own += count;
	/* A, pairs with the consumer's acquire: entries before the index. */
	__atomic_store_n(&end->header->producer.value, end->own, __ATOMIC_RELEASE);
}

/* `at`: the ring's header in the map, behind which the entries stand. */
static inline int udrv_consumer_init(struct udrv_consumer *consumer, void *at, uint32_t depth,
				     size_t entry_bytes)
{
	struct udrv_ring_end *end = &consumer->end;

	if (udrv_ring_end_init(end, at, depth, entry_bytes) < 0)
		return -1;
	end->own = __atomic_load_n(&end->header->consumer.value, __ATOMIC_RELAXED);
	end->other = end->own;	/* empty, until we look */
	return 0;
}

/* How many entries can be read. */
static inline uint32_t udrv_consumer_available(struct udrv_consumer *consumer)
{
	struct udrv_ring_end *end = &consumer->end;
	uint32_t seen;

	/* Pairs with A: the entries up to the index are there. */
	seen = __atomic_load_n(&end->header->producer.value, __ATOMIC_ACQUIRE);
	if (seen - end->own > end->mask + 1)
		end->violations++;
	else
		end->other = seen;
	return end->other - end->own;
}

/* The n-th of them, from 0 on. Its writer can change it still: copy what must not change. */
static inline const void *udrv_consumer_entry(const struct udrv_consumer *consumer, uint32_t n)
{
	return udrv_ring_entry_at(&consumer->end, consumer->end.own + n);
}

/* Gives the first `count` back; at most udrv_consumer_available(). */
static inline void udrv_consumer_release(struct udrv_consumer *consumer, uint32_t count)
{
	struct udrv_ring_end *end = &consumer->end;

	end->own += count;
	/* B, pairs with the producer's acquire: our reads before the index. */
	__atomic_store_n(&end->header->consumer.value, end->own, __ATOMIC_RELEASE);
}

/* ---- Sleep and wake ------------------------------------------------------- */

/* Before sleeping: say so, then look at everything once more, and only then sleep. */
static inline void udrv_announce_sleep(__u32 *flag)
{
	__atomic_store_n(flag, UDRV_WAKE_WORK, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);	/* C, pairs with D of the waker */
}

/* Awake. Needs no order: a doorbell too many is harmless. */
static inline void udrv_withdraw_sleep(__u32 *flag)
{
	__atomic_store_n(flag, 0, __ATOMIC_RELAXED);
}

/* After a commit: must the other side be woken? */
static inline bool udrv_must_wake(const __u32 *flag)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);	/* D, pairs with C of the sleeper */
	return __atomic_load_n(flag, __ATOMIC_RELAXED) != 0;
}

/* ---- State pages ---------------------------------------------------------- */

/* Whether the page changed since a successful udrv_state_read() left its generation in `seen`. */
static inline bool udrv_state_changed(const void *page, uint32_t seen)
{
	return __atomic_load_n((const uint32_t *)page, __ATOMIC_RELAXED) != seen;
}

/*
 * Copies a page of `bytes` (of four each) whose first word is its generation, and returns true;
 * false if its writer kept at it, and `copy` is then of no use: try again later.
 */
static inline bool udrv_state_read(const void *page, void *copy, size_t bytes, uint32_t *seen)
{
	const uint32_t *words = (const uint32_t *)page;
	uint32_t before, word;
	size_t n;
	int attempt;

	for (attempt = 0; attempt < 1000; attempt++) {
		before = __atomic_load_n(&words[0], __ATOMIC_ACQUIRE);
		if (before & 1)
			continue;
		memcpy(copy, &before, sizeof(before));
		/*
		 * Acquire: whoever reads a word of a later change also sees, below, the odd
		 * generation that was written before it.
		 */
		for (n = 1; n < bytes / sizeof(word); n++) {
			word = __atomic_load_n(&words[n], __ATOMIC_ACQUIRE);
			memcpy((unsigned char *)copy + n * sizeof(word), &word, sizeof(word));
		}
		if (__atomic_load_n(&words[0], __ATOMIC_RELAXED) == before) {
			*seen = before;
			return true;
		}
	}
	return false;
}

/* Replaces the page; the generation in `content` does not count. */
static inline void udrv_state_write(void *page, const void *content, size_t bytes)
{
	uint32_t *words = (uint32_t *)page;
	uint32_t old, word;
	size_t n;

	/* A predecessor may have died in the middle: start from an even number. */
	old = (__atomic_load_n(&words[0], __ATOMIC_RELAXED) + 1) & ~1u;
	__atomic_store_n(&words[0], old + 1, __ATOMIC_RELAXED);
	for (n = 1; n < bytes / sizeof(word); n++) {
		memcpy(&word, (const unsigned char *)content + n * sizeof(word), sizeof(word));
		__atomic_store_n(&words[n], word, __ATOMIC_RELEASE);
	}
	__atomic_store_n(&words[0], old + 2, __ATOMIC_RELEASE);
}

#endif /* UDRV_RINGS_H */
