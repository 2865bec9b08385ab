// SPDX-License-Identifier: GPL-2.0-only
/*
 * The net_device: what `ip` and `ethtool` ask for and about. Nothing here waits
 * for the driver: wishes go to the desired-state page, answers come from the
 * last published state.
 */
#include "udrv_net.h"

/* By the bit number of UDRV_NET_F_*. */
static const netdev_features_t udrv_net_features[] = {
	NETIF_F_HW_CSUM, NETIF_F_TSO, NETIF_F_TSO6, NETIF_F_RXCSUM,
	NETIF_F_HW_VLAN_CTAG_TX, NETIF_F_HW_VLAN_CTAG_RX,
};

/* ---- State pages ---------------------------------------------------------- */

static void udrv_net_fill_desired(struct udrv_net_desired *d, struct net_device *dev)
{
	struct netdev_hw_addr *ha;
	unsigned int i, nr = 0;
	u32 features = 0;

	for (i = 0; i < ARRAY_SIZE(udrv_net_features); i++)
		features |= dev->features & udrv_net_features[i] ? BIT(i) : 0;
	/* Counted here, never read back: the page is the driver's to write, too. */
	netdev_for_each_mc_addr(ha, dev)
		if (nr < UDRV_NET_MAX_MULTICAST)
			ether_addr_copy(d->multicast[nr++], ha->addr);
	d->up = netif_running(dev);
	d->mtu = dev->mtu;
	d->rx_mode = (dev->flags & IFF_PROMISC ? UDRV_NET_PROMISC : 0) |
		     (dev->flags & IFF_ALLMULTI || nr < netdev_mc_count(dev) ?
		      UDRV_NET_ALLMULTI : 0);
	d->features = features;
	d->nr_multicast = nr;
	ether_addr_copy(d->mac, dev->dev_addr);
}

/*
 * Publish what is wanted now; the doorbell makes the driver look. Called with the
 * address list stable: under addr_list_lock or before the interface is seen.
 */
static void udrv_net_desire_locked(struct net_device *dev)
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
		page->rx_usecs = n->rx_usecs;
		smp_store_release(&page->generation, n->desired_generation);	/* body first */
		udrv_irq_doorbell(n->port.irq);
	}
	spin_unlock_bh(&n->state_lock);
}

void udrv_net_desire(struct net_device *dev)
{
	netif_addr_lock_bh(dev);
	udrv_net_desire_locked(dev);
	netif_addr_unlock_bh(dev);
}

/*
 * Take over what the driver published, if it is new and whole; a page that keeps
 * changing is read at the next call.
 */
void udrv_net_read_published(struct udrv_net *n)
{
	const struct udrv_net_published *page;
	u32 generation;

	spin_lock_bh(&n->state_lock);
	page = n->published_page;
	generation = page ? smp_load_acquire(&page->generation) :	/* then the body */
			    n->published.generation;
	if (generation != n->published.generation && !(generation & 1)) {
		memcpy(&n->published, page, sizeof(*page));
		smp_rmb();	/* the copy before the second look */
		/* Torn: counted as an older one, so that it is read again. */
		n->published.generation = generation - (READ_ONCE(page->generation) != generation);
		if (n->published.generation == generation)
			(n->published.link & UDRV_NET_LINK_UP ?
			 netif_carrier_on : netif_carrier_off)(n->dev);
	}
	spin_unlock_bh(&n->state_lock);
}

/* ---- net_device ------------------------------------------------------------ */

/* Packets wait, the link is up, and the driver completes none: it is dead. */
static void udrv_net_tx_timeout(struct net_device *dev, unsigned int txqueue)
{
	struct udrv_net *n = netdev_priv(dev);

	if (n->queue)
		udrv_violation(n->queue->session, "no transmit progress");
}

static const struct net_device_ops udrv_net_ops = {
	.ndo_start_xmit = udrv_net_xmit, .ndo_tx_timeout = udrv_net_tx_timeout,
	.ndo_set_mac_address = eth_mac_addr, .ndo_validate_addr = eth_validate_addr,
	.ndo_set_rx_mode = udrv_net_desire_locked,
};

/* Up, down, MAC, MTU, features: whatever has changed, the page says it all. */
static int udrv_net_event(struct notifier_block *nb, unsigned long event, void *info)
{
	struct net_device *dev = netdev_notifier_info_to_dev(info);

	if (dev->netdev_ops == &udrv_net_ops)
		udrv_net_desire(dev);
	return NOTIFY_DONE;
}

struct notifier_block udrv_net_notifier = { .notifier_call = udrv_net_event };

/* ---- ethtool --------------------------------------------------------------- */

static int udrv_net_get_link_ksettings(struct net_device *dev, struct ethtool_link_ksettings *ks)
{
	struct udrv_net *n = netdev_priv(dev);
	bool up = netif_carrier_ok(dev);

	spin_lock_bh(&n->state_lock);
	ks->base.speed = up ? n->published.speed_mbps : SPEED_UNKNOWN;
	ks->base.duplex = !up ? DUPLEX_UNKNOWN :
			  n->published.link & UDRV_NET_FULL_DUPLEX ? DUPLEX_FULL : DUPLEX_HALF;
	spin_unlock_bh(&n->state_lock);
	ks->base.autoneg = AUTONEG_ENABLE;
	return 0;
}

/*
 * The chip's own counters, in the driver's words. The set is fixed in size, so
 * that a driver that comes or goes between two calls can not make them disagree.
 */
static int udrv_net_get_sset_count(struct net_device *dev, int set)
{
	return set == ETH_SS_STATS ? UDRV_NET_MAX_STATS : -EOPNOTSUPP;
}

static void udrv_net_get_strings(struct net_device *dev, u32 set, u8 *data)
{
	struct udrv_net *n = netdev_priv(dev);
	unsigned int i;

	spin_lock_bh(&n->state_lock);
	for (i = 0; i < UDRV_NET_MAX_STATS; i++, data += ETH_GSTRING_LEN)
		snprintf(data, ETH_GSTRING_LEN, "%*pE",	/* escaped: they are the driver's words */
			 (int)strnlen(n->published.stat_names[i], UDRV_NET_STAT_LEN),
			 n->published.stat_names[i]);
	spin_unlock_bh(&n->state_lock);
}

static void udrv_net_get_stats(struct net_device *dev, struct ethtool_stats *stats, u64 *data)
{
	struct udrv_net *n = netdev_priv(dev);

	spin_lock_bh(&n->state_lock);
	memcpy(data, n->published.stats, sizeof(n->published.stats));
	spin_unlock_bh(&n->state_lock);
}

/* Offsets and values, as the driver last read them. */
static int udrv_net_get_regs_len(struct net_device *dev)
{
	return sizeof_field(struct udrv_net_published, registers);
}

static void udrv_net_get_regs(struct net_device *dev, struct ethtool_regs *regs, void *data)
{
	struct udrv_net *n = netdev_priv(dev);

	spin_lock_bh(&n->state_lock);
	memcpy(data, n->published.registers, sizeof(n->published.registers));
	spin_unlock_bh(&n->state_lock);
}

static int udrv_net_get_coalesce(struct net_device *dev, struct ethtool_coalesce *coalesce,
				 struct kernel_ethtool_coalesce *k, struct netlink_ext_ack *ack)
{
	struct udrv_net *n = netdev_priv(dev);

	coalesce->rx_coalesce_usecs = n->rx_usecs;
	return 0;
}

static int udrv_net_set_coalesce(struct net_device *dev, struct ethtool_coalesce *coalesce,
				 struct kernel_ethtool_coalesce *k, struct netlink_ext_ack *ack)
{
	struct udrv_net *n = netdev_priv(dev);

	n->rx_usecs = coalesce->rx_coalesce_usecs;
	udrv_net_desire(dev);
	return 0;
}

static void udrv_net_get_ringparam(struct net_device *dev, struct ethtool_ringparam *rings,
				   struct kernel_ethtool_ringparam *k, struct netlink_ext_ack *ack)
{
	struct udrv_net *n = netdev_priv(dev);

	*rings = n->rings;
}

/* Nothing is reallocated: of the driver's rings, less is used. */
static int udrv_net_set_ringparam(struct net_device *dev, struct ethtool_ringparam *rings,
				  struct kernel_ethtool_ringparam *k, struct netlink_ext_ack *ack)
{
	struct udrv_net *n = netdev_priv(dev);

	if (min(rings->rx_pending, rings->tx_pending) < UDRV_NET_MIN_DEPTH)
		return -EINVAL;
	WRITE_ONCE(n->rings.rx_pending, rings->rx_pending);
	WRITE_ONCE(n->rings.tx_pending, rings->tx_pending);
	return 0;
}

static const struct ethtool_ops udrv_net_ethtool_ops = {
	.supported_coalesce_params = ETHTOOL_COALESCE_RX_USECS,
	.get_coalesce = udrv_net_get_coalesce, .set_coalesce = udrv_net_set_coalesce,
	.get_ringparam = udrv_net_get_ringparam, .set_ringparam = udrv_net_set_ringparam,
	.get_regs_len = udrv_net_get_regs_len, .get_regs = udrv_net_get_regs,
	.get_link = ethtool_op_get_link, .get_link_ksettings = udrv_net_get_link_ksettings,
	.get_sset_count = udrv_net_get_sset_count, .get_strings = udrv_net_get_strings,
	.get_ethtool_stats = udrv_net_get_stats,
};

void udrv_net_setup(struct net_device *dev)
{
	struct udrv_net *n = netdev_priv(dev);
	unsigned int i;

	dev->netdev_ops = &udrv_net_ops;
	dev->ethtool_ops = &udrv_net_ethtool_ops;
	dev->watchdog_timeo = 5 * HZ;
	dev->priv_flags |= IFF_LIVE_ADDR_CHANGE;
	dev->hw_features = NETIF_F_SG | NETIF_F_HIGHDMA;
	for (i = 0; i < ARRAY_SIZE(udrv_net_features); i++)
		dev->hw_features |= n->features & BIT(i) ? udrv_net_features[i] : 0;
	dev->features |= dev->hw_features;
	dev->vlan_features |= dev->hw_features & (NETIF_F_SG | NETIF_F_HW_CSUM | NETIF_F_TSO |
						  NETIF_F_TSO6 | NETIF_F_HIGHDMA);
}
