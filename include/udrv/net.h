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

#define UDRV_NET_MAX_QUEUES	8	/* room in the ABI; 1 is served today */
#define UDRV_NET_MIN_DEPTH	64
#define UDRV_NET_MAX_DEPTH	1024
#define UDRV_NET_MAX_MULTICAST	128	/* more: UDRV_NET_ALLMULTI is set */
#define UDRV_NET_MAX_STATS	32
#define UDRV_NET_MAX_REGISTERS	32
#define UDRV_NET_NAME_LEN	16	/* IFNAMSIZ */
#define UDRV_NET_STAT_LEN	32	/* ETH_GSTRING_LEN */
#define UDRV_NET_MAX_BUF	2048	/* bytes of one receive buffer */

/* What the chip can do (attach) and what of it is wanted (desired state). */
#define UDRV_NET_F_TX_CSUM	(1u << 0)	/* insert a checksum at csum_start + csum_offset */
#define UDRV_NET_F_TSO4		(1u << 1)
#define UDRV_NET_F_TSO6		(1u << 2)
#define UDRV_NET_F_RX_CSUM	(1u << 3)
#define UDRV_NET_F_VLAN_TX	(1u << 4)	/* insert the tag of vlan_tci */
#define UDRV_NET_F_VLAN_RX	(1u << 5)	/* strip the tag into vlan_tci */
#define UDRV_NET_F_ALL		((1u << 6) - 1)

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

/*
 * A packet is one or more buffers, the last with UDRV_NET_RX_EOP; the flags of
 * the last one hold for the packet. UDRV_NET_RX_DROP drops the packet that this
 * buffer belongs to.
 */
struct udrv_net_rx {
	__u32 id;		/* of a buffer from the fill ring */
	__u32 len_bytes;	/* written by the device, without the FCS */
	__u16 flags;		/* UDRV_NET_RX_* */
	__u16 vlan_tci;
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
	__u8 mac[6];
	__u8 reserved[2];
	__u8 multicast[UDRV_NET_MAX_MULTICAST][6];
};

#define UDRV_NET_LINK_UP	(1u << 0)
#define UDRV_NET_FULL_DUPLEX	(1u << 1)

/* A register of the chip, for `ethtool -d`. */
struct udrv_net_register {
	__u32 offset;
	__u32 value;
};

/* What the driver knows. Driver writes, the kernel answers from it. */
struct udrv_net_published {
	__u32 generation;
	__u32 link;		/* UDRV_NET_LINK_UP, UDRV_NET_FULL_DUPLEX */
	__u32 speed_mbps;
	__u32 reserved;
	__u64 stats[UDRV_NET_MAX_STATS];	/* all are shown, by these names: */
	char stat_names[UDRV_NET_MAX_STATS][UDRV_NET_STAT_LEN];
	struct udrv_net_register registers[UDRV_NET_MAX_REGISTERS];	/* both zero: none */
};

/* ---- Attach --------------------------------------------------------------- */

/* Offsets in bytes from the start of the map. */
struct udrv_net_queue_layout {
	__u32 need_wakeup;	/* struct udrv_need_wakeup */
	__u32 tx;		/* struct udrv_ring_header, then entries */
	__u32 completion;
	__u32 fill;
	__u32 rx;
	__u32 reserved;
};

struct udrv_net_attach {
	char name[UDRV_NET_NAME_LEN];	/* in: wanted at the first attach, "" for udn%d; out */
	__u8 mac[6];		/* in: the chip's own address */
	__u16 reserved0;
	__u32 vector;		/* in: interrupt vector that carries the doorbells */
	__u32 nr_queues;	/* in: 1 */
	__u32 tx_depth;		/* in: segments, a power of two */
	__u32 rx_depth;		/* in: buffers, a power of two */
	__u32 rx_buf_bytes;	/* in: 256 to UDRV_NET_MAX_BUF */
	__u32 tx_max_segments;	/* in: of one packet, 1 or more */
	__u32 max_mtu;		/* in: 68 to 65521 */
	__u32 features;		/* in: UDRV_NET_F_* the chip can do */
	__u32 ifindex;		/* out */
	__u32 reserved1;
	__u32 desired;		/* out: offset of struct udrv_net_desired */
	__u32 published;	/* out: offset of struct udrv_net_published */
	__u64 map_bytes;	/* out: length to mmap at UDRV_MMAP_PORT */
	struct udrv_net_queue_layout queues[UDRV_NET_MAX_QUEUES];	/* out */
};

UDRV_ASSERT_SIZE(struct udrv_net_tx, 32);
UDRV_ASSERT_SIZE(struct udrv_net_completion, 8);
UDRV_ASSERT_SIZE(struct udrv_net_fill, 16);
UDRV_ASSERT_SIZE(struct udrv_net_rx, 16);
UDRV_ASSERT_SIZE(struct udrv_net_desired, 804);
UDRV_ASSERT_SIZE(struct udrv_net_published, 1552);
UDRV_ASSERT_SIZE(struct udrv_net_queue_layout, 24);
UDRV_ASSERT_SIZE(struct udrv_net_attach, 272);

#endif /* UDRV_UDRV_NET_H */
