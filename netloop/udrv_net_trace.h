/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * udrv_net_trace.h - tracepoints of the interfaces: one a batch, for a packet has the
 * kernel's own (net:net_dev_start_xmit, net:napi_gro_receive_entry).
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM udrv_net

#if !defined(UDRV_NET_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define UDRV_NET_TRACE_H

#include <linux/tracepoint.h>

#include "udrv_net.h"

/* A copy of bounded length: an interface may be renamed meanwhile. */
DECLARE_EVENT_CLASS(udrv_net_batch,
	TP_PROTO(const struct udrv_net_queue *q, unsigned int packets),
	TP_ARGS(q, packets),
	TP_STRUCT__entry(
		__array(char, dev, IFNAMSIZ)
		__field(unsigned int, queue)
		__field(unsigned int, packets)
	),
	TP_fast_assign(
		strscpy(__entry->dev, q->net->dev->name, IFNAMSIZ);
		__entry->queue = q->channel->index;
		__entry->packets = packets;
	),
	TP_printk("dev=%s queue=%u packets=%u", __entry->dev, __entry->queue, __entry->packets)
);

/* The driver is done with so many. */
DEFINE_EVENT(udrv_net_batch, udrv_net_sent,
	TP_PROTO(const struct udrv_net_queue *q, unsigned int packets),
	TP_ARGS(q, packets)
);

/* So many came from it; none: the look was in vain. */
DEFINE_EVENT(udrv_net_batch, udrv_net_received,
	TP_PROTO(const struct udrv_net_queue *q, unsigned int packets),
	TP_ARGS(q, packets)
);

#endif /* UDRV_NET_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE udrv_net_trace
#include <trace/define_trace.h>
