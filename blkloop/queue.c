// SPDX-License-Identifier: GPL-2.0-only
/*
 * The data path: blk-mq requests to the submission ring, with their segments as
 * bus addresses in the slot of their tag, and completions back.
 */
#include "udrv_blk.h"

#define CREATE_TRACE_POINTS
#include "udrv_blk_trace.h"

#define UDRV_BLK_REAP_BATCH	32

/* A disk that does not answer is EIO as well: that is what the kernel's own drivers say. */
static const blk_status_t udrv_blk_status[UDRV_BLK_NR_STATUS] = {
	[UDRV_BLK_OK] = BLK_STS_OK,
	[UDRV_BLK_IOERR] = BLK_STS_IOERR,
	[UDRV_BLK_MEDIUM] = BLK_STS_MEDIUM,
	[UDRV_BLK_NOTSUPP] = BLK_STS_NOTSUPP,
	[UDRV_BLK_TIMEOUT] = BLK_STS_IOERR,
};

/* One doorbell for a batch of requests; also called when all were refused, without a driver. */
static void udrv_blk_commit_rqs(struct blk_mq_hw_ctx *hctx)
{
	struct udrv_disk *d = hctx->queue->queuedata;

	if (READ_ONCE(d->attached))	/* till the queue is quiesced, which waits for us */
		udrv_wake_driver(d->blk->need_wakeup, UDRV_WAKE_WORK, d->blk->irq);
}

/* ---- From a request to its slot ---------------------------------------------- */

/*
 * UDRV_BLK_* of a request. Negative: nothing that the queue was said to take, which
 * the block layer should have refused (secure erase, zones).
 */
static int udrv_blk_op(const struct request *rq)
{
	switch (req_op(rq)) {
	case REQ_OP_READ:
		return UDRV_BLK_READ;
	case REQ_OP_WRITE:
		return UDRV_BLK_WRITE;
	case REQ_OP_FLUSH:
		return UDRV_BLK_FLUSH;
	case REQ_OP_DISCARD:
		return UDRV_BLK_DISCARD;
	case REQ_OP_WRITE_ZEROES:
		return UDRV_BLK_WRITE_ZEROES;
	case REQ_OP_DRV_IN:
		return UDRV_BLK_ATA;
	default:
		return -EOPNOTSUPP;
	}
}

static u8 udrv_blk_flags(const struct request *rq, int op)
{
	if (op == UDRV_BLK_WRITE && (rq->cmd_flags & REQ_FUA))
		return UDRV_BLK_REQ_FUA;
	if (op == UDRV_BLK_WRITE_ZEROES && (rq->cmd_flags & REQ_NOUNMAP))
		return UDRV_BLK_REQ_NOUNMAP;
	return 0;
}

static void *udrv_blk_slot(struct udrv_disk *d, const struct request *rq)
{
	return d->slots + rq->tag * d->info.slot_bytes;
}

/*
 * The ranges of a discard, behind the head of its slot. The block layer joins discards
 * of anything into one request, a bio each; those that follow each other become one
 * range. Returns how many; 0: not what the limits of the queue allow.
 */
static u32 udrv_blk_fill_ranges(struct udrv_disk *d, struct request *rq)
{
	struct udrv_blk_range *to = udrv_blk_slot(d, rq) + sizeof(struct udrv_blk_request);
	struct udrv_blk_range range = {};
	u64 sectors = 0;
	struct bio *bio;
	u32 nr = 0;

	__rq_for_each_bio(bio, rq) {
		sectors += bio_sectors(bio);
		if (nr && bio->bi_iter.bi_sector == range.sector + range.nr_sectors) {
			range.nr_sectors += bio_sectors(bio);
		} else {
			if (nr == d->info.max_discard_segments)
				return 0;
			nr++;
			range.sector = bio->bi_iter.bi_sector;
			range.nr_sectors = bio_sectors(bio);
		}
		to[nr - 1] = range;
	}
	if (sectors != blk_rq_sectors(rq) || sectors > d->info.max_discard_sectors)
		return 0;
	return nr;
}

/*
 * The command in its slot; what is there of an older use is not shown as its answer. We
 * have a copy of our own: that of the slot is never read.
 */
static void udrv_blk_fill_ata(struct udrv_disk *d, struct request *rq)
{
	struct udrv_blk_ata *to = udrv_blk_slot(d, rq) + sizeof(struct udrv_blk_request);
	struct udrv_blk_cmd *cmd = blk_mq_rq_to_pdu(rq);

	memset_after(cmd->ata, 0, reserved0);
	*to = *cmd->ata;
}

/* Its answer, once: all bytes are for whoever asked, and mean nothing to us. */
static void udrv_blk_read_ata(struct udrv_disk *d, struct request *rq)
{
	size_t out = offsetof(struct udrv_blk_ata, out_status);
	struct udrv_blk_cmd *cmd = blk_mq_rq_to_pdu(rq);

	udrv_copy_once((void *)cmd->ata + out,
		       udrv_blk_slot(d, rq) + sizeof(struct udrv_blk_request) + out,
		       sizeof(*cmd->ata) - out);
}

static void udrv_blk_unmap(struct udrv_disk *d, struct request *rq)
{
	struct udrv_blk_cmd *cmd = blk_mq_rq_to_pdu(rq);

	if (cmd->nr_sg)
		dma_unmap_sg(d->dev->parent, cmd->sg, cmd->nr_sg, rq_dma_dir(rq));
	cmd->nr_sg = 0;
}

/*
 * The segments of a read or write: mapped, and written behind the head of its slot.
 * What goes to the device is exactly what the request has, or nothing.
 */
static blk_status_t udrv_blk_fill_segments(struct udrv_disk *d, struct request *rq, u32 *nr)
{
	struct udrv_blk_segment *to = udrv_blk_slot(d, rq) + sizeof(struct udrv_blk_request);
	struct udrv_blk_cmd *cmd = blk_mq_rq_to_pdu(rq);
	struct scatterlist *sg;
	u64 bytes = 0;
	u32 i;

	if (WARN_ON_ONCE(blk_rq_nr_phys_segments(rq) > d->info.max_segments))
		return BLK_STS_IOERR;
	sg_init_table(cmd->sg, d->info.max_segments);
	cmd->nr_sg = udrv_rq_map_sg(rq, cmd->sg);
	*nr = dma_map_sg(d->dev->parent, cmd->sg, cmd->nr_sg, rq_dma_dir(rq));
	if (!*nr) {
		cmd->nr_sg = 0;
		return BLK_STS_RESOURCE;
	}
	for_each_sg(cmd->sg, sg, *nr, i) {
		to[i] = (struct udrv_blk_segment){
			.dma_addr = sg_dma_address(sg),
			.len_bytes = sg_dma_len(sg),
		};
		bytes += sg_dma_len(sg);
	}
	if (WARN_ON_ONCE(bytes != blk_rq_bytes(rq))) {
		udrv_blk_unmap(d, rq);
		return BLK_STS_IOERR;
	}
	return BLK_STS_OK;
}

/*
 * All of a slot but its generation. The driver may write there too: it is never read.
 * A request of which the slot cannot say all fails here: a limit of the queue is wrong.
 */
static blk_status_t udrv_blk_fill_slot(struct udrv_disk *d, struct request *rq)
{
	struct udrv_blk_request *slot = udrv_blk_slot(d, rq);
	int op = udrv_blk_op(rq);
	blk_status_t status;
	struct bio *bio;
	u32 nr = 0;

	switch (op) {
	case UDRV_BLK_READ:
		/* What the device does not write must not show what was there before. */
		if (d->blk->port.udev->pdev->untrusted)
			__rq_for_each_bio(bio, rq)
				zero_fill_bio(bio);
		fallthrough;
	case UDRV_BLK_WRITE:
		status = udrv_blk_fill_segments(d, rq, &nr);
		if (status)
			return status;
		break;
	case UDRV_BLK_FLUSH:
		break;
	case UDRV_BLK_DISCARD:
		nr = udrv_blk_fill_ranges(d, rq);
		if (WARN_ON_ONCE(!nr))
			return BLK_STS_IOERR;
		break;
	case UDRV_BLK_WRITE_ZEROES:
		if (WARN_ON_ONCE(blk_rq_sectors(rq) > d->info.max_write_zeroes_sectors))
			return BLK_STS_IOERR;
		break;
	case UDRV_BLK_ATA:
		udrv_blk_fill_ata(d, rq);
		break;
	default:
		return BLK_STS_NOTSUPP;
	}
	slot->sector = blk_rq_pos(rq);
	slot->nr_sectors = blk_rq_sectors(rq);
	slot->nr_segments = nr;
	slot->op = op;
	slot->flags = udrv_blk_flags(rq, op);
	slot->reserved = 0;
	return BLK_STS_OK;
}

/* ---- To the driver ------------------------------------------------------------ */

/* The request is the driver's from here on. */
static void udrv_blk_submit(struct udrv_disk *d, struct request *rq)
{
	struct udrv_blk_request *slot = udrv_blk_slot(d, rq);
	struct udrv_blk_submission *entry;

	trace_udrv_blk_request(d, rq);
	spin_lock_irq(&d->lock);
	if (d->alone)
		d->alone--;
	d->generation++;
	d->rqs[rq->tag] = rq;
	d->generations[rq->tag] = d->generation;
	slot->generation = d->generation;
	entry = udrv_ring_entry(&d->submission, struct udrv_blk_submission, d->submission.index);
	entry->tag = rq->tag;
	entry->generation = d->generation;
	d->submission.index++;
	udrv_ring_produced(&d->submission);
	spin_unlock_irq(&d->lock);
}

static blk_status_t udrv_blk_queue_rq(struct blk_mq_hw_ctx *hctx,
				      const struct blk_mq_queue_data *bd)
{
	struct udrv_disk *d = hctx->queue->queuedata;
	struct request *rq = bd->rq;
	struct udrv_blk_cmd *cmd = blk_mq_rq_to_pdu(rq);
	blk_status_t status;

	/* Kept while it is put back and handed out again: a request that kills drivers ends. */
	if (!(rq->rq_flags & RQF_DONTPREP))
		cmd->deaths = 0;
	rq->rq_flags |= RQF_DONTPREP;
	cmd->nr_sg = 0;
	/* Pairs with udrv_disk_release(). */
	if (smp_load_acquire(&d->failed) || cmd->deaths >= UDRV_BLK_MAX_DEATHS)
		return BLK_STS_IOERR;
	/* Which of them it is shows when they go one by one: the others are not to end with it. */
	if (READ_ONCE(d->alone) && d->submission.index != READ_ONCE(d->completion.index))
		return BLK_STS_RESOURCE;
	status = udrv_blk_fill_slot(d, rq);
	if (status)
		return status;
	blk_mq_start_request(rq);
	udrv_blk_submit(d, rq);
	if (bd->last)
		udrv_blk_commit_rqs(hctx);
	return BLK_STS_OK;
}

/* The driver has a request and does not get on with it: it is dead. */
static enum blk_eh_timer_return udrv_blk_timeout(struct request *rq)
{
	struct udrv_disk *d = rq->q->queuedata;

	spin_lock_irq(&d->lock);
	if (d->attached && d->rqs[rq->tag] == rq)	/* not one that is kept */
		udrv_violation(d->blk->session, "no progress on a request");
	spin_unlock_irq(&d->lock);
	return BLK_EH_RESET_TIMER;
}

const struct blk_mq_ops udrv_blk_mq_ops = {
	.queue_rq = udrv_blk_queue_rq,
	.commit_rqs = udrv_blk_commit_rqs,
	.timeout = udrv_blk_timeout,
};

/* ---- Back from the driver ----------------------------------------------------- */

/* One completion, under d->lock: the request, or NULL if it names none that is out. */
static struct request *udrv_blk_claim(struct udrv_disk *d, struct udrv_blk_completion *c)
{
	struct request *rq;
	u32 tag;

	if (c->tag >= d->info.depth || c->status >= UDRV_BLK_NR_STATUS || c->reserved)
		return NULL;
	tag = array_index_nospec(c->tag, d->info.depth);
	rq = d->rqs[tag];
	if (!rq || d->generations[tag] != c->generation)
		return NULL;
	if (req_op(rq) == REQ_OP_DRV_IN)
		udrv_blk_read_ata(d, rq);
	d->rqs[tag] = NULL;
	return rq;
}

/* A batch of completions; true if there may be more. */
bool udrv_blk_reap(struct udrv_disk *d)
{
	struct request *done[UDRV_BLK_REAP_BATCH];
	u32 status[UDRV_BLK_REAP_BATCH];
	struct udrv_blk_completion c;
	int waiting, i, n = 0;

	spin_lock_irq(&d->lock);
	waiting = d->attached ? udrv_ring_waiting(&d->completion) : 0;
	for (; n < waiting && n < UDRV_BLK_REAP_BATCH; n++, d->completion.index++) {
		udrv_copy_once(&c, udrv_ring_entry(&d->completion, struct udrv_blk_completion,
						   d->completion.index), sizeof(c));
		done[n] = udrv_blk_claim(d, &c);
		status[n] = array_index_nospec(c.status, UDRV_BLK_NR_STATUS);
		if (!done[n])
			break;
	}
	if (waiting < 0 || (n < waiting && n < UDRV_BLK_REAP_BATCH))
		udrv_violation(d->blk->session, "completion of a request it does not have");
	else if (n)
		udrv_ring_consumed(&d->completion);
	spin_unlock_irq(&d->lock);
	for (i = 0; i < n; i++) {
		trace_udrv_blk_done(d, done[i], status[i]);
		udrv_blk_unmap(d, done[i]);
		blk_mq_end_request(done[i], udrv_blk_status[status[i]]);
	}
	return n == UDRV_BLK_REAP_BATCH;
}

/*
 * The driver is gone and the queue quiesced: what it had goes back into the queue.
 *
 * A device that could not be quieted may still read and write the pages, and carry out
 * its commands after later ones. Holding references to the pages is not enough: those
 * of kmalloc() (XFS does I/O from there) are given out again all the same, and the page
 * cache uses its own. So such a request is kept, neither completed nor issued again,
 * until a later session ends with the device quiet.
 */
void udrv_blk_take_back(struct udrv_disk *d, bool quiet)
{
	struct udrv_blk_cmd *cmd;
	struct request *rq;
	u32 tag;

	spin_lock_irq(&d->lock);
	d->attached = false;
	for (tag = 0; tag < d->info.depth; tag++) {
		rq = d->rqs[tag];
		if (!rq)
			continue;
		d->rqs[tag] = NULL;
		d->kept[tag] = rq;
		d->nr_kept++;
		cmd = blk_mq_rq_to_pdu(rq);
		cmd->deaths++;
		if (cmd->deaths >= UDRV_BLK_MAX_DEATHS / 2)
			d->alone = 2 * UDRV_BLK_MAX_DEPTH;
	}
	spin_unlock_irq(&d->lock);
	if (!quiet) {
		if (d->nr_kept)
			dev_err(d->dev, "%u requests are kept: the device may still carry them out\n",
				d->nr_kept);
		return;
	}
	for (tag = 0; tag < d->info.depth; tag++) {
		rq = d->kept[tag];
		if (!rq)
			continue;
		d->kept[tag] = NULL;
		d->nr_kept--;
		udrv_blk_unmap(d, rq);
		blk_mq_requeue_request(rq, false);
	}
}
