/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * udrv_blk.h - inside udrv_blk.ko.
 *
 * A disk belongs to the bound device. While no driver is attached its queue is
 * quiesced and requests wait, for the recovery window; what a driver had when it
 * died is put back into the queue once the device is quiet. After the window
 * requests fail, until a driver comes. Of a device that could not be quieted they are
 * kept instead (udrv_blk_take_back()).
 *
 * d->lock guards the rings and d->rqs, the requests that the driver has. It is
 * never held while a request is completed.
 */
#ifndef UDRV_BLK_H
#define UDRV_BLK_H

#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/ctype.h>
#include <linux/hdreg.h>
#include <linux/idr.h>
#include <linux/scatterlist.h>
#include <linux/suspend.h>

#include <udrv/blk.h>
#include "udrv_ring.h"

struct udrv_blk;

#define UDRV_BLK_MAX_DEATHS	10	/* in a row, of drivers that had one request */

/* Behind each struct request. */
struct udrv_blk_cmd {
	u32 deaths;			/* of drivers that had it */
	u32 nr_sg;			/* as built; 0: nothing is mapped */
	struct udrv_blk_ata *ata;	/* of a request that is one: question and answer */
	struct scatterlist sg[];	/* max_segments, mapped while the driver has it */
};

struct udrv_disk {
	struct udrv_blk *blk;
	struct udrv_blk_disk info;	/* as the first driver described it, and the name */
	int id;
	struct gendisk *gd;
	struct device *dev;		/* below the PCI device, above the block device */
	struct blk_mq_tag_set tags;
	struct work_struct add;		/* partitions are read through the driver itself */
	struct notifier_block pm;	/* hibernation is refused when its swap is here */

	spinlock_t lock;		/* see above */
	bool attached;
	bool held;			/* queue quiesced: requests wait */
	bool failed;			/* recovery window over: requests fail */
	bool added;
	struct udrv_ring submission;
	struct udrv_ring completion;
	void *slots;
	u32 generation;
	u32 alone;			/* so many requests go to the driver one by one */
	struct request *rqs[UDRV_BLK_MAX_DEPTH];
	struct request *kept[UDRV_BLK_MAX_DEPTH];	/* the device may still have them */
	u32 nr_kept;
	u32 generations[UDRV_BLK_MAX_DEPTH];
};

struct udrv_blk {
	struct udrv_port port;
	struct udrv_session *session;	/* NULL: no driver */
	struct udrv_irq *irq;		/* carries the doorbells */
	struct udrv_need_wakeup *need_wakeup;
	struct delayed_work window;
	u32 nr_disks;
	struct udrv_disk *disks[UDRV_BLK_MAX_DISKS];
};

/* queue.c */
extern const struct blk_mq_ops udrv_blk_mq_ops;
bool udrv_blk_reap(struct udrv_disk *d);
void udrv_blk_take_back(struct udrv_disk *d, bool quiet);

/* ata.c */
int udrv_disk_ioctl(struct block_device *bdev, udrv_blk_mode_t mode, unsigned int cmd,
		    unsigned long arg);

/* disk.c */
extern struct class udrv_disk_class;
struct udrv_disk *udrv_disk_create(struct udrv_blk *blk, const struct udrv_blk_disk *info);
void udrv_disk_hold(struct udrv_disk *d);
void udrv_disk_release(struct udrv_disk *d, bool failed);
void udrv_disk_remove(struct udrv_disk *d);
bool udrv_disk_flush(struct udrv_disk *d, struct udrv_session *s);

#endif /* UDRV_BLK_H */
