// SPDX-License-Identifier: GPL-2.0-only
/*
 * The state pages: what is wanted goes to the desired page, answers come from the
 * last whole copy of the published one. Nothing here waits for the driver.
 */
#include "udrv_net.h"

/* By the bit number of UDRV_NET_F_*. */
const netdev_features_t udrv_net_features[UDRV_NET_NR_FEATURES] = {
	NETIF_F_HW_CSUM,
	NETIF_F_TSO,
	NETIF_F_TSO6,
	NETIF_F_RXCSUM,
	NETIF_F_HW_VLAN_CTAG_TX,
	NETIF_F_HW_VLAN_CTAG_RX,
	NETIF_F_RXHASH,
};

/* ---- Desired -------------------------------------------------------------- */

/* What the chip has to let through. More addresses than it has room for: all. */
static void udrv_net_fill_filter(struct udrv_net_desired *d, struct net_device *dev)
{
	struct udrv_net *n = netdev_priv(dev);
	struct netdev_hw_addr *ha;
	/* Counted here, never read back: the page is the driver's to write, too. */
	u32 nr_multicast = 0;
	u32 nr_unicast = 0;
	u32 rx_mode = 0;

	netdev_for_each_mc_addr(ha, dev) {
		if (nr_multicast == UDRV_NET_MAX_MULTICAST) {
			rx_mode |= UDRV_NET_ALLMULTI;
			break;
		}
		ether_addr_copy(d->multicast[nr_multicast++], ha->addr);
	}
	netdev_for_each_uc_addr(ha, dev) {
		if (nr_unicast == n->max_unicast) {
			rx_mode |= UDRV_NET_PROMISC;
			break;
		}
		ether_addr_copy(d->unicast[nr_unicast++], ha->addr);
	}
	if (dev->flags & IFF_PROMISC)
		rx_mode |= UDRV_NET_PROMISC;
	if (dev->flags & IFF_ALLMULTI)
		rx_mode |= UDRV_NET_ALLMULTI;
	d->nr_multicast = nr_multicast;
	d->nr_unicast = nr_unicast;
	d->rx_mode = rx_mode;
}

static void udrv_net_fill_desired(struct udrv_net_desired *d, struct net_device *dev)
{
	struct udrv_net *n = netdev_priv(dev);
	u32 features = 0;
	unsigned int i;

	for (i = 0; i < UDRV_NET_NR_FEATURES; i++)
		if (dev->features & udrv_net_features[i])
			features |= BIT(i);
	udrv_net_fill_filter(d, dev);
	d->up = netif_running(dev);
	d->mtu = dev->mtu;
	d->features = features;
	d->rx_usecs = min(n->rx_usecs, n->max_rx_usecs);
	d->restart_autoneg = n->restart_autoneg;
	d->nr_queues = READ_ONCE(dev->real_num_rx_queues);
	ether_addr_copy(d->mac, dev->dev_addr);
	strscpy_pad(d->name, dev->name, sizeof(d->name));
}

/*
 * Publish what is wanted now; the doorbell makes the driver look. Called with the
 * address list stable: under addr_list_lock or before the interface is seen.
 */
void udrv_net_desire_locked(struct net_device *dev)
{
	struct udrv_net *n = netdev_priv(dev);
	struct udrv_net_desired *page;

	spin_lock_bh(&n->state_lock);
	n->desired_generation += 2;
	page = n->desired_page;
	if (page) {
		WRITE_ONCE(page->generation, n->desired_generation - 1);	/* odd */
		smp_wmb();	/* the driver reads: generation, body, generation */
		udrv_net_fill_desired(page, dev);
		smp_store_release(&page->generation, n->desired_generation);	/* body first */
		udrv_irq_doorbell(n->irq);
	}
	spin_unlock_bh(&n->state_lock);
}

void udrv_net_desire(struct net_device *dev)
{
	netif_addr_lock_bh(dev);
	udrv_net_desire_locked(dev);
	netif_addr_unlock_bh(dev);
}

/* ---- Published ------------------------------------------------------------ */

/*
 * Counters begin at zero with each driver, those of the interface go on. One that
 * goes back is a driver's mistake, and adds nothing.
 */
static void udrv_net_add_counters(struct udrv_net *n)
{
	const u64 *before = (const u64 *)&n->published.counters;
	const u64 *now = (const u64 *)&n->incoming.counters;
	unsigned int i;

	for (i = 0; i < UDRV_NET_NR_COUNTERS; i++)
		if (now[i] > before[i])
			n->counters[i] += now[i] - before[i];
}

/*
 * Take over what the driver published, if it is new and whole. What is torn never
 * reaches the last good copy; a page that keeps changing is read at the next call.
 */
void udrv_net_read_published(struct udrv_net *n)
{
	const struct udrv_net_published *page;
	u32 generation;

	spin_lock_bh(&n->state_lock);
	page = n->published_page;
	if (!page)
		goto out;
	generation = smp_load_acquire(&page->generation);	/* then the body */
	if (generation == n->published.generation || (generation & 1))
		goto out;
	memcpy(&n->incoming, page, sizeof(*page));
	smp_rmb();	/* the copy before the second look */
	if (READ_ONCE(page->generation) != generation)
		goto out;
	n->incoming.generation = generation;
	udrv_net_add_counters(n);
	n->published = n->incoming;
	if (n->published.link & UDRV_NET_LINK_UP)
		netif_carrier_on(n->dev);
	else
		netif_carrier_off(n->dev);
out:
	spin_unlock_bh(&n->state_lock);
}

/* What passed through the rings, and what the chips counted. */
void udrv_net_get_stats64(struct net_device *dev, struct rtnl_link_stats64 *stats)
{
	struct udrv_net *n = netdev_priv(dev);
	struct udrv_net_counters c;
	unsigned int i;

	spin_lock_bh(&n->state_lock);
	BUILD_BUG_ON(sizeof(c) != sizeof(n->counters));
	memcpy(&c, n->counters, sizeof(c));
	spin_unlock_bh(&n->state_lock);
	for (i = 0; i < UDRV_NET_MAX_QUEUES; i++) {
		const struct udrv_net_counts *q = &n->channels[i].counts;

		stats->rx_packets += READ_ONCE(q->rx_packets);
		stats->rx_bytes += READ_ONCE(q->rx_bytes);
		stats->rx_errors += READ_ONCE(q->rx_errors);
		stats->tx_packets += READ_ONCE(q->tx_packets);
		stats->tx_bytes += READ_ONCE(q->tx_bytes);
		stats->tx_errors += READ_ONCE(q->tx_errors);
		stats->tx_dropped += READ_ONCE(q->tx_dropped) + READ_ONCE(q->tx_lost);
	}
	stats->rx_errors += c.rx_errors;
	stats->rx_length_errors += c.rx_length_errors;
	stats->rx_crc_errors += c.rx_crc_errors;
	stats->rx_frame_errors += c.rx_frame_errors;
	stats->rx_over_errors += c.rx_over_errors;
	stats->rx_fifo_errors += c.rx_fifo_errors;
	stats->rx_missed_errors += c.rx_missed_errors;
	stats->rx_dropped += c.rx_dropped;
	stats->multicast += c.multicast;
	stats->tx_errors += c.tx_errors;
	stats->tx_aborted_errors += c.tx_aborted_errors;
	stats->tx_carrier_errors += c.tx_carrier_errors;
	stats->tx_fifo_errors += c.tx_fifo_errors;
	stats->tx_window_errors += c.tx_window_errors;
	stats->tx_dropped += c.tx_dropped;
	stats->collisions += c.collisions;
}

/* ---- /sys/class/net/<name>/udrv ------------------------------------------- */

/* What is wanted is done once `applied` has come to `wanted`, or gone past it. */
static ssize_t wanted_show(struct device *d, struct device_attribute *attr, char *buf)
{
	struct udrv_net *n = netdev_priv(to_net_dev(d));

	return sysfs_emit(buf, "%u\n", READ_ONCE(n->desired_generation));
}
static DEVICE_ATTR_RO(wanted);

static ssize_t applied_show(struct device *d, struct device_attribute *attr, char *buf)
{
	struct udrv_net *n = netdev_priv(to_net_dev(d));

	udrv_net_read_published(n);
	return sysfs_emit(buf, "%u\n", READ_ONCE(n->published.applied));
}
static DEVICE_ATTR_RO(applied);

static struct attribute *udrv_net_state_attrs[] = {
	&dev_attr_wanted.attr,
	&dev_attr_applied.attr,
	NULL
};

const struct attribute_group udrv_net_state_group = {
	.name = "udrv",
	.attrs = udrv_net_state_attrs,
};
