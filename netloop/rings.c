// SPDX-License-Identifier: GPL-2.0-only
/*
 * The data path: skbs to the tx ring, completions back; empty buffers to the
 * fill ring, received ones up the stack. No packet is copied on the way (but
 * for short ones, where a copy is cheaper than a page, and fragments of IP): the
 * rings carry bus addresses.
 */
#include "udrv_net.h"

#define CREATE_TRACE_POINTS
#include "udrv_net_trace.h"

bool udrv_net_work_waits(const struct udrv_net_queue *q)
{
	return udrv_ring_waiting(&q->completion) || udrv_ring_waiting(&q->rx);
}

/* ---- Transmit ------------------------------------------------------------- */

static struct udrv_net_seg *udrv_net_seg(struct udrv_net_queue *q, u32 index)
{
	return &q->segs[index & (q->tx.depth - 1)];
}

/*
 * Segments that may still be handed out. `done` is the reaper's. (What the administrator
 * wants may be more than this driver's ring has, if both come at the same time.)
 */
static u32 udrv_net_tx_room(struct udrv_net_queue *q)
{
	/* Pairs with the release in udrv_net_complete(): the seg is free then. */
	u32 used = q->tx.index - smp_load_acquire(&q->done);

	return max(min(READ_ONCE(q->net->rings.tx_pending), q->tx.depth), used) - used;
}

/*
 * Room for two packets, so that the queue is not woken for each one; but no more
 * than there is when nothing is out, or a small ring would never wake.
 */
static u32 udrv_net_wake_room(const struct udrv_net_queue *q)
{
	BUILD_BUG_ON(UDRV_NET_MIN_DEPTH < UDRV_NET_TX_ROOM);
	return min3(2 * (u32)UDRV_NET_TX_ROOM, READ_ONCE(q->net->rings.tx_pending), q->tx.depth);
}

static void udrv_net_unmap(struct udrv_net_queue *q, u32 first, u32 nr)
{
	for (; nr; nr--, first++)
		dma_unmap_page(q->dma_dev, udrv_net_seg(q, first)->dma_addr,
			       udrv_net_seg(q, first)->len_bytes, DMA_TO_DEVICE);
}

/* What the chip has to do to the packet, for its first descriptor. */
static int udrv_net_offloads(const struct udrv_net_queue *q, struct sk_buff *skb,
			     struct udrv_net_tx *tx)
{
	if (skb_vlan_tag_present(skb)) {
		tx->flags |= UDRV_NET_TX_VLAN;
		tx->vlan_tci = skb_vlan_tag_get(skb);
	}
	if (skb->ip_summed == CHECKSUM_PARTIAL) {
		tx->flags |= UDRV_NET_TX_CSUM;
		tx->csum_start = skb_checksum_start_offset(skb);
		tx->csum_offset = skb->csum_offset;
	}
	if (!skb_is_gso(skb))
		return 0;
	tx->gso_size = skb_shinfo(skb)->gso_size;
	tx->hdr_bytes = skb_tcp_all_headers(skb);
	tx->ip_start = skb_network_offset(skb);
	tx->flags |= skb_is_gso_v6(skb) ? UDRV_NET_TX_TSO6 : UDRV_NET_TX_TSO4;
	if (q->tso_as_is)
		return 0;
	/*
	 * Segmentation: the chip sums over the pseudo header without the length,
	 * and fills in the lengths of each segment itself.
	 */
	if (skb_cow_head(skb, 0))
		return -ENOMEM;
	if (skb_is_gso_v6(skb)) {
		tcp_v6_gso_csum_prep(skb);
	} else {
		ip_hdr(skb)->tot_len = 0;
		ip_hdr(skb)->check = 0;
		tcp_hdr(skb)->check = ~tcp_v4_check(0, ip_hdr(skb)->saddr, ip_hdr(skb)->daddr, 0);
	}
	return 0;
}

/*
 * Segment `nr` of the packet that starts at tx.index: into the table of what is
 * outstanding, and into the ring, where nobody sees it yet.
 */
static bool udrv_net_add_seg(struct udrv_net_queue *q, u32 nr, dma_addr_t dma_addr, u32 len_bytes,
			     struct udrv_net_tx *tx)
{
	struct udrv_net_seg *seg = udrv_net_seg(q, q->tx.index + nr);

	if (dma_mapping_error(q->dma_dev, dma_addr))
		return false;
	seg->dma_addr = dma_addr;
	seg->len_bytes = len_bytes;
	tx->id = q->tx.index;
	tx->dma_addr = dma_addr;
	tx->len_bytes = len_bytes;
	*udrv_ring_entry(&q->tx, struct udrv_net_tx, q->tx.index + nr) = *tx;
	memset(tx, 0, sizeof(*tx));	/* offloads stand in the first only */
	return true;
}

/* Map the head and the fragments. The number of segments, or 0. */
static u32 udrv_net_map(struct udrv_net_queue *q, struct sk_buff *skb, struct udrv_net_tx *tx)
{
	u32 nr_frags = skb_shinfo(skb)->nr_frags;
	u32 head_bytes = skb_headlen(skb);
	dma_addr_t dma_addr;
	u32 nr = 0;
	u32 i;

	if (head_bytes) {
		if (!nr_frags)
			tx->flags |= UDRV_NET_TX_EOP;
		dma_addr = dma_map_single(q->dma_dev, skb->data, head_bytes, DMA_TO_DEVICE);
		if (!udrv_net_add_seg(q, nr, dma_addr, head_bytes, tx))
			return 0;
		nr++;
	}
	for (i = 0; i < nr_frags; i++) {
		const skb_frag_t *frag = &skb_shinfo(skb)->frags[i];

		if (i + 1 == nr_frags)
			tx->flags |= UDRV_NET_TX_EOP;
		dma_addr = skb_frag_dma_map(q->dma_dev, frag, 0, skb_frag_size(frag),
					    DMA_TO_DEVICE);
		if (!udrv_net_add_seg(q, nr, dma_addr, skb_frag_size(frag), tx)) {
			udrv_net_unmap(q, q->tx.index, nr);
			return 0;
		}
		nr++;
	}
	return nr;
}

/* Hand a packet to the driver. False: it could not be, and is still the caller's. */
static bool udrv_net_send(struct udrv_net_queue *q, struct sk_buff *skb)
{
	struct udrv_net_tx tx = {};
	struct udrv_net_seg *first;
	u32 nr;

	if (udrv_net_tx_room(q) < UDRV_NET_TX_ROOM)
		return false;
	if (skb_shinfo(skb)->nr_frags >= q->tx_max_segments && skb_linearize(skb))
		return false;
	if (udrv_net_offloads(q, skb, &tx))
		return false;
	nr = udrv_net_map(q, skb, &tx);
	if (!nr)
		return false;
	first = udrv_net_seg(q, q->tx.index);
	first->skb = skb;
	first->nr_segs = nr;
	skb_tx_timestamp(skb);
	q->tx.index += nr;
	return true;
}

/* Too little room for a whole packet: the stack has to wait for completions. */
static void udrv_net_stop_if_full(struct udrv_net_queue *q)
{
	if (udrv_net_tx_room(q) >= UDRV_NET_TX_ROOM)
		return;
	netif_tx_stop_queue(q->txq);
	smp_mb__after_atomic();	/* pairs with the one in udrv_net_reap() */
	if (udrv_net_tx_room(q) >= UDRV_NET_TX_ROOM)
		netif_tx_start_queue(q->txq);
}

/* Packets are out: see to it that somebody looks whether they are completed. */
static void udrv_net_watch(struct udrv_net *n)
{
	if (!test_bit(0, &n->watched) && !test_and_set_bit(0, &n->watched))
		queue_delayed_work(udrv_wq, &n->progress_work, HZ);
}

netdev_tx_t udrv_net_xmit(struct sk_buff *skb, struct net_device *dev)
{
	struct udrv_net *n = netdev_priv(dev);
	struct udrv_net_channel *c = &n->channels[skb_get_queue_mapping(skb)];
	struct udrv_net_queue *q = c->queue;
	bool kick = !netdev_xmit_more();
	bool alive = q && !udrv_violated(q->session);
	unsigned int len_bytes;

	if (eth_skb_pad(skb)) {	/* chips that pad by themselves do not always use zeroes */
		c->counts.tx_dropped++;	/* freed already */
	} else if (!alive || !udrv_net_send(q, skb)) {
		dev_kfree_skb_any(skb);
		c->counts.tx_dropped++;
	} else {
		len_bytes = skb->len;	/* it may be completed, and gone, once it is handed out */
		kick = __netdev_tx_sent_queue(q->txq, len_bytes, netdev_xmit_more());
		smp_store_release(&q->handed, q->tx.index);	/* for the reaper */
		udrv_ring_produced(&q->tx);
		udrv_net_stop_if_full(q);
		kick = kick || netif_tx_queue_stopped(q->txq);
	}
	/* Every packet ends here: the one that fails may be the last of a batch. */
	if (kick && alive) {
		udrv_wake_driver(q->need_wakeup, UDRV_WAKE_WORK, q->irq);
		udrv_net_watch(n);
	}
	return NETDEV_TX_OK;
}

/*
 * A driver that keeps packets without completing one is dead, be the queue full or
 * not: a hung driver that holds a few would stall a connection for ever. Not without
 * a link, when chips keep what they have. Counted in looks, not in time: on a
 * machine that stood still itself, the driver gets as many as ever.
 */
static void udrv_net_look(struct udrv_net_queue *q)
{
	struct net_device *dev = q->net->dev;
	u32 done = READ_ONCE(q->done);

	if (done == READ_ONCE(q->handed) || done != q->progress_done ||
	    !netif_carrier_ok(dev) || !netif_running(dev)) {
		q->progress_done = done;
		q->idle_ticks = 0;
	} else if (++q->idle_ticks == UDRV_NET_PROGRESS_TICKS) {
		udrv_violation(q->session, "no transmit progress");
	}
}

/* Whether any queue has packets out. Detach waits for its callers, then frees the queues. */
static bool udrv_net_any_out(struct udrv_net *n)
{
	struct udrv_net_queue *q;
	unsigned int i;

	for (i = 0; i < UDRV_NET_MAX_QUEUES; i++) {
		q = READ_ONCE(n->channels[i].queue);
		if (q && READ_ONCE(q->done) != READ_ONCE(q->handed))
			return true;
	}
	return false;
}

void udrv_net_progress(struct work_struct *work)
{
	struct udrv_net *n = container_of(to_delayed_work(work), struct udrv_net, progress_work);
	struct udrv_net_queue *q;
	unsigned int i;

	for (i = 0; i < UDRV_NET_MAX_QUEUES; i++) {
		q = READ_ONCE(n->channels[i].queue);
		if (q)
			udrv_net_look(q);
	}
	if (udrv_net_any_out(n)) {
		queue_delayed_work(udrv_wq, &n->progress_work, HZ);
		return;
	}
	clear_bit(0, &n->watched);
	smp_mb__after_atomic();	/* pairs with barrier D before udrv_net_watch() */
	if (udrv_net_any_out(n))
		udrv_net_watch(n);
}

/* Take the oldest outstanding packet back. */
static struct sk_buff *udrv_net_complete(struct udrv_net_queue *q, bool sent)
{
	struct udrv_net_seg *seg = udrv_net_seg(q, q->done);
	struct sk_buff *skb = seg->skb;

	udrv_net_unmap(q, q->done, seg->nr_segs);
	if (sent) {
		q->channel->counts.tx_packets++;
		q->channel->counts.tx_bytes += skb->len;
	}
	smp_store_release(&q->done, q->done + seg->nr_segs);	/* for udrv_net_tx_room() */
	return skb;
}

/* Reap completions. Returns true if there may be more. */
static bool udrv_net_reap(struct udrv_net_queue *q, int napi_budget)
{
	int n = udrv_ring_waiting(&q->completion), i;
	unsigned int bytes = 0;
	struct sk_buff *skb;

	if (n < 0)
		udrv_violation(q->session, "completion index");
	for (i = 0; i < n && i < UDRV_NET_REAP_BUDGET; i++, q->completion.index++) {
		struct udrv_net_completion c;

		udrv_copy_once(&c, udrv_ring_entry(&q->completion, struct udrv_net_completion,
						   q->completion.index), sizeof(c));
		/* Pairs with the release in udrv_net_xmit(): a packet is handed out whole. */
		if (q->done == smp_load_acquire(&q->handed) || c.id != q->done ||
		    (c.flags & ~UDRV_NET_TX_DROPPED)) {
			udrv_violation(q->session, "completion of a packet it does not have");
			break;
		}
		if (c.flags & UDRV_NET_TX_DROPPED)
			q->channel->counts.tx_errors++;
		skb = udrv_net_complete(q, !c.flags);
		bytes += skb->len;
		napi_consume_skb(skb, napi_budget);
	}
	if (i <= 0)
		return false;
	udrv_ring_consumed(&q->completion);
	netdev_tx_completed_queue(q->txq, i, bytes);
	trace_udrv_net_sent(q, i);
	smp_mb();	/* `done` before the look: pairs with the one in udrv_net_stop_if_full() */
	if (netif_tx_queue_stopped(q->txq) && udrv_net_tx_room(q) >= udrv_net_wake_room(q))
		netif_tx_wake_queue(q->txq);
	return n > i;
}

/* ---- Receive -------------------------------------------------------------- */

/* Buffers that the driver may have besides those that it has. */
u32 udrv_net_rx_room(const struct udrv_net_queue *q)
{
	u32 used = READ_ONCE(q->fill.index) - READ_ONCE(q->rx.index);

	return max(min(READ_ONCE(q->net->rings.rx_pending), q->fill.depth), used) - used;
}

/*
 * Give the driver a page for every buffer it does not have. Where memory is short,
 * again when it comes to wait.
 */
void udrv_net_refill(struct udrv_net_queue *q)
{
	u32 first = q->fill.index;

	while (udrv_net_rx_room(q)) {
		/* Zeroed when it is new: a lie about a length shows nothing old. */
		struct page *page = page_pool_alloc_pages(q->pool, GFP_ATOMIC | __GFP_NOWARN |
							  __GFP_ZERO);

		if (!page)
			break;
		q->bufs[q->fill.index & (q->fill.depth - 1)] = page;
		*udrv_ring_entry(&q->fill, struct udrv_net_fill, q->fill.index) =
			(struct udrv_net_fill){
				.dma_addr = page_pool_get_dma_addr(page) + UDRV_NET_RX_OFFSET,
				.len_bytes = q->rx_buf_bytes,
				.id = q->fill.index,
			};
		q->fill.index++;
	}
	if (q->fill.index == first)
		return;
	udrv_ring_produced(&q->fill);
	/*
	 * Of what the driver says: it took as many buffers as it returned. A chip without a
	 * buffer may have nothing to interrupt for, so that nobody else wakes its driver.
	 */
	if (READ_ONCE(q->fill.shared->consumer.value) == READ_ONCE(q->rx.shared->producer.value))
		udrv_wake_driver(q->need_wakeup, UDRV_WAKE_WORK, q->irq);
}

/*
 * The fragments of an IP datagram wait for each other, and then in a socket that is
 * charged for all of their memory: a page for each 1,480 bytes. Of the largest datagrams
 * a socket of the usual size would then hold one. As copies they take half.
 */
static bool udrv_net_is_fragment(const void *frame, u32 len)
{
	const struct ethhdr *eth = frame;
	const struct iphdr *ip = frame + ETH_HLEN;
	const struct ipv6hdr *ip6 = frame + ETH_HLEN;

	if (len >= ETH_HLEN + sizeof(*ip) && eth->h_proto == htons(ETH_P_IP))
		return ip_is_fragment(ip);
	if (len >= ETH_HLEN + sizeof(*ip6) && eth->h_proto == htons(ETH_P_IPV6))
		return ip6->nexthdr == NEXTHDR_FRAGMENT;
	return false;
}

/*
 * Add one buffer to the packet under way. The skb's own head is never in memory
 * that the device can write: headers are copied there, so that a device writing
 * where it was not told to cannot forge what the stack keeps behind them. Owns
 * the page. False: the packet has to be dropped.
 */
static bool udrv_net_add_buf(struct udrv_net_queue *q, struct page *page, u32 len)
{
	void *data = page_address(page) + UDRV_NET_RX_OFFSET;
	/* Untrusted: all of it, into one head that has room for a whole frame. */
	u32 copy = q->untrusted ? max(q->net->dev->mtu, 1U * ETH_DATA_LEN) + VLAN_ETH_HLEN :
				  UDRV_NET_COPYBREAK;
	u32 head = q->untrusted ? len : 0, nr;

	dma_sync_single_range_for_cpu(q->dma_dev, page_pool_get_dma_addr(page),
				      UDRV_NET_RX_OFFSET, len, DMA_FROM_DEVICE);
	if (!q->skb) {
		if (len > copy && udrv_net_is_fragment(data, len))
			copy = len;
		q->skb = napi_alloc_skb(&q->channel->napi, copy);
		if (!q->skb)
			goto recycle;
		skb_mark_for_recycle(q->skb);
		if (!head && len <= copy)
			head = len;
		else if (!head)
			head = eth_get_headlen(q->net->dev, data, copy);
	}
	head = min_t(u32, head, skb_tailroom(q->skb));	/* none in a packet with fragments */
	if (head)
		skb_put_data(q->skb, data, head);
	nr = skb_shinfo(q->skb)->nr_frags;
	if (head == len || nr == MAX_SKB_FRAGS || q->untrusted)
		goto recycle;
	skb_add_rx_frag(q->skb, nr, page, UDRV_NET_RX_OFFSET + head, len - head, PAGE_SIZE);
	return true;

recycle:
	page_pool_recycle_direct(q->pool, page);
	return q->skb && head == len;
}

/*
 * What the driver says of the checksum; of an untrusted one nothing is taken. False:
 * that cannot be so.
 */
static bool udrv_net_rx_checksum(struct udrv_net_queue *q, const struct udrv_net_rx *rx)
{
	struct sk_buff *skb = q->skb;
	u32 end;

	if (q->untrusted)
		return true;
	if (rx->flags & UDRV_NET_RX_CSUM_PARTIAL) {
		end = (u32)rx->csum_start + rx->csum_offset + sizeof(__sum16);
		return rx->csum_start >= ETH_HLEN && pskb_may_pull(skb, end) &&
		       skb_partial_csum_set(skb, rx->csum_start, rx->csum_offset);
	}
	if ((rx->flags & UDRV_NET_RX_CSUM_OK) && (q->net->dev->features & NETIF_F_RXCSUM))
		skb->ip_summed = CHECKSUM_UNNECESSARY;
	return true;
}

/* Which queue it came by, and the chip's hash: what RPS, RFS and sockets go by. */
static void udrv_net_mark_flow(struct udrv_net_queue *q, const struct udrv_net_rx *rx,
			       struct sk_buff *skb)
{
	struct net_device *dev = q->net->dev;

	/* One that came by a queue that is not in use any more has none. */
	if (dev->num_rx_queues > 1 && q->channel->index < READ_ONCE(dev->real_num_rx_queues))
		skb_record_rx_queue(skb, q->channel->index);
	if ((rx->flags & UDRV_NET_RX_HASH) && (dev->features & NETIF_F_RXHASH))
		skb_set_hash(skb, rx->hash, rx->flags & UDRV_NET_RX_HASH_L4 ?
			     PKT_HASH_TYPE_L4 : PKT_HASH_TYPE_L3);
}

static void udrv_net_deliver(struct udrv_net_queue *q, const struct udrv_net_rx *rx)
{
	struct udrv_net_channel *c = q->channel;
	struct net_device *dev = q->net->dev;
	struct sk_buff *skb = q->skb;

	if (q->drop || skb_headlen(skb) < ETH_HLEN || !netif_running(dev) ||
	    !udrv_net_rx_checksum(q, rx)) {
		if (netif_running(dev))
			c->counts.rx_errors++;
		dev_kfree_skb_any(skb);
		return;
	}
	c->counts.rx_packets++;
	c->counts.rx_bytes += skb->len;
	udrv_net_mark_flow(q, rx, skb);
	skb->protocol = eth_type_trans(skb, dev);
	if (rx->flags & UDRV_NET_RX_VLAN)
		__vlan_hwaccel_put_tag(skb, htons(ETH_P_8021Q), rx->vlan_tci);
	napi_gro_receive(&c->napi, skb);
}

/* Returns the number of packets, `budget` if there may be more. */
static int udrv_net_receive(struct udrv_net_queue *q, int budget)
{
	int n = udrv_ring_waiting(&q->rx);
	int packets = 0;

	if (n < 0)
		udrv_violation(q->session, "receive index");
	/* Bounded even if no packet ever ends: by what the ring holds. */
	for (; n > 0 && packets < budget; n--) {
		struct udrv_net_rx rx;
		struct page **buf;

		udrv_copy_once(&rx, udrv_ring_entry(&q->rx, struct udrv_net_rx, q->rx.index),
			       sizeof(rx));
		buf = &q->bufs[q->rx.index & (q->rx.depth - 1)];
		if (rx.id != q->rx.index || q->rx.index == q->fill.index ||
		    (rx.flags & ~UDRV_NET_RX_ALL) || rx.len_bytes > q->rx_buf_bytes) {
			udrv_violation(q->session, "receive entry with a bad id, length or flag");
			break;
		}
		q->rx.index++;
		if (q->drop || (rx.flags & UDRV_NET_RX_DROP))
			page_pool_recycle_direct(q->pool, *buf);
		else
			q->drop = !udrv_net_add_buf(q, *buf, rx.len_bytes);
		q->drop |= rx.flags & UDRV_NET_RX_DROP;
		*buf = NULL;
		if (rx.flags & UDRV_NET_RX_EOP) {
			udrv_net_deliver(q, &rx);
			q->skb = NULL;
			q->drop = false;
			packets++;
		}
	}
	udrv_ring_consumed(&q->rx);
	trace_udrv_net_received(q, packets);
	return packets;
}

/* ---- Both ----------------------------------------------------------------- */

/*
 * No driver any more: packets that it had are lost, and counted; buffers go back
 * to the pool, unless the device might still write them.
 */
void udrv_net_drop_all(struct udrv_net_queue *q, bool quiet)
{
	while (q->done != q->tx.index) {
		dev_kfree_skb_any(udrv_net_complete(q, false));
		q->channel->counts.tx_lost++;
	}
	kfree_skb(q->skb);
	for (; q->rx.index != q->fill.index && quiet; q->rx.index++)
		page_pool_put_full_page(q->pool, q->bufs[q->rx.index & (q->rx.depth - 1)], false);
}

int udrv_net_poll(struct napi_struct *napi, int budget)
{
	struct udrv_net_channel *c = container_of(napi, struct udrv_net_channel, napi);
	struct udrv_net_queue *q = c->queue;
	bool more = false;
	int done = 0;

	if (!udrv_violated(q->session)) {
		more = udrv_net_reap(q, budget);
		done = budget ? udrv_net_receive(q, budget) : 0;
		if (budget)	/* else netpoll, with interrupts off: only transmit */
			udrv_net_refill(q);
	}
	if (!udrv_violated(q->session) && (more || done == budget))
		return budget;
	if (napi_complete_done(napi, done) && !udrv_violated(q->session)) {
		/*
		 * Barrier C: the flag before the look at the rings. Forbidden:
		 * we look (nothing), driver publishes, driver looks at the flag
		 * (clear), we set the flag and sleep for ever.
		 */
		WRITE_ONCE(q->need_wakeup->kernel, 1);
		smp_mb();	/* C */
		if (udrv_net_work_waits(q))
			napi_schedule(napi);
	}
	return udrv_violated(q->session) ? 0 : done;
}
