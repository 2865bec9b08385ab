// SPDX-License-Identifier: GPL-2.0-only
/*
 * The gendisk of one unit: made when a driver first describes it, gone with the
 * bound device.
 */
#include "udrv_blk.h"

static DEFINE_IDA(udrv_disk_ids);

/* ---- /sys/block/udb0/device: what lsblk shows ------------------------------ */

/* The disk's own words: what is not printable is escaped. */
static ssize_t udrv_disk_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct udrv_disk *d = dev_get_drvdata(dev);
	const char *text = attr->attr.name[0] == 'm' ? d->info.model : d->info.serial;

	return sysfs_emit(buf, "%*pE\n", (int)strlen(text), text);
}
static DEVICE_ATTR(model, 0444, udrv_disk_show, NULL);
static DEVICE_ATTR(serial, 0444, udrv_disk_show, NULL);

static struct attribute *udrv_disk_attrs[] = { &dev_attr_model.attr, &dev_attr_serial.attr, NULL };
ATTRIBUTE_GROUPS(udrv_disk);

struct class udrv_disk_class = { .name = "udrv_disk", .dev_groups = udrv_disk_groups };

/* ---- Life ------------------------------------------------------------------ */

static const struct block_device_operations udrv_disk_fops = { .owner = THIS_MODULE };

/* Requests wait. Also waits for those that are being handed out just now. */
void udrv_disk_hold(struct udrv_disk *d)
{
	if (!d->held)
		blk_mq_quiesce_queue_nowait(d->gd->queue);
	d->held = true;
	synchronize_rcu_expedited();	/* faster than the wait of blk_mq_quiesce_queue() */
}

/*
 * Requests flow, to a driver or (failed) to their end. Whoever found the queue
 * quiesced just before, to issue a request directly, may insert it only now and
 * (before Linux 6.13) not run the queue: run it again when they are through.
 */
void udrv_disk_release(struct udrv_disk *d, bool failed)
{
	WRITE_ONCE(d->failed, failed);
	if (d->held)
		blk_mq_unquiesce_queue(d->gd->queue);
	d->held = false;
	synchronize_rcu_expedited();
	blk_mq_kick_requeue_list(d->gd->queue);		/* which runs it */
}

/*
 * Not at attach: adding a disk reads its partition table, through the driver that
 * is still in its attach call.
 */
static void udrv_disk_add_work(struct work_struct *work)
{
	struct udrv_disk *d = container_of(work, struct udrv_disk, add);

	/* Each driver that attaches asks for it: once, even if the kernel failed. */
	if (!d->added && !d->gd->major)
		d->added = !device_add_disk(d->dev, d->gd, NULL);
}

/* From any state of construction. */
static void udrv_disk_free(struct udrv_disk *d)
{
	put_disk(IS_ERR(d->gd) ? NULL : d->gd);
	if (d->tags.tags)
		blk_mq_free_tag_set(&d->tags);
	if (!IS_ERR_OR_NULL(d->dev))
		device_unregister(d->dev);
	ida_free(&udrv_disk_ids, d->id);	/* which may be an error */
	kvfree(d);
}

struct udrv_disk *udrv_disk_create(struct udrv_blk *blk, const struct udrv_blk_disk *info)
{
	struct queue_limits lim = {
		.logical_block_size = info->logical_block_bytes,
		.physical_block_size = info->physical_block_bytes,
		.max_hw_sectors = info->max_sectors, .max_sectors = min(info->max_sectors, 2560u),
		.io_min = info->physical_block_bytes, .max_segments = info->max_segments,
		.max_segment_size = min_t(size_t, info->max_segment_bytes,
					  dma_max_mapping_size(&blk->port.udev->pdev->dev)),
		.seg_boundary_mask = info->segment_boundary, .dma_alignment = info->dma_alignment,
		.max_hw_discard_sectors = info->max_discard_sectors,
		.discard_granularity = info->max_discard_sectors ? info->physical_block_bytes : 0,
		.max_write_zeroes_sectors = info->max_write_zeroes_sectors,
	};
	u32 features = (info->flags & UDRV_BLK_WRITE_CACHE ? BLK_FEAT_WRITE_CACHE : 0) |
		       (info->flags & UDRV_BLK_FUA ? BLK_FEAT_FUA : 0) |
		       (info->flags & UDRV_BLK_ROTATIONAL ? BLK_FEAT_ROTATIONAL : 0);
	struct udrv_disk *d;
	int ret;

	d = kvzalloc(sizeof(*d), GFP_KERNEL);
	if (!d)
		return ERR_PTR(-ENOMEM);
	d->blk = blk;
	d->info = *info;
	spin_lock_init(&d->lock);
	INIT_WORK(&d->add, udrv_disk_add_work);
	d->tags = (struct blk_mq_tag_set){
		.ops = &udrv_blk_mq_ops, .numa_node = NUMA_NO_NODE,
		.nr_hw_queues = 1, .queue_depth = info->depth,
		.cmd_size = struct_size((struct udrv_blk_cmd *)NULL, sg, info->max_segments),
		.flags = BLK_MQ_F_SHOULD_MERGE | (info->flags & UDRV_BLK_ROTATIONAL ?
						  0 : BLK_MQ_F_NO_SCHED_BY_DEFAULT),
		.timeout = 120 * HZ,	/* drivers give a flush 30 s, twice, and reset the chip */
	};
	d->id = ida_alloc(&udrv_disk_ids, GFP_KERNEL);
	ret = d->id < 0 ? d->id : blk_mq_alloc_tag_set(&d->tags);
	if (ret)
		goto err;
	snprintf(d->info.name, sizeof(d->info.name), "udb%d", d->id);
	d->gd = udrv_alloc_disk(&d->tags, &lim, features, d);
	d->dev = device_create(&udrv_disk_class, &blk->port.udev->pdev->dev, 0, d, "%s",
			       d->info.name);
	ret = PTR_ERR_OR_ZERO(d->gd) ?: PTR_ERR_OR_ZERO(d->dev);
	if (ret)
		goto err;
	strscpy(d->gd->disk_name, d->info.name, DISK_NAME_LEN);
	d->gd->fops = &udrv_disk_fops;
	set_capacity(d->gd, info->nr_sectors);
	set_disk_ro(d->gd, info->flags & UDRV_BLK_READ_ONLY);
	udrv_disk_hold(d);
	return d;

err:
	udrv_disk_free(d);
	return ERR_PTR(ret);
}

/* No driver is attached. What waits, and what a mounted filesystem still sends, fails. */
void udrv_disk_remove(struct udrv_disk *d)
{
	udrv_disk_release(d, true);
	flush_work(&d->add);
	if (d->added) {
		blk_mark_disk_dead(d->gd);
		del_gendisk(d->gd);
	}
	udrv_disk_free(d);
}
