// SPDX-License-Identifier: GPL-2.0-only
/*
 * The gendisk of one unit: made when a driver first describes it, gone with the
 * bound device.
 */
#include "udrv_blk.h"

static DEFINE_IDA(udrv_disk_ids);

/* ---- /sys/block/udb0/device: what lsblk and udev read ---------------------------- */

/* The disk's own words: what is not printable is escaped. */
#define UDRV_DISK_TEXT(name, field)							\
static ssize_t name##_show(struct device *dev, struct device_attribute *attr, char *buf)	\
{											\
	struct udrv_disk *d = dev_get_drvdata(dev);					\
											\
	return sysfs_emit(buf, "%*pE\n", (int)strlen(d->info.field), d->info.field);	\
}											\
static DEVICE_ATTR_RO(name)

UDRV_DISK_TEXT(model, model);
UDRV_DISK_TEXT(serial, serial);
UDRV_DISK_TEXT(rev, revision);
UDRV_DISK_TEXT(vendor, vendor);

/* Which of the disks of one controller: udev makes by-path of it. */
static ssize_t unit_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct udrv_disk *d = dev_get_drvdata(dev);

	return sysfs_emit(buf, "%u\n", d->info.unit);
}
static DEVICE_ATTR_RO(unit);

static struct attribute *udrv_disk_attrs[] = {
	&dev_attr_model.attr,
	&dev_attr_serial.attr,
	&dev_attr_rev.attr,
	&dev_attr_vendor.attr,
	&dev_attr_unit.attr,
	NULL
};
ATTRIBUTE_GROUPS(udrv_disk);

struct class udrv_disk_class = {
	.name = "udrv_disk",
	.dev_groups = udrv_disk_groups,
};

/* ---- Life ------------------------------------------------------------------ */

/*
 * HDIO_GETGEO for those who still want cylinders: 255 heads and 63 sectors, as
 * ata_std_bios_param() has it. A field of 16 bits does not hold those of a large disk;
 * its users take the capacity from elsewhere.
 */
static int udrv_disk_getgeo(udrv_getgeo_of *of, struct hd_geometry *geo)
{
	sector_t cylinders = get_capacity(udrv_getgeo_disk(of));

	sector_div(cylinders, 255 * 63);
	geo->heads = 255;
	geo->sectors = 63;
	geo->cylinders = cylinders;
	return 0;
}

static const struct block_device_operations udrv_disk_fops = {
	.owner = THIS_MODULE,
	.getgeo = udrv_disk_getgeo,
};

static const struct block_device_operations udrv_ata_disk_fops = {
	.owner = THIS_MODULE,
	.getgeo = udrv_disk_getgeo,
	.ioctl = udrv_disk_ioctl,
	.compat_ioctl = blkdev_compat_ptr_ioctl,
};

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
	smp_store_release(&d->failed, failed);	/* after the rings that attach made */
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

static bool udrv_disk_has_swap(struct udrv_disk *d)
{
	struct block_device *part;
	bool found = false;
	unsigned long n;

	rcu_read_lock();
	xa_for_each(&d->gd->part_tbl, n, part)	/* the whole disk, too */
		found |= IS_SWAPFILE(udrv_bdev_inode(part));
	rcu_read_unlock();
	return found;
}

/*
 * The image of a machine that hibernates is written when the processes are frozen and
 * the sessions have ended: nobody could write it to us. Sooner than fail after the
 * recovery window, with what else waits for the disk, it is refused. (Swap in a file,
 * or behind LVM, is not seen here.)
 */
static int udrv_disk_pm_event(struct notifier_block *nb, unsigned long event, void *data)
{
	struct udrv_disk *d = container_of(nb, struct udrv_disk, pm);

	if (event != PM_HIBERNATION_PREPARE || !udrv_disk_has_swap(d))
		return NOTIFY_DONE;
	dev_err(d->dev, "hibernation refused: its swap is on this disk, which a process drives\n");
	return notifier_from_errno(-EBUSY);
}

/* From any state of construction. */
static void udrv_disk_free(struct udrv_disk *d)
{
	if (d->pm.notifier_call)
		unregister_pm_notifier(&d->pm);
	put_disk(IS_ERR(d->gd) ? NULL : d->gd);
	if (d->tags.tags)
		blk_mq_free_tag_set(&d->tags);
	if (!IS_ERR_OR_NULL(d->dev))
		device_unregister(d->dev);
	ida_free(&udrv_disk_ids, d->id);	/* which may be an error */
	kvfree(d);
}

/*
 * What the queue promises. What is not set here is 0 and means "no such thing, or the
 * default of a plain queue": docs/limits.md goes through all of the structure.
 */
static struct queue_limits udrv_disk_limits(struct device *dev, const struct udrv_blk_disk *info)
{
	struct queue_limits lim = {
		.logical_block_size = info->logical_block_bytes,
		.physical_block_size = info->physical_block_bytes,
		.io_min = info->physical_block_bytes,
		.max_hw_sectors = info->max_sectors,
		.max_segments = info->max_segments,
		.max_segment_size = min_t(size_t, info->max_segment_bytes,
					  dma_max_mapping_size(dev)),
		.seg_boundary_mask = info->segment_boundary,
		.dma_alignment = info->dma_alignment,
		.max_discard_segments = 1,
		.max_write_zeroes_sectors = info->max_write_zeroes_sectors,
	};

	/*
	 * The block layer leaves segments as long as they come then, and each is mapped in
	 * one piece: so the whole request has to fit.
	 */
	if (info->virt_boundary) {
		lim.virt_boundary_mask = info->virt_boundary;
		lim.max_segment_size = UINT_MAX;
		lim.max_hw_sectors = min_t(size_t, info->max_sectors,
					   dma_max_mapping_size(dev) >> SECTOR_SHIFT);
	}
	if (info->max_discard_sectors) {
		lim.max_hw_discard_sectors = info->max_discard_sectors;
		lim.max_discard_segments = info->max_discard_segments;
		lim.discard_granularity = info->physical_block_bytes;
	}
	return lim;
}

static blk_features_t udrv_disk_features(const struct udrv_blk_disk *info)
{
	blk_features_t features = 0;

	if (info->flags & UDRV_BLK_WRITE_CACHE)
		features |= BLK_FEAT_WRITE_CACHE;
	if (info->flags & UDRV_BLK_FUA)
		features |= BLK_FEAT_FUA;
	if (info->flags & UDRV_BLK_ROTATIONAL)
		features |= BLK_FEAT_ROTATIONAL;
	return features;
}

static int udrv_disk_alloc_tags(struct udrv_disk *d)
{
	struct blk_mq_tag_set *tags = &d->tags;

	tags->ops = &udrv_blk_mq_ops;
	tags->numa_node = NUMA_NO_NODE;
	tags->nr_hw_queues = 1;
	tags->queue_depth = d->info.depth;
	tags->cmd_size = struct_size((struct udrv_blk_cmd *)NULL, sg, d->info.max_segments);
	tags->flags = BLK_MQ_F_SHOULD_MERGE;
	if (!(d->info.flags & UDRV_BLK_ROTATIONAL))
		tags->flags |= BLK_MQ_F_NO_SCHED_BY_DEFAULT;
	tags->timeout = 120 * HZ;	/* drivers give a flush 30 s, twice, and reset the chip */
	return blk_mq_alloc_tag_set(tags);
}

struct udrv_disk *udrv_disk_create(struct udrv_blk *blk, const struct udrv_blk_disk *info)
{
	struct device *parent = &blk->port.udev->pdev->dev;
	struct queue_limits lim = udrv_disk_limits(parent, info);
	struct udrv_disk *d;
	int ret;

	d = kvzalloc(sizeof(*d), GFP_KERNEL);
	if (!d)
		return ERR_PTR(-ENOMEM);
	d->blk = blk;
	d->info = *info;
	spin_lock_init(&d->lock);
	INIT_WORK(&d->add, udrv_disk_add_work);
	d->id = ida_alloc(&udrv_disk_ids, GFP_KERNEL);
	if (d->id < 0) {
		ret = d->id;
		goto err;
	}
	ret = udrv_disk_alloc_tags(d);
	if (ret)
		goto err;
	snprintf(d->info.name, sizeof(d->info.name), "udb%d", d->id);
	d->gd = udrv_alloc_disk(&d->tags, &lim, udrv_disk_features(info), d);
	d->dev = device_create(&udrv_disk_class, parent, 0, d, "%s", d->info.name);
	ret = PTR_ERR_OR_ZERO(d->gd) ?: PTR_ERR_OR_ZERO(d->dev);
	if (ret)
		goto err;
	strscpy(d->gd->disk_name, d->info.name, DISK_NAME_LEN);
	if (info->flags & UDRV_BLK_ATA_COMMANDS)
		d->gd->fops = &udrv_ata_disk_fops;
	else
		d->gd->fops = &udrv_disk_fops;
	set_capacity(d->gd, info->nr_sectors);
	set_disk_ro(d->gd, info->flags & UDRV_BLK_READ_ONLY);
	udrv_disk_hold(d);
	d->pm.notifier_call = udrv_disk_pm_event;
	register_pm_notifier(&d->pm);	/* never fails */
	return d;

err:
	udrv_disk_free(d);
	return ERR_PTR(ret);
}

/* No driver is attached. What waits, and what a mounted filesystem still sends, fails. */
void udrv_disk_remove(struct udrv_disk *d)
{
	udrv_disk_release(d, true);
	if (d->nr_kept) {
		/* The notifier stays with it, and with this module. */
		/* They never end, so that whoever waits for the queue to drain never returns. */
		dev_err(d->dev, "stays for ever, with %u requests of a device that is not quiet\n",
			d->nr_kept);
		__module_get(THIS_MODULE);
		return;
	}
	flush_work(&d->add);
	if (d->added) {
		blk_mark_disk_dead(d->gd);
		del_gendisk(d->gd);
	}
	udrv_disk_free(d);
}

/* ---- Flush before power goes ------------------------------------------------- */

#define UDRV_FLUSH_S	10	/* a driver that hangs must not keep the machine awake */

struct udrv_flush {
	struct bio bio;
	struct completion done;
	refcount_t users;	/* who waits, and the bio */
};

static void udrv_flush_put(struct udrv_flush *f)
{
	if (!refcount_dec_and_test(&f->users))
		return;
	bio_uninit(&f->bio);
	kfree(f);
}

static void udrv_flush_end(struct bio *bio)
{
	struct udrv_flush *f = container_of(bio, struct udrv_flush, bio);

	complete(&f->done);
	udrv_flush_put(f);
}

/*
 * By the driver of the session, while that lasts. If it does not, or takes too long,
 * the request stays: the next driver gets it.
 */
bool udrv_disk_flush(struct udrv_disk *d, struct udrv_session *s)
{
	unsigned long end = jiffies + UDRV_FLUSH_S * HZ;
	struct udrv_flush *f;
	bool flushed = false;

	f = kzalloc(sizeof(*f), GFP_KERNEL);
	if (!f)
		return false;
	init_completion(&f->done);
	refcount_set(&f->users, 2);
	bio_init(&f->bio, d->gd->part0, NULL, 0, REQ_OP_WRITE | REQ_PREFLUSH);
	f->bio.bi_end_io = udrv_flush_end;
	submit_bio(&f->bio);
	do {
		if (wait_for_completion_io_timeout(&f->done, HZ / 10)) {
			flushed = !f->bio.bi_status;
			break;
		}
	} while (!test_bit(UDRV_SESSION_ENDING, &s->flags) && time_before(jiffies, end));
	udrv_flush_put(f);
	return flushed;
}
