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

/* __assign_str() of tracepoints: since 6.10 it remembers the source from __string(). */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 10, 0)
#define udrv_assign_str(dst, src)	__assign_str(dst, src)
#else
#define udrv_assign_str(dst, src)	__assign_str(dst)
#endif

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
/* One device's messages cannot be taken for another's. */
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

/* blk_rq_map_sg() as it is since 6.16: the queue is that of the request. */
static inline int udrv_rq_map_sg(struct request *rq, struct scatterlist *sg)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 16, 0)
	return blk_rq_map_sg(rq->q, rq, sg);
#else
	return blk_rq_map_sg(rq, sg);
#endif
}

static inline struct inode *udrv_bdev_inode(struct block_device *bdev)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 10, 0)
	return bdev->bd_inode;
#else
	return bdev->bd_mapping->host;
#endif
}

/* How a block device is opened, as its ioctl gets to know it. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 5, 0)
typedef fmode_t udrv_blk_mode_t;
#else
typedef blk_mode_t udrv_blk_mode_t;
#endif

/* What block_device_operations.getgeo gets: since 6.18 the disk. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 18, 0)
typedef struct block_device udrv_getgeo_of;

static inline struct gendisk *udrv_getgeo_disk(struct block_device *bdev)
{
	return bdev->bd_disk;
}
#else
typedef struct gendisk udrv_getgeo_of;

static inline struct gendisk *udrv_getgeo_disk(struct gendisk *gd)
{
	return gd;
}
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 11, 0)
typedef unsigned int __bitwise blk_features_t;

#define BLK_FEAT_WRITE_CACHE	((__force blk_features_t)BIT(0))
#define BLK_FEAT_FUA		((__force blk_features_t)BIT(1))
#define BLK_FEAT_ROTATIONAL	((__force blk_features_t)BIT(2))

/*
 * blk_mq_alloc_disk() with limits and features, as it is since 6.11: what @lim leaves
 * 0 is as on a plain queue. Never blk_set_stacking_limits(), which says "no limit" of
 * all that nobody sets; docs/limits.md has every field.
 */
static inline struct gendisk *udrv_alloc_disk(struct blk_mq_tag_set *tags,
					      struct queue_limits *lim, blk_features_t features,
					      void *data)
{
	struct gendisk *gd = blk_mq_alloc_disk(tags, data);
	struct request_queue *q;

	if (IS_ERR(gd))
		return gd;
	q = gd->queue;
	blk_queue_logical_block_size(q, lim->logical_block_size);
	blk_queue_physical_block_size(q, lim->physical_block_size);
	blk_queue_io_min(q, lim->io_min);
	blk_queue_max_hw_sectors(q, lim->max_hw_sectors);	/* and max_sectors from it */
	blk_queue_max_segments(q, lim->max_segments);
	if (lim->virt_boundary_mask)	/* not both, and this says that segments may be long */
		blk_queue_virt_boundary(q, lim->virt_boundary_mask);
	else
		blk_queue_max_segment_size(q, lim->max_segment_size);
	blk_queue_segment_boundary(q, lim->seg_boundary_mask);
	blk_queue_dma_alignment(q, lim->dma_alignment);
	blk_queue_max_discard_sectors(q, lim->max_hw_discard_sectors);
	blk_queue_max_discard_segments(q, lim->max_discard_segments);
	q->limits.discard_granularity = lim->discard_granularity;
	blk_queue_max_write_zeroes_sectors(q, lim->max_write_zeroes_sectors);
	blk_queue_write_cache(q, features & BLK_FEAT_WRITE_CACHE, features & BLK_FEAT_FUA);
	if (features & BLK_FEAT_ROTATIONAL)
		blk_queue_flag_clear(QUEUE_FLAG_NONROT, q);
	else
		blk_queue_flag_set(QUEUE_FLAG_NONROT, q);
	return gd;
}
#else
static inline struct gendisk *udrv_alloc_disk(struct blk_mq_tag_set *tags,
					      struct queue_limits *lim, blk_features_t features,
					      void *data)
{
	lim->features = features;
	return blk_mq_alloc_disk(tags, lim, data);
}
#endif

#endif /* UDRV_COMPAT_H */
