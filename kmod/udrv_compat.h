/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * udrv_compat.h - every difference between kernel versions that udrv builds
 * for (6.1 and newer) stands here, written as the newest kernel has it.
 */
#ifndef UDRV_COMPAT_H
#define UDRV_COMPAT_H

#include <linux/blk-mq.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0)
#error "udrv needs Linux 6.1 or newer"
#endif

#if !IS_ENABLED(CONFIG_MMU_NOTIFIER) || !IS_ENABLED(CONFIG_PAGE_POOL)
#error "udrv needs CONFIG_MMU_NOTIFIER (KVM selects it) and CONFIG_PAGE_POOL (many drivers of network cards do)"
#endif

#include <linux/sched.h>

/* Rights to I/O ports are x86's only. */
static inline bool udrv_has_port_rights(struct task_struct *t)
{
#ifdef TIF_IO_BITMAP
	return test_tsk_thread_flag(t, TIF_IO_BITMAP);
#else
	return false;
#endif
}

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 6, 0)
#include <net/page_pool.h>
#else
#include <net/page_pool/helpers.h>
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
/* One device's messages can not be taken for another's. */
static inline bool msi_device_has_isolated_msi(struct device *dev)
{
	return device_iommu_capable(dev, IOMMU_CAP_INTR_REMAP);
}

static inline void vm_flags_set(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags |= flags;
}
#endif

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 14, 0)
#define BLK_MQ_F_SHOULD_MERGE	0	/* always on */
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 11, 0)
#define BLK_FEAT_WRITE_CACHE	BIT(0)
#define BLK_FEAT_FUA		BIT(1)
#define BLK_FEAT_ROTATIONAL	BIT(2)

/* blk_mq_alloc_disk() with limits and features, as it is since 6.11. */
static inline struct gendisk *udrv_alloc_disk(struct blk_mq_tag_set *tags,
					      struct queue_limits *lim, u32 features, void *data)
{
	struct gendisk *gd = blk_mq_alloc_disk(tags, data);

	if (IS_ERR(gd))
		return gd;
	lim->max_discard_sectors = lim->max_hw_discard_sectors;
	blk_set_stacking_limits(&gd->queue->limits);
	blk_stack_limits(&gd->queue->limits, lim, 0);
	blk_queue_write_cache(gd->queue, features & BLK_FEAT_WRITE_CACHE, features & BLK_FEAT_FUA);
	if (!(features & BLK_FEAT_ROTATIONAL))
		blk_queue_flag_set(QUEUE_FLAG_NONROT, gd->queue);
	return gd;
}
#else
static inline struct gendisk *udrv_alloc_disk(struct blk_mq_tag_set *tags,
					      struct queue_limits *lim, u32 features, void *data)
{
	lim->features = features;
	return blk_mq_alloc_disk(tags, lim, data);
}
#endif

#endif /* UDRV_COMPAT_H */
