/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * udrv_ring.h - the kernel's end of a shared ring (udrv/udrv.h). The driver can
 * write all of the ring at any time, so our own index is the truth, the other
 * side's is checked against it, and entries are copied once.
 */
#ifndef UDRV_RING_H
#define UDRV_RING_H

#include "udrv_core.h"

struct udrv_ring {
	struct udrv_ring_header *shared;
	void *entries;
	u32 depth;
	u32 index;		/* our own: as a producer or as a consumer */
};

#define UDRV_RING_BYTES(depth, type) (sizeof(struct udrv_ring_header) + (depth) * sizeof(type))

/* Place a piece of the shared map; pieces start on a cache line pair. */
static inline u32 udrv_place(size_t *end, size_t bytes)
{
	u32 offset = ALIGN(*end, 128);

	*end = offset + bytes;
	return offset;
}

static inline void udrv_ring_init(struct udrv_ring *ring, void *at, u32 depth)
{
	ring->shared = at;
	ring->entries = at + sizeof(struct udrv_ring_header);
	ring->depth = depth;
	ring->index = 0;
}

/* The entry at an index, of which the ring holds the low bits. */
#define udrv_ring_entry(ring, type, i) \
	((type *)(ring)->entries + ((i) & ((ring)->depth - 1)))

/* Each word of a shared entry is read exactly once: the copy can be validated. */
static inline void udrv_copy_once(void *to, const void *from, size_t bytes)
{
	for (; bytes; bytes -= sizeof(u64), to += sizeof(u64), from += sizeof(u64))
		*(u64 *)to = READ_ONCE(*(const u64 *)from);
}

/* Barrier A: the entries before the index. */
static inline void udrv_ring_produced(struct udrv_ring *ring)
{
	smp_store_release(&ring->shared->producer.value, ring->index);	/* A */
}

/* How many entries the driver produced; negative if its index is impossible. */
static inline int udrv_ring_waiting(const struct udrv_ring *ring)
{
	/* Pairs with the driver's barrier A. */
	u32 n = smp_load_acquire(&ring->shared->producer.value) - ring->index;

	return n <= ring->depth ? n : -1;
}

/* Barrier B: we are done with the entries up to our index. */
static inline void udrv_ring_consumed(struct udrv_ring *ring)
{
	smp_store_release(&ring->shared->consumer.value, ring->index);	/* B */
}

/* Barrier D, then the look at the flag: pairs with barrier C of the driver. */
static inline void udrv_wake_driver(struct udrv_need_wakeup *nw, u32 what, struct udrv_irq *irq)
{
	smp_mb();	/* D */
	if (READ_ONCE(nw->driver) & what)
		udrv_irq_doorbell(irq);
}

#endif /* UDRV_RING_H */
