// SPDX-License-Identifier: GPL-2.0-only
/*
 * The data path: blk-mq requests to the submission ring, with their segments as
 * bus addresses in the slot of their tag, and completions back.
 */
#include "udrv_blk.h"

#define UDRV_BLK_REAP_BATCH	32

static const blk_status_t udrv_blk_status[UDRV_BLK_NR_STATUS] = {
	[UDRV_BLK_OK] = BLK_STS_OK, [UDRV_BLK_IOERR] = BLK_STS_IOERR,
	[UDRV_BLK_MEDIUM] = BLK_STS_MEDIUM, [UDRV_BLK_NOTSUPP] = BLK_STS_NOTSUPP,
	[UDRV_BLK_TIMEOUT] = BLK_STS_TIMEOUT,
};

/* One doorbell for a batch of requests; also called when all were refused, without a driver. */
static void udrv_blk_commit_rqs(struct blk_mq_hw_ctx *hctx)
{
	struct udrv_disk *d = hctx->queue->queuedata;

	if (READ_ONCE(d->attached))	/* till the queue is quiesced, which waits for us */
		udrv_wake_driver(d->blk->need_wakeup, UDRV_WAKE_WORK, d->blk->port.irq);
}

/* Write the slot of a request. The driver may write there too: it is never read. */
static void udrv_blk_fill_slot(struct udrv_disk *d, struct request *rq, u32 nr_segments)
{
	struct udrv_blk_request *slot = d->slots + rq->tag * d->info.slot_bytes;
	struct udrv_blk_segment *segment = (void *)(slot + 1);
	struct scatterlist *sg;
	u32 i;

	*slot = (struct udrv_blk_request){
		.sector = blk_rq_pos(rq), .nr_sectors = blk_rq_sectors(rq),
		.generation = d->generation, .nr_segments = nr_segments,
		/* The others have the same numbers. */
		.op = min((__force u32)req_op(rq), (u32)UDRV_BLK_WRITE_ZEROES),
		.flags = (rq->cmd_flags & REQ_FUA) ? UDRV_BLK_REQ_FUA : 0,
	};
	for_each_sg(((struct udrv_blk_cmd *)blk_mq_rq_to_pdu(rq))->sg, sg, nr_segments, i)
		segment[i] = (struct udrv_blk_segment){
			.dma_addr = sg_dma_address(sg), .len_bytes = sg_dma_len(sg),
		};
}

static void udrv_blk_unmap(struct udrv_disk *d, struct request *rq)
{
	struct udrv_blk_cmd *cmd = blk_mq_rq_to_pdu(rq);

	if (cmd->nr_sg)
		dma_unmap_sg(d->dev->parent, cmd->sg, cmd->nr_sg, rq_dma_dir(rq));
}

static blk_status_t udrv_blk_queue_rq(struct blk_mq_hw_ctx *hctx,
				      const struct blk_mq_queue_data *bd)
{
	struct udrv_disk *d = hctx->queue->queuedata;
	struct request *rq = bd->rq;
	struct udrv_blk_cmd *cmd = blk_mq_rq_to_pdu(rq);
	u32 op = (__force u32)req_op(rq);
	struct bio *bio;
	int nr = 0;

	/* Kept while it is put back and handed out again: a request that kills drivers ends. */
	if (!(rq->rq_flags & RQF_DONTPREP))
		cmd->deaths = 0;
	rq->rq_flags |= RQF_DONTPREP;
	if (READ_ONCE(d->failed) || cmd->deaths >= UDRV_BLK_MAX_DEATHS ||
	    (op > UDRV_BLK_DISCARD && req_op(rq) != REQ_OP_WRITE_ZEROES))
		return BLK_STS_IOERR;
	/* Which of them it is shows when they go one by one: the others are not to end with it. */
	if (READ_ONCE(d->alone) && d->submission.index != READ_ONCE(d->completion.index))
		return BLK_STS_RESOURCE;
	cmd->nr_sg = 0;
	/* What the device does not write must not show what was there before. */
	if (op == UDRV_BLK_READ && d->blk->port.udev->pdev->untrusted)
		__rq_for_each_bio(bio, rq)
			zero_fill_bio(bio);
	if (op <= UDRV_BLK_WRITE) {
		sg_init_table(cmd->sg, d->info.max_segments);
		cmd->nr_sg = blk_rq_map_sg(rq->q, rq, cmd->sg);
		nr = dma_map_sg(d->dev->parent, cmd->sg, cmd->nr_sg, rq_dma_dir(rq));
		if (!nr)
			return BLK_STS_RESOURCE;
	}
	blk_mq_start_request(rq);
	spin_lock_irq(&d->lock);
	d->alone -= d->alone > 0;
	d->rqs[rq->tag] = rq;
	d->generations[rq->tag] = ++d->generation;
	udrv_blk_fill_slot(d, rq, nr);
	*udrv_ring_entry(&d->submission, struct udrv_blk_submission, d->submission.index++) =
		(struct udrv_blk_submission){ rq->tag, d->generation };
	udrv_ring_produced(&d->submission);
	spin_unlock_irq(&d->lock);
	if (bd->last)
		udrv_blk_commit_rqs(hctx);
	return BLK_STS_OK;
}

/* The driver has a request and does not get on with it: it is dead. */
static enum blk_eh_timer_return udrv_blk_timeout(struct request *rq)
{
	struct udrv_disk *d = rq->q->queuedata;

	spin_lock_irq(&d->lock);
	if (d->attached)
		udrv_violation(d->blk->session, "no progress on a request");
	spin_unlock_irq(&d->lock);
	return BLK_EH_RESET_TIMER;
}

const struct blk_mq_ops udrv_blk_mq_ops = {
	.queue_rq = udrv_blk_queue_rq, .commit_rqs = udrv_blk_commit_rqs,
	.timeout = udrv_blk_timeout,
};

/* One completion, under d->lock: the request, or NULL if it names none that is out. */
static struct request *udrv_blk_claim(struct udrv_disk *d, struct udrv_blk_completion *c)
{
	struct request *rq;
	u32 tag;

	if (c->tag >= d->info.depth || c->status >= UDRV_BLK_NR_STATUS || c->reserved)
		return NULL;
	tag = array_index_nospec(c->tag, d->info.depth);
	rq = d->rqs[tag];
	if (d->generations[tag] != c->generation)
		return NULL;
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
		udrv_blk_unmap(d, done[i]);
		blk_mq_end_request(done[i], udrv_blk_status[status[i]]);
	}
	return n == UDRV_BLK_REAP_BATCH;
}

/*
 * The driver is gone and the queue quiesced: what it had goes back into the
 * queue. A device that may still write keeps the pages for ever.
 */
void udrv_blk_take_back(struct udrv_disk *d, bool quiet)
{
	struct sg_page_iter iter;

	spin_lock_irq(&d->lock);
	d->attached = false;
	spin_unlock_irq(&d->lock);
	for (u32 tag = 0; tag < d->info.depth; tag++) {
		struct request *rq = d->rqs[tag];
		struct udrv_blk_cmd *cmd;

		if (!rq)
			continue;
		d->rqs[tag] = NULL;
		cmd = blk_mq_rq_to_pdu(rq);
		if (++cmd->deaths >= UDRV_BLK_MAX_DEATHS / 2)
			d->alone = 2 * UDRV_BLK_MAX_DEPTH;
		if (quiet)
			udrv_blk_unmap(d, rq);
		else if (cmd->nr_sg)
			for_each_sg_page(cmd->sg, &iter, cmd->nr_sg, 0)
				get_page(sg_page_iter_page(&iter));
		blk_mq_requeue_request(rq, false);
	}
}
