// SPDX-License-Identifier: GPL-2.0-only
/*
 * udrv_blk - the block loopback: attaching a session to the disks of its device,
 * and keeping them when the session is over.
 */
#include "udrv_blk.h"
#include "udrv_version.h"

static unsigned int recovery_window_s = 30;
module_param(recovery_window_s, uint, 0644);
MODULE_PARM_DESC(recovery_window_s, "seconds that requests wait for the next driver");

/* A mask of low bits: an alignment, or a boundary. */
static bool udrv_blk_valid_mask(u32 mask)
{
	return is_power_of_2(mask + 1ULL);
}

static bool udrv_blk_valid_text(const char *text, size_t bytes)
{
	return !text[bytes - 1];
}

/* What the disk is. */
static bool udrv_blk_valid_disk(const struct udrv_blk_disk *i)
{
	u32 block_sectors = i->logical_block_bytes >> SECTOR_SHIFT;

	if (i->reserved || (i->flags & ~UDRV_BLK_FLAGS_ALL))
		return false;
	if (!is_power_of_2(i->logical_block_bytes) || i->logical_block_bytes < SECTOR_SIZE ||
	    i->logical_block_bytes > PAGE_SIZE)
		return false;
	if (!is_power_of_2(i->physical_block_bytes) || i->physical_block_bytes > SZ_1M ||
	    i->physical_block_bytes < i->logical_block_bytes)
		return false;
	if (!i->nr_sectors || i->nr_sectors > (u64)1 << 48 ||
	    (i->nr_sectors & (block_sectors - 1)))
		return false;
	return udrv_blk_valid_text(i->model, sizeof(i->model)) &&
	       udrv_blk_valid_text(i->serial, sizeof(i->serial)) &&
	       udrv_blk_valid_text(i->revision, sizeof(i->revision)) &&
	       udrv_blk_valid_text(i->vendor, sizeof(i->vendor));
}

/* What the chip needs, as the block layer wants to hear it. */
static bool udrv_blk_valid_limits(const struct udrv_blk_disk *i)
{
	if (!i->depth || i->depth > UDRV_BLK_MAX_DEPTH)
		return false;
	if (i->max_sectors < PAGE_SIZE >> SECTOR_SHIFT)
		return false;
	if (!i->max_segments || i->max_segments > UDRV_BLK_MAX_SEGMENTS ||
	    i->max_segment_bytes < PAGE_SIZE)
		return false;
	if (i->segment_boundary < PAGE_SIZE - 1 || !udrv_blk_valid_mask(i->segment_boundary) ||
	    i->dma_alignment >= PAGE_SIZE || !udrv_blk_valid_mask(i->dma_alignment))
		return false;
	/*
	 * A block of user memory may lie across the end of a page, if it need not be aligned
	 * to its size. Then it is two segments, and the block layer cannot split it.
	 */
	if (i->max_segments == 1 && i->dma_alignment < i->logical_block_bytes - 1)
		return false;
	/* With a larger one, two pages of a block would have a gap between them. */
	if (i->virt_boundary &&
	    (i->virt_boundary != PAGE_SIZE - 1 || i->max_segment_bytes != UINT_MAX))
		return false;
	if (!i->max_discard_sectors)
		return !i->max_discard_segments;
	/* The block layer cuts at multiples of discard_granularity, which is this. */
	return i->max_discard_sectors >= i->physical_block_bytes >> SECTOR_SHIFT &&
	       i->max_discard_segments && i->max_discard_segments <= UDRV_BLK_MAX_SEGMENTS;
}

/* A slot has room for what can follow the request. */
static u32 udrv_blk_slot_bytes(const struct udrv_blk_disk *i)
{
	size_t segments = i->max_segments * sizeof(struct udrv_blk_segment);
	size_t ranges = i->max_discard_segments * sizeof(struct udrv_blk_range);
	size_t most = max(segments, ranges);

	if (i->flags & UDRV_BLK_ATA_COMMANDS)
		most = max(most, sizeof(struct udrv_blk_ata));
	return ALIGN(sizeof(struct udrv_blk_request) + most, 128);
}

static void udrv_blk_layout(struct udrv_blk_attach *arg)
{
	size_t end = 0;
	u32 n;

	arg->need_wakeup = udrv_place(&end, sizeof(struct udrv_need_wakeup));
	for (n = 0; n < arg->nr_disks; n++) {
		struct udrv_blk_disk *i = &arg->disks[n];
		u32 nr = roundup_pow_of_two(i->depth);

		i->ring_depth = nr;
		i->slot_bytes = udrv_blk_slot_bytes(i);
		i->submission = udrv_place(&end, UDRV_RING_BYTES(nr, struct udrv_blk_submission));
		i->completion = udrv_place(&end, UDRV_RING_BYTES(nr, struct udrv_blk_completion));
		i->slots = udrv_place(&end, i->depth * i->slot_bytes);
	}
	arg->map_bytes = PAGE_ALIGN(end);
}

/* The disk that the device has for a unit, a new one, or an error. */
static struct udrv_disk *udrv_blk_find(struct udrv_blk *blk, const struct udrv_blk_disk *info)
{
	struct udrv_disk *d;
	u32 n;

	for (n = 0; n < blk->nr_disks; n++) {
		d = blk->disks[n];
		/* A successor must find the very disk that its predecessor described. */
		if (d->info.unit == info->unit)
			return memcmp(&d->info, info, offsetof(struct udrv_blk_disk, submission)) ?
			       ERR_PTR(-ESTALE) : d;
	}
	if (n == UDRV_BLK_MAX_DISKS)
		return ERR_PTR(-ENOSPC);
	d = udrv_disk_create(blk, info);
	if (!IS_ERR(d)) {
		blk->disks[n] = d;
		smp_store_release(&blk->nr_disks, n + 1);	/* for the window's work */
	}
	return d;
}

static void udrv_blk_window_work(struct work_struct *work)
{
	struct udrv_blk *blk = container_of(to_delayed_work(work), struct udrv_blk, window);
	u32 nr_disks = smp_load_acquire(&blk->nr_disks);	/* udrv_blk_find() adds */
	unsigned long longer;
	u32 n;

	longer = udrv_wait_longer(blk->port.udev, recovery_window_s * HZ);
	if (longer) {
		queue_delayed_work(udrv_wq, &blk->window, longer);
		return;
	}
	for (n = 0; n < nr_disks; n++) {
		if (blk->disks[n]->attached)
			continue;
		dev_warn(blk->disks[n]->dev, "no driver came: requests fail\n");
		udrv_disk_release(blk->disks[n], true);
	}
}

/* ---- Port ------------------------------------------------------------------ */

static void udrv_blk_remove(struct udrv_port *port)
{
	struct udrv_blk *blk = container_of(port, struct udrv_blk, port);

	cancel_delayed_work_sync(&blk->window);
	while (blk->nr_disks)
		udrv_disk_remove(blk->disks[--blk->nr_disks]);
	kfree(blk);
}

static void udrv_blk_detach(struct udrv_port *port, bool quiet)
{
	struct udrv_blk *blk = container_of(port, struct udrv_blk, port);
	u32 n;

	cancel_delayed_work_sync(&blk->window);
	for (n = 0; n < blk->nr_disks; n++) {
		if (!blk->disks[n]->attached)
			continue;
		udrv_disk_hold(blk->disks[n]);
		udrv_blk_take_back(blk->disks[n], quiet);
	}
	vfree(blk->port.shm);
	blk->port.shm = NULL;
	queue_delayed_work(udrv_wq, &blk->window, recovery_window_s * HZ);
}

static void udrv_blk_publish(struct udrv_port *port, struct udrv_irq *irq)
{
	struct udrv_blk *blk = container_of(port, struct udrv_blk, port);
	u32 n, batches;

	/* Under RCU, and where in_task() says no: those whose requests end must not sleep. */
	local_bh_disable();
	for (n = 0; n < blk->nr_disks; n++)	/* bounded: what a full queue can have */
		for (batches = 8; batches && udrv_blk_reap(blk->disks[n]); batches--)
			;
	local_bh_enable();
}

/*
 * What the DMA layer has to keep to: that of the most modest disk. An IOMMU may merge
 * segments, and a bounce buffer begin elsewhere in its page than the data does.
 */
static void udrv_blk_set_dma_limits(struct device *dev, const struct udrv_blk_attach *arg)
{
	u32 size = UINT_MAX & PAGE_MASK;
	u32 boundary = UINT_MAX;
	u32 align = 0;
	u32 n;

	for (n = 0; n < arg->nr_disks; n++) {
		size = min(size, arg->disks[n].max_segment_bytes);
		boundary = min(boundary, arg->disks[n].segment_boundary);
		align = max(align, arg->disks[n].virt_boundary);
	}
	dma_set_max_seg_size(dev, size);
	dma_set_seg_boundary(dev, boundary);
	dma_set_min_align_mask(dev, align);
}

static int udrv_blk_attach_all(struct udrv_blk *blk, struct udrv_session *s,
			       struct udrv_blk_attach *arg)
{
	struct udrv_disk *d;
	u32 n;

	/* Before a disk is made, whose limits depend on them. */
	udrv_blk_set_dma_limits(&s->udev->pdev->dev, arg);
	for (n = 0; n < arg->nr_disks; n++) {
		d = udrv_blk_find(blk, &arg->disks[n]);
		if (IS_ERR(d))
			return PTR_ERR(d);
	}
	udrv_blk_layout(arg);
	blk->port.shm = vmalloc_user(arg->map_bytes);
	if (!blk->port.shm)
		return -ENOMEM;
	cancel_delayed_work_sync(&blk->window);
	blk->session = s;
	blk->need_wakeup = blk->port.shm + arg->need_wakeup;
	blk->need_wakeup->kernel = 1;
	blk->irq = udrv_session_irq(s, arg->vector);
	blk->port.vectors = BIT(arg->vector);
	for (n = 0; n < arg->nr_disks; n++) {
		struct udrv_blk_disk *info = &arg->disks[n];

		d = udrv_blk_find(blk, info);
		strscpy(info->name, d->info.name, sizeof(info->name));
		d->info.slot_bytes = info->slot_bytes;
		d->slots = blk->port.shm + info->slots;
		spin_lock_irq(&d->lock);
		udrv_ring_init(&d->submission, blk->port.shm + info->submission, info->ring_depth);
		udrv_ring_init(&d->completion, blk->port.shm + info->completion, info->ring_depth);
		d->attached = true;
		spin_unlock_irq(&d->lock);
		udrv_disk_release(d, false);
		schedule_work(&d->add);
	}
	/* For those it left out. */
	queue_delayed_work(udrv_wq, &blk->window, recovery_window_s * HZ);
	return 0;
}

static struct udrv_port *udrv_blk_attach(struct udrv_session *s, struct udrv_port *port, void *argp)
{
	struct udrv_blk_attach *arg = argp;
	struct udrv_blk *blk;
	u32 n;
	int ret;

	if (!arg->nr_disks || arg->nr_disks > UDRV_BLK_MAX_DISKS ||
	    arg->vector >= s->nr_irqs)
		return ERR_PTR(-EINVAL);
	for (n = 0; n < arg->nr_disks; n++) {
		if (!udrv_blk_valid_disk(&arg->disks[n]) || !udrv_blk_valid_limits(&arg->disks[n]))
			return ERR_PTR(-EINVAL);
		if (n && arg->disks[n].unit <= arg->disks[n - 1].unit)
			return ERR_PTR(-EINVAL);
	}
	if (port) {
		blk = container_of(port, struct udrv_blk, port);
	} else {
		blk = kzalloc(sizeof(*blk), GFP_KERNEL);
		if (!blk)
			return ERR_PTR(-ENOMEM);
		blk->port.udev = s->udev;
		INIT_DELAYED_WORK(&blk->window, udrv_blk_window_work);
	}
	ret = udrv_blk_attach_all(blk, s, arg);
	if (!ret)
		return &blk->port;
	if (!port)
		udrv_blk_remove(&blk->port);
	return ERR_PTR(ret);
}

static void udrv_blk_settle(struct udrv_port *port, struct udrv_session *s)
{
	struct udrv_blk *blk = container_of(port, struct udrv_blk, port);
	u32 nr_disks = smp_load_acquire(&blk->nr_disks);	/* udrv_blk_find() adds */
	u32 n;

	for (n = 0; n < nr_disks; n++) {
		struct udrv_disk *d = blk->disks[n];

		if (!READ_ONCE(d->attached) || !READ_ONCE(d->added))
			continue;
		if (!udrv_disk_flush(d, s)) {
			dev_warn(d->dev, "its cache was not flushed\n");
			return;	/* the driver hangs, or is gone */
		}
	}
}

static struct udrv_port_type udrv_blk_type = {
	.owner = THIS_MODULE,
	.arg_bytes = sizeof(struct udrv_blk_attach),
	.arg_least = UDRV_BLK_ATTACH_SIZE_VER4,
	.attach = udrv_blk_attach,
	.detach = udrv_blk_detach,
	.publish = udrv_blk_publish,
	.settle = udrv_blk_settle,
	.remove = udrv_blk_remove,
};

static int __init udrv_blk_init(void)
{
	int ret = class_register(&udrv_disk_class);

	if (!ret)
		udrv_port_type_set(UDRV_PORT_BLK, &udrv_blk_type);
	return ret;
}
module_init(udrv_blk_init);

static void __exit udrv_blk_exit(void)
{
	udrv_port_type_set(UDRV_PORT_BLK, NULL);
	class_unregister(&udrv_disk_class);
}
module_exit(udrv_blk_exit);

MODULE_DESCRIPTION("A user process as a disk, by shared rings");
MODULE_LICENSE("GPL");
MODULE_VERSION(UDRV_VERSION);
