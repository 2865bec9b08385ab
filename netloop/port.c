// SPDX-License-Identifier: GPL-2.0-only
/*
 * udrv_net - the network loopback: attaching a session to the network interface
 * of its device, and taking everything back when the session is over.
 */
#include "udrv_net.h"
#include "udrv_version.h"

/* ---- The queues of a session ----------------------------------------------- */

static bool udrv_net_valid_stats(const struct udrv_net_attach *arg)
{
	u32 i;

	if (arg->nr_stats > UDRV_NET_MAX_STATS)
		return false;
	for (i = 0; i < arg->nr_stats; i++)
		if (!arg->stat_names[i][0] || arg->stat_names[i][UDRV_NET_STAT_LEN - 1])
			return false;
	return true;
}

static bool udrv_net_valid_queues(const struct udrv_session *s, const struct udrv_net_attach *arg)
{
	u32 i;

	if (!arg->nr_queues || arg->nr_queues > UDRV_NET_MAX_QUEUES || arg->vector >= s->nr_irqs)
		return false;
	for (i = 0; i < arg->nr_queues; i++)
		if (arg->queues[i].vector >= s->nr_irqs || arg->queues[i].reserved[0] ||
		    arg->queues[i].reserved[1])
			return false;
	return is_power_of_2(arg->tx_depth) && is_power_of_2(arg->rx_depth) &&
	       min(arg->tx_depth, arg->rx_depth) >= UDRV_NET_MIN_DEPTH &&
	       max(arg->tx_depth, arg->rx_depth) <= UDRV_NET_MAX_DEPTH;
}

static bool udrv_net_valid(const struct udrv_session *s, const struct udrv_net_attach *arg)
{
	return !arg->reserved0 && !arg->reserved1 && !(arg->flags & ~UDRV_NET_ATTACH_ALL) &&
	       udrv_net_valid_queues(s, arg) && udrv_net_valid_stats(arg) &&
	       !arg->name[UDRV_NET_NAME_LEN - 1] && !(arg->features & ~UDRV_NET_F_ALL) &&
	       arg->rx_buf_bytes >= 256 && arg->rx_buf_bytes <= UDRV_NET_MAX_BUF &&
	       arg->tx_max_segments && arg->max_mtu >= ETH_MIN_MTU &&
	       arg->max_mtu <= ETH_MAX_MTU - ETH_HLEN && is_valid_ether_addr(arg->mac) &&
	       (!arg->max_tso_bytes || (arg->max_tso_bytes >= UDRV_NET_MIN_TSO_BYTES &&
					arg->max_tso_bytes <= UDRV_NET_MAX_TSO_BYTES)) &&
	       arg->max_unicast <= UDRV_NET_MAX_UNICAST && !arg->driver[UDRV_NET_DRIVER_LEN - 1];
}

/* What the driver can receive of a frame, with a tag, in buffers of its size. */
static u32 udrv_net_max_mtu(const struct udrv_net_attach *arg)
{
	return min_t(u32, arg->max_mtu, MAX_SKB_FRAGS * arg->rx_buf_bytes - VLAN_ETH_HLEN);
}

static u32 udrv_net_limit(u32 limit)
{
	return limit ?: U32_MAX;
}

/*
 * Take over the limits of a driver. Its queues, and the names of its counters, stay what
 * they were for who is in the middle of asking for them.
 */
static int udrv_net_set_limits(struct udrv_net *n, const struct udrv_net_attach *arg)
{
	bool same = n->nr_stats == arg->nr_stats && n->nr_queues == arg->nr_queues &&
		    !memcmp(n->stat_names, arg->stat_names, sizeof(n->stat_names));
	u32 nr_queues = n->nr_queues;
	int ret;

	WRITE_ONCE(n->max_csum_field, udrv_net_limit(arg->max_csum_field));
	WRITE_ONCE(n->max_tso_hdr_bytes, udrv_net_limit(arg->max_tso_hdr_bytes));
	WRITE_ONCE(n->max_tso_bytes, udrv_net_limit(arg->max_tso_bytes));
	WRITE_ONCE(n->max_rx_usecs, arg->max_rx_usecs);
	WRITE_ONCE(n->max_unicast, arg->max_unicast);
	if (same && !strcmp(n->driver, arg->driver))
		return 0;
	rtnl_lock();
	n->nr_queues = arg->nr_queues;
	ret = udrv_net_use_queues(n);
	if (ret) {
		n->nr_queues = nr_queues;
		rtnl_unlock();
		return ret;
	}
	memcpy(n->driver, arg->driver, sizeof(n->driver));
	n->nr_stats = arg->nr_stats;
	memcpy(n->stat_names, arg->stat_names, sizeof(n->stat_names));
	spin_lock_bh(&n->state_lock);
	memset(&n->published, 0, sizeof(n->published));	/* values of other names */
	spin_unlock_bh(&n->state_lock);
	rtnl_unlock();
	return 0;
}

static void udrv_net_layout(struct udrv_net_attach *arg)
{
	struct udrv_net_queue_layout *l;
	size_t end = 0;

	arg->desired = udrv_place(&end, sizeof(struct udrv_net_desired));
	arg->published = udrv_place(&end, sizeof(struct udrv_net_published));
	for (l = arg->queues; l < arg->queues + arg->nr_queues; l++) {
		l->need_wakeup = udrv_place(&end, sizeof(struct udrv_need_wakeup));
		l->tx = udrv_place(&end, UDRV_RING_BYTES(arg->tx_depth, struct udrv_net_tx));
		l->completion = udrv_place(&end, UDRV_RING_BYTES(arg->tx_depth,
								 struct udrv_net_completion));
		l->fill = udrv_place(&end, UDRV_RING_BYTES(arg->rx_depth, struct udrv_net_fill));
		l->rx = udrv_place(&end, UDRV_RING_BYTES(arg->rx_depth, struct udrv_net_rx));
	}
	arg->map_bytes = PAGE_ALIGN(end);
}

static void udrv_net_queue_free(struct udrv_net_queue *q)
{
	if (!q)
		return;
	if (!IS_ERR_OR_NULL(q->pool))
		page_pool_destroy(q->pool);
	kvfree(q);
}

/* A queue whose rings are in `shm` as `l` says. */
static struct udrv_net_queue *udrv_net_queue_alloc(struct udrv_session *s, void *shm,
						   const struct udrv_net_attach *arg,
						   const struct udrv_net_queue_layout *l)
{
	struct page_pool_params params = {
		.flags = PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV,
		.pool_size = arg->rx_depth,
		.nid = NUMA_NO_NODE,
		.dev = &s->udev->pdev->dev,
		.dma_dir = DMA_FROM_DEVICE,
		.offset = UDRV_NET_RX_OFFSET,
		.max_len = UDRV_NET_MAX_BUF,
	};
	struct udrv_net_queue *q;

	q = kvzalloc(sizeof(*q), GFP_KERNEL);
	if (!q)
		return NULL;
	q->session = s;
	q->dma_dev = params.dev;
	q->pool = page_pool_create(&params);
	if (IS_ERR(q->pool)) {
		udrv_net_queue_free(q);
		return NULL;
	}
	q->irq = udrv_session_irq(s, l->vector);
	q->need_wakeup = shm + l->need_wakeup;
	q->need_wakeup->kernel = 1;
	udrv_ring_init(&q->tx, shm + l->tx, arg->tx_depth);
	udrv_ring_init(&q->completion, shm + l->completion, arg->tx_depth);
	udrv_ring_init(&q->fill, shm + l->fill, arg->rx_depth);
	udrv_ring_init(&q->rx, shm + l->rx, arg->rx_depth);
	q->tx_max_segments = min_t(u32, arg->tx_max_segments, UDRV_NET_TX_ROOM);
	q->rx_buf_bytes = arg->rx_buf_bytes;
	q->tso_as_is = arg->flags & UDRV_NET_ATTACH_TSO_AS_IS;
	q->untrusted = s->udev->pdev->untrusted;
	return q;
}

/* What a session has of its own: the map with all rings and pages, and its queues. */
struct udrv_net_rings {
	void *shm;
	struct udrv_net_queue *queues[UDRV_NET_MAX_QUEUES];
};

static void udrv_net_rings_free(struct udrv_net_rings *r)
{
	unsigned int i;

	for (i = 0; i < UDRV_NET_MAX_QUEUES; i++)
		udrv_net_queue_free(r->queues[i]);
	vfree(r->shm);
}

static int udrv_net_rings_alloc(struct udrv_net_rings *r, struct udrv_session *s,
				struct udrv_net_attach *arg)
{
	u32 i;

	udrv_net_layout(arg);
	r->shm = vmalloc_user(arg->map_bytes);
	if (!r->shm)
		return -ENOMEM;
	for (i = 0; i < arg->nr_queues; i++) {
		r->queues[i] = udrv_net_queue_alloc(s, r->shm, arg, &arg->queues[i]);
		if (!r->queues[i]) {
			udrv_net_rings_free(r);
			return -ENOMEM;
		}
	}
	return 0;
}

/* ---- The interface --------------------------------------------------------- */

static void udrv_net_add_channels(struct udrv_net *n)
{
	struct udrv_net_channel *c;
	unsigned int i;

	for (i = 0; i < n->dev->num_tx_queues; i++) {
		c = &n->channels[i];
		c->net = n;
		c->index = i;
		netif_napi_add(n->dev, &c->napi, udrv_net_poll);
	}
}

static struct udrv_net *udrv_net_create(struct udrv_session *s, const struct udrv_net_attach *arg)
{
	struct net_device *dev;
	struct udrv_net *n;
	int ret;

	dev = alloc_netdev_mqs(sizeof(*n), arg->name[0] ? arg->name : "udn%d",
			       arg->name[0] ? NET_NAME_USER : NET_NAME_ENUM, ether_setup,
			       arg->nr_queues, arg->nr_queues);
	if (!dev)
		return ERR_PTR(-ENOMEM);
	n = netdev_priv(dev);
	n->dev = dev;
	n->port.udev = s->udev;
	n->features = arg->features;
	spin_lock_init(&n->state_lock);
	INIT_DELAYED_WORK(&n->progress_work, udrv_net_progress);
	udrv_net_add_channels(n);
	SET_NETDEV_DEV(dev, &s->udev->pdev->dev);
	eth_hw_addr_set(dev, arg->mac);
	dev->min_mtu = ETH_ZLEN - ETH_HLEN;
	dev->max_mtu = udrv_net_max_mtu(arg);
	dev->mtu = min(dev->mtu, dev->max_mtu);	/* 1500, if the chip can */
	if (arg->max_tso_bytes)
		netif_set_tso_max_size(dev, arg->max_tso_bytes);
	ret = udrv_net_set_limits(n, arg);
	udrv_net_setup(dev);
	netif_carrier_off(dev);
	if (!ret)
		ret = register_netdev(dev);
	if (ret) {
		free_netdev(dev);
		return ERR_PTR(ret);
	}
	rtnl_lock();
	udrv_net_spread(dev);
	rtnl_unlock();
	return n;
}

static void udrv_net_remove(struct udrv_port *port)
{
	struct udrv_net *n = container_of(port, struct udrv_net, port);

	unregister_netdev(n->dev);
	free_netdev(n->dev);		/* and n with it */
}

/*
 * The session is over. Each user of the queues is excluded in turn, then the
 * memory that the device could reach is unmapped and freed.
 */
static void udrv_net_detach(struct udrv_port *port, bool quiet)
{
	struct udrv_net *n = container_of(port, struct udrv_net, port);
	struct udrv_net_rings rings = { .shm = n->port.shm };
	struct net_device *dev = n->dev;
	unsigned int i;

	spin_lock_bh(&n->state_lock);
	n->desired_page = NULL;
	n->published_page = NULL;
	spin_unlock_bh(&n->state_lock);
	netif_carrier_off(dev);		/* nobody reads the page, and says otherwise, any more */
	for (i = 0; i < n->nr_queues; i++)
		napi_disable(&n->channels[i].napi);	/* first: a poll may be at work */
	netif_tx_lock_bh(dev);
	for (i = 0; i < n->nr_queues; i++) {
		rings.queues[i] = n->channels[i].queue;
		WRITE_ONCE(n->channels[i].queue, NULL);
	}
	netif_tx_stop_all_queues(dev);
	netif_tx_unlock_bh(dev);
	synchronize_rcu_expedited();	/* a poll that completed may still look at its queue */
	cancel_delayed_work_sync(&n->progress_work);
	clear_bit(0, &n->watched);
	n->irq = NULL;
	n->port.shm = NULL;
	for (i = 0; i < n->nr_queues; i++) {
		udrv_net_drop_all(rings.queues[i], quiet);
		netdev_tx_reset_queue(rings.queues[i]->txq);
	}
	udrv_net_rings_free(&rings);
}

/* A driver is about to wait: take up what it produced on the queues of this vector. */
static void udrv_net_publish(struct udrv_port *port, struct udrv_irq *irq)
{
	struct udrv_net *n = container_of(port, struct udrv_net, port);
	struct udrv_net_channel *c;
	struct udrv_net_queue *q;

	if (irq == READ_ONCE(n->irq))
		udrv_net_read_published(n);
	local_bh_disable();
	for (c = n->channels; c < n->channels + READ_ONCE(n->nr_queues); c++) {
		q = READ_ONCE(c->queue);
		if (q && q->irq == irq && !udrv_violated(q->session) &&
		    (udrv_net_work_waits(q) || udrv_net_rx_room(q)) &&
		    napi_schedule_prep(&c->napi)) {
			WRITE_ONCE(q->need_wakeup->kernel, 0);
			__napi_schedule(&c->napi);
		}
	}
	local_bh_enable();	/* runs the polls here and now */
}

/* The interface, new or old, gets the queues of a session. */
static void udrv_net_install(struct udrv_net *n, struct udrv_net_rings *r, u32 nr_queues)
{
	struct udrv_net_queue *q;
	u32 i;

	for (i = 0; i < nr_queues; i++) {
		q = r->queues[i];
		q->net = n;
		q->channel = &n->channels[i];
		q->txq = netdev_get_tx_queue(n->dev, i);
		udrv_net_refill(q);
	}
	netif_tx_lock_bh(n->dev);
	for (i = 0; i < nr_queues; i++) {
		n->channels[i].queue = r->queues[i];
		netif_tx_wake_queue(r->queues[i]->txq);
	}
	netif_tx_unlock_bh(n->dev);
	for (i = 0; i < nr_queues; i++)
		napi_enable(&n->channels[i].napi);
}

static unsigned long udrv_net_vectors(const struct udrv_net_attach *arg)
{
	unsigned long vectors = BIT(arg->vector);
	u32 i;

	for (i = 0; i < arg->nr_queues; i++)
		vectors |= BIT(arg->queues[i].vector);
	return vectors;
}

static struct udrv_port *udrv_net_attach(struct udrv_session *s, struct udrv_port *port, void *argp)
{
	struct udrv_net_attach *arg = argp;
	struct udrv_net_rings rings = {};
	struct udrv_net *n;
	int ret;

	if (!udrv_net_valid(s, arg))
		return ERR_PTR(-EINVAL);
	n = port ? container_of(port, struct udrv_net, port) : NULL;
	/* What the interface promised, a successor has to keep. */
	if (n && ((n->features & ~arg->features) || n->dev->max_mtu > udrv_net_max_mtu(arg)))
		return ERR_PTR(-EINVAL);
	if (n)
		arg->nr_queues = min(arg->nr_queues, n->dev->num_tx_queues);
	ret = udrv_net_rings_alloc(&rings, s, arg);
	if (ret)
		return ERR_PTR(ret);
	if (n)
		ret = udrv_net_set_limits(n, arg);
	else
		n = udrv_net_create(s, arg);
	if (IS_ERR(n))
		ret = PTR_ERR(n);
	if (ret) {
		udrv_net_rings_free(&rings);
		return ERR_PTR(ret);
	}
	n->port.shm = rings.shm;
	n->port.vectors = udrv_net_vectors(arg);
	n->irq = udrv_session_irq(s, arg->vector);
	rtnl_lock();
	n->rings.rx_max_pending = arg->rx_depth;	/* pending: what the administrator said */
	n->rings.rx_pending = min(n->rings.rx_pending ?: arg->rx_depth, arg->rx_depth);
	n->rings.tx_max_pending = arg->tx_depth;
	n->rings.tx_pending = min(n->rings.tx_pending ?: arg->tx_depth, arg->tx_depth);
	rtnl_unlock();
	udrv_net_install(n, &rings, arg->nr_queues);
	spin_lock_bh(&n->state_lock);
	n->published.generation = 0;
	n->published.applied = 0;
	memset(&n->published.counters, 0, sizeof(n->published.counters));
	n->desired_page = rings.shm + arg->desired;
	n->published_page = rings.shm + arg->published;
	spin_unlock_bh(&n->state_lock);
	udrv_net_desire(n->dev);
	strscpy(arg->name, n->dev->name, sizeof(arg->name));
	arg->ifindex = n->dev->ifindex;
	return &n->port;
}

static struct udrv_port_type udrv_net_type = {
	.owner = THIS_MODULE,
	.arg_bytes = sizeof(struct udrv_net_attach),
	.arg_least = UDRV_NET_ATTACH_SIZE_VER4,
	.attach = udrv_net_attach,
	.detach = udrv_net_detach,
	.publish = udrv_net_publish,
	.remove = udrv_net_remove,
};

static int __init udrv_net_init(void)
{
	int ret = register_netdevice_notifier(&udrv_net_notifier);

	if (!ret)
		udrv_port_type_set(UDRV_PORT_NET, &udrv_net_type);
	return ret;
}
module_init(udrv_net_init);

static void __exit udrv_net_exit(void)
{
	udrv_port_type_set(UDRV_PORT_NET, NULL);
	unregister_netdevice_notifier(&udrv_net_notifier);
}
module_exit(udrv_net_exit);

MODULE_DESCRIPTION("A user process as a network interface, by shared rings");
MODULE_LICENSE("GPL");
MODULE_VERSION(UDRV_VERSION);
