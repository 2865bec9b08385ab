/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * blk.h - the block loopback: rings between a driver process and
 * udrv_blk.ko.
 *
 * UDRV_IOC_ATTACH with kind UDRV_PORT_BLK and a struct udrv_blk_attach makes (or
 * takes over) the disks of the bound device, one a unit (an AHCI port, an IDE
 * channel and drive). The driver maps map_bytes at UDRV_MMAP_PORT.
 *
 * Per disk:
 *
 *   submission  kernel produces  struct udrv_blk_submission  a request to do
 *   completion  driver produces  struct udrv_blk_completion  a request done
 *   slots       kernel writes    one struct udrv_blk_request a tag, and what
 *                                follows it: the segments of a read or write
 *                                (bus addresses of this device), the ranges of a
 *                                discard; and for UDRV_BLK_ATA the driver
 *                                writes the disk's answer there
 *
 * A slot belongs to the driver from its submission to its completion. Both rings
 * have at least as many entries as there are tags and are never full. One
 * need_wakeup serves all disks of the session.
 *
 * All requests are idempotent. When a driver dies, those that it had are given
 * to its successor, once the device is quiet.
 */
#ifndef UDRV_UDRV_BLK_H
#define UDRV_UDRV_BLK_H

#include <linux/types.h>

#include <udrv/udrv.h>

#define UDRV_BLK_MAX_DISKS	32
#define UDRV_BLK_MAX_DEPTH	256
#define UDRV_BLK_MAX_SEGMENTS	256
#define UDRV_BLK_MODEL_LEN	44	/* ATA's 40 characters and a NUL, padded */
#define UDRV_BLK_SERIAL_LEN	24	/* ATA's 20 characters and a NUL, padded */
#define UDRV_BLK_REVISION_LEN	12	/* ATA's 8 characters and a NUL, padded */
#define UDRV_BLK_VENDOR_LEN	8	/* "ATA" and NULs, for instance */
#define UDRV_BLK_NAME_LEN	32	/* DISK_NAME_LEN */

/* ---- Requests ------------------------------------------------------------- */

#define UDRV_BLK_READ		0	/* device to segments */
#define UDRV_BLK_WRITE		1	/* segments to device */
#define UDRV_BLK_FLUSH		2	/* volatile cache to medium; no sectors, no segments */
#define UDRV_BLK_DISCARD	3	/* ranges: 1 to max_discard_segments, no segments */
#define UDRV_BLK_WRITE_ZEROES	4	/* no segments; the sectors read as zeroes afterwards */
#define UDRV_BLK_ATA		5	/* struct udrv_blk_ata; no sectors, no segments */

#define UDRV_BLK_REQ_FUA	(1u << 0)	/* write: on the medium when completed */
#define UDRV_BLK_REQ_NOUNMAP	(1u << 1)	/* write zeroes: the sectors stay allocated */

struct udrv_blk_segment {
	__u64 dma_addr;
	__u32 len_bytes;
	__u32 reserved;
};

/* One piece of a discard. Pieces lie anywhere on the disk, in any order. */
struct udrv_blk_range {
	__u64 sector;		/* first, in units of 512 bytes */
	__u32 nr_sectors;	/* in units of 512 bytes, never 0 */
	__u32 reserved;
};

/*
 * A command of an ATA disk that changes nothing on it (identity, health): for disks with
 * UDRV_BLK_ATA_COMMANDS. The driver carries it out, writes what the disk answered, and
 * completes the request. The kernel reads that once, when it is completed.
 */
struct udrv_blk_ata {
	/* kernel to driver: the registers of a 28-bit command (ACS-3), without DEVICE */
	__u8 command;
	__u8 features;
	__u8 count;
	__u8 lba_low;
	__u8 lba_mid;
	__u8 lba_high;
	__u8 nr_blocks;		/* that the disk sends, of 512 bytes: 0 or 1 */
	__u8 reserved0;
	/* driver to kernel: registers when it was done, and the block */
	__u8 out_status;
	__u8 out_error;
	__u8 out_count;
	__u8 out_lba_low;
	__u8 out_lba_mid;
	__u8 out_lba_high;
	__u8 reserved1[2];
	__u8 data[512];
};

struct udrv_blk_request {
	__u64 sector;		/* first, in units of 512 bytes; of a discard: see its ranges */
	__u32 nr_sectors;	/* in units of 512 bytes; of a discard: of all its ranges */
	__u32 generation;	/* as in the submission */
	__u16 nr_segments;	/* of a discard: its number of ranges */
	__u8 op;		/* UDRV_BLK_READ and so on */
	__u8 flags;		/* UDRV_BLK_REQ_* */
	__u32 reserved;
	/*
	 * Follows: struct udrv_blk_segment[nr_segments] of a read or write,
	 * struct udrv_blk_range[nr_segments] of a discard, struct udrv_blk_ata.
	 */
};

struct udrv_blk_submission {
	__u32 tag;		/* 0 to depth - 1: which slot */
	__u32 generation;	/* tells this use of the tag from older ones */
};

#define UDRV_BLK_OK		0
#define UDRV_BLK_IOERR		1	/* EIO */
#define UDRV_BLK_MEDIUM		2	/* ENODATA: unreadable or unwritable sector */
#define UDRV_BLK_NOTSUPP	3	/* EOPNOTSUPP: the disk does not know the command */
#define UDRV_BLK_TIMEOUT	4	/* EIO: the disk did not answer */
#define UDRV_BLK_NR_STATUS	5

struct udrv_blk_completion {
	__u32 tag;
	__u32 generation;
	__u32 status;		/* UDRV_BLK_OK and so on */
	__u32 reserved;		/* 0 */
};

/* ---- Attach --------------------------------------------------------------- */

#define UDRV_BLK_ROTATIONAL	(1u << 0)
#define UDRV_BLK_WRITE_CACHE	(1u << 1)	/* volatile: flushes are needed */
#define UDRV_BLK_FUA		(1u << 2)	/* UDRV_BLK_REQ_FUA is understood */
#define UDRV_BLK_READ_ONLY	(1u << 3)
#define UDRV_BLK_ATA_COMMANDS	(1u << 4)	/* UDRV_BLK_ATA is understood */
#define UDRV_BLK_FLAGS_ALL	((1u << 5) - 1)

/*
 * virt_boundary: of the segments of a request, all but the first begin and all but the
 * last end at a multiple of mask + 1, a page of the processor (NVMe's PRPs). A segment has
 * no other limit then: max_segment_bytes is 0xffffffff.
 *
 * max_segments: a logical block of somebody's memory may lie across the end of a page, and
 * is two segments then. One is enough only where dma_alignment is the block's size - 1.
 */
struct udrv_blk_disk {
	/* in: what it is */
	__u64 nr_sectors;		/* capacity in units of 512 bytes */
	__u32 unit;			/* where it is: the port, or channel * 2 + drive */
	__u32 flags;			/* UDRV_BLK_ROTATIONAL and so on */
	__u32 logical_block_bytes;	/* 512 to 4096, a power of two */
	__u32 physical_block_bytes;	/* logical_block_bytes or more, a power of two */
	char model[UDRV_BLK_MODEL_LEN];		/* NUL at the end */
	char serial[UDRV_BLK_SERIAL_LEN];	/* NUL at the end */
	char revision[UDRV_BLK_REVISION_LEN];	/* of the firmware; NUL at the end */
	char vendor[UDRV_BLK_VENDOR_LEN];	/* "ATA"; NUL at the end */
	/* in: what the chip needs */
	__u32 depth;			/* tags: requests at once, 1 to UDRV_BLK_MAX_DEPTH */
	__u32 max_sectors;		/* of one request, in units of 512 bytes */
	__u32 max_segments;		/* of one request, up to UDRV_BLK_MAX_SEGMENTS; see above */
	__u32 max_segment_bytes;	/* of one segment, a page or more */
	__u32 segment_boundary;		/* mask: no segment crosses a multiple of mask + 1 */
	__u32 dma_alignment;		/* mask: address and length bits that must be 0 */
	__u32 virt_boundary;		/* mask, a page - 1: see above; 0: none */
	__u32 max_discard_sectors;	/* all ranges together; 0: no discard */
	__u32 max_discard_segments;	/* ranges, 1 to UDRV_BLK_MAX_SEGMENTS; 0: no discard */
	__u32 max_write_zeroes_sectors;	/* 0: no write zeroes */
	/* out: offsets in bytes from the start of the map */
	__u32 submission;		/* struct udrv_ring_header, then ring_depth entries */
	__u32 completion;		/* likewise */
	__u32 slots;			/* depth slots of slot_bytes */
	__u32 slot_bytes;
	__u32 ring_depth;
	char name[UDRV_BLK_NAME_LEN];	/* out: of the block device, udb0 */
	__u32 reserved;
};

#define UDRV_BLK_ATTACH_SIZE_VER4	6680	/* sizeof the first published version, of ABI 4 */

struct udrv_blk_attach {
	__u32 size;
	__u32 vector;		/* in: interrupt vector that carries the doorbells */
	__u32 nr_disks;		/* in: 1 to UDRV_BLK_MAX_DISKS */
	__u32 need_wakeup;	/* out: offset of struct udrv_need_wakeup */
	__u64 map_bytes;	/* out: length to mmap at UDRV_MMAP_PORT */
	struct udrv_blk_disk disks[UDRV_BLK_MAX_DISKS];
};

UDRV_ASSERT_SIZE(struct udrv_blk_segment, 16);
UDRV_ASSERT_SIZE(struct udrv_blk_range, 16);
UDRV_ASSERT_SIZE(struct udrv_blk_ata, 528);
UDRV_ASSERT_SIZE(struct udrv_blk_request, 24);
UDRV_ASSERT_SIZE(struct udrv_blk_submission, 8);
UDRV_ASSERT_SIZE(struct udrv_blk_completion, 16);
UDRV_ASSERT_SIZE(struct udrv_blk_disk, 208);
UDRV_ASSERT_SIZE(struct udrv_blk_attach, 24 + 208 * UDRV_BLK_MAX_DISKS);

#endif /* UDRV_UDRV_BLK_H */
