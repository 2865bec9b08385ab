// SPDX-License-Identifier: GPL-2.0-only
/*
 * What `ethtool` asks for and about. Nothing waits for the driver: wishes go to the
 * desired page, answers come from the last published state, and from what the
 * driver said when it attached.
 */
#include "udrv_net.h"

static void udrv_net_get_drvinfo(struct net_device *dev, struct ethtool_drvinfo *info)
{
	struct udrv_net *n = netdev_priv(dev);

	strscpy(info->driver, "udrv", sizeof(info->driver));
	/* The chip's driver is to this interface what firmware is to others. */
	snprintf(info->fw_version, sizeof(info->fw_version), "%*pE",	/* escaped: its own words */
		 (int)strlen(n->driver), n->driver);
	strscpy(info->bus_info, dev_name(dev->dev.parent), sizeof(info->bus_info));
}

/* ---- Link ------------------------------------------------------------------ */

static void udrv_net_link_modes(unsigned long *modes, const u64 *words)
{
	bitmap_from_arr64(modes, words, min_t(unsigned int, __ETHTOOL_LINK_MODE_MASK_NBITS,
					      UDRV_NET_LINK_WORDS * 64));
}

static int udrv_net_get_link_ksettings(struct net_device *dev, struct ethtool_link_ksettings *ks)
{
	struct udrv_net *n = netdev_priv(dev);
	const struct udrv_net_published *p = &n->published;
	bool up = netif_carrier_ok(dev);

	ks->base.speed = SPEED_UNKNOWN;
	ks->base.duplex = DUPLEX_UNKNOWN;
	spin_lock_bh(&n->state_lock);
	if (up) {
		ks->base.speed = p->speed_mbps;
		ks->base.duplex = p->link & UDRV_NET_FULL_DUPLEX ? DUPLEX_FULL : DUPLEX_HALF;
	}
	ks->base.autoneg = p->link & UDRV_NET_AUTONEG ? AUTONEG_ENABLE : AUTONEG_DISABLE;
	ks->base.port = p->port;
	ks->base.phy_address = p->phy_address;
	ks->base.eth_tp_mdix = p->mdix;
	ks->base.eth_tp_mdix_ctrl = p->mdix_ctrl;
	udrv_net_link_modes(ks->link_modes.supported, p->supported);
	udrv_net_link_modes(ks->link_modes.advertising, p->advertising);
	udrv_net_link_modes(ks->link_modes.lp_advertising, p->lp_advertising);
	spin_unlock_bh(&n->state_lock);
	return 0;
}

static int udrv_net_nway_reset(struct net_device *dev)
{
	struct udrv_net *n = netdev_priv(dev);
	u32 link;

	spin_lock_bh(&n->state_lock);
	link = n->published.link;
	spin_unlock_bh(&n->state_lock);
	if (!(link & UDRV_NET_AUTONEG))
		return -EOPNOTSUPP;
	n->restart_autoneg++;
	udrv_net_desire(dev);
	return 0;
}

static void udrv_net_get_pauseparam(struct net_device *dev, struct ethtool_pauseparam *pause)
{
	struct udrv_net *n = netdev_priv(dev);
	u32 link;

	spin_lock_bh(&n->state_lock);
	link = n->published.link;
	spin_unlock_bh(&n->state_lock);
	pause->autoneg = link & UDRV_NET_PAUSE_AUTONEG ? AUTONEG_ENABLE : AUTONEG_DISABLE;
	pause->rx_pause = !!(link & UDRV_NET_PAUSE_RX);
	pause->tx_pause = !!(link & UDRV_NET_PAUSE_TX);
}

/* ---- Counters and registers ------------------------------------------------ */

static const char * const udrv_net_queue_stats[] = {
	"rx_queue_%u_packets",
	"rx_queue_%u_bytes",
	"tx_queue_%u_packets",
	"tx_queue_%u_bytes",
};

/* Of several queues, each; the sum of all is in `ip -s link`. */
static unsigned int udrv_net_nr_queue_stats(const struct udrv_net *n)
{
	return n->nr_queues > 1 ? n->nr_queues * ARRAY_SIZE(udrv_net_queue_stats) : 0;
}

/* The set changes under rtnl only, which the caller holds from count to values. */
static int udrv_net_get_sset_count(struct net_device *dev, int set)
{
	struct udrv_net *n = netdev_priv(dev);

	if (set != ETH_SS_STATS)
		return -EOPNOTSUPP;
	return n->nr_stats + udrv_net_nr_queue_stats(n);
}

static void udrv_net_get_strings(struct net_device *dev, u32 set, u8 *data)
{
	struct udrv_net *n = netdev_priv(dev);
	unsigned int i;

	for (i = 0; i < n->nr_stats; i++, data += ETH_GSTRING_LEN)
		snprintf(data, ETH_GSTRING_LEN, "%*pE",	/* escaped: they are the driver's words */
			 (int)strlen(n->stat_names[i]), n->stat_names[i]);
	for (i = 0; i < udrv_net_nr_queue_stats(n); i++, data += ETH_GSTRING_LEN)
		snprintf(data, ETH_GSTRING_LEN,
			 udrv_net_queue_stats[i % ARRAY_SIZE(udrv_net_queue_stats)],
			 i / (unsigned int)ARRAY_SIZE(udrv_net_queue_stats));
}

static void udrv_net_get_stats(struct net_device *dev, struct ethtool_stats *stats, u64 *data)
{
	struct udrv_net *n = netdev_priv(dev);
	unsigned int i;

	spin_lock_bh(&n->state_lock);
	memcpy(data, n->published.stats, n->nr_stats * sizeof(*data));
	spin_unlock_bh(&n->state_lock);
	if (!udrv_net_nr_queue_stats(n))
		return;
	data += n->nr_stats;
	for (i = 0; i < n->nr_queues; i++) {
		*data++ = READ_ONCE(n->channels[i].counts.rx_packets);
		*data++ = READ_ONCE(n->channels[i].counts.rx_bytes);
		*data++ = READ_ONCE(n->channels[i].counts.tx_packets);
		*data++ = READ_ONCE(n->channels[i].counts.tx_bytes);
	}
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

/* ---- Hold-off and rings ---------------------------------------------------- */

static int udrv_net_get_coalesce(struct net_device *dev, struct ethtool_coalesce *coalesce,
				 struct kernel_ethtool_coalesce *k, struct netlink_ext_ack *ack)
{
	struct udrv_net *n = netdev_priv(dev);

	coalesce->rx_coalesce_usecs = min(n->rx_usecs, n->max_rx_usecs);	/* in force */
	return 0;
}

static int udrv_net_set_coalesce(struct net_device *dev, struct ethtool_coalesce *coalesce,
				 struct kernel_ethtool_coalesce *k, struct netlink_ext_ack *ack)
{
	struct udrv_net *n = netdev_priv(dev);

	if (coalesce->rx_coalesce_usecs > n->max_rx_usecs) {
		NL_SET_ERR_MSG(ack, "the chip cannot hold interrupts off for so long");
		return -EINVAL;
	}
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

/* ---- Queues ---------------------------------------------------------------- */

static void udrv_net_get_channels(struct net_device *dev, struct ethtool_channels *channels)
{
	struct udrv_net *n = netdev_priv(dev);

	channels->max_combined = n->nr_queues;
	channels->combined_count = dev->real_num_tx_queues;
}

/*
 * The driver keeps its queues, and has the chip receive into fewer of them. What is under
 * way on the others is still delivered.
 */
static int udrv_net_set_channels(struct net_device *dev, struct ethtool_channels *channels)
{
	struct udrv_net *n = netdev_priv(dev);
	u32 before = n->wanted_queues;
	int ret;

	n->wanted_queues = channels->combined_count;
	ret = udrv_net_use_queues(n);
	if (ret)
		n->wanted_queues = before;
	else
		udrv_net_desire(dev);
	return ret;
}

const struct ethtool_ops udrv_net_ethtool_ops = {
	.supported_coalesce_params = ETHTOOL_COALESCE_RX_USECS,
	.get_drvinfo = udrv_net_get_drvinfo,
	.get_link = ethtool_op_get_link,
	.get_link_ksettings = udrv_net_get_link_ksettings,
	.nway_reset = udrv_net_nway_reset,
	.get_pauseparam = udrv_net_get_pauseparam,
	.get_sset_count = udrv_net_get_sset_count,
	.get_strings = udrv_net_get_strings,
	.get_ethtool_stats = udrv_net_get_stats,
	.get_regs_len = udrv_net_get_regs_len,
	.get_regs = udrv_net_get_regs,
	.get_coalesce = udrv_net_get_coalesce,
	.set_coalesce = udrv_net_set_coalesce,
	.get_ringparam = udrv_net_get_ringparam,
	.set_ringparam = udrv_net_set_ringparam,
	.get_channels = udrv_net_get_channels,
	.set_channels = udrv_net_set_channels,
	.get_ts_info = ethtool_op_get_ts_info,	/* transmit stamps by software */
};
