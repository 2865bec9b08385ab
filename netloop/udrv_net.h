/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * udrv_net.h - inside udrv_net.ko.
 *
 * The interface (struct udrv_net) with its channels belongs to the bound device; a
 * channel's queue (struct udrv_net_queue) to the session that is attached, and is made
 * anew each time. All queues come and go together.
 *
 * Who touches what, queue by queue:
 *   xmit            tx ring and new segs; under the lock of the netdev's tx queue
 *   NAPI poll       completion, rx and fill rings, done segs, bufs, q->skb
 *   ndo_*, ethtool  state pages, n->published; under n->state_lock
 *   progress_work   reads handed and done
 * Attach and detach exclude all of them: the tx locks, napi_disable(), state_lock.
 *
 * The driver completes packets and returns buffers in order, so that what is
 * outstanding is always a window of the arrays below: segs[done, handed) and
 * bufs[rx.index, fill.index), and an index doubles as the id.
 */
#ifndef UDRV_NET_H
#define UDRV_NET_H

#include <linux/ctype.h>
#include <linux/etherdevice.h>
#include <linux/ethtool.h>
#include <linux/if_vlan.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <net/ip6_checksum.h>
#include <net/tcp.h>

#include <udrv/net.h>
#include "udrv_ring.h"

#define UDRV_NET_COPYBREAK	256	/* shorter packets are copied, their page stays */
#define UDRV_NET_RX_OFFSET	NET_SKB_PAD
#define UDRV_NET_REAP_BUDGET	256	/* completions of one pass */
#define UDRV_NET_TX_ROOM	(MAX_SKB_FRAGS + 1)	/* segments that a packet may need */
#define UDRV_NET_NR_COUNTERS	(sizeof(struct udrv_net_counters) / sizeof(u64))
#define UDRV_NET_PROGRESS_TICKS	5	/* seconds without transmit progress: it hangs */

/* A segment that the driver has. */
struct udrv_net_seg {
	struct sk_buff *skb;	/* first segment: the packet */
	dma_addr_t dma_addr;
	u32 len_bytes;
	u32 nr_segs;		/* first segment: of the packet */
};

struct udrv_net_queue {
	struct udrv_net *net;
	struct udrv_net_channel *channel;
	struct netdev_queue *txq;
	struct udrv_session *session;
	struct device *dma_dev;
	struct udrv_irq *irq;		/* carries its doorbells */
	struct udrv_need_wakeup *need_wakeup;

	struct udrv_ring tx;
	u32 tx_max_segments;
	u32 handed;		/* segments of whole packets, up to tx.index */
	u32 done;		/* segments given back, up to handed */
	struct udrv_ring completion;

	struct udrv_ring fill;
	struct udrv_ring rx;
	u32 rx_buf_bytes;
	bool tso_as_is;		/* UDRV_NET_ATTACH_TSO_AS_IS */
	bool untrusted;		/* nothing goes up that the device can still write */
	struct page_pool *pool;
	struct sk_buff *skb;	/* packet of several buffers under way */
	bool drop;		/* drop the buffers up to the next end of packet */

	u32 progress_done;		/* `done` at progress_work's last look */
	unsigned int idle_ticks;	/* looks since it changed */

	struct page *bufs[UDRV_NET_MAX_DEPTH];
	struct udrv_net_seg segs[UDRV_NET_MAX_DEPTH];
};

/* What passed through a queue, with all its drivers. One writer each; 64 bits: see Kbuild. */
struct udrv_net_counts {
	/* NAPI poll */
	u64 rx_packets;
	u64 rx_bytes;
	u64 rx_errors;
	u64 tx_packets;
	u64 tx_bytes;
	u64 tx_errors;
	/* xmit */
	u64 tx_dropped;
	/* detach */
	u64 tx_lost;			/* with a driver */
};

/* A queue of the interface. */
struct udrv_net_channel {
	struct udrv_net *net;
	unsigned int index;
	struct udrv_net_queue *queue;	/* NULL: no driver */
	struct napi_struct napi;
	struct udrv_net_counts counts;
} ____cacheline_aligned_in_smp;

struct udrv_net {
	struct udrv_port port;
	struct net_device *dev;
	struct udrv_irq *irq;		/* carries the doorbell of the desired state */
	u32 features;			/* UDRV_NET_F_* promised at the first attach */
	u32 wanted_queues;		/* of ethtool -L; 0: all */
	u32 rx_usecs;			/* of ethtool -C; 0: the driver's choice */
	u32 restart_autoneg;		/* of ethtool -r: how often */

	/* Of the driver that is attached, or was last (struct udrv_net_attach). */
	u32 max_csum_field;
	u32 max_tso_hdr_bytes;
	u32 max_tso_bytes;
	u32 max_rx_usecs;
	u32 max_unicast;
	char driver[UDRV_NET_DRIVER_LEN];
	/* The same, and under rtnl: between two calls the set must not change. */
	u32 nr_queues;
	u32 nr_stats;
	char stat_names[UDRV_NET_MAX_STATS][UDRV_NET_STAT_LEN];

	/* Transmit progress: looked at each second while packets are out. */
	struct delayed_work progress_work;
	unsigned long watched;		/* bit 0: progress_work is on its way */

	struct ethtool_ringparam rings;	/* the driver's depths, and how much of them is used */

	spinlock_t state_lock;		/* guards what follows */
	struct udrv_net_published published;		/* last good copy */
	struct udrv_net_published incoming;		/* may be torn */
	u64 counters[UDRV_NET_NR_COUNTERS];		/* of all drivers, in sum */
	struct udrv_net_desired *desired_page;		/* NULL: no driver */
	struct udrv_net_published *published_page;
	u32 desired_generation;

	struct udrv_net_channel channels[UDRV_NET_MAX_QUEUES];	/* dev->num_tx_queues of them */
};

/* rings.c */
netdev_tx_t udrv_net_xmit(struct sk_buff *skb, struct net_device *dev);
int udrv_net_poll(struct napi_struct *napi, int budget);
bool udrv_net_work_waits(const struct udrv_net_queue *q);
u32 udrv_net_rx_room(const struct udrv_net_queue *q);
void udrv_net_refill(struct udrv_net_queue *q);
void udrv_net_drop_all(struct udrv_net_queue *q, bool quiet);
void udrv_net_progress(struct work_struct *work);

/* netdev.c */
extern struct notifier_block udrv_net_notifier;
void udrv_net_setup(struct net_device *dev);
void udrv_net_spread(struct net_device *dev);
int udrv_net_use_queues(struct udrv_net *n);

/* ethtool.c */
extern const struct ethtool_ops udrv_net_ethtool_ops;

/* state.c */
#define UDRV_NET_NR_FEATURES	7
extern const netdev_features_t udrv_net_features[UDRV_NET_NR_FEATURES];
extern const struct attribute_group udrv_net_state_group;
void udrv_net_desire(struct net_device *dev);
void udrv_net_desire_locked(struct net_device *dev);
void udrv_net_read_published(struct udrv_net *n);
void udrv_net_get_stats64(struct net_device *dev, struct rtnl_link_stats64 *stats);

#endif /* UDRV_NET_H */
