/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * net.h - the network loopback: rings and state pages between a driver
 * process and udrv_net.ko.
 *
 * UDRV_IOC_ATTACH with kind UDRV_PORT_NET and a struct udrv_net_attach makes
 * (or takes over) the network interface of the bound device. The driver then
 * maps map_bytes at UDRV_MMAP_PORT and finds everything at the offsets that
 * attach returned.
 *
 * A port has 1 to UDRV_NET_MAX_QUEUES queues, each with rings, a need_wakeup and an
 * interrupt vector of its own; several queues may name the same vector. A read or
 * write of the IRQ file of a vector publishes the queues that name it, and the doorbells
 * of these queues are counted there. So queues on vectors of their own can be served
 * by threads of their own. The port's vector is rung when the desired state changed,
 * and its file publishes the published page. All queues end together, with the session.
 *
 * Per queue, in AF_XDP's words:
 *
 *   ring        producer  entry                      meaning
 *   tx          kernel    struct udrv_net_tx         segments to send
 *   completion  driver    struct udrv_net_completion packets sent (or dropped)
 *   fill        kernel    struct udrv_net_fill       empty receive buffers
 *   rx          driver    struct udrv_net_rx         received buffers
 *
 * A ring starts with its struct udrv_ring_header; entries follow. tx and
 * completion have tx_depth entries, fill and rx rx_depth; no more segments or
 * buffers than that are ever outstanding, so that no ring is ever full.
 *
 * The driver sees bus addresses only, never a packet. Packets are completed in
 * the order of the tx ring, and buffers returned in the order of the fill ring,
 * as chips do; an id says which one is meant. The kernel reads each entry once,
 * checks it against its own table of what is outstanding, and ends the session
 * on a violation: an index that moved too far, an id that is not the next one, a
 * length larger than the buffer.
 */
#ifndef UDRV_UDRV_NET_H
#define UDRV_UDRV_NET_H

#include <linux/types.h>

#include <udrv/udrv.h>

#define UDRV_NET_MAX_QUEUES	16
#define UDRV_NET_MIN_DEPTH	64
#define UDRV_NET_MAX_DEPTH	1024
#define UDRV_NET_MAX_MULTICAST	128	/* more: UDRV_NET_ALLMULTI is set */
#define UDRV_NET_MIN_TSO_BYTES	8192	/* of max_tso_bytes */
#define UDRV_NET_MAX_TSO_BYTES	65536
#define UDRV_NET_MAX_UNICAST	32	/* more, or more than the chip has: UDRV_NET_PROMISC is set */
#define UDRV_NET_MAX_STATS	64
#define UDRV_NET_MAX_REGISTERS	32
#define UDRV_NET_NAME_LEN	16	/* IFNAMSIZ */
#define UDRV_NET_STAT_LEN	32	/* ETH_GSTRING_LEN */
#define UDRV_NET_DRIVER_LEN	32	/* ETHTOOL_FWVERS_LEN */
#define UDRV_NET_LINK_WORDS	2	/* of 64 link modes each */
#define UDRV_NET_MAX_BUF	2048	/* bytes of one receive buffer */

/* What the chip can do (attach) and what of it is wanted (desired state). */
#define UDRV_NET_F_TX_CSUM	(1u << 0)	/* insert a checksum at csum_start + csum_offset */
#define UDRV_NET_F_TSO4		(1u << 1)
#define UDRV_NET_F_TSO6		(1u << 2)
#define UDRV_NET_F_RX_CSUM	(1u << 3)
#define UDRV_NET_F_VLAN_TX	(1u << 4)	/* insert the tag of vlan_tci */
#define UDRV_NET_F_VLAN_RX	(1u << 5)	/* strip the tag into vlan_tci */
#define UDRV_NET_F_RX_HASH	(1u << 6)	/* of the flow, into udrv_net_rx */
#define UDRV_NET_F_ALL		((1u << 7) - 1)

/* ---- Ring entries --------------------------------------------------------- */

#define UDRV_NET_TX_EOP		(1u << 0)	/* last segment of the packet */
#define UDRV_NET_TX_CSUM	(1u << 1)	/* first segment: csum_* are valid */
#define UDRV_NET_TX_TSO4	(1u << 2)	/* first segment: gso_size, hdr_bytes */
#define UDRV_NET_TX_TSO6	(1u << 3)
#define UDRV_NET_TX_VLAN	(1u << 4)	/* first segment: vlan_tci is valid */

struct udrv_net_tx {
	__u64 dma_addr;		/* for the device to read */
	__u32 len_bytes;	/* of this segment */
	__u32 id;		/* of the packet, the same in all its segments */
	__u16 flags;		/* UDRV_NET_TX_* */
	__u16 vlan_tci;
	__u16 csum_start;	/* offset in the packet where summing starts */
	__u16 csum_offset;	/* from csum_start to the field */
	__u16 gso_size;		/* payload bytes of one segment on the wire */
	__u16 hdr_bytes;	/* headers up to the end of TCP's */
	__u16 ip_start;		/* offset of the network header, with gso_size */
	__u16 reserved;
};

#define UDRV_NET_TX_DROPPED	(1u << 0)	/* not sent, counted as an error */

struct udrv_net_completion {
	__u32 id;		/* of a packet that the device is done with */
	__u32 flags;		/* 0 or UDRV_NET_TX_DROPPED */
};

struct udrv_net_fill {
	__u64 dma_addr;		/* for the device to write */
	__u32 len_bytes;	/* rx_buf_bytes */
	__u32 id;		/* of the buffer */
};

#define UDRV_NET_RX_EOP		(1u << 0)	/* last buffer of the packet */
#define UDRV_NET_RX_CSUM_OK	(1u << 1)	/* TCP or UDP checksum verified */
#define UDRV_NET_RX_VLAN	(1u << 2)	/* vlan_tci holds the stripped tag */
#define UDRV_NET_RX_DROP	(1u << 3)	/* give the buffer back, count an error */
#define UDRV_NET_RX_CSUM_PARTIAL (1u << 4)	/* not inserted yet: csum_* are valid */
#define UDRV_NET_RX_HASH	(1u << 5)	/* hash is that of the addresses */
#define UDRV_NET_RX_HASH_L4	(1u << 6)	/* and of the ports, too; with UDRV_NET_RX_HASH */
#define UDRV_NET_RX_ALL		((1u << 7) - 1)

/*
 * A packet is one or more buffers, the last with UDRV_NET_RX_EOP; the flags of
 * the last one hold for the packet. A buffer may be empty (len_bytes 0), but not
 * all of a packet. UDRV_NET_RX_DROP drops the packet that this buffer belongs to.
 * UDRV_NET_RX_CSUM_PARTIAL is for packets that never were on a wire, from a virtual
 * machine's host: their checksum field holds the sum of the pseudo header only.
 */
struct udrv_net_rx {
	__u32 id;		/* of a buffer from the fill ring */
	__u32 len_bytes;	/* written by the device, without the FCS */
	__u16 flags;		/* UDRV_NET_RX_* */
	__u16 vlan_tci;
	__u32 hash;		/* with UDRV_NET_RX_HASH, in the last buffer */
	__u16 csum_start;	/* as in struct udrv_net_tx */
	__u16 csum_offset;
	__u32 reserved;
};

/* ---- State pages ---------------------------------------------------------- */

/*
 * Both pages carry a generation: odd while the writer is at work, even and
 * different after each change. A reader copies the page between two equal even
 * readings. The kernel rings the doorbell when the desired state changed.
 */

#define UDRV_NET_PROMISC	(1u << 0)
#define UDRV_NET_ALLMULTI	(1u << 1)

/* What the administrator wants. Kernel writes, driver makes the chip agree. */
struct udrv_net_desired {
	__u32 generation;
	__u32 up;		/* 1: receive and transmit; 0: be quiet */
	__u32 mtu;		/* bytes of payload, without the Ethernet header */
	__u32 rx_mode;		/* UDRV_NET_PROMISC, UDRV_NET_ALLMULTI */
	__u32 features;		/* UDRV_NET_F_* that are switched on */
	__u32 rx_usecs;		/* interrupt hold-off; 0: the driver's choice */
	__u32 nr_multicast;
	__u32 nr_unicast;	/* addresses besides mac, at most max_unicast */
	__u32 restart_autoneg;	/* changed: negotiate the link again */
	__u32 nr_queues;	/* in use: received packets are for the queues below it */
	__u8 mac[6];
	__u8 reserved[2];
	char name[UDRV_NET_NAME_LEN];	/* as the interface is called now */
	__u8 multicast[UDRV_NET_MAX_MULTICAST][6];
	__u8 unicast[UDRV_NET_MAX_UNICAST][6];
};

#define UDRV_NET_LINK_UP	(1u << 0)
#define UDRV_NET_FULL_DUPLEX	(1u << 1)
#define UDRV_NET_AUTONEG	(1u << 2)	/* the link is negotiated */
#define UDRV_NET_PAUSE_RX	(1u << 3)	/* obeys pause frames */
#define UDRV_NET_PAUSE_TX	(1u << 4)	/* sends them */
#define UDRV_NET_PAUSE_AUTONEG	(1u << 5)	/* both as negotiated */

/*
 * What the chip counted since this driver started, in the terms of `ip -s -s
 * link` (struct rtnl_link_stats64). The kernel adds up what the drivers of an
 * interface counted one after the other. A packet that was handed over with
 * UDRV_NET_RX_DROP or completed with UDRV_NET_TX_DROPPED is counted already.
 */
struct udrv_net_counters {
	__u64 rx_errors;	/* the kinds below but rx_missed_errors, in sum */
	__u64 rx_length_errors;
	__u64 rx_crc_errors;
	__u64 rx_frame_errors;
	__u64 rx_over_errors;
	__u64 rx_fifo_errors;
	__u64 rx_missed_errors;	/* no room for the packet: neither errors nor drops */
	__u64 rx_dropped;
	__u64 multicast;
	__u64 tx_errors;
	__u64 tx_aborted_errors;
	__u64 tx_carrier_errors;
	__u64 tx_fifo_errors;
	__u64 tx_window_errors;
	__u64 tx_dropped;
	__u64 collisions;
};

/* A register of the chip, for `ethtool -d`. */
struct udrv_net_register {
	__u32 offset;
	__u32 value;
};

/*
 * What the driver knows. Driver writes, the kernel answers from it. Link modes
 * are bits by the numbers ETHTOOL_LINK_MODE_*_BIT of linux/ethtool.h.
 */
struct udrv_net_published {
	__u32 generation;
	__u32 link;		/* UDRV_NET_LINK_UP to UDRV_NET_PAUSE_AUTONEG */
	__u32 speed_mbps;
	__u32 applied;		/* generation of the desired state that the chip agrees with */
	__u8 port;		/* PORT_* of linux/ethtool.h */
	__u8 phy_address;
	__u8 mdix;		/* ETH_TP_MDI_*: as it is */
	__u8 mdix_ctrl;		/* ETH_TP_MDI_*: as it is chosen */
	__u32 reserved;
	__u64 supported[UDRV_NET_LINK_WORDS];
	__u64 advertising[UDRV_NET_LINK_WORDS];
	__u64 lp_advertising[UDRV_NET_LINK_WORDS];	/* the link partner; zero: not known */
	struct udrv_net_counters counters;
	__u64 stats[UDRV_NET_MAX_STATS];	/* by the stat_names of attach */
	struct udrv_net_register registers[UDRV_NET_MAX_REGISTERS];	/* both zero: none */
};

/* ---- Attach --------------------------------------------------------------- */

/*
 * An interface keeps what it once promised: a later driver of the device may not
 * have fewer features or a smaller max_mtu. The other limits are those of the
 * driver that is attached.
 */

/* Offsets in bytes from the start of the map. */
struct udrv_net_queue_layout {
	__u32 vector;		/* in: interrupt vector that carries its doorbells */
	__u32 need_wakeup;	/* struct udrv_need_wakeup */
	__u32 tx;		/* struct udrv_ring_header, then entries */
	__u32 completion;
	__u32 fill;
	__u32 rx;
	__u32 reserved[2];
};

/*
 * The headers of packets to be segmented are left as the stack made them, with the
 * length of the whole packet; else they are prepared for chips that add the lengths
 * of the segments: without it, and not in the sum of the pseudo header either.
 */
#define UDRV_NET_ATTACH_TSO_AS_IS	(1u << 0)
#define UDRV_NET_ATTACH_ALL		((1u << 1) - 1)

#define UDRV_NET_ATTACH_SIZE_VER4	2704	/* sizeof the first published version, of ABI 4 */

struct udrv_net_attach {
	__u32 size;
	/*
	 * in: that the driver has; out: that are attached. An interface has room for as
	 * many as its first driver had; of a later one with more the rest stays unused.
	 */
	__u32 nr_queues;
	char name[UDRV_NET_NAME_LEN];	/* in: wanted at the first attach, "" for udn%d; out */
	__u8 mac[6];		/* in: the chip's own address */
	__u16 reserved0;
	__u32 vector;		/* in: interrupt vector of the state pages */
	__u32 tx_depth;		/* in: segments a queue, a power of two */
	__u32 rx_depth;		/* in: buffers a queue, a power of two */
	__u32 rx_buf_bytes;	/* in: 256 to UDRV_NET_MAX_BUF */
	__u32 tx_max_segments;	/* in: of one packet, 1 or more */
	/*
	 * in: 68 to 65521. The interface has less where a packet would not fit into
	 * the kernel's MAX_SKB_FRAGS (17 at least) buffers of rx_buf_bytes.
	 */
	__u32 max_mtu;
	__u32 features;		/* in: UDRV_NET_F_* the chip can do */
	__u32 ifindex;		/* out */
	__u32 flags;		/* in: UDRV_NET_ATTACH_* */
	__u32 desired;		/* out: offset of struct udrv_net_desired */
	__u32 published;	/* out: offset of struct udrv_net_published */
	__u32 reserved1;
	__u64 map_bytes;	/* out: length to mmap at UDRV_MMAP_PORT */
	/* What is beyond these is done in software. Of the three, 0: no limit. */
	__u32 max_csum_field;	/* in: csum_start + csum_offset at most */
	__u32 max_tso_hdr_bytes;	/* in: hdr_bytes at most */
	__u32 max_tso_bytes;	/* in: of a packet to be segmented: 8,192 to 65,536 */
	__u32 max_rx_usecs;	/* in: interrupt hold-off; 0: it cannot be chosen */
	__u32 max_unicast;	/* in: addresses besides mac that the chip can filter, to 32 */
	__u32 nr_stats;		/* in: counters of its own, for `ethtool -S` */
	char driver[UDRV_NET_DRIVER_LEN];	/* in: for `ethtool -i` */
	char stat_names[UDRV_NET_MAX_STATS][UDRV_NET_STAT_LEN];	/* in: nr_stats of them */
	struct udrv_net_queue_layout queues[UDRV_NET_MAX_QUEUES];	/* of nr_queues of them */
};

UDRV_ASSERT_SIZE(struct udrv_net_tx, 32);
UDRV_ASSERT_SIZE(struct udrv_net_completion, 8);
UDRV_ASSERT_SIZE(struct udrv_net_fill, 16);
UDRV_ASSERT_SIZE(struct udrv_net_rx, 24);
UDRV_ASSERT_SIZE(struct udrv_net_desired, 1024);
UDRV_ASSERT_SIZE(struct udrv_net_counters, 128);
UDRV_ASSERT_SIZE(struct udrv_net_published, 968);
UDRV_ASSERT_SIZE(struct udrv_net_queue_layout, 32);
UDRV_ASSERT_SIZE(struct udrv_net_attach, 2704);

#endif /* UDRV_UDRV_NET_H */
