/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * udrv_blk_trace.h - tracepoints of the disks: requests on their way to the driver and
 * back. What they show of a request is the block layer's: its slot belongs to the driver.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM udrv_blk

#if !defined(UDRV_BLK_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define UDRV_BLK_TRACE_H

#include <linux/tracepoint.h>

#include "udrv_blk.h"

TRACE_EVENT(udrv_blk_request,
	TP_PROTO(const struct udrv_disk *d, struct request *rq),
	TP_ARGS(d, rq),
	TP_STRUCT__entry(
		__string(disk, d->gd->disk_name)
		__field(u32, tag)
		__field(u32, op)
		__field(u64, sector)
		__field(u32, nr_sectors)
	),
	TP_fast_assign(
		udrv_assign_str(disk, d->gd->disk_name);
		__entry->tag = rq->tag;
		__entry->op = (__force u32)req_op(rq);
		__entry->sector = blk_rq_pos(rq);
		__entry->nr_sectors = blk_rq_sectors(rq);
	),
	TP_printk("disk=%s tag=%u op=%u sector=%llu nr_sectors=%u", __get_str(disk), __entry->tag,
		  __entry->op, __entry->sector, __entry->nr_sectors)
);

/* What the driver says of it has been checked; the status is one of UDRV_BLK_*. */
TRACE_EVENT(udrv_blk_done,
	TP_PROTO(const struct udrv_disk *d, struct request *rq, u32 status),
	TP_ARGS(d, rq, status),
	TP_STRUCT__entry(
		__string(disk, d->gd->disk_name)
		__field(u32, tag)
		__field(u32, status)
	),
	TP_fast_assign(
		udrv_assign_str(disk, d->gd->disk_name);
		__entry->tag = rq->tag;
		__entry->status = status;
	),
	TP_printk("disk=%s tag=%u status=%u", __get_str(disk), __entry->tag, __entry->status)
);

#endif /* UDRV_BLK_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE udrv_blk_trace
#include <trace/define_trace.h>
