// SPDX-License-Identifier: GPL-2.0-only
/*
 * The net_device: what it can do, and what it tells the stack that it cannot.
 */
#include "udrv_net.h"

/*
 * What the chip cannot do with this packet is done in software: a checksum that is
 * too far in (long headers, IPv6 extension headers), headers that do not fit into
 * its memory, a packet too long to segment. Without this the driver could only drop
 * it, each time that it is sent again.
 */
static netdev_features_t udrv_net_features_check(struct sk_buff *skb, struct net_device *dev,
						 netdev_features_t features)
{
	const struct udrv_net *n = netdev_priv(dev);
	u32 pushed = 0;	/* bytes of a tag that the stack puts in front of what we see */

	if (skb_vlan_tag_present(skb) && !vlan_hw_offload_capable(features, skb->vlan_proto))
		pushed = VLAN_HLEN;
	if (skb->ip_summed == CHECKSUM_PARTIAL &&
	    skb_checksum_start_offset(skb) + skb->csum_offset + pushed >
	    READ_ONCE(n->max_csum_field))
		features &= ~(NETIF_F_CSUM_MASK | NETIF_F_GSO_MASK);
	if (skb_is_gso(skb) && skb_is_gso_tcp(skb) &&
	    (skb_tcp_all_headers(skb) + pushed > READ_ONCE(n->max_tso_hdr_bytes) ||
	     skb->len + pushed > READ_ONCE(n->max_tso_bytes)))
		features &= ~NETIF_F_GSO_MASK;
	return vlan_features_check(skb, features);
}

static const struct net_device_ops udrv_net_ops = {
	.ndo_start_xmit = udrv_net_xmit,
	.ndo_features_check = udrv_net_features_check,
	.ndo_get_stats64 = udrv_net_get_stats64,
	.ndo_set_mac_address = eth_mac_addr,
	.ndo_validate_addr = eth_validate_addr,
	.ndo_set_rx_mode = udrv_net_desire_locked,
};

/* Each processor sends by a queue of its own, as far as there are queues. */
void udrv_net_spread(struct net_device *dev)
{
	unsigned int nr = dev->real_num_tx_queues;
	unsigned int i, cpu, n;
	cpumask_var_t mask;

	if (nr < 2 || !alloc_cpumask_var(&mask, GFP_KERNEL))
		return;
	for (i = 0; i < nr; i++) {
		cpumask_clear(mask);
		n = 0;
		for_each_online_cpu(cpu)
			if (n++ % nr == i)
				cpumask_set_cpu(cpu, mask);
		netif_set_xps_queue(dev, mask, i);
	}
	free_cpumask_var(mask);
}

/* Of the driver's queues, those that are wanted. Under rtnl. */
int udrv_net_use_queues(struct udrv_net *n)
{
	unsigned int before = n->dev->real_num_tx_queues;
	unsigned int nr = n->nr_queues;
	int ret;

	if (n->wanted_queues)
		nr = min(nr, n->wanted_queues);
	ret = netif_set_real_num_queues(n->dev, nr, nr);
	if (!ret && nr != before)
		udrv_net_spread(n->dev);
	return ret;
}

/* Up, down, MAC, MTU, features, name: whatever has changed, the page says it all. */
static int udrv_net_event(struct notifier_block *nb, unsigned long event, void *info)
{
	struct net_device *dev = netdev_notifier_info_to_dev(info);

	if (dev->netdev_ops == &udrv_net_ops)
		udrv_net_desire(dev);
	return NOTIFY_DONE;
}

struct notifier_block udrv_net_notifier = { .notifier_call = udrv_net_event };

void udrv_net_setup(struct net_device *dev)
{
	struct udrv_net *n = netdev_priv(dev);
	unsigned int i;

	dev->netdev_ops = &udrv_net_ops;
	dev->ethtool_ops = &udrv_net_ethtool_ops;
	dev->sysfs_groups[0] = &udrv_net_state_group;
	dev->priv_flags |= IFF_LIVE_ADDR_CHANGE | IFF_UNICAST_FLT;
	dev->hw_features = NETIF_F_SG | NETIF_F_HIGHDMA;
	for (i = 0; i < UDRV_NET_NR_FEATURES; i++)
		if (n->features & BIT(i))
			dev->hw_features |= udrv_net_features[i];
	dev->features |= dev->hw_features;
	dev->vlan_features |= dev->hw_features & (NETIF_F_SG | NETIF_F_HW_CSUM | NETIF_F_TSO |
						  NETIF_F_TSO6 | NETIF_F_HIGHDMA);
}
